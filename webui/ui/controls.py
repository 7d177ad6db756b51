"""From a parameter to its control on the page: label, help, range and choices are what the parameter says, nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from webui.params import LONGEST_NAME, Parameter

LARGEST_EXACT = 2**53 - 1  # of the whole numbers a browser can count with; larger ones are kept as text
LONGEST_SLIDER = 200  # steps: with more a slider is too fine to aim with
MOST_ABREAST = 2  # values that are all shown beside each other; more are a list
Choices = Mapping[str, Sequence[tuple[str, str]]]
"""By registry ("samplers"): what people read and the value it stands for."""


def control(parameter: Parameter, area: str, choices: Choices | None = None, **more: Any) -> gr.components.Component:
    """The control of a parameter, with the id `area_name`; `more` goes to the Gradio component as it is."""
    known = {
        "label": parameter.label,
        "info": parameter.help,
        "value": parameter.default,
        "elem_id": f"{area}_{parameter.name}",
        "interactive": True,
        **more,
    }
    if parameter.kind is bool:
        return gr.Checkbox(**known)
    if parameter.choices is not None:
        return gr.Dropdown(list((choices or {}).get(parameter.choices, [])), **known)
    if parameter.one_of:
        kind = gr.Radio if len(parameter.one_of) <= MOST_ABREAST else gr.Dropdown
        return kind(list(parameter.one_of), **known)
    if parameter.kind is str:
        return _text(parameter, known)
    if parameter.kind is int and (parameter.max is None or parameter.max > LARGEST_EXACT):
        return gr.Textbox(**known | {"value": parameter.text(parameter.default), "max_lines": 1}, html_attributes=_digits())
    return _number(parameter, known)


def described(parameter: Parameter) -> dict[str, Any]:
    """What the page's own code knows of a parameter, as plain data: enough to say at once what is wrong with a value."""
    return {
        "name": parameter.name,
        "label": parameter.label,
        "help": parameter.help,
        "kind": parameter.kind.__name__,
        "optional": parameter.optional,
        "default": as_shown(parameter, parameter.default),
        "min": parameter.min,
        "max": parameter.max if parameter.max is None or parameter.max <= LARGEST_EXACT else None,
        "step": parameter.step,
        "longest": parameter.longest,
        "unset": parameter.unset,
        "expected": parameter.expected,
        "infotext": parameter.infotext,
        "exact": parameter.kind is int and not is_countable(parameter),
        "one_of": list(parameter.one_of),
        "choices": parameter.choices,
        "picture": parameter.picture,
        "schedule": parameter.schedule_option,
    }


def as_shown(parameter: Parameter, value: Any) -> Any:
    """The value as its control holds it: whole numbers beyond what a browser counts with as text."""
    return parameter.text(value) if value is not None and parameter.kind is int and not is_countable(parameter) else value


def is_countable(parameter: Parameter) -> bool:
    """Whether a browser can hold every value of the parameter as a number."""
    return parameter.max is not None and parameter.max <= LARGEST_EXACT


def placeholder(parameter: Parameter, own: object = None) -> str:
    """What an empty field says: which value stands there, where it is known, and whose it is."""
    return f"{own} ({parameter.unset})" if own is not None else parameter.unset


def _text(parameter: Parameter, known: dict[str, Any]) -> gr.Textbox:
    if parameter.longest > LONGEST_NAME:
        return gr.Textbox(**{"lines": 3, "max_lines": 12, **known})
    return gr.Textbox(**{"lines": 1, "max_lines": 1, "placeholder": parameter.unset, **known})


def _number(parameter: Parameter, known: dict[str, Any]) -> gr.Slider | gr.Number:
    """A slider where one can be aimed with and there is always a value; else a field, which may be empty."""
    step = parameter.step or (1 if parameter.kind is int else 0.01)
    if not parameter.optional and parameter.min is not None and parameter.max is not None:
        if (parameter.max - parameter.min) / step <= LONGEST_SLIDER:
            return gr.Slider(parameter.min, parameter.max, step=step, buttons=[], **known)
    precision = 0 if parameter.kind is int else None
    return gr.Number(**{"placeholder": parameter.unset, "step": step, "precision": precision, **known})


def _digits() -> Any:
    return gr.InputHTMLAttributes(autocomplete="off", spellcheck=False)
