"""The grammar of prompts: recorded values, a naive reading of the same rules, spans, and any text at all in linear time."""

from __future__ import annotations

import gzip
import json
import math
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.prompts import documents, through
from webui.pipeline.grammar import Cut, Timeline, attention, parse, part_of, uncommented

RECORDED = json.loads(gzip.decompress((Path(__file__).parent.parent / "data" / "prompts.json.gz").read_bytes()))["prompts"]
TIMELINES = {
    "schedule(10)": Timeline(steps=10),
    "schedule(20)": Timeline(steps=20),
    "schedule(10,hires=10)": Timeline(steps=10, before=10),
    "schedule(10,old)": Timeline(steps=10, old=True),
}
WORDS = ["[", "]", "(", ")", ":", "|", "\\", "a", "b", " ", "0.5", "2", "AND", "BREAK", "<x:1>", "#c\n", "é", "\n"]
SIGNS = st.text(st.sampled_from("()[]:|\\#<>,.01+- \nab"), max_size=24)
HOSTILE = SIGNS | st.lists(st.sampled_from(WORDS), max_size=18).map("".join)
ANY = st.text(st.characters(codec=None), max_size=60) | HOSTILE


def texts_of(prompt: str, timeline: Timeline) -> list[list[Any]]:
    part = part_of(Cut(text=prompt))
    return [[step, part.at(step, timeline).text] for step in part.ends(timeline)]


# --- recorded values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: entry["prompt"][:30])
def test_a_recorded_prompt_is_read_as_recorded(entry: dict[str, Any]) -> None:
    prompt = entry["prompt"]
    assert [[each.text, each.weight] for each in attention(prompt)] == entry["attention"]
    assert [each.text for each in attention(prompt) if each.breaks] == ["BREAK"] * entry["attention"].count(["BREAK", -1])
    for name, timeline in TIMELINES.items():
        assert texts_of(prompt, timeline) == entry[name], name
    tags = parse(prompt).tags
    assert [[tag.name, tag.args.split(":")] for tag in tags] == entry["extra_networks"]["nets"]
    if not tags:
        assert [[part.cut.text, part.weight] for part in parse(prompt).parts] == entry["AND"]
    assert Cut(text=prompt).without([(tag.start, tag.end) for tag in tags]).text == entry["extra_networks"]["prompt"]


def test_there_are_as_many_recorded_prompts_as_there_were() -> None:
    assert len(RECORDED) == 58


# --- the same rules, read naively ---------------------------------------------------------------------------------------------


def naive_choices(text: str, step: int, steps: int) -> str:
    """What is read at a step: innermost brackets become what they mean, one after another; a private sign stands for each."""
    if re.search(r"\\(?:\n|$)", re.sub(r"\\[^\n]", "", text)) is not None:
        return text
    kept: list[str] = []

    def keep(meaning: str) -> str:
        kept.append(meaning)
        return chr(0xE000 + len(kept) - 1)

    work = re.sub(r"\\.", lambda match: keep(match.group()), text)
    literal = {sign: chr(0xF800 + place) for place, sign in enumerate("()[]")}  # what spoils brackets around it
    while (match := re.search(r"\[[^()\[\]]*\]|\([^()\[\]]*\)", work)) is not None:
        whole, inside = match.group(), match.group()[1:-1]
        spoilt = any(sign in inside for sign in literal.values())
        pieces, options = inside.split(":"), inside.split("|")
        number = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*", pieces[-1], re.ASCII)
        if spoilt or (whole[0] == "(" and (len(pieces) > 2 or "|" in inside)):
            meaning = literal[whole[0]] + inside + literal[whole[-1]]
        elif whole[0] == "(" or (len(pieces) == 1 and len(options) == 1):
            meaning = keep(whole)
        elif len(pieces) == 1:
            meaning = keep(options[(step - 1) % len(options)])
        elif number and len(pieces) <= 3 and len(options) == 1:
            when = float(number[1]) * (steps if "." in number[1] else 1)
            meaning = keep(([""] + pieces)[-3] if step <= min(steps, math.trunc(when)) else pieces[-2])
        else:
            meaning = literal[whole[0]] + inside + literal[whole[-1]]
        work = work[: match.start()] + meaning + work[match.end() :]
        if any(sign in meaning for sign in literal.values()):  # what is open around it is spoilt
            head = work[: match.start()]
            work = head.replace("(", literal["("]).replace("[", literal["["]) + work[match.start() :]
    if "|" in work:
        return text
    while any(0xE000 <= ord(sign) < 0xF800 for sign in work):
        work = "".join(kept[ord(sign) - 0xE000] if 0xE000 <= ord(sign) < 0xF800 else sign for sign in work)
    return work.translate({ord(stand_in): sign for sign, stand_in in literal.items()})


@settings(max_examples=600, deadline=None)
@given(text=HOSTILE, step=st.integers(1, 6))
def test_choices_are_those_of_a_naive_reading(text: str, step: int) -> None:
    assert part_of(Cut(text=text)).at(step, Timeline(steps=6)).text == naive_choices(text, step, 6)


@pytest.mark.parametrize("text", [
    "[a (b:c:d) e:f:3]", "[a [b:c:d] e:2]", "[a ) e:f:2]", "[a ( e:f:2]", "[(a] b):c:2]", "[x|(a|b)]", "[a:(b|c):2]", "[a|b:2]",
    "[[a|b]:c] [d|e:1]", "[a:b:2:3]", "[a:b]", "[a:b:2 3]", "[a:(b:3)]", "x | [a:b:2]", "[a|b] \\", "[a:b:2]\\\n",
])  # fmt: skip
def test_what_does_not_fit_stands_for_itself(text: str) -> None:
    for step in (1, 2, 3, 4):
        assert part_of(Cut(text=text)).at(step, Timeline(steps=6)).text == text == naive_choices(text, step, 6)


def test_choices_inside_and_beside_what_does_not_fit_hold() -> None:
    for text, first, third in (
        ("[a [b:c:2] :d]", "[a b :d]", "[a c :d]"), ("([b:c:2]", "(b", "(c"), ("[b:c:2])", "b)", "c)"),
        ("[x:[a|b]:[c:d:2]]", "[x:a:c]", "[x:a:d]"), ("[a) [b:c:2]]", "[a) b]", "[a) c]"),
        ("(x [b:c:2]:1.2)", "(x b:1.2)", "(x c:1.2)"),
    ):
        found = [part_of(Cut(text=text)).at(step, Timeline(steps=6)).text for step in (1, 3)]
        assert found == [first, third] == [naive_choices(text, step, 6) for step in (1, 3)]


def naive_weights(text: str) -> list[tuple[str, float]]:
    """Each character that is read and its weight: the product of all brackets that are around it."""
    found: list[tuple[str, list[float]]] = []
    pending: dict[str, list[int]] = {"(": [], "[": []}

    def multiply(start: int, factor: float) -> None:
        for _, factors in found[start:]:
            factors.append(factor)

    at = 0
    while at < len(text):
        sign = text[at]
        weight = re.match(r":\s*([+-]?[.\d]+)\s*\)", text[at:]) if sign == ":" else None
        if weight is not None:
            try:
                number = float(weight[1])
            except ValueError:
                number = math.nan
            if pending["("] and number == number:
                multiply(pending["("].pop(), number)
                at += weight.end()
                continue
        at += 1
        if sign == "\\":
            if at < len(text) and text[at] in "()[]\\":
                found.append((text[at], []))
                at += 1
        elif sign in "([":
            pending[sign].append(len(found))
        elif sign == ")" and pending["("]:
            multiply(pending["("].pop(), 1.1)
        elif sign == "]" and pending["["]:
            multiply(pending["["].pop(), 1 / 1.1)
        else:
            found.append((sign, []))
    for kind, factor in (("(", 1.1), ("[", 1 / 1.1)):
        for start in pending[kind]:
            multiply(start, factor)
    return [(sign, math.prod(factors)) for sign, factors in found]


@settings(max_examples=600, deadline=None)
@given(HOSTILE.map(lambda text: text.replace("BREAK", "B")))
def test_weights_are_those_of_a_naive_reading(text: str) -> None:
    ours = [(sign, each.weight) for each in attention(text) for sign in each.text]
    assert ours == [(sign, pytest.approx(weight, rel=1e-12)) for sign, weight in naive_weights(text)]


@pytest.mark.parametrize(("text", "expected"), [
    ("(a: 1.2 )", [("a", 1.2)]), ("(a :\n-.5)", [("a ", -0.5)]), ("(a:1,2)", [("a:1,2", 1.1)]), ("a:1.2)", [("a:1.2)", 1.0)]),
    ("[a:1.2)]", [("a:1.2)", 1 / 1.1)]), ("([a:2)]", [("a", 2 / 1.1)]), ("\\a\\", [("a", 1.0)]),
    ("(a:1.2.3) b", [("a:1.2.3", 1.1), (" b", 1.0)]), ("(a:.)", [("a:.", 1.1)]),
    ("(:2)", [("", 1.0)]), ("(a))", [("a", 1.1), (")", 1.0)]),
])
def test_weights_by_example(text: str, expected: list[tuple[str, float]]) -> None:
    assert [(each.text, pytest.approx(each.weight)) for each in attention(text)] == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("a BREAK b", ["a", None, "b"]),
    ("a\n\tBREAK\n\nBREAK b", ["a", None, "", None, "b"]),
    ("aBREAK BREAKb _BREAK", ["aBREAK BREAKb _BREAK"]),
    ("(a) BREAK [b]", ["a", " ", None, "", "b"]),
    ("([a BREAK b])", ["a", None, "b"]),
    ("(a BREAK b:1)", ["a", None, "b"]),
    ("a:BREAK", ["a:", None, ""]),
])
def test_a_window_ends_where_nothing_weights_its_break(text: str, expected: list[str | None]) -> None:
    found = [None if each.breaks else each.text for each in attention(text)]
    assert [each for each in found if each is None or each.strip()] == [each for each in expected if each is None or each.strip()]


# --- comments, tags, AND, timelines -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "expected"), [
    ("a # b\nc", "a \nc"), ("# all", ""), ("a#b#c\n#d\n\ne", "a\n\n\ne"), ("plain", "plain"), ("#\n", "\n"), ("a\\#b", "a\\"),
])
def test_a_comment_goes_to_the_end_of_its_line(text: str, expected: str) -> None:
    assert uncommented(text) == expected
    assert "".join(part.cut.text for part in parse(text, negative=True).parts) == expected


def test_tags_are_handed_on_with_their_places() -> None:
    text = "a <lora:x:0.8># <no:1>\nb <y:z <w:1> c <e:> <1x:a> <lora:open"
    prompt = parse(text)
    assert [(tag.name, tag.args, text[tag.start : tag.end]) for tag in prompt.tags] == [
        ("lora", "x:0.8", "<lora:x:0.8>"), ("y", "z <w:1", "<y:z <w:1>"), ("1x", "a", "<1x:a>"),
    ]  # fmt: skip
    assert prompt.parts[0].cut.text == "a \nb  c <e:>  <lora:open"


def test_a_negative_prompt_has_no_parts_and_no_tags() -> None:
    prompt = parse("a AND b <lora:x:1> [c:d:2] :2", negative=True)
    (part,) = prompt.parts
    assert prompt.tags == () and part.weight == 1
    assert part.at(1, Timeline(steps=4)).text == "a AND b <lora:x:1> c :2"
    assert part.at(3, Timeline(steps=4)).text == "a AND b <lora:x:1> d :2"


@pytest.mark.parametrize(("text", "expected"), [
    ("a AND b", [("a", 1), (" b", 1)]),
    ("a :1.5 AND b : -.5 \n AND c:+2.", [("a", 1.5), (" b", -0.5), (" c", 2)]),
    ("AND", [("", 1), ("", 1)]),
    ("a_AND b", [("a_AND b", 1)]),
    ("a:b AND c:1.2.3 AND d:1e3", [("a:b", 1), (" c:1.2.3", 1), (" d:1e3", 1)]),
    ("a :" + "9" * 400, [("a", 1e30)]),
])
def test_and_joins_parts_of_their_own_weight(text: str, expected: list[tuple[str, float]]) -> None:
    assert [(part.cut.text, part.weight) for part in parse(text).parts] == expected


@given(when=st.floats(0, 1).map(lambda value: f"{value:.3f}"), steps=st.integers(1, 150))
def test_a_part_of_the_steps_is_rounded_down(when: str, steps: int) -> None:
    part = part_of(Cut(text=f"[a:b:{when}]"))
    seen = "".join(part.at(step, Timeline(steps=steps)).text for step in range(1, steps + 1))
    assert seen.count("a") == int(float(when) * steps) and seen == "a" * seen.count("a") + "b" * seen.count("b")


@pytest.mark.parametrize(("when", "before", "old", "last"), [
    ("1.5", 20, False, 5), ("0.5", 20, False, 0), ("25", 20, False, 5), ("12", 20, False, 0), ("2.0", 20, False, 10),
    ("0.5", 20, True, 10), ("15", 20, True, 15), ("5", None, False, 5), ("1e9", None, False, 10), ("-3", None, False, 0),
    ("1e999", None, False, 10), ("+.25", None, False, 2), ("0.25", None, True, 2), ("5.7", None, True, 5),
])
def test_numbers_count_steps_of_both_passes(when: str, before: int | None, old: bool, last: int) -> None:
    assert Timeline(steps=10, before=before, old=old).switch(when) == last


def test_what_makes_choices_literal_is_known() -> None:
    for text, blamed in (("[a:b:2] x | y", "|"), ("[a:b:2] \\", "\\"), ("[a|b:2]", "|"), ("([a|b] | c)", "|")):
        part = part_of(Cut(text=text))
        assert part.literal is not None and text[slice(*part.literal)] == blamed and part.choices == ()
    assert part_of(Cut(text="[a|b] (c) \\| \\]")).literal is None


# --- spans --------------------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(text=ANY, step=st.integers(1, 6), negative=st.booleans())
def test_every_character_that_is_read_is_one_of_the_source(text: str, step: int, negative: bool) -> None:
    prompt = parse(text, negative=negative)
    for tag in prompt.tags:
        assert text[tag.start] == "<" and text[tag.end - 1] == ">"
    for part in prompt.parts:
        cut = part.at(step, Timeline(steps=6))
        places = [cut.place(index) for index in range(len(cut.text))]
        assert [text[place] for place in places] == list(cut.text)
        assert all(one < two for one, two in pairwise(places))
        for segment in attention(cut.text):
            assert "".join(cut.text[start:end] for start, end in segment.ranges) == segment.text
            assert math.isfinite(segment.weight)


# --- any text -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "text"), list(documents(60_000, seed=7)), ids=lambda each: each if len(each) < 40 else "")
def test_hostile_text_goes_through(kind: str, text: str) -> None:
    through(text)


REPEATED = [
    "<a:", "<a", "<", " ", "#", "#\n", "[", "(", ")", "[]", "\\", ":", ": ", ":1", ":1 ", ":.", "BREAK ", " BREAK", "AND ",
    "AND:1 ", "[a:", "[|", "[a:b:1]", "[[a|b]:", "(a:1.1)", "([", "])", "<a:b>", "1", "é", "\n", "\\(", "[:1]", "(a", "b:2)",
    "a:2 ",
]  # fmt: skip


@pytest.mark.parametrize("piece", REPEATED)
def test_time_grows_no_faster_than_the_text(piece: str) -> None:
    text = piece * (60_000 // len(piece)) + ">] x AND y:1"
    begun = time.process_time()
    through(text)
    through(text + "BREAK" + text)
    assert time.process_time() - begun < 3  # a tenth of it, or a minute where it grew with the square


def test_nesting_of_a_hundred_thousand_goes_through() -> None:
    deep = 100_000
    part = part_of(Cut(text="[" * deep + "a" + ":b:5]" * deep))
    assert part.at(1, Timeline(steps=10)).text == "a" and part.at(6, Timeline(steps=10)).text == "b"
    (segment,) = attention("(" * deep + "x" + ")" * deep)
    assert (segment.text, segment.weight) == ("x", 1e30)
    (segment,) = attention("[" * deep + "x")
    assert (segment.text, segment.weight) == ("x", pytest.approx(0))
