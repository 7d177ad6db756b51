"""The txt2img tab: the prompt and what starts a job, the stage where it is seen, and everything else that can be set."""

from __future__ import annotations

from collections.abc import Iterable

import gradio as gr

from webui.params import Parameter
from webui.ui.areas import STYLES, TXT2IMG, styles_parameter
from webui.ui.bridge import element
from webui.ui.controls import Choices, control

AREA = TXT2IMG.name
PLACEHOLDERS = {"prompt": "What should be in the picture?", "negative": "What should not be?"}


def tab(choices: Choices) -> tuple[dict[str, gr.components.Component], gr.Button]:
    """Lay out the tab; returns its controls by name, and the button that starts a job."""
    found: dict[str, gr.components.Component] = {}
    with gr.Row(elem_id="txt2img", elem_classes="w-workspace"):
        with gr.Column(elem_id="txt2img_compose", elem_classes="w-compose", min_width=0):
            _model(found, choices)
            _prompts(found)
            run = _buttons()
        element("webui-stage", "txt2img_stage", classes="w-stage", after="<webui-queue></webui-queue>")
        with gr.Column(elem_id="txt2img_settings", elem_classes="w-settings", min_width=0):
            _settings(found, choices)
            element("webui-preferences", "txt2img_preferences")
    return found, run


def _model(found: dict[str, gr.components.Component], choices: Choices) -> None:
    with gr.Row(elem_classes="w-line"):
        _add(found, TXT2IMG.group("Model"), choices, filterable=True)
        element("webui-models", "txt2img_model_tools", classes="w-tools")


def _prompts(found: dict[str, gr.components.Component]) -> None:
    element("webui-reading", "txt2img_reading", classes="w-reading")
    for parameter in TXT2IMG.group("Prompt"):
        lines = 3 if parameter.name == "prompt" else 2
        placeholder = PLACEHOLDERS.get(parameter.name, "")
        found[parameter.name] = control(parameter, AREA, lines=lines, max_lines=10, placeholder=placeholder)
    with gr.Row(elem_classes="w-line"):
        styles = styles_parameter()
        found[STYLES] = gr.Dropdown(
            [], value=[], multiselect=True, label=styles.label, info=styles.help, elem_id=f"{AREA}_{STYLES}", interactive=True
        )
        element("webui-styles", "txt2img_styles_tools", classes="w-tools")


def _buttons() -> gr.Button:
    with gr.Row(elem_classes="w-run"):
        run = gr.Button("Generate", variant="primary", elem_id=f"{AREA}_generate", min_width=0)
        element("webui-run", "txt2img_run")
    gr.HTML('<p id="txt2img_refusal" class="w-problem" role="alert" hidden></p>', apply_default_css=False)
    return run


def _settings(found: dict[str, gr.components.Component], choices: Choices) -> None:
    with gr.Group(elem_classes="w-group"):
        with gr.Row(elem_classes="w-line"):
            _add(found, TXT2IMG.group("Size"), choices)
        element("webui-sizes", "txt2img_sizes")
    for title in ("Steps", "Sampler"):
        with gr.Row(elem_classes="w-line"):
            _add(found, TXT2IMG.group(title), choices)
    with gr.Row(elem_classes="w-line"):
        seed, *rest = TXT2IMG.group("Seed")
        _add(found, [seed], choices)
        element("webui-seed", "txt2img_seed_tools", classes="w-tools")
        _add(found, rest, choices)
    for title in ("Refiner", "Sampler options", "More"):
        if group := TXT2IMG.group(title):
            with gr.Accordion(title, open=False, elem_id=f"{AREA}_{title.lower().replace(' ', '_')}_fold", elem_classes="w-fold"):
                _add(found, group, choices)


def _add(
    found: dict[str, gr.components.Component], parameters: Iterable[Parameter], choices: Choices, **more: object
) -> None:
    for parameter in parameters:
        found[parameter.name] = control(parameter, AREA, choices, **more)
