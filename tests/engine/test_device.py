"""The choice of device and number type, on made-up machines."""
from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest
import torch

from tests.engine.making import TINY, tiny_model
from tests.in_memory import InMemory
from webui.engine import device
from webui.engine.device import CPU_FLOAT32, LARGE, Choice, Machine, best_times, by_rule, candidates, choose, facts, fastest
from webui.engine.trial import choice_for

LAST = Choice(channels_last=True)
HALF = Choice(dtype="bfloat16", channels_last=True)
PLAIN, NEW = Machine(name="old"), Machine(name="new", bfloat16=True)


def never(options):
    raise AssertionError("measured")


def favour(choice: Choice):
    """A measurement in which one choice is much the fastest."""
    return lambda options: {option: 1.0 if option == choice else 9.0 for option in options}


@pytest.mark.parametrize(("machine", "expected"), [
    (PLAIN, (CPU_FLOAT32, LAST)),
    (NEW, (CPU_FLOAT32, LAST, HALF)),
    (Machine(devices=("cuda",), bfloat16=True), (Choice(device="cuda", dtype="float16", channels_last=True),)),
    (Machine(devices=("mps",)), (Choice(device="mps", dtype="float16"),)),
    (Machine(devices=("xpu", "mps")), (Choice(device="xpu", dtype="float16", channels_last=True),)),
])
def test_what_is_worth_trying(machine: Machine, expected: tuple[Choice, ...]) -> None:
    assert candidates(machine) == expected
    assert candidates(machine, exact=True) == (CPU_FLOAT32,)
    assert by_rule(machine) == expected[-1]


def test_the_plainer_choice_stays_unless_it_is_clearly_beaten() -> None:
    assert fastest({CPU_FLOAT32: 1.0, LAST: 0.95, HALF: 0.92}) == CPU_FLOAT32
    assert fastest({CPU_FLOAT32: 1.0, LAST: 0.8, HALF: 0.75}) == LAST
    assert fastest({CPU_FLOAT32: 1.0, LAST: 0.8, HALF: 0.5}) == HALF


def test_a_measurement_is_made_once_and_kept_per_machine(tmp_path: Path) -> None:
    memory = tmp_path / "new" / "choices.json"
    asked = []

    def measure(options):
        asked.append(options)
        return dict(zip(options, (3.0, 2.0, 1.0), strict=False))

    for _ in range(2):
        assert choose(NEW, measure, weights=1, subject="tiny", memory=memory) == HALF
    assert len(asked) == 1
    assert choose(PLAIN, measure, weights=1, subject="tiny", memory=memory) == LAST
    assert choose(NEW, measure, weights=1, subject="other", memory=memory) == HALF
    assert len(asked) == 3
    assert len(json.loads(memory.read_text())) == 3
    assert [path.name for path in memory.parent.iterdir()] == ["choices.json"]


@pytest.mark.parametrize("content", [
    "", "[]", "{\"", "{\"KEY\": 3}", "{\"KEY\": {\"dtype\": \"float8\"}}", "{\"KEY\": {\"a\": 1}}",
])
def test_a_broken_memory_is_measured_anew(tmp_path: Path, content: str) -> None:
    memory = tmp_path / "choices.json"
    choose(NEW, lambda options: dict.fromkeys(options, 1.0), weights=1, subject="tiny", memory=memory)
    (key,) = json.loads(memory.read_text())
    memory.write_text(content.replace("KEY", key))
    assert choose(NEW, lambda options: {CPU_FLOAT32: 9.0, HALF: 1.0}, weights=1, subject="tiny", memory=memory) == HALF


def test_no_measurement_where_there_is_no_choice_or_the_model_is_large(tmp_path: Path) -> None:
    assert choose(NEW, never, weights=1, subject="", exact=True) == CPU_FLOAT32
    assert choose(Machine(devices=("cuda",)), never, weights=1, subject="").device == "cuda"
    assert choose(NEW, never, weights=LARGE + 1, subject="") == HALF


def test_where_nothing_can_be_kept_nothing_is_measured_and_the_plainest_is_taken(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    for machine in (PLAIN, NEW):
        for memory in (blocked / "choices.json", None):
            assert choose(machine, never, weights=1, subject="", memory=memory) == CPU_FLOAT32


def test_what_was_kept_is_used_even_where_nothing_more_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = tmp_path / "choices.json"
    assert choose(NEW, favour(HALF), weights=1, subject="tiny", memory=memory) == HALF
    monkeypatch.setattr(device, "writable", lambda folder: False)
    assert choose(NEW, never, weights=1, subject="tiny", memory=memory) == HALF
    assert choose(NEW, never, weights=1, subject="other", memory=memory) == CPU_FLOAT32


def test_a_folder_that_fills_up_while_it_is_measured_leaves_the_plainest(tmp_path: Path) -> None:
    folder = tmp_path / "cache"

    def measure(options):
        folder.rmdir()
        folder.write_text("")
        return favour(HALF)(options)

    assert choose(NEW, measure, weights=1, subject="tiny", memory=folder / "choices.json") == CPU_FLOAT32


def test_measurements_of_two_programs_at_once_are_both_kept(tmp_path: Path) -> None:
    memory = tmp_path / "choices.json"

    def measure(options):
        assert choose(NEW, favour(LAST), weights=1, subject="other", memory=memory) == LAST
        return favour(HALF)(options)

    assert choose(NEW, measure, weights=1, subject="tiny", memory=memory) == HALF
    assert choose(NEW, never, weights=1, subject="tiny", memory=memory) == HALF
    assert choose(NEW, never, weights=1, subject="other", memory=memory) == LAST


def test_who_measures_the_same_meanwhile_decides_for_both(tmp_path: Path) -> None:
    memory = tmp_path / "choices.json"

    def measure(options):
        choose(NEW, favour(LAST), weights=1, subject="tiny", memory=memory)
        return favour(HALF)(options)

    assert choose(NEW, measure, weights=1, subject="tiny", memory=memory) == LAST
    assert choose(NEW, never, weights=1, subject="tiny", memory=memory) == LAST


def test_choices_have_names() -> None:
    assert CPU_FLOAT32.name == "cpu float32"
    assert Choice(device="cuda", dtype="float16", channels_last=True).name == "cuda float16 channels-last"


def test_runs_take_turns_and_the_best_time_counts() -> None:
    ticks = itertools.count()
    order = []
    runs = [(CPU_FLOAT32, lambda: order.append("a")), (LAST, lambda: order.append("b"))]
    times = best_times(runs, lambda: next(ticks), rounds=3)
    assert "".join(order) == "abababab"
    assert times == {CPU_FLOAT32: 1, LAST: 1}


@pytest.mark.parametrize("unet", [{"in_channels": 9}, {"guidance_width": 8}, {"label_width": 6}])
def test_models_that_take_more_than_noise_and_text_can_be_tried_too(tmp_path: Path, unet: dict[str, int]) -> None:
    spec = dataclasses.replace(TINY, unet=dataclasses.replace(TINY.unet, **unet))
    assert choice_for(InMemory(tiny_model(spec)), machine=NEW, memory=tmp_path / "choices.json") in candidates(NEW)


def test_this_machine_and_a_real_model(tmp_path: Path) -> None:
    machine = facts()
    assert machine.torch == torch.__version__
    assert machine.threads >= 1
    assert choice_for(InMemory(tiny_model()), machine=NEW) == CPU_FLOAT32
    memory = tmp_path / "choices.json"
    choice = choice_for(InMemory(tiny_model()), machine=NEW, memory=memory)
    assert choice in candidates(NEW)
    assert len(json.loads(memory.read_text())) == 1
    assert Choice(dtype="float16").in_float32() == CPU_FLOAT32
