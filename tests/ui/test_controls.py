"""A parameter's control says what the parameter says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pytest

from webui.drawing import SAME_MODEL, SAME_SAMPLER, SAME_SCHEDULE, Txt2Img
from webui.params import Params, param, parameters
from webui.settings import CHOICES, Settings
from webui.ui.controls import LARGEST_EXACT, as_shown, control, described
from webui.ui.page import in_a_loop

AUTOMATIC = [("Automatic", "Automatic")]
OURS = {
    "samplers": AUTOMATIC, "schedules": AUTOMATIC, "vaes": AUTOMATIC, "refiners": [("None", "None")],
    "models": [("a model", "a")], "hires_upscalers": [("None", "None")], "hires_samplers": [(SAME_SAMPLER, SAME_SAMPLER)],
    "hires_schedules": [(SAME_SCHEDULE, SAME_SCHEDULE)], "hires_models": [(SAME_MODEL, SAME_MODEL)],
}  # fmt: skip
NAMES = {**OURS, **CHOICES}
EVERY = [*parameters(Txt2Img).values(), *parameters(Settings).values()]


def made(parameter: Any) -> gr.components.Component:
    def make() -> gr.Blocks:
        with gr.Blocks(analytics_enabled=False) as blocks:
            control(parameter, "here", NAMES)
        return blocks

    (component,) = [each for each in in_a_loop(make).blocks.values() if getattr(each, "elem_id", None)]
    assert isinstance(component, gr.components.Component)
    return component


@pytest.mark.parametrize("parameter", EVERY, ids=lambda each: each.name)
def test_every_parameter_has_a_control_that_can_be_used_and_explains_itself(parameter: Any) -> None:
    config = made(parameter).get_config()
    assert (config["label"], config["info"], config["elem_id"]) == (parameter.label, parameter.help, f"here_{parameter.name}")
    assert config["interactive"] is True
    assert "share" not in (config.get("buttons") or [])


@pytest.mark.parametrize("parameter", EVERY, ids=lambda each: each.name)
def test_what_the_page_knows_of_a_parameter_is_plain(parameter: Any) -> None:
    plain = described(parameter)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["expected"] == parameter.expected and plain["label"] == parameter.label


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("prompt", gr.Textbox), ("steps", gr.Number), ("count", gr.Slider), ("width", gr.Number), ("scale", gr.Number),
        ("sampler", gr.Dropdown), ("seed", gr.Textbox), ("reproducible", gr.Checkbox), ("clip_skip", gr.Number),
    ],
)  # fmt: skip
def test_the_control_suits_the_values(name: str, kind: type) -> None:
    assert type(made(parameters(Txt2Img)[name])) is kind


def test_a_sliders_range_is_the_parameters() -> None:
    count = made(parameters(Txt2Img)["count"]).get_config()
    assert (count["minimum"], count["maximum"], count["step"], count["value"]) == (1, 100, 1, 1)


def test_choices_are_shown_by_title_and_meant_by_name() -> None:
    assert made(parameters(Txt2Img)["model"]).get_config()["choices"] == [("a model", "a")]


def test_an_empty_field_says_whose_value_is_taken() -> None:
    assert made(parameters(Txt2Img)["width"]).get_config()["placeholder"] == "the model's own"


def test_numbers_that_a_browser_would_round_are_text() -> None:
    seed = parameters(Txt2Img)["seed"]
    assert as_shown(seed, 2**64 - 1) == "18446744073709551615"
    assert made(seed).get_config()["value"] == "-1"
    assert described(seed)["max"] is None and seed.max is not None and seed.max > LARGEST_EXACT
    assert as_shown(parameters(Txt2Img)["steps"], 7) == 7


def test_parameters_of_others_get_controls_too() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Odd(Params):
        """As an extension might bring."""

        strength: float = param(0.5, "Strength", min=0, max=1, step=0.05, help="How much.")
        fine: float = param(0.5, "Fine", min=0, max=1, step=0.001, help="How much, precisely.")
        free: int | None = param(None, "Free", help="Any number.")

    kinds = {name: type(made(each)) for name, each in parameters(Odd).items()}
    assert kinds == {"strength": gr.Slider, "fine": gr.Number, "free": gr.Textbox}
