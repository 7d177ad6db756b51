"""Prompt matrix: `a house|in snow|at night` makes every combination of the parts behind the first one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from webui.extension import (
    LARGEST_MARGIN,
    LARGEST_SEED,
    RANDOM_SEED,
    Axis,
    Base,
    Cell,
    Params,
    Plan,
    Script,
    UserError,
    Value,
    hook,
    param,
)

TITLE = "Prompt matrix"
POSITIVE, NEGATIVE = "positive", "negative"
JOINED = {"comma": ", ", "space": " "}
MOST_PARTS = 50  # beyond which nobody counts the cells, nor writes their number down
CLOSING = {"]": "[", "}": "{"}


@dataclass(frozen=True, kw_only=True)
class Matrix(Params):
    """Which prompt is taken apart, and how its parts are put together."""

    at_start: bool = param(False, "Put variable parts at start of prompt", help="Before the first part instead of behind it.")
    different_seeds: bool = param(False, "Use different seed for each picture", help="The seed counts up from cell to cell.")
    which: str = param(POSITIVE, "Select prompt", one_of=(POSITIVE, NEGATIVE), help="The one whose parts are separated by |.")
    joining: str = param("comma", "Select joining char", one_of=tuple(JOINED), help="What stands between the parts.")
    legend: bool = param(True, "Draw legend", help="Write above the columns and beside the rows which parts they have.")
    parts: bool = param(
        True, "Include parts", help="Keep each cell's picture in the gallery beside the grid; else they go into the trash.")
    margin: int = param(0, "Grid margins", min=0, max=LARGEST_MARGIN, step=1, help="Pixels between two cells.")


@hook
def scripts() -> Sequence[Script]:
    """The matrix."""
    return [Script(name="prompt_matrix", title=TITLE, params=Matrix, plan=plan)]


def plan(values: Matrix, base: Base) -> Plan:
    """A cell for each combination: the first half of the parts along x, the rest along y."""
    name = "prompt" if values.which == POSITIVE else "negative"
    first, *parts = [part.strip().strip(",").strip() for part in separated(getattr(base.params, name, ""))]
    if not parts:
        raise UserError(
            f"The {values.which} prompt has no | in it; write the parts to combine behind the first one, such as a house|in snow."
        )
    if len(parts) > MOST_PARTS or 2 ** len(parts) > base.most_cells:
        asked = f"{2 ** len(parts):,}" if len(parts) <= MOST_PARTS else "far too many"
        raise UserError(
            f"The {values.which} prompt has {len(parts):,} parts to combine, which are {asked} cells; here there "
            f"may be at most {base.most_cells:,}: use fewer parts."
        )
    across = (len(parts) + 1) // 2
    x, y = combinations(parts[:across]), combinations(parts[across:])
    fixed = base.seed() if getattr(base.params, "seed", RANDOM_SEED) == RANDOM_SEED else int(getattr(base.params, "seed", 0))
    cells: list[Cell] = []
    for down in y:
        for right in x:
            changes: dict[str, Value] = {name: text_of(values, first, [*right, *down])}
            changes["seed"] = (fixed + len(cells)) % (LARGEST_SEED + 1) if values.different_seeds else fixed
            cells.append(Cell(labels=(_label(right), _label(down)), changes=changes))
    base.check(cells[-1].changes)
    axes = [Axis(values=tuple(_label(each) for each in x)), Axis(values=tuple(_label(each) for each in y))]
    return Plan(
        cells=cells, axes=axes, legend=values.legend, margin=values.margin, parts=values.parts, said={"Script": TITLE}
    )


def text_of(values: Matrix, first: str, parts: Sequence[str]) -> str:
    """The prompt with these parts."""
    ordered = [*parts, first] if values.at_start else [first, *parts]
    return JOINED[values.joining].join(part for part in ordered if part)


def combinations(parts: Sequence[str]) -> list[list[str]]:
    """Every choice of some of the parts, none of them first, in the order in which binary numbers count."""
    return [[part for at, part in enumerate(parts) if number & 1 << at] for number in range(2 ** len(parts))]


def separated(text: str) -> list[str]:
    """The texts between the | of a prompt that stand in no brackets, for there they mean an alternation; `\\|` is none."""
    inside = bytearray(len(text))
    open_at: list[int] = []
    for at, sign in enumerate(text):
        if at and text[at - 1] == "\\":
            continue
        if sign in CLOSING.values():
            open_at.append(at)
        elif sign in CLOSING and open_at and text[open_at[-1]] == CLOSING[sign]:
            start = open_at.pop()
            inside[start : at + 1] = b"\1" * (at + 1 - start)
    found, begin = [], 0
    for at, sign in enumerate(text):
        if sign == "|" and not inside[at] and not (at and text[at - 1] == "\\"):
            found.append(text[begin:at])
            begin = at + 1
    return [*found, text[begin:]]


def _label(parts: Sequence[str]) -> str:
    return ", ".join(parts) or "–"
