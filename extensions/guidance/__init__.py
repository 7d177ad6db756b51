"""Guidance: five further ways to steer each step. Each is a small example of a seam, in a file of its own.

    perpendicular   a `guide` hook that asks for a further row
    perturbed       a `guide` hook that asks for a row whose attention is another
    thresholding    a `guide` hook that only counts
    classifying     a `denoiser` around the one there is, with a `Gradient`
    freeu           a hook object for the network's blocks

All are off by default; a picture in which they are off is made as if they were not there.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from webui.extension import Ask, Denoise, Guide, Guided, Job, Patches, Section, hook

from . import classifying, freeu, perpendicular, perturbed, thresholding
from .classifying import Classifying
from .freeu import FreeU
from .perpendicular import Perpendicular
from .perturbed import Perturbed
from .thresholding import Thresholding

if TYPE_CHECKING:
    from torch import Tensor

GUIDES = (perpendicular, perturbed, thresholding)  # in this order: what limits comes last


@dataclass(frozen=True, kw_only=True)
class MoreGuidance(Classifying, FreeU, Perturbed, Perpendicular, Thresholding):
    """All of them in one fold."""


@hook
def params() -> Sequence[Section]:
    """One fold, in all tabs."""
    return [Section(title="More guidance", params=MoreGuidance)]


@hook
def patches(job: Job) -> Patches | None:
    """FreeU's hook for the network's blocks."""
    return freeu.patches(job)


@hook
def guide(job: Job) -> Guide | None:
    """Those ways that look at what the prompts answered, one after another."""
    guides = [found for each in GUIDES if (found := each.guide(job)) is not None]
    if not guides:
        return None

    def guided(step: Guided) -> Generator[Ask, Any, Tensor]:
        for each in guides:
            step = replace(step, denoised=(yield from each(step)))
        return step.denoised

    return guided


@hook
def denoiser(job: Job, denoise: Denoise) -> Denoise:
    """The classifier's push, on top of everything else."""
    return classifying.denoiser(job, denoise)
