"""Classifier-free guidance: which rows a step needs, and how their answers become one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from webui.pipeline.patches import NO_PATCHES, Patches
from webui.pipeline.protocol import Asking, Conditioning, Denoise, Moment, Row, Rows
from webui.pipeline.texts import Texts

MakeRow = Callable[[Tensor, Moment, Conditioning, str], Row]


def plain_row(network: str = "model", patches: Patches = NO_PATCHES, channels: Tensor | None = None) -> MakeRow:
    """How a row is made where nothing but the conditioning differs between cond and uncond; `channels` go beside x."""
    return lambda x, at, conditioning, role: Row(
        x, at, conditioning, network=network, channels=channels, patches=patches, role=role
    )


def guided(texts: Texts, scale: float, row: MakeRow) -> Denoise:
    """Move from the unconditional prediction towards the conditional ones (Ho and Salimans 2022, eq. 6; Liu et al. 2022, eq. 11).

    u + scale * sum(weight * (c - u)) over the prompt's parts. Where that is one prediction alone, one row is asked for.
    """

    def only(meaning: Callable[[Moment], Conditioning], role: str) -> Denoise:
        def denoise(x: Tensor, at: Moment) -> Asking:
            answer: tuple[Tensor, ...] = yield Rows(row(x, at, meaning(at), role))
            return answer[0]

        return denoise

    def all_parts(x: Tensor, at: Moment) -> Asking:
        conds = [row(x, at, part.at(at), "cond") for part in texts.parts]
        answer: tuple[Tensor, ...] = yield Rows(*conds, row(x, at, texts.negative(at), "uncond"))
        *found, u = answer
        pull = torch.stack([part.weight * (c - u) for part, c in zip(texts.parts, found, strict=True)]).sum(0)
        return u + scale * pull

    if scale == 0 or all(part.weight == 0 for part in texts.parts):
        return only(texts.negative, "uncond")
    first = texts.parts[0]
    return only(first.at, "cond") if len(texts.parts) == 1 and scale * first.weight == 1 else all_parts


def distilled(texts: Texts, scale: float, row: MakeRow) -> Denoise:
    """One row a step, whose network takes the scale as an input (Luo et al. 2023, arXiv:2310.04378: latent consistency models).

    Such a network was taught what guidance comes to with an empty negative prompt; another one has no place in it, nor have the
    prompt's further parts.
    """

    def denoise(x: Tensor, at: Moment) -> Asking:
        answer: tuple[Tensor, ...] = yield Rows(replace(row(x, at, texts.parts[0].at(at), "cond"), guidance=scale))
        return answer[0]

    return denoise
