"""Where braces, their separators and names of lists are in a text: one pass, no recursion, for any text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LONGEST_NAME = 200  # characters
SIGNS = re.compile(r"\\(?:__|.)|#[^\n]*+|[\[\]{}|]|__(?=[^_\s])([^\s,<>()|{}\\]{1,200}?)__", re.DOTALL)
TAG = re.compile(r"<\w++:[^<>]*+>")  # names of files in it may look like those of lists
WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})::")
ESCAPED = ("\\{", "\\}", "\\__")  # of which the backslash goes, for nothing but this extension gives them another meaning


@dataclass(frozen=True, kw_only=True)
class Document:
    """A text with what means something in it, by where it begins.

    `braces` hold the place of the closing brace and of the separators between; `names` the name of a list and where it ends.
    `escapes` are places of backslashes that go; `loose` are braces without another end, with a sentence.
    """

    text: str
    braces: Mapping[int, tuple[int, Sequence[int]]]
    names: Mapping[int, tuple[str, int]]
    escapes: frozenset[int]
    marks: Sequence[int]  # where all of these begin, in order
    loose: Sequence[tuple[int, str]]


def scanned(text: str) -> Document:
    """Find everything in a text. Square brackets keep the | of `[a|b]` to themselves."""
    braces: dict[int, tuple[int, Sequence[int]]] = {}
    names: dict[int, tuple[str, int]] = {}
    escapes: list[int] = []
    loose: list[tuple[int, str]] = []
    pending: list[tuple[str, int, list[int]]] = []
    for match in SIGNS.finditer(text):
        sign, at = match.group(), match.start()
        if sign in ESCAPED:
            escapes.append(at)
        elif sign in "{[":
            pending.append((sign, at, []))
        elif sign == "|" and pending:
            pending[-1][2].append(at)
        elif sign == "]" and pending and pending[-1][0] == "[":
            pending.pop()
        elif sign == "}":
            separators: list[int] = []
            while pending and pending[-1][0] == "[":  # it was never closed, so it keeps nothing
                separators = pending.pop()[2] + separators
            if pending:
                _, start, own = pending.pop()
                braces[start] = (at, own + separators)
            else:
                loose.append((at, "This } closes nothing; write \\} where the brace itself is meant."))
        elif match.group(1):
            names[at] = (match.group(1), match.end())
    loose += [
        (at, "This { is never closed, so nothing is drawn from it; close it, or write \\{ for the brace itself.")
        for sign, at, _ in pending if sign == "{"
    ]  # fmt: skip
    return Document(
        text=text, braces=braces, names=names, escapes=frozenset(escapes), marks=sorted([*braces, *names, *escapes]), loose=loose
    )


def weighted(option: str) -> tuple[float, str]:
    """The weight of an option, 1 where it says none, and the rest of it."""
    match = WEIGHT.match(option)
    return (float(match[1]), option[match.end() :]) if match else (1.0, option)
