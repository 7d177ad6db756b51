"""Prompt matrix: every combination once, where its row and column say."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extensions.prompt_matrix import separated
from tests.extensions.test_xyz_plot import FIXED, Form
from webui.errors import UserError
from webui.scripts import Plan
from webui.service.extensions import bundled

SCRIPT = bundled().scripts["prompt_matrix"]


def planned(form: Form, **values: Any) -> Plan:
    return SCRIPT.plan(SCRIPT.params(**values), form)


def texts(plan: Plan, name: str = "prompt") -> list[Any]:
    return [cell.changes[name] for cell in plan.cells]


def test_two_parts_make_four_prompts() -> None:
    plan = planned(Form(prompt="a cat| red ,|big"))
    assert texts(plan) == ["a cat", "a cat, red", "a cat, big", "a cat, red, big"]
    assert [axis.values for axis in plan.axes] == [("–", "red"), ("–", "big")] and plan.said == {"Script": "Prompt matrix"}
    assert {cell.changes["seed"] for cell in plan.cells} == {5}


@pytest.mark.parametrize("count", range(1, 7))
def test_every_combination_is_there_once(count: int) -> None:
    parts = [f"p{number}" for number in range(count)]
    plan = planned(Form(prompt="|".join(["x", *parts])))
    wanted = {tuple(chosen) for size in range(count + 1) for chosen in combinations(parts, size)}
    assert sorted(tuple(text.split(", ")[1:]) for text in texts(plan)) == sorted(wanted)
    for at, cell in enumerate(plan.cells):
        across, down = at % len(plan.axes[0].values), at // len(plan.axes[0].values)
        assert cell.labels == (plan.axes[0].values[across], plan.axes[1].values[down])


def test_how_parts_are_put_together() -> None:
    assert texts(planned(Form(prompt="a cat|red"), at_start=True, joining="space")) == ["a cat", "red a cat"]
    assert texts(planned(Form(prompt="|red|big")))[-1] == "red, big"
    plan = planned(Form(prompt="x", negative="bad|ugly"), which="negative")
    assert texts(plan, "negative") == ["bad", "bad, ugly"] and "prompt" not in plan.cells[0].changes


def test_seeds_are_the_same_or_count_up() -> None:
    assert [cell.changes["seed"] for cell in planned(Form(prompt="a|b|c", seed=-1)).cells] == [FIXED] * 4
    assert [cell.changes["seed"] for cell in planned(Form(prompt="a|b|c"), different_seeds=True).cells] == [5, 6, 7, 8]


@pytest.mark.parametrize("prompt", ["a [b|c] d", "{a|b}", r"a \| b", "plain", "[a|[b|c]]"])
def test_alternations_are_no_parts(prompt: str) -> None:
    with pytest.raises(UserError, match=r"has no \| in it"):
        planned(Form(prompt=prompt))
    assert texts(planned(Form(prompt=f"{prompt}|x")))[0] == prompt.strip()


def test_too_many_parts_are_refused() -> None:
    with pytest.raises(UserError, match="10 parts to combine, which are 1,024 cells; here there may be at most 1,000"):
        planned(Form(prompt="|".join("abcdefghijk")))


@given(st.text(alphabet="ab|[]{}\\, ", max_size=40))
def test_nothing_of_a_prompt_is_lost(text: str) -> None:
    assert "|".join(separated(text)) == text


def test_far_too_many_parts_are_refused_without_writing_down_how_many_cells_they_are() -> None:
    with pytest.raises(UserError, match="19,999 parts to combine, which are far too many cells"):
        planned(Form(prompt="a" + "|" * 19_999))
