"""What is on a device: the budget is never passed, the right part goes, and what the device lacks is learnt for a while."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from webui.engine import ledger
from webui.engine.ledger import FORGET_AFTER, Ledger, OverBudget, PartKey, Residency
from webui.errors import OutOfMemory


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40), st.booleans(), st.booleans())), st.integers(40, 120))
def test_the_budget_is_never_passed_and_what_goes_takes_its_variants(moves: list[Any], budget: int) -> None:
    residency = Residency(Ledger(budget))
    closed: list[PartKey] = []
    for network, size, fails, variant in moves:
        base = PartKey(str(network), "unet")
        key = PartKey(str(network), "unet", "patched") if variant and base in residency else base
        if residency.get(key) is not None:
            continue

        def make(key: PartKey = key, fails: bool = fails) -> PartKey:
            if fails:
                raise RuntimeError
            return key

        used = residency.ledger.used
        try:
            residency.bring(key, size, make, base=base if key != base else None, close=lambda key=key: closed.append(key))
        except RuntimeError:
            assert residency.ledger.used <= used and key not in residency
        except OutOfMemory:
            assert key != base
    held = residency._held
    assert residency.ledger.used == sum(each.size for each in held.values()) <= budget
    assert residency.ledger.peak <= budget
    assert all(each.base is None or each.base in held for each in held.values())
    residency.clear()
    assert residency.ledger.used == 0 and not held and len(closed) == residency.swaps


def test_what_was_used_last_stays() -> None:
    residency = Residency(Ledger(30))
    keys = [PartKey(name, "unet") for name in "abc"]
    for key in keys:
        residency.bring(key, 10, lambda: object())
    residency.get(keys[0])
    residency.bring(PartKey("d", "unet"), 10, lambda: object())
    assert keys[0] in residency and keys[1] not in residency and keys[2] in residency


def test_a_ledger_refuses_what_passes_its_budget() -> None:
    counted = Ledger(10)
    counted.take(6)
    with pytest.raises(OverBudget):
        counted.take(5)
    counted.give(6)
    counted.take(10)
    assert counted.peak == 10


def test_a_device_with_less_memory_than_the_budget_says_lets_the_rest_go_and_remembers() -> None:
    residency = Residency(Ledger(100))
    residency.bring(PartKey("a", "unet"), 40, object)
    tries = []

    def make() -> object:
        tries.append(len(residency._held))
        if len(tries) == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return object()

    residency.bring(PartKey("b", "unet"), 40, make)
    assert tries == [1, 0] and PartKey("a", "unet") not in residency
    assert residency.ledger.budget == residency.ledger.used == 40

    def never() -> object:
        raise MemoryError

    with pytest.raises(MemoryError):
        residency.bring(PartKey("c", "unet"), 10, never)
    assert residency.ledger.used == 0


def test_what_a_device_lately_lacked_is_neither_learnt_from_a_small_part_nor_for_ever() -> None:
    residency, failing = Residency(Ledger(100)), [True]
    unet, vae = PartKey("a", "unet"), PartKey("a", "vae")

    def make() -> object:
        if failing:
            failing.pop()
            raise MemoryError
        return object()

    residency.bring(unet, 60, object)
    residency.bring(vae, 5, make)
    assert residency.room() == 60 and unet not in residency
    residency.bring(unet, 60, object)  # what fitted before fits now
    residency.drop(unet)
    residency.bring(vae, 5, object)
    failing.append(True)
    residency.bring(PartKey("a", "text0"), 10, make)
    assert residency.room() == 10
    assert residency.room(least=60) == 100  # never a reason to refuse
    residency.clear()
    residency.bring(vae, 5, object)
    failing.append(True)
    residency.bring(PartKey("a", "text0"), 10, make)
    for _ in range(FORGET_AFTER - 1):
        assert residency.room() == 10
        residency.drop(vae)
        residency.bring(vae, 5, object)
    assert residency.room() == 100


def test_what_goes_is_gone_before_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    residency, alive = Residency(Ledger(10)), []
    kept = residency.bring(PartKey("a", "unet"), 10, lambda: torch.nn.Linear(1, 1))
    watched = weakref.ref(kept)
    del kept
    monkeypatch.setattr(ledger, "give_back", lambda: alive.append(watched()))
    residency.drop(PartKey("a", "unet"))
    assert alive == [None]
