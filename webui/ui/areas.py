"""What a tab's controls are: the parameters of its dataclass in groups, each control once, and what belongs in none hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from webui.drawing import Txt2Img
from webui.params import Parameter, Params, parameters
from webui.service.composed import composed_tasks, sections_of
from webui.service.extensions import Extensions
from webui.settings import Settings, places
from webui.tasks import Depth, Extras, Img2Img, Inpaint

STYLES = "styles"  # the control beside the prompt that is no parameter: names of styles, applied when a job is submitted
MODEL, PROMPT, SEED, MORE = "Model", "Prompt", "Seed", "More"  # groups that have their own place in every tab


@dataclass(frozen=True, kw_only=True)
class Area:
    """The controls of one tab. `hidden` names parameters that need none; what is in no group comes under "More".

    A tab that makes pictures says with `run` what its button does, with `inputs` which pictures it starts from, in the order in
    which they are asked for; the groups in `beside` stand with these. Those in `folds`, and "More", are closed at first: their
    fields are the page's own, made when somebody opens the fold, so that Gradio has nothing to do for them. `owners` are the
    extensions that parameters belong to, by the name of the parameter.
    """

    name: str
    params: type[Params]
    groups: Mapping[str, Sequence[str]]
    hidden: Sequence[str] = ()
    styled: bool = False
    run: str = ""
    inputs: Sequence[str] = ()
    beside: Sequence[str] = ()
    folds: Sequence[str] = ()
    owners: Mapping[str, str] = field(default_factory=dict)

    def parameters(self) -> dict[str, Parameter]:
        """The parameters that have controls, by name."""
        return {name: each for name, each in parameters(self.params).items() if name not in self.hidden}

    def names(self) -> list[str]:
        """The names of all controls, in the order in which the page's own code and Gradio pass their values on."""
        return [*self.parameters(), *([STYLES] if self.styled else [])]

    def folded(self) -> dict[str, list[Parameter]]:
        """The groups that are folds, by title, in their order, those of extensions last; empty ones are left out."""
        if not self.run:
            return {}
        own = [title for title in self.folds if title in self.groups]
        added = [title for title in own if any(name in self.owners for name in self.groups[title])]
        titles = [*(title for title in own if title not in added), MORE, *added]
        return {title: group for title in titles if (group := self.group(title))}

    def with_gradio(self) -> list[str]:
        """The names of the controls that Gradio has, in the order in which it hands over their values."""
        own = {each.name for group in self.folded().values() for each in group}
        return [name for name in self.names() if name not in own]

    def group(self, title: str) -> list[Parameter]:
        """The parameters of a group in its order; those that are in no group for one that does not name any."""
        known = self.parameters()
        if title in self.groups:
            return [known[name] for name in self.groups[title] if name in known]
        placed = {name for names in self.groups.values() for name in names}
        return [each for name, each in known.items() if name not in placed]


WORDS = {MODEL: ("model",), PROMPT: ("prompt", "negative")}
SAMPLING = {
    "Steps": ("steps", "scale"),
    "Sampler": ("sampler", "schedule"),
    SEED: ("seed", "count"),
    "Refiner": ("refiner", "refiner_switch_at"),
    "Seed extras": ("variation_strength", "variation_seed", "rng", "seed_width", "seed_height", "ensd"),
    "Sampler options": (
        "eta", "s_noise", "s_churn", "rho", "s_tmin", "s_tmax", "sigma_min", "sigma_max", "beta_alpha", "beta_beta",
        "noise_schedule", "discard_penultimate", "sgm_noise",
    ),
    "Guidance": ("rescale", "guidance_start", "guidance_end", "ngms", "ngms_all"),
    "Prompt options": ("clip_skip", "emphasis", "old_schedules"),
}  # fmt: skip
HIRES = {
    "Hires fix": (
        "hires_upscaler", "hires_scale", "hires_strength", "hires_steps", "hires_width", "hires_height", "hires_sampler",
        "hires_schedule", "hires_cfg", "hires_model", "hires_prompt", "hires_negative",
    ),
}  # fmt: skip
FROM_PICTURE = {
    "Strength": ("strength",),
    "Size": ("width", "height"),
    "Fit": ("resize_mode", "scale_by"),
    **SAMPLING,
    "Strength in detail": ("convention", "all_steps", "loops"),
}
FOLDS = ("Strength in detail", *HIRES, "Refiner", "Seed extras", "Sampler options", "Guidance", "Prompt options")
FILES_BY_HASH = ("model_hash", "vae_hash")  # find files when a picture's text is read; who has chosen one needs none

TXT2IMG = Area(
    name="txt2img", params=Txt2Img, groups={**WORDS, "Size": ("width", "height"), **SAMPLING, **HIRES}, hidden=FILES_BY_HASH,
    styled=True, run="Generate", folds=FOLDS,
)  # fmt: skip
IMG2IMG = Area(
    name="img2img", params=Img2Img, groups={**WORDS, **FROM_PICTURE}, hidden=FILES_BY_HASH, styled=True,
    run="Generate", inputs=("picture", "sketch"), folds=FOLDS,
)  # fmt: skip
INPAINT = Area(
    name="inpaint", params=Inpaint, hidden=FILES_BY_HASH, styled=True, run="Generate", inputs=("picture", "mask"),
    groups={
        **WORDS,
        "Mask": ("mask_mode",),
        "Area": ("area",),
        "Masked": ("masked_content",),
        "Edges": ("mask_blur", "padding"),
        "Mask in detail": ("mask_grow", "soft"),
        "Outpaint": ("outpaint_left", "outpaint_right", "outpaint_top", "outpaint_bottom"),
        **FROM_PICTURE,
    },
    beside=("Mask", "Area", "Masked", "Edges", "Mask in detail", "Outpaint"), folds=("Mask in detail", "Outpaint", *FOLDS),
)  # fmt: skip
DEPTH = Area(
    name="depth", params=Depth, hidden=FILES_BY_HASH, styled=True, run="Generate", inputs=("picture", "depth"),
    groups={
        **WORDS, "Estimator": ("estimator",), "Adjust the map": ("depth_invert", "depth_near", "depth_far"), **FROM_PICTURE,
    },
    beside=("Estimator", "Adjust the map"), folds=("Adjust the map", *FOLDS),
)  # fmt: skip
EXTRAS = Area(
    name="extras", params=Extras, run="Enlarge", inputs=("picture",),
    groups={
        "Upscaler": ("upscaler",),
        "Scale": ("scale_by",),
        "Exact size": ("width", "height", "crop"),
        "Second upscaler": ("upscaler_2", "visibility_2"),
    },
    folds=("Exact size", "Second upscaler"),
)  # fmt: skip
SETTINGS = Area(
    name="settings",
    params=Settings,
    groups={
        title: tuple(name for name, place in places().items() if place.group == title)
        for title in dict.fromkeys(place.group for place in places().values())
    },
)
OWNERS = frozenset(name for name, place in places().items() if place.owner)
"""Settings that hold for everybody, so that only an owner may change them."""
GENERATING: Mapping[str, Area] = {area.name: area for area in (TXT2IMG, IMG2IMG, INPAINT, DEPTH, EXTRAS)}
"""The tabs that make pictures, by their task, in their order."""
AREAS: Mapping[str, Area] = {**GENERATING, SETTINGS.name: SETTINGS}
"""All areas as they are without extensions."""


@lru_cache(maxsize=4)  # snapshots: few are in use at once
def areas_of(extensions: Extensions) -> Mapping[str, Area]:
    """All areas with what extensions add: a fold for each of their sections."""
    tasks = composed_tasks(extensions)
    made = {name: _with_sections(area, tasks[name], extensions) for name, area in GENERATING.items()}
    return {**made, SETTINGS.name: SETTINGS}


def _with_sections(area: Area, params: type[Params], extensions: Extensions) -> Area:
    groups = dict(area.groups)
    owners: dict[str, str] = {}
    for extension, section, names in sections_of(extensions, area.name):
        title = f"{section.title} ({extension})" if section.title in (*groups, MORE) else section.title
        groups[title] = tuple(names)
        owners |= dict.fromkeys(names, extension)
    added = [title for title in groups if title not in area.groups]
    return replace(area, params=params, groups=groups, folds=(*area.folds, *added), owners=owners) if added else area


def styles_parameter() -> Parameter:
    """The choice of styles, as far as it is like a parameter."""
    return replace(
        Parameter(label="Styles", help="Named pieces of prompt, added when the picture is made."),
        name=STYLES, kind=list, optional=True, default=None, choices=STYLES,
    )  # fmt: skip
