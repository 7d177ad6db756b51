"""From the text of an axis to its values: `1, 2, 3`, `1-5`, `1-5 (+2)`, `1-10 [5]`, and "a, b" for a value with a comma."""

from __future__ import annotations

import csv
import re
from decimal import Decimal

from webui.extension import UserError, quoted

MOST_VALUES = 1000  # of one axis
LONGEST_RANGE = 100  # characters
DIGITS = 8  # behind the point, of numbers that are spread evenly
EXACT = 10**15  # beyond which nothing is behind the point, and decimals cannot be rounded
NUMBER = r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
RANGE = re.compile(rf"{NUMBER}\s*-\s*{NUMBER}(?:\s*\(\s*{NUMBER}\s*\)|\s*\[\s*([0-9]+)\s*\])?")


def listed(text: str) -> list[str]:
    """The values between the commas and line ends of a text; quotes keep a comma inside."""
    rows = csv.reader([line for line in text.splitlines() if line.strip()], skipinitialspace=True)
    found = [value.strip() for row in rows for value in row]
    if len(found) > MOST_VALUES:
        raise UserError(f"there are {len(found):,} values; an axis has at most {MOST_VALUES:,}.")
    return found


def numbers(text: str, *, whole: bool) -> list[str]:
    """The numbers of a text as texts, with ranges written out; `whole` cuts off what stands behind the point when spreading."""
    found: list[str] = []
    for item in listed(text):
        found += _spread(item, whole)
        if len(found) > MOST_VALUES:
            raise _too_many(len(found))
    return found


def _spread(item: str, whole: bool) -> list[str]:
    """The numbers that a range means; what is no range stays as it is."""
    match = RANGE.fullmatch(item) if len(item) <= LONGEST_RANGE else None
    if match is None:
        return [item]
    first, last = Decimal(match[1]), Decimal(match[2])
    if match[4] is not None:
        return _evenly(first, last, int(match[4]), item, whole)
    step = Decimal(match[3]) if match[3] is not None else Decimal(1 if last >= first else -1)
    if not step or (last - first) / step < 0:
        raise UserError(f"{quoted(item)} never gets from {match[1]} to {match[2]} by steps of {match[3]}.")
    count = int((last - first) / step) + 1
    if count > MOST_VALUES:
        raise _too_many(count)
    return [_plain(first + step * at) for at in range(count)]


def _evenly(first: Decimal, last: Decimal, count: int, item: str, whole: bool) -> list[str]:
    if count < 1:
        raise UserError(f"{quoted(item)} asks for no values; write the number of values in the brackets.")
    if count > MOST_VALUES:
        raise _too_many(count)
    spread = [first + (last - first) * at / max(count - 1, 1) for at in range(count)]
    return [str(int(each)) if whole else _plain(_rounded(each)) for each in spread]


def _rounded(number: Decimal) -> Decimal:
    return round(number, DIGITS) if abs(number) < EXACT else number


def _plain(number: Decimal) -> str:
    """A number without exponent and needless zeros."""
    text = format(number, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text).removeprefix("+") or "0"


def _too_many(count: int) -> UserError:
    return UserError(f"there would be {count:,} values; an axis has at most {MOST_VALUES:,}.")
