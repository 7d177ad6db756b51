"""What a tab's controls are: the parameters of its dataclass in groups, each control once, and what belongs in none hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from webui.params import Parameter, Params, Txt2Img, parameters
from webui.settings import Settings, places

STYLES = "styles"  # the control beside the prompt that is no parameter: names of styles, applied when a job is submitted


@dataclass(frozen=True, kw_only=True)
class Area:
    """The controls of one tab. `hidden` names parameters that need none; what is in no group comes under "More"."""

    name: str
    params: type[Params]
    groups: Mapping[str, Sequence[str]]
    hidden: Sequence[str] = ()
    styled: bool = False

    def parameters(self) -> dict[str, Parameter]:
        """The parameters that have controls, by name."""
        return {name: each for name, each in parameters(self.params).items() if name not in self.hidden}

    def names(self) -> list[str]:
        """The names of all controls, in the order in which the page's own code and Gradio pass their values on."""
        return [*self.parameters(), *([STYLES] if self.styled else [])]

    def group(self, title: str) -> list[Parameter]:
        """The parameters of a group in its order; those that are in no group for one that does not name any."""
        known = self.parameters()
        if title in self.groups:
            return [known[name] for name in self.groups[title] if name in known]
        placed = {name for names in self.groups.values() for name in names}
        return [each for name, each in known.items() if name not in placed]


TXT2IMG = Area(
    name="txt2img",
    params=Txt2Img,
    groups={
        "Model": ("model",),
        "Prompt": ("prompt", "negative"),
        "Size": ("width", "height"),
        "Steps": ("steps", "scale"),
        "Sampler": ("sampler", "schedule"),
        "Seed": ("seed", "count"),
        "Refiner": ("refiner", "refiner_switch_at"),
        "Sampler options": ("eta", "s_churn", "s_tmin", "s_tmax", "s_noise"),
    },
    hidden=("model_hash", "vae_hash"),  # find files when a picture's text is read; who has chosen one needs none
    styled=True,
)
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
AREAS: Mapping[str, Area] = {area.name: area for area in (TXT2IMG, SETTINGS)}


def styles_parameter() -> Parameter:
    """The choice of styles, as far as it is like a parameter."""
    return replace(
        Parameter(label="Styles", help="Named pieces of prompt, added when the picture is made."),
        name=STYLES, kind=list, optional=True, default=None, choices=STYLES,
    )  # fmt: skip
