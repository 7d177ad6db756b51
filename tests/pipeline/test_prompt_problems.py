"""What may be wrong in a prompt is found where it stands, and what is right is let pass."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.pipeline.grammar import parse
from webui.pipeline.prompt_problems import problems

ODD = st.text(st.sampled_from("()[]:|\\#<>,.01 \nab"), max_size=60)


def found(text: str, *, negative: bool = False) -> list[tuple[str, str]]:
    told = problems(parse(text, negative=negative), negative=negative, known_tags=("lora",))
    return [(text[each.start : each.end], each.sentence) for each in told]


@pytest.mark.parametrize("text", [
    "", "a cat", "(a:1.2) [b]", "((a)) [[b]]", "[a:b:0.5] [a|b] [a::3] [:b:2] [[a|b]:c:4]", "\\(a\\) \\[b\\]", "a, b AND c :2",
    "[note: this]", "a | b", "<lora:x:1> d", "# (unclosed\na", "(a:b) 1:2", "one BREAK two", "(a b:.5)", "(b: 2. )", "(smile :)",
    "[a (b:1.2):c:0.5]",
])
def test_nothing_is_said_of_what_is_right(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(("text", "where", "sentence"), [
    ("a (b", "(", "never closed, so it strengthens everything"),
    ("a [b # ]\nc", "[", "never closed, so it weakens everything"),
    ("a) b", ")", "closes nothing; write \\)"),
    ("a] b", "]", "closes nothing; write \\]"),
    ("(cat:1.2.3)", "1.2.3", "1.2.3 is no number"),
    ("(a:.)", ".", ". is no number"),
    ("x [from:to:when] y", "[from:to:when]", "has its step last"),
    ("[a|b] c | d", "|", "stands in no [one|other]"),
    ("[a:b:3] c\\", "\\", "backslash stands before nothing"),
    ("x <lyco:y:1> z", "<lyco:y:1>", "No extension reads <lyco:…> tags"),
    ("x <lora:y z", "<lora:", "never closed"),
])
def test_a_problem_is_told_where_it_is(text: str, where: str, sentence: str) -> None:
    ((place, said),) = found(text)
    assert place == where and sentence in said


def test_problems_come_in_order_and_are_counted() -> None:
    assert [place for place, _ in found("( a ] <x:y> AND (b:1..) )")] == ["(", "]", "<x:y>", "1..", ")"]
    assert len(found("(" * 500)) == 100
    ((place, said),) = found("<lora:x:1> a (b) AND c", negative=True)
    assert place == "<lora:" and "plain text in a negative prompt" in said


@settings(max_examples=300, deadline=None)
@given(text=ODD, negative=st.booleans())
def test_any_text_has_problems_inside_it(text: str, negative: bool) -> None:
    told = problems(parse(text, negative=negative), negative=negative)
    assert told == sorted(told) and all(0 <= each.start < each.end <= len(text) and each.sentence.endswith(".") for each in told)


@pytest.mark.parametrize("piece", ["(", "[", "]", ":", "[:", "::[]", "<a:", "[a:b:c]", "|", "\\"])
def test_it_takes_no_longer_than_a_person_waits(piece: str) -> None:
    text = "[" + piece * (20_000 // len(piece)) + " [a:b:2] | \\"
    begun = time.process_time()
    problems(parse(text), negative=True)
    assert time.process_time() - begun < 1
