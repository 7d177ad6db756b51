"""What a person may not have meant in a prompt: nothing here is an error, for every text means something."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator
from typing import NamedTuple

from webui.pipeline.grammar import PIECES, TAG, Part, Prompt, Span

DIGITS = re.compile(r"\s*+[+-]?[.\d]++\s*+")
LIKE_CHOICES = re.compile(r"\[[^\[\]:|]*+[:|][^\[\]]*+\]")
MOST = 100  # are told at once


class Problem(NamedTuple):
    """A range of the source and a sentence about it."""

    start: int
    end: int
    sentence: str


def problems(prompt: Prompt, *, negative: bool = False, known_tags: Collection[str] = ()) -> list[Problem]:
    """All of them, in order."""
    found: list[Problem] = []
    for part in prompt.parts:
        own = (*_brackets(part), *_literal(part), *_tags(part, negative=negative))
        found += [Problem(*part.cut.span(*span), sentence) for span, sentence in own]
    for tag in prompt.tags:
        if tag.name not in known_tags:
            found.append(Problem(tag.start, tag.end, f"No extension reads <{tag.name[:40]}:…> tags here; it is left out."))
    return sorted(found)[:MOST]


def _brackets(part: Part) -> Iterator[tuple[Span, str]]:
    """Brackets that have no other end, weights that are no numbers, and square brackets that look like a schedule."""
    text = part.cut.text
    pending: dict[str, list[int]] = {"(": [], "[": []}
    colons: list[int] = []
    choices = {choice.start for choice in part.choices}
    end = 0
    for piece in PIECES.findall(text):
        at, end = end, end + len(piece)
        sign = piece[0]
        if sign in pending:
            pending[sign].append(at)
        elif sign == ":":
            colons.append(at)
            if len(piece) > 1 and pending["("]:
                pending["("].pop()
        elif sign in ")]":
            opening = pending["(" if sign == ")" else "["]
            if not opening:
                yield (at, end), f"This {sign} closes nothing; write \\{sign} where the bracket itself is meant."
                continue
            start = opening.pop()
            before = bisect_right(colons, start)
            if sign == ")" and len(colons) > before and DIGITS.fullmatch(text, colons[-1] + 1, at):
                said = f"{text[colons[-1] + 1 : at].strip()[:40]} is no number; a weight is one, as in (word:1.2)."
                yield (colons[-1] + 1, at), said
            if sign == "]" and start not in choices and len(colons) - before > 1 and part.literal is None:
                yield (start, end), (
                    "A text that changes has its step last, as in [from:to:0.5] or [from:to:10]; as it stands, the brackets only "
                    "weaken what is in them."
                )
            del colons[before:]
    for sign, factor in (("(", "strengthens"), ("[", "weakens")):
        for at in pending[sign]:
            said = f"This {sign} is never closed, so it {factor} everything behind it; write \\{sign} for the bracket itself."
            yield (at, at + 1), said


def _literal(part: Part) -> Iterator[tuple[Span, str]]:
    """What keeps every choice of a part from being one."""
    if part.literal is None or not LIKE_CHOICES.search(part.cut.text):
        return
    start, end = part.literal
    if part.cut.text[start] == "|":
        yield (start, end), (
            "This | stands in no [one|other], and then nothing here changes from step to step: [from:to:when] and [one|other] "
            "are read as they stand. Write a comma instead."
        )
    else:
        yield (start, end), (
            "This backslash stands before nothing, and then nothing here changes from step to step: [from:to:when] and "
            "[one|other] are read as they stand. Write two, or none."
        )


def _tags(part: Part, *, negative: bool) -> Iterator[tuple[Span, str]]:
    """Tags that are none."""
    last = part.cut.text.rfind(">")
    for match in TAG.finditer(part.cut.text):
        name = match.group(1)[:40]
        if negative and last >= match.end():
            yield match.span(), f"<{name}:…> is plain text in a negative prompt; it counts in the prompt only."
        else:
            yield match.span(), f"This <{name}:…> is never closed, so it is plain text; end it with >."
