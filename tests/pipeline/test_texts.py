"""Texts along a schedule: which holds when, parts of one length, and each different text encoded once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.tiny_checkpoint import MERGES, SPEC
from webui.drawing import ZERO_TERMINAL
from webui.nets.tokenizer import Tokenizer
from webui.pipeline.conditioning import conditionings, way_of
from webui.pipeline.model import Model
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.patches import NO_PATCHES
from webui.pipeline.protocol import Conditioning, Encode, Moment, answer_all
from webui.pipeline.texts import Course, Texts, constant, levelled
from webui.request import Request

TOKENIZER = Tokenizer(MERGES)
MODEL = Model(name="m", spec=SPEC, tokenizers=(TOKENIZER,))
REQUEST = Request(
    model="m", prompt="a", negative="", steps=10, sampler="Euler", schedule="Karras", scale=7.0, seed=5, width=64, height=64
)


def run(**changes: Any) -> tuple[Texts, list[str]]:
    """The texts of a request, and what was asked, in order: conditionings are as long as their texts have windows of 3 rows."""
    hires = {name: changes.pop(name) for name in ("evaluations", "hires", "first_steps") if name in changes}
    asked: list[str] = []

    def answer(ask: Any) -> Conditioning:
        assert isinstance(ask, Encode)
        padding = SPEC.text[0].padding
        text = "|".join(TOKENIZER.decode(id_ for id_ in window.ids if id_ != padding) for window in ask.chunks[0])
        asked.append(text)
        return Conditioning(torch.full((3 * len(ask.chunks[0]), 2), float(len(asked))), key=text)

    return answer_all(conditionings(replace(REQUEST, **changes), MODEL, NO_PATCHES, **hires), answer), asked


def seen(texts: Texts, steps: int, part: int = 0) -> list[str]:
    return [texts.parts[part].at(Moment(1.0, step, steps)).key for step in range(steps)]


def test_a_choice_holds_until_its_step_and_that_one_too() -> None:
    texts, asked = run(prompt="[a:b:0.3] ab")
    assert seen(texts, 10) == ["a ab"] * 4 + ["b ab"] * 6  # steps 0 to 3: A1111 compares the number of a step from 0 with 3
    assert asked == ["a ab", "b ab", ""]


def test_texts_in_turn_are_encoded_once_each() -> None:
    texts, asked = run(prompt="[a|b|] x", steps=7)
    assert seen(texts, 7) == ["a x", "a x", "b x", "x", "a x", "b x", "x"]
    assert sorted(asked) == ["", "a x", "b x", "x"]


def test_a_text_that_is_there_already_is_not_encoded_again() -> None:
    texts, asked = run(prompt="a AND b AND a", negative="b")
    assert asked == ["a", "b"] and [part.weight for part in texts.parts] == [1, 1, 1]
    first, last = (texts.parts[place].at(Moment(1, 0, 10)) for place in (0, 2))
    assert first.tokens is last.tokens and first.key == last.key  # though each knows where it stands in the prompt
    assert texts.negative(Moment(1, 0, 10)).key == "b"


def test_a_negative_prompt_changes_along_the_way_and_has_no_parts() -> None:
    texts, _ = run(negative="a AND [b:a:5] :2")
    assert [texts.negative(Moment(1, step, 10)).key for step in (0, 5, 6)] == ["a and b : 2", "a and b : 2", "a and a : 2"]


def test_the_second_pass_goes_on_counting() -> None:
    for when, expected in (("12", ["a"] * 3 + ["b"] * 7), ("1.5", ["a"] * 6 + ["b"] * 4), ("5", ["b"] * 10), ("0.5", ["b"] * 10)):
        texts, _ = run(prompt=f"[a:b:{when}]", hires=True, first_steps=10)
        assert seen(texts, 10) == expected, when
    texts, _ = run(prompt="[a:b:0.5]", hires=True, first_steps=4, old_schedules=True)
    assert seen(texts, 10) == ["a"] * 3 + ["b"] * 7


def test_samplers_of_two_calls_a_step_count_calls() -> None:
    def calls(prompt: str, **more: Any) -> list[str]:
        texts, _ = run(prompt=prompt, steps=4, evaluations=2, **more)
        return [texts.parts[0].at(Moment(1.0, step, 4, evaluation)).key for step in range(4) for evaluation in range(2)]

    assert calls("[a:b:0.5]") == ["a"] * 5 + ["b"] * 3  # half of 8 calls, and one more
    assert calls("[a:b:2]") == ["a"] * 3 + ["b"] * 5
    assert calls("[a|b]") == ["a", "a", "b", "a", "b", "a", "b", "a"]
    assert calls("[a:b:10]", hires=True, first_steps=8) == ["a"] * 3 + ["b"] * 5


def test_old_timelines_count_numbers_below_1_as_parts() -> None:
    assert seen(run(prompt="[a:b:1.0]")[0], 10).count("a") == 10
    assert seen(run(prompt="[a:b:1.0]", old_schedules=True)[0], 10).count("a") == 2


def test_an_adaptive_sampler_goes_by_the_noise_level() -> None:
    texts, _ = run(prompt="[a:b:0.5]")
    table = NoiseTable.from_spec(SPEC)
    course = texts.parts[0]
    found = [course.at(Moment(table.sigma_of(t), 40, None)).key for t in (999, 500, 390, 0)]
    assert found == ["a", "a", "b", "b"]  # step 4 and 5 of 10 are "a", step 6 begins at 400
    place = way_of(REQUEST, MODEL)
    assert place(table.sigma_of(999)) == 0 and place(table.sigma_of(0)) == 1
    assert run(prompt="a")[0].parts[0].at(Moment(1.0, 40, None)).key == "a"


def test_an_adaptive_sampler_goes_by_the_noise_levels_that_were_asked_for() -> None:
    zero = replace(REQUEST, noise_schedule=ZERO_TERMINAL)
    table = NoiseTable.from_spec(SPEC).ended_in_noise()
    assert [way_of(zero, MODEL)(table.sigma_of(t)) for t in (999, 500, 0)] == pytest.approx([0, 499 / 999, 1])


def test_under_an_adaptive_sampler_parts_that_stay_are_as_long_as_those_that_change() -> None:
    long = "a " * 80
    texts, _ = run(prompt=f"[a:{long}:5] AND b")
    table = NoiseTable.from_spec(SPEC)
    found = [[len(part.at(Moment(table.sigma_of(t), 40, None)).tokens) for part in texts.parts] for t in (999, 0)]
    assert found == [[3, 3], [6, 6]]


def test_parts_are_equally_long_at_every_step_and_only_there() -> None:
    long = "a " * 80
    texts, _ = run(prompt=f"[a:{long}:5] AND b AND {long} {long}", negative=long)
    for step, expected in ((0, 9), (9, 9)):
        lengths = [len(part.at(Moment(1, step, 10)).tokens) for part in texts.parts]
        assert lengths == [expected] * 3
    short = texts.parts[1].at(Moment(1, 0, 10))
    assert short.tokens.shape == (9, 2) and bool((short.tokens == short.tokens[0]).all()) and short.key == "b to 9"
    assert len(texts.negative(Moment(1, 0, 10)).tokens) == 6
    texts, _ = run(prompt=f"[a:{long}:5] AND b")
    assert [len(texts.parts[1].at(Moment(1, step, 10)).tokens) for step in (0, 5, 6, 9)] == [3, 3, 6, 6]
    assert [part.at(Moment(1, 9, 10)).key for part in run(prompt="a AND b")[0].parts] == ["a", "b"]


def test_levelled_courses_keep_what_holds_when() -> None:
    def meaning(length: int, name: str) -> Conditioning:
        return Conditioning(torch.arange(length * 1.0)[:, None], key=name)

    one = Course(until=(2, 9), means=(meaning(1, "x"), meaning(4, "y")))
    two = Course(until=(5, 9), means=(meaning(2, "u"), meaning(3, "v")))
    first, second = levelled([one, two])
    for step in range(10):
        at = Moment(1.0, step, 10)
        assert len(first.at(at).tokens) == len(second.at(at).tokens)
        assert first.at(at).key.startswith(one.at(at).key) and second.at(at).key.startswith(two.at(at).key)
    assert second.at(Moment(1.0, 3, 10)).tokens.flatten().tolist() == [0, 1, 1, 1]
    assert levelled([constant(meaning(2, "x"))] * 2)[0].means[0].key == "x"


@pytest.mark.parametrize("emphasis", ["Original", "No norm"])
def test_what_the_weights_do_is_asked_for(emphasis: str) -> None:
    asked: list[Encode] = []

    def answer(ask: Any) -> Conditioning:
        asked.append(ask)
        return Conditioning(torch.zeros(1, 1))

    request = replace(REQUEST, prompt="(a:2)", negative="b", emphasis=emphasis, clip_skip=2)
    answer_all(conditionings(request, MODEL, NO_PATCHES), answer)
    assert [(ask.norm, ask.clip_skip) for ask in asked] == [(emphasis == "Original", 2), (True, 2)]
