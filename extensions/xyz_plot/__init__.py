"""X/Y/Z plot: a grid of pictures over up to three parameters, each with a list of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from webui.extension import (
    LARGEST_MARGIN,
    LARGEST_SEED,
    LONGEST_PROMPT,
    RANDOM_SEED,
    Axis,
    AxisKind,
    Base,
    Cell,
    Params,
    Plan,
    Script,
    UserError,
    Value,
    hook,
    param,
    quoted,
)

from .axes import NOTHING, SEEDS, Change, changes, find, kinds, prompts

TITLE = "X/Y/Z plot"
NAMES = ("x", "y", "z")
VALUES_HELP = "With commas between them: 1, 2, 3; 1-5; 1-5 (+2); 1-10 [5]; \"a, b\" is one value."


@dataclass(frozen=True, kw_only=True)
class Plot(Params):
    """What a plot is over, and how its grid looks."""

    x_type: str = param(NOTHING.label, "X type", choices="axes", help="What changes from column to column.")
    x_values: str = param("", "X values", longest=LONGEST_PROMPT, help=VALUES_HELP)
    y_type: str = param(NOTHING.label, "Y type", choices="axes", help="What changes from row to row.")
    y_values: str = param("", "Y values", longest=LONGEST_PROMPT, help=VALUES_HELP)
    z_type: str = param(NOTHING.label, "Z type", choices="axes", help="What changes from grid to grid.")
    z_values: str = param("", "Z values", longest=LONGEST_PROMPT, help=VALUES_HELP)
    legend: bool = param(True, "Draw legend", help="Write above the columns and beside the rows what they are.")
    keep_random: bool = param(
        False, "Keep -1 for seeds", help="A seed of -1 is another one in each cell; else one is drawn for all of them.")
    vary_seeds_x: bool = param(False, "Vary seeds for X", help="The seed counts up from column to column.")
    vary_seeds_y: bool = param(False, "Vary seeds for Y", help="The seed counts up from row to row.")
    vary_seeds_z: bool = param(False, "Vary seeds for Z", help="The seed counts up from grid to grid.")
    parts: bool = param(
        True, "Include parts", help="Keep each cell's picture in the gallery beside the grid; else they go into the trash.")
    margin: int = param(0, "Grid margins", min=0, max=LARGEST_MARGIN, step=1, help="Pixels between two cells.")


@hook
def scripts() -> Sequence[Script]:
    """The plot."""
    return [Script(name="xyz_plot", title=TITLE, params=Plot, plan=plan, axes=axes)]


def axes(params: type[Params]) -> Sequence[AxisKind]:
    """What can be an axis of a task."""
    return list(kinds(params).values())


def plan(values: Plot, base: Base) -> Plan:
    """The cells of a plot; `UserError` names the axis and the value that mean nothing."""
    chosen = [_axis(name, values, base) for name in NAMES]
    if all(kind is NOTHING for kind, _ in chosen):
        raise UserError("The plot is over nothing yet; choose an X, Y or Z type, such as Steps, and write its values.")
    sides = [len(each) for _, each in chosen]
    if prod(sides) > base.most_cells:
        shape = " x ".join(str(side) for side in sides if side > 1)
        raise UserError(
            f"The plot would have {prod(sides):,} cells ({shape}); here it may have at most {base.most_cells:,}: "
            "use fewer values."
        )
    for name, (kind, each) in zip(NAMES, chosen, strict=True):
        for change in each:
            _try_out(name, kind, change, base)
    fixed = _fixed(values, base)
    cells = [_cell(values, base, fixed, sides, places, [each for _, each in chosen]) for places in _places(sides)]
    shown = [
        Axis(label="" if kind is NOTHING else kind.label, values=tuple(change.label for change in each)) for kind, each in chosen
    ]
    return Plan(
        cells=cells, axes=shown, legend=values.legend, margin=values.margin, parts=values.parts, said=_said(values, chosen)
    )


def _axis(name: str, values: Plot, base: Base) -> tuple[AxisKind, list[Change]]:
    label, text = getattr(values, f"{name}_type"), getattr(values, f"{name}_values")
    try:
        found, kind = find(label, type(base.params))
    except UserError as error:
        raise UserError(f"{name.upper()} type: {error}") from error
    try:
        return kind, changes(found, kind, text, base, keep_random=values.keep_random)
    except UserError as error:
        raise _wrong(name, kind, error) from error


def _try_out(name: str, kind: AxisKind, change: Change, base: Base) -> None:
    """Raise `UserError` where a single value could not be carried out, whatever the other axes are."""
    try:
        base.check({**_prompts(base, [change]), **change.changes}, change.styles)
    except UserError as error:
        _check_form(base, str(error))
        value = change.label.removeprefix(f"{kind.label}: ")
        raise UserError(f"{name.upper()} values, {kind.label}, {quoted(value)}: {error}") from error


def _check_form(base: Base, sentence: str) -> None:
    """Raise what is wrong with the form itself, where that is all there is, for then no value is to blame."""
    try:
        base.check({})
    except UserError as error:
        if str(error) == sentence:
            raise


def _wrong(name: str, kind: AxisKind, error: UserError) -> UserError:
    return UserError(f"{name.upper()} values, {kind.label}: {error}")


def _places(sides: Sequence[int]) -> Sequence[tuple[int, ...]]:
    """The places of a grid, x counting fastest."""
    return [tuple(reversed(each)) for each in product(*(range(side) for side in reversed(sides)))]


def _cell(
    values: Plot, base: Base, fixed: dict[str, Value], sides: Sequence[int], places: Sequence[int],
    chosen: Sequence[Sequence[Change]],
) -> Cell:  # fmt: skip
    here = [each[place] for each, place in zip(chosen, places, strict=True)]
    changed: dict[str, Value] = dict(fixed)
    for change in here:
        changed |= change.changes
    seed = changed.get("seed", getattr(base.params, "seed", RANDOM_SEED))
    further, many = 0, 1
    for name, place, side in zip(NAMES, places, sides, strict=True):
        if getattr(values, f"vary_seeds_{name}"):
            further += place * many
            many *= side
    if further and isinstance(seed, int) and seed != RANDOM_SEED:
        changed["seed"] = (seed + further) % (LARGEST_SEED + 1)
    styles = tuple(style for change in here for style in change.styles)
    return Cell(labels=tuple(change.label for change in here), changes={**_prompts(base, here), **changed}, styles=styles)


def _prompts(base: Base, here: Sequence[Change]) -> dict[str, Value]:
    """The prompts that axes change."""
    found: dict[str, Value] = {}
    for name, text in prompts(base.params).items():
        made = text
        for change in here:
            made = change.prompt(made) if name == "prompt" or change.replaced[0] else made
        if made != text:
            found[name] = made
    return found


def _fixed(values: Plot, base: Base) -> dict[str, Value]:
    """One seed for all cells in place of a random one for each."""
    if values.keep_random:
        return {}
    return {name: base.seed() for name in SEEDS if getattr(base.params, name, 0) in (RANDOM_SEED, None)}


def _said(values: Plot, chosen: Sequence[tuple[AxisKind, Sequence[Change]]]) -> dict[str, str]:
    """What the grid's text says of it, as the field does."""
    said = {"Script": TITLE}
    for name, (kind, each) in zip(NAMES, chosen, strict=True):
        if kind is NOTHING:
            continue
        text = getattr(values, f"{name}_values").strip()
        said |= {f"{name.upper()} Type": kind.label, f"{name.upper()} Values": text}
        if any(change.drawn for change in each):
            said[f"Fixed {name.upper()} Values"] = ", ".join(change.label.removeprefix(f"{kind.label}: ") for change in each)
    return said
