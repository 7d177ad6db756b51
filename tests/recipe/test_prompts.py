"""The published prompts: unchanged, true to their generator, and in the captions' words."""

from __future__ import annotations

import hashlib
from collections import Counter

from models.builtin.recipe.captions import MARKS, WORDS
from models.builtin.recipe.prompts import PATH, as_json, load_prompts, make_prompts
from models.builtin.recipe.vocabulary import WITHHELD

PUBLISHED = "5293d363dc8113dd016fca16744954a49d625c18b94daef4bb07bcb1d594de78"


def test_the_list_never_changes() -> None:
    assert hashlib.sha256(PATH.read_bytes()).hexdigest() == PUBLISHED


def test_the_generator_still_makes_the_list() -> None:
    assert as_json(make_prompts()) == PATH.read_text(encoding="utf-8")


def test_the_list_is_what_was_asked_for() -> None:
    prompts = load_prompts()
    assert len(prompts) == len({prompt.text for prompt in prompts}) == 300
    assert Counter(prompt.count for prompt in prompts) == {1: 135, 2: 120, 3: 30, 0: 15}
    assert sum(prompt.withheld for prompt in prompts) == 60
    for prompt in prompts:
        special = [thing for thing in prompt.things if (thing.colour, thing.shape) in WITHHELD]
        assert len(special) == prompt.withheld
        assert (prompt.relation is not None) == (prompt.count == 2)
        assert (prompt.digit is not None) == (prompt.count == 0)


def test_the_words_are_known() -> None:
    for prompt in load_prompts():
        text = prompt.text
        for mark in MARKS:
            text = text.replace(mark, "")
        assert set(text.split()) <= set(WORDS)
