"""Classifier-free guidance: which rows a step needs, and how their answers become one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from webui.pipeline.extended import Guide, Guided
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.patches import NO_PATCHES, Patches
from webui.pipeline.protocol import Ask, Conditioning, Denoise, MakeRow, Moment, Row, Rows
from webui.pipeline.samplers import SamplerInfo
from webui.pipeline.texts import Part, Texts
from webui.request import Request

PAIRED_PART = 12.5  # what A1111 divides the scale by for CFG++, whose own scales are from 0 to 1


@dataclass(frozen=True, kw_only=True)
class Options:
    """When the negative prompt counts, and what else becomes of a guided answer.

    It counts after the part `start` of the way and up to the part `end` (0 to 1); below the noise level `sparse_below` only in
    every other call of the network, or in none (`never_below`). `rescale` (0 to 1) is how much of the contrast that guidance adds
    is taken back. `paired` is for samplers that are answered the unconditional prediction too. `evaluations` is how many calls a
    step of the sampler has; where nobody knows the number of steps, `place(sigma)` is the part of the way that lies behind.
    """

    start: float = 0.0
    end: float = 1.0
    sparse_below: float = 0.0
    never_below: bool = False
    rescale: float = 0.0
    paired: bool = False
    evaluations: int = 1
    place: Callable[[float], float] = lambda _: 0.0

    def counts(self, at: Moment) -> bool:
        """Whether the negative prompt counts at a moment. Calls are counted, as A1111 does, and not steps."""
        call = at.step * self.evaluations + at.evaluation
        behind = self.place(at.sigma) if at.steps is None else call / (at.steps * self.evaluations)
        if (self.start > 0 and behind <= self.start) or (self.end < 1 and behind >= self.end):
            return False
        return not (at.sigma < self.sparse_below and (self.never_below or call % 2 == 1))


PLAIN = Options()


def guidance_of(request: Request, info: SamplerInfo, table: NoiseTable) -> Options:
    """What a request says of guidance, for its sampler."""
    last = len(table.sigmas) - 1
    return Options(
        start=request.guidance_start, end=request.guidance_end, sparse_below=request.ngms, never_below=request.ngms_all,
        rescale=request.rescale, paired=info.cfg_pp, evaluations=info.evaluations,
        place=lambda sigma: 1 - table.t_of(sigma) / last,
    )  # fmt: skip


def plain_row(
    network: str = "model", patches: Patches = NO_PATCHES, channels: Tensor | None = None, table: NoiseTable | None = None
) -> MakeRow:
    """How a row is made where nothing but the conditioning differs between cond and uncond; `channels` go beside x.

    `table` has the noise levels that the network is told the times of, None for its own.
    """
    return lambda x, at, conditioning, role: Row(
        x, at, conditioning, network=network, channels=channels, patches=patches, role=role,
        time=None if table is None else table.t_of(at.sigma),
    )  # fmt: skip


class Found(NamedTuple):
    """What came of a step's rows: the `guided` answer, what the prompt pulls to without the scale (`cond`), and where from.

    That is `base`, what the negative prompt answers, or where it was not asked (`negative` is false) what stands in for it.
    """

    guided: Tensor
    cond: Tensor
    base: Tensor
    negative: bool = False


Finding = Generator[Ask, Any, Found]


def guided(texts: Texts, scale: float, row: MakeRow, options: Options = PLAIN, guides: Sequence[Guide] = ()) -> Denoise:
    """Move from the unconditional prediction towards the conditional ones (Ho and Salimans 2022, eq. 6; Liu et al. 2022, eq. 11).

    u + scale * sum(weight * (c - u)) over the prompt's parts. Only rows that count in it are asked for. Where the negative prompt
    does not count, the first part stands in for it, and the scale is 1, as A1111 has it. `guides` are what extensions make of it.
    """
    scale = scale / PAIRED_PART if options.paired else scale
    parts = [part for part in texts.parts if part.weight != 0 and scale != 0]
    pull = sum(part.weight for part in parts) * scale
    # Where the rest of the way to the unconditional prediction is 0, and nobody looks at the way by itself.
    needless = bool(parts) and pull == 1 and not options.paired and (scale == 1 or (options.rescale == 0 and not guides))

    def rows(x: Tensor, at: Moment, shown: Sequence[Part], *, negative: bool) -> tuple[Row, ...]:
        conds = tuple(row(x, at, part.at(at), "cond") for part in shown)
        return (*conds, row(x, at, texts.negative(at), "uncond")) if negative else conds

    def with_negative(x: Tensor, at: Moment) -> Finding:
        *found, u = yield Rows(*rows(x, at, parts, negative=True))
        if not parts:
            return Found(u, u, u, negative=True)
        whole = (len(parts) == 1 and parts[0].weight == 1) or not (guides or options.rescale > 0)
        cond = found[0] if whole else u + _sum(parts, [c - u for c in found])
        guided_by = u + scale * _sum(parts, [c - u for c in found])
        if options.rescale > 0:
            guided_by = rescaled(guided_by, cond, x, at.sigma, options.rescale)
        return Found(guided_by, cond, u, negative=True)

    def without(x: Tensor, at: Moment) -> Finding:
        first, *others = texts.parts
        others = [part for part in others if part.weight != 0]
        c, *found = yield Rows(*rows(x, at, [first, *others], negative=False))
        answer = c + _sum(others, [other - c for other in found]) if others else c
        return Found(answer, answer, c)

    def conds_alone(x: Tensor, at: Moment) -> Finding:
        found = yield Rows(*rows(x, at, parts, negative=False))
        answer = scale * _sum(parts, found) if len(parts) > 1 else found[0]
        return Found(answer, answer, found[0])

    def denoise(x: Tensor, at: Moment) -> Generator[Ask, Any, Any]:
        asked = without if parts and not options.counts(at) else conds_alone if needless else with_negative
        found = yield from asked(x, at)
        answer = found.guided
        for guide in guides:
            answer = yield from guide(Guided(
                x=x, at=at, cond=found.cond, uncond=found.base if found.negative else None, scale=scale, denoised=answer,
                row=row, texts=texts,
            ))  # fmt: skip
        return (answer, found.base) if options.paired else answer

    return denoise


def rescaled(guided_by: Tensor, positive: Tensor, x: Tensor, sigma: float, part: float) -> Tensor:
    """A guided answer whose v prediction is brought back, by a `part` of the way, to the deviation that it has without guidance.

    Lin et al. 2023, arXiv:2305.08891, section 3.4. v is, but for a factor, how far a clean latent is from x / (1 + sigma^2).
    """
    still = x / (1 + sigma**2)
    v, v_positive = guided_by - still, positive - still
    deviation = v.std()
    factor = torch.where(deviation > 0, v_positive.std() / deviation, 1.0)
    return still + v * (part * factor + (1 - part))


def on_each(answer: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """What a denoiser answers, changed: a clean latent, or a guided and an unconditional one."""
    return tuple(map(change, answer)) if isinstance(answer, tuple) else change(answer)


def distilled(texts: Texts, scale: float, row: MakeRow, options: Options = PLAIN, guides: Sequence[Guide] = ()) -> Denoise:
    """One row a step, whose network takes the scale as an input (Luo et al. 2023, arXiv:2310.04378: latent consistency models).

    Such a network was taught what guidance comes to with an empty negative prompt; another one has no place in it, nor have the
    prompt's further parts.
    """

    def told(x: Tensor, at: Moment, conditioning: Conditioning, role: str) -> Row:
        return replace(row(x, at, conditioning, role), guidance=scale)

    def denoise(x: Tensor, at: Moment) -> Generator[Ask, Any, Any]:
        (found,) = yield Rows(told(x, at, texts.parts[0].at(at), "cond"))
        answer = found
        for guide in guides:
            answer = yield from guide(
                Guided(x=x, at=at, cond=found, uncond=None, scale=scale, denoised=answer, row=told, texts=texts)
            )
        return (answer, found) if options.paired else answer

    return denoise


def _sum(parts: Sequence[Part], values: Sequence[Tensor]) -> Tensor:
    """The values of parts, each by its weight."""
    return torch.stack([part.weight * value for part, value in zip(parts, values, strict=True)]).sum(0)
