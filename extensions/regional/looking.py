"""How a picture's parts look at different texts: a place weighs what attention to each says by how much it is of its region.

The texts are windows of one prompt, which text towers read one by one: cross-attention's keys and values of all of them are there
in every layer, and each text's own are picked out. Nothing is encoded twice, and a layer does its work once more for each region.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, scaled_dot_product_attention

from webui.extension import Ask, ChangeRow, Job, Patches, Row, Site, opaque, unit

from .layout import BREAK, Box, cut_of

Weights = Callable[[int, int], Tensor]
"""How much each region counts at each place of a layer of some height and width, [regions, height, width], 1 in all."""


class Regions:
    """An attention hook: what each place of a layer is told by the texts, `tokens[i]` being the places of text i in the context.

    `weights` says how much each text counts at each place.
    """

    def __init__(self, weights: Weights, tokens: Sequence[Tensor]) -> None:
        self._weights = weights
        self._tokens = tokens
        self._known: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}

    def attend(self, call: Site, q: Tensor, k: Tensor, v: Tensor) -> Tensor | None:
        """Attention to each text by itself, weighed: q [B, N, C], k and v [B, M, C] -> [B, N, C]. None for self-attention."""
        if not call.site.endswith("attn2"):
            return None
        total = torch.zeros_like(q)
        for weight, own in self._at(call.height, call.width, q):
            total = total + weight * attention(q, k[:, own], v[:, own], call.heads)
        return total

    def _at(self, height: int, width: int, like: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each text that counts in a layer of this size its weights [height * width, 1] and its places in the context."""
        if (height, width) not in self._known:
            shares = self._weights(height, width).flatten(1)[..., None].to(like.dtype)
            self._known[height, width] = [
                (share.to(like.device), own.to(like.device))
                for share, own in zip(shares, self._tokens, strict=True) if bool(share.any())
            ]  # fmt: skip
        return self._known[height, width]


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention of q [B, N, C] to k and v [B, M, C], heads side by side."""
    q, k, v = (each.reshape(*each.shape[:2], heads, -1).transpose(1, 2) for each in (q, k, v))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def weights_of(regions: str, masks: Sequence[Tensor]) -> Weights:
    """How much each region counts where: as they are written, or else by masks uint8 RGBA [4, H, W].

    Where masks overlap they share a place; where there is none all count alike.
    """
    if boxes := cut_of(regions):
        return lambda height, width: torch.stack([covered(box, height, width) for box in boxes])
    grey = [unit(opaque(each)).mean(0)[None, None] for each in masks]

    def shares(height: int, width: int) -> Tensor:
        found = torch.cat([interpolate(each, size=(height, width), mode="area")[0] for each in grey])
        total = found.sum(0, keepdim=True)
        return torch.where(total > 0, found / torch.where(total > 0, total, 1), 1 / len(grey))

    return shares


def covered(box: Box, height: int, width: int) -> Tensor:
    """Which part of each place of a layer lies in a box, [height, width]."""
    left, top, right, bottom = box
    return along(top, bottom, height)[:, None] * along(left, right, width)


def along(begin: float, end: float, places: int) -> Tensor:
    """Which part of each of some places in a row lies between two parts of the row, [places]."""
    starts = torch.arange(places, dtype=torch.float64)
    inside = torch.clamp(starts + 1, max=end * places) - torch.clamp(starts, min=begin * places)
    return inside.clamp(min=0).float()


def with_whole(regions: Weights, whole: float) -> Weights:
    """The same with a text in front that counts everywhere."""

    def shares(height: int, width: int) -> Tensor:
        found = regions(height, width)
        return torch.cat([torch.full_like(found[:1], whole), (1 - whole) * found])

    return shares


def looking(job: Job, count: int, regions: Weights, whole: float) -> ChangeRow:
    """What gives each row of the prompt the hook of its own text; one with more or fewer texts than regions is left alone."""
    known: dict[tuple[int, ...], Regions] = {}
    window = job.spec.text[0].positions

    def change(row: Row) -> Generator[Ask, Any, Row]:
        if row.network != job.network or row.role == "uncond" or row.conditioning.said is None:
            return row
        own = texts_in(row.conditioning.said.text, row.conditioning.said.places, window)
        if own not in known:
            found = hook_for(count, regions, whole, own, window)
            if found is None:
                return row
            known[own] = found
        return replace(row, patches=row.patches + Patches(attention=(known[own],)))
        yield  # a generator that asks for nothing

    return change


def hook_for(count: int, regions: Weights, whole: float, own: tuple[int, ...], window: int) -> Regions | None:
    """The hook for windows that belong to the texts `own`, None where these are not as many as the regions, or one more."""
    texts = 1 + own[-1]
    if texts not in (count, count + 1) or set(own) != set(range(texts)):
        return None
    owners = torch.tensor(own).repeat_interleave(window)
    tokens = [(owners == text).nonzero()[:, 0] for text in range(texts)]
    return Regions(regions if texts == count else with_whole(regions, whole), tokens)


def texts_in(text: str, places: Sequence[tuple[int, int] | None], window: int) -> tuple[int, ...]:
    """To which of the texts that BREAK parts each window of a prompt belongs, counted from 0.

    A window says so by its first token; one without any is a text of its own, of which there is nothing.
    """
    breaks = [match.start() for match in BREAK.finditer(text)]
    found: list[int] = []
    for begin in range(0, len(places), window):
        starts = [place[0] for place in places[begin : begin + window] if place is not None]
        after = found[-1] + 1 if found else 0
        found.append(sum(each < starts[0] for each in breaks) if starts else after)
    return tuple(found)
