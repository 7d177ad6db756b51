"""Changes to a network that belong to a job and travel with its rows; nothing is ever installed in a module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class WeightPatch:
    """A change of one weight: `delta(original) -> tensor` of the same shape, computed from the unpatched weight.

    `key` is the name of the weight in the published single-file layout. `content` names the patch (a hash), so that deltas are
    summed in one order whatever the order of the tags.
    """

    key: str
    delta: Callable[[Tensor], Tensor]
    content: str
    low_rank: Callable[[], tuple[Tensor, Tensor, float]] | None = None


@dataclass(frozen=True, eq=False)
class Patches:
    """All changes of a row's network, joined with `+`.

    `attention` and `blocks` are hook objects as `webui.nets.attention` and `webui.nets.unet` describe them; `residuals` are
    added to blocks; `tokens` are vectors of textual inversion; `padding` is that of the convolutions, None for the default.
    """

    weights: tuple[WeightPatch, ...] = ()
    attention: tuple[Any, ...] = ()
    blocks: tuple[Any, ...] = ()
    residuals: tuple[Tensor, ...] = ()
    tokens: tuple[Any, ...] = ()
    padding: str | None = None

    def __add__(self, other: Patches) -> Patches:
        return Patches(
            weights=self.weights + other.weights,
            attention=self.attention + other.attention,
            blocks=self.blocks + other.blocks,
            residuals=self.residuals + other.residuals,
            tokens=self.tokens + other.tokens,
            padding=other.padding or self.padding,
        )

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Rows whose keys are equal may share a call: weight patches by content, hook objects by identity."""
        return (
            tuple(sorted((patch.content, patch.key) for patch in self.weights)),
            tuple(map(id, self.attention)),
            tuple(map(id, self.blocks)),
            tuple(map(id, self.tokens)),
            self.padding,
        )


NO_PATCHES = Patches()
