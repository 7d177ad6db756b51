"""Classifier-free guidance: which rows a step needs, and how their answers become one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from webui.pipeline.patches import NO_PATCHES, Patches
from webui.pipeline.protocol import Asking, Conditioning, Denoise, Moment, Row, Rows

MakeRow = Callable[[Tensor, Moment, Conditioning, str], Row]


def plain_row(network: str = "model", patches: Patches = NO_PATCHES, channels: Tensor | None = None) -> MakeRow:
    """How a row is made where nothing but the conditioning differs between cond and uncond; `channels` go beside x."""
    return lambda x, at, conditioning, role: Row(
        x, at, conditioning, network=network, channels=channels, patches=patches, role=role
    )


def guided(cond: Conditioning, uncond: Conditioning, scale: float, row: MakeRow) -> Denoise:
    """Move from the unconditional prediction towards the conditional one, `scale` times the way (Ho and Salimans 2022, eq. 6).

    Scale 1 is the conditional prediction itself and scale 0 the unconditional one: each of them asks for a single row.
    """

    def only(conditioning: Conditioning, role: str) -> Denoise:
        def denoise(x: Tensor, at: Moment) -> Asking:
            answer: tuple[Tensor, ...] = yield Rows(row(x, at, conditioning, role))
            return answer[0]

        return denoise

    def both(x: Tensor, at: Moment) -> Asking:
        answer: tuple[Tensor, ...] = yield Rows(row(x, at, cond, "cond"), row(x, at, uncond, "uncond"))
        c, u = answer
        return u + scale * (c - u)

    if scale == 1:
        return only(cond, "cond")
    return only(uncond, "uncond") if scale == 0 else both


def distilled(cond: Conditioning, scale: float, row: MakeRow) -> Denoise:
    """One row a step, whose network takes the scale as an input (Luo et al. 2023, arXiv:2310.04378: latent consistency models).

    Such a network was taught what guidance comes to with an empty negative prompt; another one has no place in it.
    """

    def denoise(x: Tensor, at: Moment) -> Asking:
        answer: tuple[Tensor, ...] = yield Rows(replace(row(x, at, cond, "cond"), guidance=scale))
        return answer[0]

    return denoise
