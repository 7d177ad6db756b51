"""X/Y/Z plot: what the text of an axis means, what can be one, and what the cells are."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.drawing import Txt2Img
from webui.errors import UserError
from webui.params import Params, Value, parameters
from webui.scripts import Plan
from webui.service.extensions import bundled
from webui.tasks import TASKS, Img2Img

ROOT = Path(__file__).parents[2]
SCRIPT = bundled().scripts["xyz_plot"]
VALUES = importlib.import_module(f"{SCRIPT.plan.__module__}.values")
AXES = importlib.import_module(f"{SCRIPT.plan.__module__}.axes")
NAMES = {"samplers": ["Automatic", "Euler", "Euler a"], "styles": ["photo", "ink"], "models": ["a", "b"]}
FIXED = 77


class Form:
    """A form without anything behind it."""

    def __init__(self, params: Params | None = None, most_cells: int = 1000, **set_to: Any) -> None:
        self.task = "txt2img"
        self.params: Params = params or Txt2Img(**{"prompt": "a red cat, big, at night", "seed": 5} | set_to)
        self.most_cells = most_cells
        self.checked: list[dict[str, Value]] = []

    def choices(self, registry: str) -> Sequence[str]:
        return NAMES.get(registry, [])

    def check(self, changes: Mapping[str, Value], styles: Sequence[str] = ()) -> None:
        self.checked.append(dict(changes))
        replace(self.params, **changes)
        if changes.get("sampler") == "Eular":
            raise UserError("Unknown sampler 'Eular'.")

    def seed(self) -> int:
        return FIXED


def planned(form: Form | None = None, **values: Any) -> Plan:
    return SCRIPT.plan(SCRIPT.params(**values), form or Form())


def column(axis: str, text: str, name: str, form: Form | None = None) -> list[Value]:
    return [cell.changes.get(name) for cell in planned(form, x_type=axis, x_values=text).cells]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1,2, 3", [1, 2, 3]), ("1-5", [1, 2, 3, 4, 5]), ("1-5 (+2)", [1, 3, 5]), ("1-10 [5]", [1, 3, 5, 7, 10]), ("7", [7]),
        ("10-5 (-3)", [10, 7]), ("3-1", [3, 2, 1]), ("1-6(+2), 9", [1, 3, 5, 9]), ("4-8 [1]", [4]), (" 1 - 3 ", [1, 2, 3]),
        ("5\n6", [5, 6]),
    ],
)  # fmt: skip
def test_ranges_of_whole_numbers(text: str, meant: list[int]) -> None:
    assert column("Steps", text, "steps") == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1-2", [1, 2]), ("1-2 (+0.5)", [1, 1.5, 2]), ("0.1-0.5 (+0.1)", [0.1, 0.2, 0.3, 0.4, 0.5]), ("0-1 [3]", [0, 0.5, 1]),
        ("7.5, .5", [7.5, 0.5]), ("1e1", [10]), ("2-1 (-0.5)", [2, 1.5, 1]), ("0-1 [4]", [0, 0.33333333, 0.66666667, 1]),
    ],
)  # fmt: skip
def test_ranges_of_numbers_are_exact(text: str, meant: list[float]) -> None:
    assert column("CFG scale", text, "scale") == meant


def test_a_seed_may_be_negative_only_to_be_drawn() -> None:
    assert column("Seed", "-1, 3, -1", "seed") == [FIXED, 3, FIXED]
    assert planned(x_type="Seed", x_values="-1,3").said["Fixed X Values"] == f"{FIXED}, 3"
    assert "Fixed X Values" not in planned(x_type="Seed", x_values="1-12").said
    kept = planned(x_type="Seed", x_values="-1,3", keep_random=True)
    assert [cell.changes["seed"] for cell in kept.cells] == [-1, 3] and "Fixed X Values" not in kept.said


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "over nothing yet"), ({"x_type": "Stpes"}, "X type: Unknown axis 'Stpes'; did you mean Steps"),
        ({"x_type": "Steps"}, "X values, Steps: there are no values"),
        ({"y_type": "Steps", "y_values": " , "}, "Y values, Steps: there are no"),
        ({"x_type": "Steps", "x_values": "3, x"}, "X values, Steps: Steps was 'x'; it must be a whole number from 1 to 150"),
        ({"x_type": "Steps", "x_values": "1.5"}, "X values, Steps: Steps was '1.5'"),
        ({"x_type": "Steps", "x_values": "1-151"}, "Steps was 151"),
        ({"x_type": "Seed", "x_values": "1-1000000000000"}, "1,000,000,000,000 values; an axis has at most 1,000"),
        ({"x_type": "Seed", "x_values": "1-9 [1001]"}, "1,001 values; an axis has at most 1,000"),
        ({"x_type": "Seed", "x_values": "1-9 [0]"}, "asks for no values"),
        ({"x_type": "Seed", "x_values": "1-9 (-1)"}, "never gets from 1 to 9"),
        ({"x_type": "Seed", "x_values": "1-9 (0)"}, "never gets from 1 to 9"),
        ({"x_type": "Seed", "x_values": ",".join("1" * 1001)}, "1,001 values"),
        ({"x_type": "Tiling", "x_values": "yes"}, "X values, Tiling: Tiling was 'yes'; it must be true or false"),
        ({"x_type": "Size", "x_values": "512"}, "X values, Size: The size was '512'"),
        ({"x_type": "Size", "x_values": "8192x8192"}, "X values, Size, '8192x8192': The size was 8192x8192"),
        ({"z_type": "Sampler", "z_values": "Euler,Eular"}, "Z values, Sampler, 'Eular': Unknown sampler"),
        ({"x_type": "Styles", "x_values": "foto"}, "X values, Styles: Unknown style 'foto'; did you mean photo"),
        ({"x_type": "Prompt S/R", "x_values": "dog,cat"}, "'dog' is neither in the prompt nor in the negative one"),
        ({"x_type": "Prompt order", "x_values": "red,dog"}, "'dog' is not in the prompt"),
        ({"x_type": "Prompt order", "x_values": "red cat,cat"}, "overlap"),
        ({"x_type": "Prompt order", "x_values": "a,b,c,d,e,f,g"}, "at most 6"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_a_sentence_with_its_axis(values: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        planned(**values)
    assert sentence in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="0123456789-+.,()[] e\"\n\tx", max_size=60), st.sampled_from(["Seed", "CFG scale", "Size", "Prompt S/R"]))
def test_any_text_is_values_or_a_sentence(text: str, axis: str) -> None:
    try:
        assert 0 < len(planned(x_type=axis, x_values=text).cells) <= 1000
    except UserError as error:
        assert str(error)


@pytest.mark.parametrize(
    "text", ["1" * 20_000, "1-" * 10_000, "1 - 5" + " " * 19_000 + "(", "-" * 20_000, '"' * 19_999, "1-5 [" + "9" * 19_000]
)
def test_hostile_texts_take_no_time(text: str) -> None:
    with pytest.raises(UserError):
        planned(x_type="Seed", x_values=text)


def test_quotes_keep_commas_and_texts_keep_what_looks_like_a_range() -> None:
    plan = planned(x_type="Prompt S/R", x_values='cat, "dog, small", 1-5')
    assert [cell.changes.get("prompt") for cell in plan.cells] == [
        None, "a red dog, small, big, at night", "a red 1-5, big, at night",
    ]  # fmt: skip
    assert plan.axes[0].values == ("cat", "dog, small", "1-5")


def test_what_is_replaced_may_be_in_the_negative_prompt_and_two_axes_may_replace() -> None:
    plan = planned(
        Form(prompt="a cat", negative="red cat"), x_type="Prompt S/R", x_values="cat,dog", y_type="Prompt S/R",
        y_values="red,blue",
    )  # fmt: skip
    assert [(cell.changes.get("prompt", "a cat"), cell.changes.get("negative", "red cat")) for cell in plan.cells] == [
        ("a cat", "red cat"), ("a dog", "red dog"), ("a cat", "blue cat"), ("a dog", "blue dog"),
    ]  # fmt: skip


def test_every_order_of_a_prompts_texts_is_a_cell() -> None:
    plan = planned(x_type="Prompt order", x_values="red, big, night")
    made = [cell.changes.get("prompt", "a red cat, big, at night") for cell in plan.cells]
    assert made == [f"a {one} cat, {two}, at {three}" for one, two, three in permutations(["red", "big", "night"])]


def test_names_are_known_whatever_their_case_and_models_may_be_any_text() -> None:
    assert column("sampler", "euler A, EULER", "sampler") == ["Euler a", "Euler"]
    assert column("Checkpoint name", "B, sub/x [0123456789]", "model") == ["b", "sub/x [0123456789]"]
    assert column("Noise source", "nv, cpu", "rng") == ["NV", "CPU"]
    assert column("Tiling", "true,False", "tiling") == [True, False]


def test_styles_of_a_cell_and_sizes() -> None:
    plan = planned(x_type="Styles", x_values='Photo, "ink, photo"', y_type="Size", y_values="512x768, 64x64")
    assert [cell.styles for cell in plan.cells[:2]] == [("photo",), ("ink", "photo")]
    assert [(cell.changes["width"], cell.changes["height"]) for cell in plan.cells[::2]] == [(512, 768), (64, 64)]


def test_x_counts_fastest_then_y_then_z_and_labels_say_where() -> None:
    plan = planned(
        x_type="Steps", x_values="1-3", y_type="CFG scale", y_values="5,6", z_type="Sampler", z_values="Euler,Euler a", margin=7
    )
    assert [(cell.changes["steps"], cell.changes["scale"], cell.changes["sampler"]) for cell in plan.cells] == [
        (steps, scale, sampler) for sampler in ("Euler", "Euler a") for scale in (5, 6) for steps in (1, 2, 3)
    ]
    assert plan.cells[4].labels == ("Steps: 2", "CFG scale: 6", "Euler") and plan.margin == 7
    assert [axis.values for axis in plan.axes] == [
        ("Steps: 1", "Steps: 2", "Steps: 3"), ("CFG scale: 5", "CFG scale: 6"), ("Euler", "Euler a"),
    ]  # fmt: skip
    assert plan.said == {
        "Script": "X/Y/Z plot", "X Type": "Steps", "X Values": "1-3", "Y Type": "CFG scale", "Y Values": "5,6",
        "Z Type": "Sampler", "Z Values": "Euler,Euler a",
    }  # fmt: skip


def test_a_random_seed_is_one_for_all_cells_unless_it_is_to_stay_random() -> None:
    steps: dict[str, Any] = {"x_type": "Steps", "x_values": "1,2"}
    assert {cell.changes["seed"] for cell in planned(Form(seed=-1), **steps).cells} == {FIXED}
    assert not any("seed" in cell.changes for cell in planned(Form(seed=-1), keep_random=True, **steps).cells)
    assert not any("seed" in cell.changes for cell in planned(Form(seed=9), **steps).cells), "one that was set stays"


def test_seeds_vary_along_the_axes_that_are_told_to() -> None:
    values: dict[str, Any] = {"x_type": "Steps", "x_values": "1-2", "y_type": "CFG scale", "y_values": "1-3"}
    values |= {"z_type": "Eta", "z_values": "0,1"}

    def told(**more: bool) -> list[Any]:
        return [cell.changes.get("seed", 5) for cell in planned(**values, **more).cells]

    assert told() == [5] * 12
    assert told(vary_seeds_x=True) == [5, 6] * 6
    assert told(vary_seeds_y=True) == [5, 5, 6, 6, 7, 7] * 2
    assert told(vary_seeds_x=True, vary_seeds_y=True, vary_seeds_z=True) == list(range(5, 17))
    assert told(vary_seeds_x=True, vary_seeds_z=True) == [5, 6] * 3 + [7, 8] * 3


def test_more_cells_than_allowed_are_refused_before_any_is_made() -> None:
    form = Form(most_cells=100)
    with pytest.raises(UserError, match=r"200 cells \(20 x 10\); here it may have at most 100"):
        planned(form, x_type="Steps", x_values="1-20", y_type="CFG scale", y_values="1-10")
    assert form.checked == []


@pytest.mark.parametrize("task", ["txt2img", "img2img", "inpaint", "depth", "extras"])
def test_every_parameter_can_be_an_axis_by_its_label(task: str) -> None:
    known = parameters(TASKS[task])
    kinds = AXES.kinds(TASKS[task])
    left = {"prompt", "negative", "count", "model_hash", "vae_hash"}
    assert {name for name in known if name not in left} <= kinds.keys()
    labels = [kind.label for kind in kinds.values()]
    assert len(set(labels)) == len(labels), "no two have the same label"
    for name, kind in kinds.items():
        assert AXES.find(kind.label, TASKS[task]) == (name, kind)
        assert AXES.find(f" {kind.label.upper()} ", TASKS[task]) == (name, kind)
    assert SCRIPT.axes is not None and list(SCRIPT.axes(TASKS[task])) == list(kinds.values())


def test_older_labels_mean_the_same() -> None:
    assert AXES.find("CFG Scale", Txt2Img)[0] == AXES.find("cfg", Txt2Img)[0] == "scale"
    assert AXES.find("Denoising", Img2Img)[0] == "strength" and AXES.find("Denoising", Txt2Img)[0] == "hires_strength"
    assert AXES.find("Var. seed", Txt2Img)[0] == "variation_seed" and AXES.find("RNG source", Txt2Img)[0] == "rng"


def test_nothing_of_it_imports_torch() -> None:
    code = (
        "import sys; from webui.service.extensions import bundled; assert len(bundled().scripts) > 2; "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_numbers_too_large_for_decimals_are_refused_as_others_are() -> None:
    with pytest.raises(UserError, match="must be a number from 0 to 30"):
        planned(x_type="CFG scale", x_values=f"{'1' * 45}-2 [3]")


def test_texts_that_grow_with_each_axis_are_refused_before_they_are_made() -> None:
    """Each value alone is short enough, and three of them would be a text of eight gigabytes."""
    form = Form(prompt="abc")
    values = {"x": f"a,{'b' * 19_000}", "y": f"b,{'c' * 19_000}", "z": f"c,{'d' * 20}"}
    given = {f"{name}_values": text for name, text in values.items()} | {f"{name}_type": "Prompt S/R" for name in values}
    with pytest.raises(UserError, match="361,019,001 characters; it must have at most 20,000"):
        planned(form, **given)
