"""Template: a parameter, an attention patch that it drives, and a sampler. Change what you like, and take out the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webui.extension import Asking, Denoise, Job, Noise, Params, Patches, SamplerInfo, Section, Step, hook, moments, param

if TYPE_CHECKING:  # torch is there when a picture is made, not when the page is
    from torch import Tensor

    from webui.extension import Site


@dataclass(frozen=True, kw_only=True)
class Template(Params):
    """What people can set: a fold on the page, a flag, a field of the API and a line in the picture's text."""

    strength: float = param(0.0, "Blur attention", min=0, max=1, step=0.05, infotext="Template strength", help="0 is off.")


@hook
def params() -> list[Section]:
    """The parameters, for every task that makes pictures."""
    return [Section(title="Template", params=Template)]


class Blurred:
    """Draws what attention brought to each place towards what it brought on average."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def output(self, _call: Site, x: Tensor) -> Tensor:
        """What an attention layer adds, x [rows, places, channels]; `call.site` names the layer, `call.at` has the steps."""
        return x + self.strength * (x.mean(dim=1, keepdim=True) - x)


@hook
def patches(job: Job) -> Patches | None:
    """Called once for each picture that somebody set a parameter for; what it returns goes with the picture's rows."""
    strength = job.values["strength"]
    return Patches(attention=(Blurred(strength),)) if strength else None


def steady(denoise: Denoise, x: Tensor, sigmas: Sequence[float], _noise: Noise) -> Asking:
    """Euler's method along the mean of the clean estimates of this step and the one before."""
    before = None
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        ahead = denoised if before is None else (denoised + before) / 2
        x = ahead + (x - ahead) * (sigma_next / at.sigma)
        before = denoised
        yield Step(at, x, denoised)
    return x


@hook
def samplers() -> list[SamplerInfo]:
    """The sampler, by the name that people choose it by."""
    return [SamplerInfo(name="Template steady", function=steady, schedule="Karras")]
