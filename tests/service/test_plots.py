"""From a form to cells: every one is checked, and what is wrong is told with the cell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.service.pretend import place_model
from webui.drawing import Drawing, Txt2Img
from webui.errors import UnknownName, UserError
from webui.params import Params, param, parameters
from webui.request import Request
from webui.scripts import Axis, AxisKind, Cell, Plan, Script
from webui.service.limits import UserLimits
from webui.service.plots import Form, explained, names, planned, turns
from webui.service.requests import Resolver
from webui.tasks import TASKS


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[Resolver]:
    place_model(tmp_path)
    yield Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache")


def form(resolver: Resolver, **more: Any) -> Form:
    return Form(**{"task": "txt2img", "params": Txt2Img(prompt="a cat", seed=1, steps=2), "resolver": resolver} | more)


@dataclass(frozen=True, kw_only=True)
class Nothing(Params):
    """No fields."""


@dataclass(frozen=True, kw_only=True)
class Fields(Params):
    """A field of each kind."""

    axis: str = param("Steps", "Axis", choices="axes", help="h")
    sampler: str = param("x", "Sampler", choices="samplers", help="h")
    much: float = param(1.0, "Much", min=0, max=2, step=0.5, help="h")


def script(*cells: Cell, axes: tuple[Axis, ...] = ()) -> Script:
    return Script(name="s", title="S", params=Nothing, plan=lambda values, base: Plan(cells=cells, axes=axes))


def test_a_cells_request_is_the_forms_with_its_changes(resolver: Resolver) -> None:
    cells = [Cell(labels=("x",), changes={"scale": 3.5, "prompt": "a dog"}), Cell(changes={"steps": None, "sampler": None})]
    first, second = planned(script(*cells), {}, form(resolver)).requests
    assert (first.scale, first.prompt, first.steps, first.seed) == (3.5, "a dog", 2, 1)
    assert (second.prompt, second.steps) == ("a cat", resolver.outline(Txt2Img()).steps)


def test_a_cell_that_cannot_be_is_named_and_nothing_is_made(resolver: Resolver) -> None:
    cells = [Cell(labels=("fine",)), Cell(labels=("Steps: 9", "", "Euler"), changes={"sampler": "Eular"})]
    with pytest.raises(UserError, match=r"^Steps: 9, Euler: Unknown sampler 'Eular'"):
        planned(script(*cells), {}, form(resolver))
    with pytest.raises(UserError, match="Steps was 9; here it is at most 3"):
        planned(script(Cell(changes={"steps": 9})), {}, form(resolver, limits=UserLimits(steps=3)))
    with pytest.raises(UnknownName, match="Unknown parameter 'stesp'"):
        form(resolver).request({"stesp": 3})


def test_nothing_and_too_much_are_refused_whatever_the_script(resolver: Resolver) -> None:
    with pytest.raises(UserError, match="S has nothing to make"):
        planned(script(), {}, form(resolver))
    with pytest.raises(UserError, match=r"S would have 3 cells; here it may have at most 2"):
        planned(script(Cell(), Cell(), Cell()), {}, form(resolver, limits=UserLimits(cells=2)))


def test_styles_of_a_cell_come_after_those_of_the_form(resolver: Resolver) -> None:
    made = form(resolver, styles=["a"], styled=lambda given, prompt, negative: (f"{prompt} {'+'.join(given)}", negative))
    assert made.request({"prompt": "x"}, ["b", "c"]).prompt == "x a+b+c"
    assert made.request({}).prompt == "a cat a"
    own = made.request({"hires_upscaler": "Latent", "hires_prompt": "y"}, ["b"]).second()
    assert (own.prompt, own.negative) == ("y a+b", "")
    assert made.request({"hires_upscaler": "Latent"}).second().prompt == "a cat a"


def test_cells_of_one_model_follow_each_other_and_none_is_lost() -> None:
    common: dict[str, Any] = {"prompt": "", "steps": 1, "sampler": "", "schedule": "", "scale": 1, "seed": 0}
    common |= {"width": 8, "height": 8}
    requests = [Request(model=model, **common) for model in "abcabcaab"]
    order = turns(requests)
    assert sorted(order) == list(range(9))
    assert "".join(requests[place].model for place in order) == "aaaabbbcc"
    assert [place for place in order if requests[place].model == "a"] == [0, 3, 6, 7], "and else in their places' order"


def test_every_registry_of_a_parameter_has_names_here(resolver: Resolver) -> None:
    for cls in TASKS.values():
        for parameter in parameters(cls).values():
            if parameter.choices is not None:
                found = names(resolver, parameter.choices)
                assert found, parameter.choices
                assert parameter.default is None or parameter.default in found, parameter.label


def test_a_script_is_explained_with_its_fields_and_axes() -> None:
    made = Script(
        name="n", title="T", params=Fields, plan=lambda values, base: Plan(cells=[]),
        axes=lambda params: [AxisKind(label="Sampler", kind="text", choices="samplers"), AxisKind(label="Steps", kind="integer")],
    )  # fmt: skip
    told = explained(made, Drawing, lambda registry: {"samplers": ["Euler"]}.get(registry, []))
    assert (told["name"], told["title"]) == ("n", "T")
    assert [each["choices"] for each in told["fields"]] == [["Sampler", "Steps"], ["Euler"], []]
    assert told["fields"][2] | {"kind": "float", "min": 0, "max": 2, "step": 0.5} == told["fields"][2]
    assert [(each["label"], each["kind"], each["choices"]) for each in told["axes"]] == [
        ("Sampler", "text", ["Euler"]), ("Steps", "integer", []),
    ]  # fmt: skip
