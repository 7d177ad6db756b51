"""How many bytes models may take, on made-up machines."""

from __future__ import annotations

import pytest

from webui.engine.memory import LEAST, WORKING, free_bytes, weights_budget

GIGABYTE = 10**9


def test_what_is_set_is_what_holds() -> None:
    assert weights_budget(64 * GIGABYTE, 700) == weights_budget(None, 700) == 700 * 10**6


@pytest.mark.parametrize(("total", "free", "expected"), [(64.0, 40.0, 40), (64.0, None, 32), (None, None, None), (None, 3.0, 3)])
def test_what_is_free_without_a_device_of_its_own(total: float | None, free: float | None, expected: int | None) -> None:
    assert free_bytes("cpu", total, free) == free_bytes("mps", total, free) == (None if expected is None else expected * GIGABYTE)


def test_there_is_always_a_bound_and_room_to_compute() -> None:
    for free in (None, 0, GIGABYTE, 8 * GIGABYTE, 1000 * GIGABYTE):
        budget = weights_budget(free)
        assert LEAST <= budget < 10**13
        if free and budget > LEAST:
            assert budget + WORKING <= free
