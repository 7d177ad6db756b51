"""Scripts: what makes many jobs of one form, such as a plot over two parameters. What extensions define; nothing here runs any.

    Script(name="twice", title="Twice", params=Nothing, plan=plan)

    def plan(values: Nothing, base: Base) -> Plan:
        cells = [Cell(labels=(f"Steps: {steps}",), changes={"steps": steps}) for steps in (10, 20)]
        return Plan(cells=cells, axes=[Axis(label="Steps", values=("Steps: 10", "Steps: 20"))], said={"Script": "Twice"})

A script is a function from a form to a plan: it queues nothing, draws nothing and asks no model, so that what is wrong with it
is told before anything is queued, and the plan outlives the program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

from webui.params import Params, Value

MOST_AXES = 3
LARGEST_MARGIN = 500  # pixels between two cells


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One job of a plan: what is said of it, one text for each axis, and the parameters that are not as in the form.

    `styles` are put around its prompts like those that were chosen in the form, and after them.
    """

    labels: tuple[str, ...] = ()
    changes: Mapping[str, Value] = field(default_factory=dict)
    styles: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One direction of a grid: what changes along it, and what the legend says of each value."""

    label: str = ""
    values: tuple[str, ...] = ("",)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The cells in their order, along x first, then y, then z, and how the finished grid looks.

    Without axes the cells are laid out in rows of about as many as there are rows, each under its own label. `grid` is whether
    there is to be one at all; `parts` whether the cells' pictures stay in the gallery beside it. `margin` is in pixels. `said`
    goes into the grid's text.
    """

    cells: Sequence[Cell]
    axes: Sequence[Axis] = ()
    grid: bool = True
    legend: bool = True
    margin: int = 0
    parts: bool = True
    said: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """`ValueError` where a script contradicts itself: that is its fault, not that of who used it."""
        if len(self.axes) > MOST_AXES:
            raise ValueError(f"A grid has at most {MOST_AXES} axes; there are {len(self.axes)}.")
        wanted = prod(len(axis.values) for axis in self.axes)
        if self.axes and wanted != len(self.cells):
            raise ValueError(f"The axes have {wanted} places for {len(self.cells)} cells.")
        if not 0 <= self.margin <= LARGEST_MARGIN:
            raise ValueError(f"The margin was {self.margin}; it must be from 0 to {LARGEST_MARGIN}.")


class Base(Protocol):
    """The form that a script begins with, and what can be asked about it."""

    @property
    def task(self) -> str:
        """What the parameters are for: "txt2img", ..."""
        ...

    @property
    def params(self) -> Params:
        """The form's own values."""
        ...

    @property
    def most_cells(self) -> int:
        """How many cells the person may have."""
        ...

    def choices(self, registry: str) -> Sequence[str]:
        """The names that a parameter with `choices=registry` may have; "styles" are those of the person."""
        ...

    def check(self, changes: Mapping[str, Value], styles: Sequence[str] = ()) -> None:
        """Raise `UserError` where the form could not be carried out with these changes; None is the parameter's default."""
        ...

    def seed(self) -> int:
        """A random seed."""
        ...


@dataclass(frozen=True, kw_only=True)
class AxisKind:
    """Something that can be an axis: its label, what its values look like, and the registry or list its values are from.

    `kind` is "number", "integer", "flag", "text", "size", "replace" (a text of the prompt, then what is put in its place),
    "order" (texts of the prompt, in every order) or "nothing".
    """

    label: str
    kind: str
    choices: str = ""
    one_of: tuple[str, ...] = ()
    help: str = ""


@dataclass(frozen=True, kw_only=True)
class Script:
    """What an extension registers: its name in addresses, its title for people, its own parameters, and how it plans.

    `plan(values, base)` raises `UserError` where the values mean nothing. `axes` answers what can be an axis for a task's
    parameters; a parameter of the script with `choices="axes"` is one of their labels.
    """

    name: str
    title: str
    params: type[Params]
    plan: Callable[[Any, Base], Plan]
    axes: Callable[[type[Params]], Sequence[AxisKind]] | None = None
