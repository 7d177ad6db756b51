"""Any tab that makes pictures, laid out from its area: words and what starts a job, pictures to start from, the stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import gradio as gr

from webui.params import Parameter
from webui.ui.areas import MODEL, PROMPT, SEED, STYLES, Area, styles_parameter
from webui.ui.bridge import element, place
from webui.ui.controls import Choices, control

PLACEHOLDERS = {"prompt": "What should be in the picture?", "negative": "What should not be?"}
SIZE = "Size"  # the group that has buttons for common shapes
SAMPLER = "Sampler"  # the group below which the schedule is drawn


@dataclass(frozen=True, kw_only=True)
class Tab:
    """A tab in the making: its controls by name are in `found` as they are made."""

    area: Area
    choices: Choices
    found: dict[str, gr.components.Component] = field(default_factory=dict)

    def id(self, name: str) -> str:
        """The id of a part of this tab."""
        return f"{self.area.name}_{name}"

    def add(self, parameters: Iterable[Parameter], **more: object) -> None:
        """Make controls here."""
        for parameter in parameters:
            self.found[parameter.name] = control(parameter, self.area.name, self.choices, **more)


def tab(area: Area, choices: Choices) -> tuple[dict[str, gr.components.Component], gr.Button]:
    """Lay out a tab; returns its controls by name, and the button that starts a job."""
    made = Tab(area=area, choices=choices)
    with gr.Row(elem_id=area.name, elem_classes=["w-workspace", *(["w-from-picture"] if area.inputs else [])]):
        with gr.Column(elem_id=made.id("compose"), elem_classes="w-compose", min_width=0):
            if MODEL in area.groups:
                _model(made)
            if PROMPT in area.groups:
                _prompts(made)
            first = () if PROMPT in area.groups else [title for title in area.groups if title not in area.folds]
            for title in first:  # where there is nothing to write, what is set most often comes before the button
                _group(made, title)
            run = _buttons(made)
        if area.inputs:
            with gr.Column(elem_id=made.id("start"), elem_classes="w-start", min_width=0):
                element("webui-inputs", made.id("inputs"))
                for title in area.beside:
                    _group(made, title)
                element("webui-folds", made.id("start_folds"))
        below = f"{place('below picture')}<webui-queue></webui-queue>"
        element("webui-stage", made.id("stage"), classes="w-stage", after=below)
        with gr.Column(elem_id=made.id("settings"), elem_classes="w-settings", min_width=0):
            for title in area.groups:
                if title not in (MODEL, PROMPT, *first, *area.beside):
                    _group(made, title)
            scripts = "<webui-scripts></webui-scripts>"
            after = f"{scripts}{place('settings')}<webui-preferences></webui-preferences>"
            element("webui-folds", made.id("folds"), after=after)
    return made.found, run


def _model(made: Tab) -> None:
    with gr.Row(elem_classes="w-line"):
        made.add(made.area.group(MODEL), filterable=True)
        element("webui-models", made.id("model_tools"), classes="w-tools")


def _prompts(made: Tab) -> None:
    element("webui-reading", made.id("reading"), classes="w-reading")
    for parameter in made.area.group(PROMPT):
        lines = 3 if parameter.name == "prompt" else 2
        made.add([parameter], lines=lines, max_lines=10, placeholder=PLACEHOLDERS.get(parameter.name, ""))
    if made.area.styled:
        with gr.Row(elem_classes="w-line"):
            styles = styles_parameter()
            made.found[STYLES] = gr.Dropdown(
                [], value=[], multiselect=True, label=styles.label, info=styles.help, elem_id=made.id(STYLES), interactive=True
            )
            element("webui-styles", made.id("styles_tools"), classes="w-tools", after="<webui-cards></webui-cards>")


def _buttons(made: Tab) -> gr.Button:
    with gr.Row(elem_classes="w-run"):
        run = gr.Button(made.area.run, variant="primary", elem_id=made.id("generate"), min_width=0)
        element("webui-run", made.id("run"))
    refusal = f'<p id="{made.id("refusal")}" class="w-problem" role="alert" hidden></p>'
    gr.HTML(refusal + place("below prompt"), elem_classes="w-refusal", apply_default_css=False)
    return run


def _group(made: Tab, title: str) -> None:
    """A group's controls beside each other; what is in a fold is made by the page when somebody opens it."""
    if title in made.area.folds:
        return
    group = made.area.group(title)
    with gr.Row(elem_classes="w-line"):
        if title == SEED:
            made.add(group[:1])
            element("webui-seed", made.id("seed_tools"), classes="w-tools")
            group = group[1:]
        made.add(group)
    if title == SIZE:
        element("webui-sizes", made.id("sizes"))
    if title == SAMPLER:
        element("webui-schedule", made.id("schedule_plot"))
