"""Changes to a network that belong to a job and travel with its rows; nothing is ever installed in a module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from webui.errors import UserError, quoted

if TYPE_CHECKING:
    from torch import Tensor

MOST_VECTORS = 75  # what fits into one window of a text tower


@dataclass(frozen=True, eq=False)
class WeightPatch:
    """A change of one weight: `delta(original) -> tensor` of the same shape, computed from the unpatched weight.

    `key` is the name of the weight in the published single-file layout. `content` names the patch (a hash), so that deltas are
    summed in one order whatever the order of the tags.

    With `beside` a number, the change is not merged: it is run beside the layer with that strength, which may then differ from
    row to row and step to step; `delta` is the change at strength 1, and `content` says nothing of the strength. `low_rank` gives
    (up, down, scale) where the change is scale * up @ down, which is then run as it is.
    """

    key: str
    delta: Callable[[Tensor], Tensor]
    content: str
    low_rank: Callable[[], tuple[Tensor, Tensor, float]] | None = None
    beside: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenVectors:
    """Vectors that stand in for a name in a prompt (Gal et al. 2022, arXiv:2208.01618: textual inversion).

    `vectors` holds one [count, width] for each text tower of the network. `content` names them (a hash): equal names, equal
    vectors. A name is found by its tokens wherever they stand.
    """

    name: str
    content: str
    vectors: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        counts = {len(each) for each in self.vectors}
        if len(counts) != 1 or not 1 <= self.count <= MOST_VECTORS:
            raise UserError(
                f"The embedding {quoted(self.name)} has {', '.join(map(str, sorted(counts))) or 'no'} vectors; each text tower "
                f"needs equally many, 1 to {MOST_VECTORS}. Leave it out of the prompt."
            )

    @property
    def count(self) -> int:
        """How many vectors the name stands for."""
        return len(self.vectors[0]) if self.vectors else 0


@dataclass(frozen=True, eq=False)
class Patches:
    """All changes of a row's network, joined with `+`.

    `attention` and `blocks` are hook objects as `webui.nets.attention` and `webui.nets.unet` describe them; `residuals` are
    added to blocks; `tokens` are vectors that stand in for names in prompts; `padding` is that of the convolutions, None for the
    default.
    """

    weights: tuple[WeightPatch, ...] = ()
    attention: tuple[Any, ...] = ()
    blocks: tuple[Any, ...] = ()
    residuals: tuple[Tensor, ...] = ()
    tokens: tuple[TokenVectors, ...] = ()
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
        """Rows whose keys are equal may share a call: weight patches by content, hook objects by identity.

        How strong those are that are run beside layers is each row's own affair.
        """
        return (
            tuple(sorted((patch.content, patch.key, patch.beside is not None) for patch in self.weights)),
            tuple(map(id, self.attention)),
            tuple(map(id, self.blocks)),
            tuple(sorted(each.content for each in self.tokens)),
            self.padding,
        )


NO_PATCHES = Patches()
