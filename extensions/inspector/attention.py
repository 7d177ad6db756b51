"""Where each word looks: maps of cross-attention, taken down while the network runs and without changing what it computes.

The maps of all heads and layers of the network's second half are averaged, in which the picture takes shape; those of the first
half and the middle say little of where (Tang et al. 2022, arXiv:2210.04885, sum up all). At every pixel the words
and what belongs to no word (start, end, padding, signs) share an attention of 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from webui.extension import Site

from .words import Word

SECOND_HALF = "output_blocks."  # how the sites of layers that are looked at begin
LOOKS_AT_TEXT = ".attn2"  # and how those of cross-attention end


class Watch:
    """An attention hook that takes down the maps of the first row of its calls, and declines every time.

    `grouping` [M, G] says which of the M places of the text counts for which of the G groups; maps are `height` x `width`.
    """

    def __init__(self, grouping: Tensor, height: int, width: int) -> None:
        self._grouping = grouping
        self._size = height, width
        self._sum: Tensor | None = None
        self._layers = 0

    def attend(self, call: Site, q: Tensor, k: Tensor, v: Tensor) -> None:  # noqa: ARG002  (the seam's)
        """Note the map of one layer."""
        if not (call.site.startswith(SECOND_HALF) and call.site.endswith(LOOKS_AT_TEXT)):
            return
        shares = grouped(attention(q[0], k[0], call.heads, len(self._grouping)), self._grouping)
        found = resized(shares.T.reshape(-1, call.height, call.width), *self._size)
        self._sum = found if self._sum is None else self._sum + found
        self._layers += 1

    def taken(self) -> Tensor | None:
        """The maps [G, height, width] since this was last asked, which add up to 1 at every pixel; None without any layer."""
        found = None if self._sum is None else self._sum / self._layers
        self._sum, self._layers = None, 0
        return found


def attention(q: Tensor, k: Tensor, heads: int, places: int) -> Tensor:
    """How much of its attention each pixel gives to each place: q [N, C] and k [R * places, C] -> [N, places], rows add up to 1.

    Where the text stands there R times, its copies count together. Head by head, for all at once may not fit into memory.
    """
    queries, keys = (each.float().reshape(len(each), heads, -1) for each in (q, k))
    total = q.new_zeros(len(q), places, dtype=torch.float32)
    for head in range(heads):
        scores = queries[:, head] @ keys[:, head].T * queries.shape[-1] ** -0.5
        total += scores.softmax(dim=-1).reshape(len(q), -1, places).sum(dim=1)
    return total / heads


def grouped(shares: Tensor, grouping: Tensor) -> Tensor:
    """The shares [N, M] of places as those of groups [N, G]."""
    return shares @ grouping.to(shares)


def resized(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps [G, h, w] at another size; what adds up to 1 at every pixel still does."""
    if maps.shape[-2] >= height and maps.shape[-1] >= width:
        return functional.adaptive_avg_pool2d(maps, (height, width))
    return functional.interpolate(maps[None], (height, width), mode="bilinear", align_corners=False)[0]


def grouping_of(words: Sequence[Word], length: int) -> Tensor:
    """Which of `length` places counts for which word [length, words + 1]; the last group has what belongs to none."""
    table = torch.zeros(length, len(words) + 1)
    for number, word in enumerate(words):
        table[list(word.places), number] = 1
    table[:, -1] = 1 - table[:, :-1].sum(dim=1)
    return table
