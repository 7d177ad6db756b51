"""Perturbed attention guidance: away from what the network draws where it does not look (Ahn et al. 2024, arXiv:2403.17377).

A further row of the prompt is asked for in which the self-attention maps of the middle block are the identity: every place sees
itself alone. Its answer keeps the colours and loses the structure; the picture is pushed away from it (equation 16).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from webui.extension import Ask, Guide, Guided, Job, Params, Patches, Row, Rows, Site, param

if TYPE_CHECKING:
    from torch import Tensor


MIDDLE, ALL = "Middle", "All"


@dataclass(frozen=True, kw_only=True)
class Perturbed(Params):
    """How far the picture is pushed."""

    perturbed: float = param(
        0.0, "Perturbed attention scale", min=0, max=30, step=0.1, infotext="PAG scale", unwritten="0",
        help="How far each step is pushed away from what the model draws without seeing how things hang together; 0 is off, 3 is "
        "usual. Each step takes half as long again.")
    perturbed_blocks: str = param(
        MIDDLE, "Perturbed blocks", one_of=(MIDDLE, ALL), infotext="PAG blocks", unwritten=MIDDLE,
        help="Where the model does not see how things hang together: in its middle block, as the paper has it, or in all of "
        "them, which does much more.")


@dataclass(frozen=True)
class Identity:
    """The attention hook: in blocks whose names begin so, every place attends to itself."""

    blocks: str

    def attend(self, call: Site, q: Tensor, k: Tensor, v: Tensor) -> Tensor | None:
        """The values [B, N, C] as they are."""
        del q, k
        return v if call.site.startswith(self.blocks) and call.site.endswith(".attn1") else None


# One of each for all pictures, so that they may share calls of the network.
PERTURBED = {MIDDLE: Patches(attention=(Identity("middle_block."),)), ALL: Patches(attention=(Identity(""),))}


def guide(job: Job) -> Guide | None:
    """The guided answer, pushed away from the perturbed one."""
    scale = job.values["perturbed"]
    if scale == 0:
        return None

    patches = PERTURBED[job.values["perturbed_blocks"]]

    def perturbed(row: Row) -> Row:
        return replace(row, patches=patches + row.patches)  # before other hooks, which might replace attention themselves

    def guided(step: Guided) -> Generator[Ask, Any, Tensor]:
        first, *others = step.texts.parts
        parts = [first, *(part for part in others if part.weight != 0)]
        found = yield Rows(*(perturbed(step.row(step.x, step.at, part.at(step.at), "perturbed")) for part in parts))
        weights = [part.weight for part in parts]
        pushed: Tensor = step.denoised + scale * (step.cond - joined(found, weights, step.uncond))
        return pushed

    return guided


def joined(found: tuple[Tensor, ...], weights: list[float], uncond: Tensor | None) -> Tensor:
    """What the answers of a prompt's parts come to, as `Guided.cond` does of the unperturbed ones."""
    if uncond is None:  # then the first part stands in for the negative prompt
        weights, uncond = [1.0, *weights[1:]], found[0]
    if weights == [1.0]:
        return found[0]
    total = uncond
    for answer, weight in zip(found, weights, strict=True):
        total = total + weight * (answer - uncond)
    return total
