"""What a third party might write: a parameter with an attention patch, a sampler, a tab with a route and a setting, cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webui.extension import (
    Asked,
    Asking,
    Card,
    Denoise,
    Files,
    Home,
    Job,
    Noise,
    Panel,
    Params,
    Patches,
    Route,
    SamplerInfo,
    Section,
    Site,
    Step,
    Tab,
    hook,
    moments,
    param,
)

if TYPE_CHECKING:
    from torch import Tensor

SHARPNESS = 0.5  # of the sampler


@dataclass(frozen=True, kw_only=True)
class Glow(Params):
    """The fold in txt2img."""

    strength: float = param(0.0, "Strength", min=0, max=1, step=0.05, infotext="Glow strength", help="How much is lost.")
    picture: str = param("", "Reference", picture=True, help="A picture that it only keeps.")


@dataclass(frozen=True, kw_only=True)
class Own(Params):
    """The settings."""

    greeting: str = param("Hello", "Greeting", longest=40, help="What the tab says.")


class Softer:
    """Lessens what cross-attention adds."""

    def __init__(self, strength: float) -> None:
        self._kept = 1 - strength

    def output(self, call: Site, x: Tensor) -> Tensor:
        """What a layer adds, made smaller where it looks at the prompt."""
        return x * self._kept if call.site.endswith("attn2") else x


def sharp(denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Asking:
    """Euler's method, each step of which goes a little too far."""
    del noise
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        part = sigma_next / at.sigma
        x = denoised + (x - denoised) * part * (1 - SHARPNESS * (1 - part))
        yield Step(at, x, denoised)
    return x


@hook
def params() -> Sequence[Section]:
    """A fold in txt2img only."""
    return [Section(title="Glow", params=Glow, tasks=("txt2img",))]


@hook
def settings() -> type[Params]:
    """A greeting."""
    return Own


@hook
def samplers() -> Sequence[SamplerInfo]:
    """One more sampler."""
    return [SamplerInfo(name="Glowing", function=sharp)]


@hook
def patches(job: Job) -> Patches | None:
    """Weaker words, where somebody asked for that."""
    strength = job.values["strength"]
    return Patches(attention=(Softer(strength),)) if strength > 0 else None


@hook
def tabs() -> Sequence[Tab]:
    """A tab."""
    return [Tab(name="glow", title="Glow <1>", element="glow-tab")]


@hook
def panels() -> Sequence[Panel]:
    """A line under the details of a picture."""
    return [Panel(place="picture details", element="glow-note")]


@hook
def routes() -> Sequence[Route]:
    """What the tab asks."""
    return [Route(path="greeting", answer=greeting)]


@hook
def cards(home: Home, files: Files) -> Sequence[Card]:
    """Two things to choose."""
    del home, files
    return [
        Card(kind="Mood", name="warm", insert="warm", title="Warm <i>evening</i>", words=("golden light", "dusk"), base="SD 1"),
        Card(kind="Mood", name="bad", insert="bad_mood", negative=True),
    ]


def greeting(asked: Asked) -> Any:
    """The setting as it is now, and who asked for it."""
    return {"greeting": asked.home.settings["greeting"], "version": asked.home.version, "user": asked.user}
