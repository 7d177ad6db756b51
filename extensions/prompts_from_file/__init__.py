"""Prompts from file: one job for each line, which is a prompt, or says `--prompt "a cat" --steps 20 ...`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from webui.extension import LARGEST_SEED, RANDOM_SEED, Base, Cell, Params, Plan, Script, UserError, Value, hook, param, quoted

from .lines import SETS, changes

TITLE = "Prompts from file"
LONGEST_FILE = 400_000  # characters
START, END = "start", "end"


@dataclass(frozen=True, kw_only=True)
class Lines(Params):
    """The lines, and what becomes of their seeds and of the prompt in the form."""

    lines: str = param(
        "", "List of prompt inputs", longest=LONGEST_FILE,
        help="One job a line: a prompt, or options such as --prompt \"a cat\" --negative_prompt blurry --steps 20 --seed 1.")
    iterate_seed: bool = param(False, "Iterate seed every line", help="The seed counts up from line to line.")
    same_seed: bool = param(False, "Use same random seed for all lines", help="A seed of -1 is drawn once.")
    position: str = param(
        START, "Insert prompts at the", one_of=(START, END),
        help="Where a line's prompts go: before the prompt of the form, or behind it.")
    grid: bool = param(False, "Combined grid", help="Draw all pictures into one, each under its line.")


@hook
def scripts() -> Sequence[Script]:
    """The lines."""
    return [Script(name="prompts_from_file", title=TITLE, params=Lines, plan=plan)]


def plan(values: Lines, base: Base) -> Plan:
    """A cell for each line; `UserError` names the line that means nothing."""
    numbered = [(number, line.strip()) for number, line in enumerate(values.lines.splitlines(), 1)]
    numbered = [(number, line) for number, line in numbered if line and not line.startswith("#")]
    if not numbered:
        raise UserError("There are no lines; write one job a line, such as: a red ball.")
    if len(numbered) > base.most_cells:
        raise UserError(f"There are {len(numbered):,} lines; here there may be at most {base.most_cells:,}: use fewer.")
    seed = int(getattr(base.params, "seed", RANDOM_SEED))
    if seed == RANDOM_SEED and (values.iterate_seed or values.same_seed):
        seed = base.seed()
    cells: list[Cell] = []
    for number, line in numbered:
        try:
            changed, styles = changes(line, base)
            cell = Cell(labels=(line,), changes=_placed(values, base, seed, changed), styles=styles)
            base.check(cell.changes, styles)
        except UserError as error:
            raise UserError(f"Line {number}, {quoted(line)}: {error}") from error
        cells.append(cell)
        if values.iterate_seed and seed != RANDOM_SEED:
            count = cell.changes.get("count", getattr(base.params, "count", 1))
            seed = (seed + int(count or 1)) % (LARGEST_SEED + 1)
    return Plan(cells=cells, grid=values.grid, said={"Script": TITLE})


def _placed(values: Lines, base: Base, seed: int, changed: dict[str, Value]) -> dict[str, Value]:
    """What a line changes, with its prompts beside those of the form, and the seed that it does not set itself."""
    made: dict[str, Value] = {"seed": seed} if seed != RANDOM_SEED else {}
    made |= changed
    for name in SETS:
        own, form = str(changed.get(name) or ""), str(getattr(base.params, name, ""))
        if own and form:
            made[name] = f"{own} {form}" if values.position == START else f"{form} {own}"
    return made
