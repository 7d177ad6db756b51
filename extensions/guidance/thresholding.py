"""Dynamic thresholding: a high guidance scale without its glaring colours (Saharia et al. 2022, arXiv:2205.11487, section 2.3).

The paper clips a clean picture at a percentile s of its pixels' size and divides by s, so that no more than its range is used. A
latent has no range of its own. Here each channel is given that which a lower scale, the mimic scale, would use around its mean.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webui.extension import Ask, Guide, Guided, Job, Params, param

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Thresholding(Params):
    """Which scale's range is kept, and how much may be cut off for it."""

    mimic: float = param(
        0.0, "Mimic scale", min=0, max=100, step=0.5, infotext="Mimic scale", unwritten="0",
        help="The guidance scale whose contrast the picture keeps, whatever its own is; 0 is off, 7 is usual.")
    percentile: float = param(
        99.5, "Threshold percentile", min=50, max=100, step=0.1, infotext="Threshold percentile", unwritten="99.5",
        help="The part of the values that is not clipped before the rest is brought into range; 100 clips none.")


def guide(job: Job) -> Guide | None:
    """The guided answer, brought into the range of a lower scale."""
    mimic, part = job.values["mimic"], job.values["percentile"] / 100
    if mimic == 0:
        return None

    def guided(step: Guided) -> Generator[Ask, Any, Tensor]:
        yield from ()
        if step.uncond is None:
            return step.denoised
        lower = mimic * step.scale / job.request.scale  # CFG++ counts in other units
        return thresholded(step.denoised, step.uncond + lower * (step.cond - step.uncond), part)

    return guided


def thresholded(x: Tensor, reference: Tensor, part: float) -> Tensor:
    """x [C, H, W], each channel clipped at a quantile around its mean and scaled to the size of the reference's largest value."""
    mean = x.mean((1, 2), keepdim=True)
    around, wanted = x - mean, reference - reference.mean((1, 2), keepdim=True)
    size = wanted.abs().amax((1, 2), keepdim=True)
    limit = around.abs().flatten(1).quantile(part, dim=1)[:, None, None].maximum(size)
    return mean + around.clamp(-limit, limit) * (size / limit).where(limit > 0, 1.0)
