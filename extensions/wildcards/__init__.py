"""Wildcards: `__name__` is an entry of a list in models/wildcards or wildcards, `{a|b}` one of what is given; drawn by the seed.

    {2$$a|b|c}  two of them, joined by commas      {1-2$$ and $$a|b|c}  one or two, joined by " and "
    {3::a|b}    a three times as often             __animals/*__        a line of any list in that folder

Both nest, in lists too. A list is a text file, one entry a line, `#` begins a comment. `\\{`, `\\}`, `\\__` stand for themselves.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from webui.extension import PromptContext, hook

from .drawing import Drawing
from .lists import Lists
from .scanning import TAG, scanned

SIGNS = ("{", "}", "__")  # without one of them nothing is meant for this extension


@hook
def transform_prompt(text: str, context: PromptContext) -> str:
    """The text with everything drawn; the same for the same seed, lists and role."""
    if not any(sign in text for sign in SIGNS):
        return text
    return Drawing(Lists(context.folders), random.Random(f"{context.seed} {context.role}").random).text(text)


@hook
def prompt_words(folders: Sequence[Path]) -> Mapping[str, Sequence[str]]:
    """The names of the lists."""
    return {"wildcard": Lists(folders).names()}


@hook
def prompt_problems(text: str, folders: Sequence[Path]) -> Sequence[tuple[int, int, str]]:
    """Lists that are not there or have nothing in them, and braces that have no other end."""
    if not any(sign in text for sign in SIGNS):
        return ()
    lists = Lists(folders)
    document = scanned(text)
    found = [(at, at + 1, sentence) for at, sentence in document.loose]
    tags = [match.span() for match in TAG.finditer(text)]
    for start, (name, end) in document.names.items():
        if not any(first < start < last for first, last in tags) and (sentence := lists.problem(name)):
            found.append((start, end, sentence))
    return sorted(found)
