"""The tensors of one network call: rows put side by side, padded to a fixed count, contexts repeated to one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from webui.engine.batching import RowCall
from webui.pipeline.protocol import Moment, Row


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """What a network is called with, `count` rows: x [B, C, H, W] float32 (unscaled), the noise level of each row, and the rest.

    `guidance` [B] are the scales that networks distilled from guided ones take. Rows beyond the call's own
    are copies of its last one.
    """

    rows: tuple[Row, ...]
    x: Tensor
    sigmas: tuple[float, ...]
    channels: Tensor | None
    residuals: tuple[Tensor, ...] | None
    guidance: Tensor | None = None

    @property
    def moments(self) -> tuple[Moment, ...]:
        """Where in its schedule each row is."""
        return tuple(row.at for row in self.rows)


def batch_of(call: RowCall, device: torch.device) -> Batch:
    """Everything of a call but its contexts."""
    rows = call.rows + (call.rows[-1],) * (call.count - len(call.rows))
    channels = [row.channels for row in rows if row.channels is not None]
    residuals = [summed(row) for row in rows]
    scales = [row.guidance for row in rows if row.guidance is not None]
    return Batch(
        rows=rows,
        x=torch.stack([row.x.to(device, torch.float32) for row in rows]),
        sigmas=tuple(row.at.sigma for row in rows),
        channels=torch.stack([each.to(device, torch.float32) for each in channels]) if channels else None,
        residuals=tuple(torch.stack([each.to(device) for each in site]) for site in zip(*residuals, strict=True)) or None,
        guidance=torch.tensor(scales, dtype=torch.float32, device=device) if scales else None,
    )


def summed(row: Row) -> tuple[Tensor, ...]:
    """A row's residuals and those of its patches, which are for the same sites, added."""
    if not row.residuals or not row.patches.residuals:
        return row.residuals or row.patches.residuals
    return tuple(own + more for own, more in zip(row.residuals, row.patches.residuals, strict=True))


def contexts(rows: Sequence[Row], length: int) -> Tensor:
    """The contexts of rows [B, length, width]; shorter ones are repeated whole, which attention does not notice."""
    return torch.stack([repeated(row.conditioning.tokens, length) for row in rows])


def repeated(tokens: Tensor, length: int) -> Tensor:
    """A context [n, width] repeated to `length`, a multiple of n."""
    return tokens if len(tokens) == length else tokens.repeat(length // len(tokens), 1)


def vectors(rows: Sequence[Row]) -> Tensor | None:
    """The vectors of rows [B, width], where their network takes one."""
    found = [row.conditioning.vector for row in rows if row.conditioning.vector is not None]
    return torch.stack(found) if found else None
