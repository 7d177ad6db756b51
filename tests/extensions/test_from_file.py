"""Prompts from file: one job a line, each with what it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.extensions.test_xyz_plot import FIXED, Form
from webui.errors import UserError
from webui.scripts import Plan
from webui.service.extensions import bundled

SCRIPT = bundled().scripts["prompts_from_file"]


def planned(lines: str, form: Form | None = None, **values: Any) -> Plan:
    return SCRIPT.plan(SCRIPT.params(lines=lines, **values), form or Form(prompt="", seed=5))


def test_a_line_is_a_prompt_and_empty_ones_and_remarks_are_none() -> None:
    plan = planned("a cat\n\n  a dog -- with a hat \n# a remark\r\nlast")
    assert [cell.changes["prompt"] for cell in plan.cells] == ["a cat", "a dog -- with a hat", "last"]
    assert not plan.grid and planned("x", grid=True).grid


def test_options_as_other_programs_write_them() -> None:
    line = (
        '--prompt "a cat, \\"big\\"" --negative_prompt blurry --steps 30 --sampler_name "Euler a" --cfg_scale 4.5 --seed 12 '
        "--width 512 --height 768 --n_iter 2 --batch_size 3 --tiling true --subseed 3 --subseed_strength 0.5 --do_not_save_grid"
    )
    (cell,) = planned(line).cells
    assert cell.changes == {
        "seed": 12, "prompt": 'a cat, "big"', "negative": "blurry", "steps": 30, "sampler": "Euler a", "scale": 4.5, "width": 512,
        "height": 768, "count": 6, "tiling": True, "variation_seed": 3, "variation_strength": 0.5,
    }  # fmt: skip


def test_words_without_quotes_and_own_names_and_equal_signs() -> None:
    (cell,) = planned("--prompt a red cat --scale=3 --clip-skip 2 --tiling --styles photo,ink").cells
    assert cell.changes == {"seed": 5, "prompt": "a red cat", "scale": 3.0, "clip_skip": 2, "tiling": True}
    assert cell.styles == ("photo", "ink")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--steps many", "Line 2, '--steps many': Steps was 'many'"),
        ("--stesp 3", "Unknown option '--stesp'; did you mean --steps"),
        ('--prompt "a cat', "a quote is not closed"), ("--steps 0", "Steps was '0'"), ("--styles foto", "Unknown style 'foto'"),
        ("--sampler_name Eular", "Line 2, '--sampler_name Eular': Unknown sampler 'Eular'"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_told_with_its_line(line: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        planned(f"a cat\n{line}\na dog")
    assert sentence.replace("'0'", "0") in str(caught.value).replace("'0'", "0")


def test_no_lines_and_too_many_are_refused() -> None:
    with pytest.raises(UserError, match="There are no lines"):
        planned(" \n#x")
    with pytest.raises(UserError, match="There are 11 lines; here there may be at most 10"):
        planned("x\n" * 11, Form(most_cells=10))


def test_the_forms_prompts_stand_beside_each_lines() -> None:
    form = Form(prompt="masterpiece", negative="bad", seed=5)
    line = "--prompt a cat --negative_prompt ugly"
    for position, prompt, negative in (("start", "a cat masterpiece", "ugly bad"), ("end", "masterpiece a cat", "bad ugly")):
        (cell,) = planned(line, form, position=position).cells
        assert (cell.changes["prompt"], cell.changes["negative"]) == (prompt, negative)
    (cell,) = planned("--steps 3", form).cells
    assert "prompt" not in cell.changes and "negative" not in cell.changes


def test_seeds_count_up_by_the_pictures_made_or_are_drawn_once_or_are_the_lines_own() -> None:
    def seeds(lines: str, seed: int, **values: Any) -> list[Any]:
        return [cell.changes.get("seed") for cell in planned(lines, Form(prompt="", seed=seed), **values).cells]

    assert seeds("a\nb\nc", 5) == [5, 5, 5] and seeds("a\nb", -1) == [None, None]
    assert seeds("a\nb\nc", -1, same_seed=True) == [FIXED] * 3
    assert seeds("a\n--prompt b --n_iter 3\nc\nd", 5, iterate_seed=True) == [5, 6, 9, 10]
    assert seeds("a\n--prompt b --seed 1\nc", 5, same_seed=True) == [5, 1, 5]


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="-abc prompts= \"'\\\n#1,", max_size=80))
def test_any_text_is_jobs_or_a_sentence(text: str) -> None:
    try:
        assert planned(text).cells
    except UserError as error:
        assert str(error)
