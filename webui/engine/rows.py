"""The tensors of one network call: rows put side by side, padded to a fixed count, contexts repeated to one length."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from webui.engine.batching import RowCall
from webui.pipeline.protocol import Moment, Row
from webui.weights.layouts import UNET


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """What a network is called with: `rows` B of them, those beyond the call's own being copies of its last one.

    `x` [U, C, H, W] float32 (unscaled), noise levels, channels, vectors and `guidance` (the scales that networks distilled from
    guided ones take) are those of U different inputs; `spread` says which of them each row has, None where all differ (U = B).
    Contexts and residuals are of B rows.
    """

    rows: tuple[Row, ...]
    inputs: tuple[Row, ...]
    spread: Tensor | None
    x: Tensor
    channels: Tensor | None
    residuals: tuple[Tensor, ...] | None
    guidance: Tensor | None

    @property
    def moments(self) -> tuple[Moment, ...]:
        """Where in its schedule each row is."""
        return tuple(row.at for row in self.rows)

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The noise level of each different input."""
        return tuple(row.at.sigma for row in self.inputs)

    def of_rows(self, values: Tensor) -> Tensor:
        """Values of the different inputs [U, ...] as values of the rows [B, ...]."""
        return values if self.spread is None else values.index_select(0, self.spread)


def batch_of(call: RowCall, device: torch.device) -> Batch:
    """Everything of a call but its contexts."""
    rows = call.rows + (call.rows[-1],) * (call.count - len(call.rows))
    inputs, spread = different(rows)
    channels = [row.channels for row in inputs if row.channels is not None]
    residuals = [summed(row) for row in rows]
    scales = [row.guidance for row in inputs if row.guidance is not None]
    return Batch(
        rows=rows,
        inputs=inputs,
        spread=None if len(inputs) == len(rows) else sent(torch.tensor(spread), device),
        x=torch.stack([row.x.to(device, torch.float32) for row in inputs]),
        channels=torch.stack([each.to(device, torch.float32) for each in channels]) if channels else None,
        residuals=tuple(torch.stack([each.to(device) for each in site]) for site in zip(*residuals, strict=True)) or None,
        guidance=sent(torch.tensor(scales, dtype=torch.float32), device) if scales else None,
    )


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Numbers of the host on a device. A copy from ordinary memory would wait for all that such a device still has to do."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def different(rows: Sequence[Row]) -> tuple[tuple[Row, ...], tuple[int, ...]]:
    """One row for each different input, and which of them each row has.

    Guided rows differ in their text alone: up to the first look at it, the network computes the same for them. Where hooks or
    residuals belong to rows, or strengths of patches do, every row is an input of its own, for those see rows.
    """
    patches = rows[0].patches
    beside = any(patch.beside is not None and patch.key.startswith(UNET) for patch in patches.weights)
    if beside or patches.attention or patches.blocks or any(row.residuals or row.patches.residuals for row in rows):
        return tuple(rows), tuple(range(len(rows)))
    # By identity: whoever makes guided rows gives them the same tensors, and to compare values would wait for the device.
    keys = [
        (id(row.x), row.at.sigma, row.time, id(row.channels), id(row.conditioning.vector), row.guidance) for row in rows
    ]
    first: dict[Hashable, Row] = {}
    for key, row in zip(keys, rows, strict=True):
        first.setdefault(key, row)
    places = {key: place for place, key in enumerate(first)}
    return tuple(first.values()), tuple(places[key] for key in keys)


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
