"""Torch's modes of the engine's thread, put back after foreign code: what one job leaves switched on would change the next one's
pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from webui.errors import JobError

CASTING = ("cpu", "cuda", "xpu", "mps")  # devices that torch.autocast knows


@contextmanager
def modes_kept() -> Iterator[None]:
    """Put gradients, automatic casts and the default number type back as they were; a `with` held across a `yield` leaves them.

    Inference mode cannot be ended from outside: a `JobError` says so, and closing the generator that entered it ends it.
    """
    gradients, dtype, inference = torch.is_grad_enabled(), torch.get_default_dtype(), torch.is_inference_mode_enabled()
    casts = [torch.is_autocast_enabled(device) for device in CASTING]
    try:
        yield
    finally:
        if torch.is_grad_enabled() != gradients:
            torch.set_grad_enabled(gradients)
        if torch.get_default_dtype() != dtype:
            torch.set_default_dtype(dtype)
        for device, cast in zip(CASTING, casts, strict=True):
            if torch.is_autocast_enabled(device) != cast:
                torch.set_autocast_enabled(device, cast)
    if torch.is_inference_mode_enabled() != inference:
        raise JobError(
            "A sampler or hook of this job left torch.inference_mode switched on across a yield; it must use torch.no_grad, or "
            "leave the mode before it asks for anything."
        )
