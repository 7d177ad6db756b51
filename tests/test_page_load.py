"""The load benchmark in small: several people at once on the real server, in a process of its own, lose nothing."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import page_load
from benchmarks.page_load import COUNT, Load, Outcome


def test_several_people_at_once_lose_no_job() -> None:
    outcome = asyncio.run(page_load.measured(Load(users=5, seconds=1.5, page=False)))
    assert len(set(outcome.submitted.values())) == 5, "somebody submitted nothing"
    assert outcome.lost == 0 and outcome.refused == []
    assert outcome.pictures == COUNT * len(outcome.submitted)


def test_a_lost_job_would_be_seen(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome(submitted={"a": "anna", "b": "bob"}, finished={"a"}, memory=[0, 0, 0], refused=["submit: 500"])
    outcome.times["submit"] = [0.1] * 95 + [0.3] * 5
    outcome.times["sign in"] = [9.0]
    page_load.report(Load(), outcome)
    printed = capsys.readouterr().out
    assert "2 submitted, 1 lost" in printed and "refused: submit: 500" in printed
    assert outcome.interactive() == outcome.times["submit"]


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 51), (95, 96), (99, 100), (100, 100)])
def test_percentiles(percent: float, value: float) -> None:
    assert page_load.percentile([float(each) for each in range(100, 0, -1)], percent) == value
