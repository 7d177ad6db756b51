"""Whether rows that a sampler, guidance or hook asks for are fit to stand beside those of others.

It is checked at the door, while it is known whose they are: within a shared call a malformed row would be everybody's trouble.
"""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real

from torch import Tensor

from webui.errors import JobError, quoted
from webui.pipeline.patches import Patches
from webui.pipeline.protocol import Conditioning, Moment, Row

LONGEST_SHOWN = 60


def check(rows: Iterable[object]) -> None:
    """Raise a `JobError` that names the first thing wrong with the first malformed row."""
    for row in rows:
        wrong = fault(row) if isinstance(row, Row) else f"{shown(row)} is not a row"
        if wrong is not None:
            raise JobError(f"A sampler, guidance or hook of this job asked for a malformed row: {wrong}.")


def fault(row: Row) -> str | None:
    """What is wrong with a row, or None."""
    x, at, text, channels = row.x, row.at, row.conditioning, row.channels
    if not is_tensor(x, 3):
        return f"x is {shown(x)}, expected a tensor [C, H, W] of floating-point numbers"
    if not isinstance(at, Moment) or not isinstance(at.sigma, Real) or not isinstance(at.step, int):
        return f"at is {shown(at)}, expected a Moment of plain numbers"
    if not isinstance(text, Conditioning) or not is_tensor(text.tokens, 2) or not isinstance(text.key, str):
        return f"conditioning is {shown(text)}, expected a Conditioning with tokens [length, width]"
    if text.vector is not None and not is_tensor(text.vector, 1):
        return f"the conditioning's vector is {shown(text.vector)}, expected a tensor [width]"
    if channels is not None and (not is_tensor(channels, 3) or channels.shape[1:] != x.shape[1:]):
        return f"channels are {shown(channels)}, expected a tensor [K, {x.shape[1]}, {x.shape[2]}]"
    if not isinstance(row.residuals, tuple) or not all(isinstance(each, Tensor) for each in row.residuals):
        return f"residuals are {shown(row.residuals)}, expected a tuple of tensors"
    if not isinstance(row.patches, Patches) or not all(isinstance(each, Tensor) for each in row.patches.residuals):
        return f"patches are {shown(row.patches)}, expected Patches"
    if row.guidance is not None and not isinstance(row.guidance, Real):
        return f"guidance is {shown(row.guidance)}, expected a number or None"
    if not isinstance(row.network, str) or not isinstance(row.role, str):
        return f"network and role are {shown((row.network, row.role))}, expected two names"
    return None


def is_tensor(value: object, dimensions: int) -> bool:
    """Whether something is a tensor of floating-point numbers, not empty, of so many dimensions."""
    return isinstance(value, Tensor) and value.dim() == dimensions and value.is_floating_point() and value.numel() > 0


def shown(value: object) -> str:
    """A few words for a value of any kind: a tensor by its shape and number type."""
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Conditioning) and isinstance(value.tokens, Tensor):
        return f"a Conditioning with {shown(value.tokens)}"
    return f"{type(value).__name__} {quoted(repr(value), LONGEST_SHOWN)}"
