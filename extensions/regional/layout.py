"""Regions as people write them, and the texts of a prompt that belong to them."""

from __future__ import annotations

import re
from itertools import accumulate

from webui.extension import UserError, quoted

MOST = 16
SMALLEST = 0.01  # beside the largest
BREAK, AND = re.compile(r"\bBREAK\b"), re.compile(r"\bAND\b")
Box = tuple[float, float, float, float]  # left, top, right and bottom as parts of the sides


def cut_of(text: str) -> list[Box]:
    """The regions of a text such as `1,2;1`, in the order of reading; `UserError` where it says none."""
    if not text.strip():
        return []
    rows = [_row(text, each) for each in text.strip().rstrip(";").split(";")]
    if sum(len(widths) for _, widths in rows) > MOST:
        raise UserError(f"The regions {quoted(text)} are more than {MOST}; use fewer.")
    ends = _ends([height for height, _ in rows])
    return [
        (left, top, right, bottom)
        for (top, bottom), (_, widths) in zip(ends, rows, strict=True)
        for left, right in _ends(widths)
    ]  # fmt: skip


def count_of(text: str) -> int:
    """How many regions a text says."""
    return len(cut_of(text))


def parts_of(prompt: str) -> list[int]:
    """How many texts BREAK parts each of the prompts into that AND joins."""
    return [len(BREAK.findall(each)) + 1 for each in AND.split(prompt)]


def _row(text: str, row: str) -> tuple[float, list[float]]:
    height, colon, widths = row.rpartition(":")
    return _size(text, height if colon else "1"), [_size(text, each) for each in widths.split(",")]


def _size(text: str, number: str) -> float:
    try:
        size = float(number)
    except ValueError:
        size = 0.0
    if not SMALLEST <= size <= 1 / SMALLEST:
        raise UserError(
            f"The regions were {quoted(text)}; they must be widths parted by commas, such as 1,2, in rows parted by semicolons, "
            f"each a number from {SMALLEST:g} to {1 / SMALLEST:g}."
        )
    return size


def _ends(sizes: list[float]) -> list[tuple[float, float]]:
    """Where each of some neighbours begins and ends, of 1 in all."""
    after = [end / sum(sizes) for end in accumulate(sizes)]
    return list(zip([0.0, *after[:-1]], [*after[:-1], 1.0], strict=True))
