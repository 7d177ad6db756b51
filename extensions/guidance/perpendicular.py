"""Perp-Neg: a negative prompt that takes nothing of the prompt away (Armandpour et al. 2023, arXiv:2304.04968).

Both prompts are seen as directions from what the network draws without words. Of the negative one only the part that is
perpendicular to the prompt's is subtracted: "a cat, negative: an animal" stays a cat.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webui.extension import Ask, Guide, Guided, Job, Params, Rows, param

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Perpendicular(Params):
    """How strongly the negative prompt is subtracted."""

    perpendicular: float = param(
        0.0, "Perp-Neg weight", min=0, max=10, step=0.05, infotext="Perp-Neg weight", unwritten="0",
        help="How strongly that in the negative prompt counts which is not in the prompt too; 0 is off, 1 is usual. Guidance "
        "rescale has no effect with it.")


def guide(job: Job) -> Guide | None:
    """Guidance in which the negative prompt has its perpendicular part only."""
    weight = job.values["perpendicular"]
    if weight == 0:
        return None

    def guided(step: Guided) -> Generator[Ask, Any, Tensor]:
        if step.uncond is None:
            return step.denoised
        nothing = yield from job.encode("")
        (without,) = yield Rows(step.row(step.x, step.at, nothing, "without words"))
        towards, away = step.cond - without, step.uncond - without
        guided_by: Tensor = without + step.scale * (towards - weight * perpendicular(away, towards))
        return guided_by

    return guided


def perpendicular(x: Tensor, to: Tensor) -> Tensor:
    """What is left of x without its part along another tensor of its shape."""
    length = (to * to).sum()
    return x - to * ((x * to).sum() / length).where(length > 0, 0.0)
