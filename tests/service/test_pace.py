"""The time left is what was measured, and None where nothing was."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.request import Request
from webui.service.pace import Pace, Work, planned, seconds_left, work

SECONDS = st.one_of(st.none(), st.floats(0, 1e4))


def part(amount: float, model: str = "m", pixels: int = 100) -> Work:
    return Work(model=model, pixels=pixels, amount=amount)


def test_what_was_never_measured_is_not_known() -> None:
    pace = Pace()
    assert pace.seconds(part(10)) is None
    pace.done(part(10), 0.0)
    assert pace.seconds(part(10)) is None, "the first news has nothing to be measured from"


def test_time_is_shared_out_by_work() -> None:
    pace = Pace()
    pace.done(part(10), 0.0)
    pace.done(part(10), 2.0)
    pace.done(part(10), 4.0)
    assert pace.seconds(part(50)) == pytest.approx(10.0)


def test_loading_and_waiting_count_for_nothing() -> None:
    pace = Pace()
    pace.done(part(10), 0.0)
    pace.done(part(10), 1.0)
    pace.idle()
    pace.done(part(10), 1000.0)
    pace.done(part(10), 1001.0)
    assert pace.seconds(part(10)) == pytest.approx(1.0)


def test_a_size_that_was_seen_counts_more_than_others_and_models_never_mix() -> None:
    pace = Pace()
    for second in range(5):
        pace.done(part(10, pixels=100), second * 2.0)
        pace.done(part(10, pixels=400), second * 2.0 + 1.5)
    assert pace.seconds(part(10, pixels=400)) == pytest.approx(1.5)
    assert pace.seconds(part(10, pixels=100)) == pytest.approx(0.5)
    assert 0.5 < (pace.seconds(part(10, pixels=900)) or 0) < 1.5
    assert pace.seconds(part(10, model="other")) is None


def test_old_measurements_fade() -> None:
    pace, now = Pace(), 0.0
    for _ in range(30):
        pace.done(part(1), now)
        now += 10.0
    for _ in range(1500):
        pace.done(part(1), now)
        now += 1.0
    assert pace.seconds(part(1)) == pytest.approx(1.0, rel=0.1)


def test_work_counts_evaluations_rows_and_pixels() -> None:
    common: dict[str, Any] = {"model": "m", "prompt": "", "steps": 4, "schedule": "Karras", "seed": 1, "width": 10, "height": 20}
    plain = work(Request(**common, sampler="Euler", scale=1.0), 4)
    assert plain == Work(model="m", pixels=200, amount=800)
    assert work(Request(**common, sampler="Euler", scale=5.0), 4).amount == 1600
    assert work(Request(**common, sampler="Heun", scale=5.0), 4).amount == 3200


def test_a_picture_that_is_drawn_twice_takes_both() -> None:
    common: dict[str, Any] = {"model": "m", "prompt": "", "schedule": "Karras", "seed": 1, "sampler": "Euler", "scale": 1.0}
    first, second = Request(**common, steps=4, width=10, height=20), Request(**common, steps=6, width=20, height=40)
    twice = replace(first, count=3, hires={"steps": 6, "width": 20, "height": 40, "strength": 0.5})
    assert planned(twice) == 3 * (planned(first) + planned(second))
    whole = work(twice, planned(twice)).amount
    assert whole == 3 * (work(first, 4).amount + work(second, 6).amount)
    assert planned(replace(twice, hires={**twice.hires, "strength": 0})) == 3 * planned(first)


def test_jobs_that_run_share_and_the_others_follow() -> None:
    left = seconds_left({"a": 10.0, "b": 30.0}, [("c", 5.0), ("d", None), ("e", 1.0)])
    assert left == {"a": 20.0, "b": 40.0, "c": 45.0, "d": None, "e": None}


@given(st.lists(SECONDS, max_size=4), st.lists(SECONDS, max_size=4))
def test_nobody_ends_before_what_is_before_them(running: list[float | None], queued: list[float | None]) -> None:
    run = {f"r{n}": seconds for n, seconds in enumerate(running)}
    wait = [(f"q{n}", seconds) for n, seconds in enumerate(queued)]
    left = seconds_left(run, wait)
    assert set(left) == {*run, *(name for name, _ in wait)}
    known = [left[name] for name, _ in wait]
    assert all(each is None or each >= max((run[name] or 0 for name in run), default=0) - 1e-9 for each in known)
    for before, after in pairwise(known):
        assert after is None or (before is not None and before <= after)
    if None in running:
        assert all(each is None for each in left.values())
