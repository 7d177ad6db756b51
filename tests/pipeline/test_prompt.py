"""Windows of tokens: recorded ones, commas near an end, BREAK, names of vectors, and spans that cover the text."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny_checkpoint import MERGES
from webui.drawing import IGNORED, NO_EMPHASIS, ORIGINAL_EMPHASIS
from webui.errors import UserError
from webui.nets.spec import TextSpec
from webui.nets.tokenizer import Tokenizer
from webui.pipeline.grammar import Cut, Timeline, parse
from webui.pipeline.patches import TokenVectors
from webui.pipeline.prompt import COMMA_REACH, cut, matcher, segments_of, windows
from webui.weights.vocabulary import clip_tokenizer

RECORDED = json.loads(gzip.decompress((Path(__file__).parent.parent / "data" / "prompts.json.gz").read_bytes()))["prompts"]
CLIP = TextSpec(width=48, layers=2, heads=4, hidden=64)
SMALL = Tokenizer(MERGES)
HOSTILE = st.text(st.sampled_from("()[]:|\\#<>,.01 \nabé🐱"), max_size=80)


def vectors(name: str, count: int) -> TokenVectors:
    return TokenVectors(name=name, content=f"hash of {name}", vectors=(torch.zeros(count, 4),))


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: entry["prompt"][:30])
def test_a_recorded_prompt_is_cut_as_recorded(entry: dict[str, Any]) -> None:
    segments = segments_of(entry["prompt"])
    found = windows(segments, clip_tokenizer(), CLIP)
    assert [list(window.ids) for window in found] == [each["tokens"] for each in entry["chunks"]]
    assert [list(window.weights) for window in found] == [each["multipliers"] for each in entry["chunks"]]
    assert cut(segments, clip_tokenizer(), 75).tokens == entry["token_count"]


def test_modes_of_emphasis_read_brackets_differently() -> None:
    text = "(a:2) BREAK b"
    modes = (ORIGINAL_EMPHASIS, IGNORED, NO_EMPHASIS)
    found = [[(each.text, each.weight, each.breaks) for each in segments_of(text, mode)] for mode in modes]
    assert found[0] == [("a", 2.0, False), ("", 1.0, False), ("BREAK", -1.0, True), ("b", 1.0, False)]
    assert found[1] == [("a", 1.0, False), ("", 1.0, False), ("BREAK", -1.0, True), ("b", 1.0, False)]
    assert found[2] == [(text, 1.0, False)]


@pytest.mark.parametrize(("behind", "moved"), [(0, 0), (1, 1), (COMMA_REACH - 1, COMMA_REACH - 1), (COMMA_REACH, 0)])
def test_what_follows_a_comma_near_the_end_moves_with_what_comes(behind: int, moved: int) -> None:
    text = " ".join(["b"] * (74 - behind)) + ", " + " ".join(["a"] * behind) + " b b"
    first, second = cut(segments_of(text), SMALL, 75).windows
    assert (len(first), len(second)) == (75 - moved, moved + 2)
    exact = cut(segments_of(text.removesuffix(" b b")), SMALL, 75).windows
    assert [len(each) for each in exact] == [75]  # nothing more comes, so nothing moves


def test_padding_follows_the_first_end_and_every_window_has_both_marks() -> None:
    spec = TextSpec(width=16, layers=1, heads=2, hidden=32, vocabulary=SMALL.size, positions=7, padding=0)
    found = windows(segments_of("a b (a:2) a b a"), SMALL, spec)
    assert [len(each.ids) for each in found] == [7, 7]
    assert found[1].ids == (SMALL.start, *SMALL.encode("a"), SMALL.end, 0, 0, 0, 0)
    assert found[0].weights == (1, 1, 1, 2, 1, 1, 1)
    (empty,) = windows(segments_of(""), SMALL, spec)
    assert empty.ids == (SMALL.start, SMALL.end, 0, 0, 0, 0, 0)


def test_vectors_stand_in_for_their_name_and_stay_together() -> None:
    known = (vectors("ab", 3), vectors("ab b", 5), vectors("\x00", 2))
    match = matcher(SMALL, known)
    found = cut(segments_of("b (ab:1.5) b ab b"), SMALL, 6, match).windows
    names = [[piece.vector[0][-2:] + str(piece.vector[1]) if piece.vector else "." for piece in window] for window in found]
    assert names == [[".", "ab0", "ab1", "ab2", "."], [" b0", " b1", " b2", " b3", " b4"]]
    assert [piece.weight for piece in found[0]] == [1, 1.5, 1.5, 1.5, 1]
    spec = TextSpec(width=16, layers=1, heads=2, hidden=32, vocabulary=SMALL.size, positions=8)
    chunk = windows(segments_of("b (ab:1.5) b ab b"), SMALL, spec, match)[0]
    assert chunk.vectors == tuple((2 + row, "hash of ab", row) for row in range(3))
    assert all(chunk.ids[place] == 0 for place, *_ in chunk.vectors)
    assert {piece.span for piece in found[0] if piece.vector} == {(3, 5)}
    assert cut(segments_of("b ab"), SMALL, 6).windows[0][1].vector is None  # without vectors a name is a word


def test_vectors_that_fit_in_no_window_are_refused() -> None:
    for count in (0, 76):
        with pytest.raises(UserError, match=f"'big' has {count} vectors"):
            vectors("big", count)
    with pytest.raises(UserError, match="2, 3 vectors"):
        TokenVectors(name="odd", content="", vectors=(torch.zeros(2, 4), torch.zeros(3, 8)))


@settings(max_examples=200, deadline=None)
@given(HOSTILE)
def test_spans_lead_from_tokens_to_what_was_written(text: str) -> None:
    for part in parse(text).parts:
        at = part.at(1, Timeline(steps=3))
        pieces = [piece for window in cut(segments_of(at.text), SMALL, 5).windows for piece in window]
        expected = [token for segment in segments_of(at.text) if not segment.breaks for token in SMALL.encode(segment.text)]
        assert [piece.id for piece in pieces] == expected
        for piece in pieces:
            start, end = piece.span
            assert 0 <= start < end <= len(at.text)
            first, last = at.span(start, end)
            assert text[first] == at.text[start] and text[last - 1] == at.text[end - 1]
        assert all(one.span[0] <= two.span[0] for one, two in pairwise(pieces))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", ",", ", ", "BREAK", " "]), max_size=60).map(" ".join), st.integers(2, 30))
def test_no_window_is_fuller_than_it_may_be_and_nothing_is_lost(text: str, room: int) -> None:
    found = cut(segments_of(text), SMALL, room, matcher(SMALL, (vectors("b", 2),)))
    assert all(len(window) <= room for window in found.windows)
    assert (len(found.windows) - 1) * room <= found.tokens <= len(found.windows) * room
    words = [each for each in text.replace(",", " , ").split() if each != "BREAK"]
    assert sum(len(window) for window in found.windows) == len(words) + words.count("b")


def test_an_embedding_is_found_inside_a_choice_and_after_a_comment() -> None:
    part = parse("# ab\n[x:ab:1] a").parts[0]
    at = part.at(2, Timeline(steps=2))
    (window,) = cut(segments_of(at.text), SMALL, 75, matcher(SMALL, (vectors("ab", 1),))).windows
    assert [piece.vector is not None for piece in window] == [True, False]
    assert at.span(*window[0].span) == (8, 10)
    assert Cut(text="ab").span(1, 1) == (1, 1)
