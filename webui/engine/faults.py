"""What errors mean and how they are told to people. Everything here stands even what foreign code raises."""

from __future__ import annotations

import threading

import torch

from webui.engine.batching import Waiting
from webui.errors import NotANumber, OutOfMemory, WebUIError, quoted

LONGEST_ERROR = 300  # characters of an unexpected error that are repeated to the user
# How devices and libraries say it; the last is torch's on Windows.
NO_MEMORY = ("out of memory", "can't allocate memory", "alloc_failed", "not enough memory")


def said(error: BaseException) -> str:
    """The text of an error, even of one that cannot be turned into text."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  an extension's error may have a broken __str__
        return "(an error without words)"


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory did not suffice; devices say it in different ways."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in said(error).lower() for words in NO_MEMORY)


def ends_the_program(error: BaseException) -> bool:
    """Whether an error is nobody's fault but Ctrl+C, which only the main thread gets."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def without_frames(error: BaseException) -> None:
    """Let go of the frames of an error and of those behind it: they hold the tensors whose memory is wanted back."""
    seen: list[BaseException] = []
    behind: BaseException | None = error
    while behind is not None and not any(behind is other for other in seen):
        seen.append(behind)
        behind.__traceback__ = None
        behind = behind.__cause__ or behind.__context__


def sentence(error: BaseException, error_id: str) -> str:
    """What the user is told: an error's own words where it was foreseen, else what it is and where to find more."""
    if isinstance(error, WebUIError):
        return said(error)
    what = quoted(f"{type(error).__name__}: {said(error)}", LONGEST_ERROR)
    return f"This job failed through a fault in the program or in an extension: {what}. The log has the details under {error_id}."


def not_enough(waiting: Waiting) -> OutOfMemory:
    """The error for a single row that does not fit."""
    row = waiting.rows[0]
    height, width = row.x.shape[-2:]
    return OutOfMemory(
        f"There is not enough memory for a latent of {width} x {height} on the model {row.network!r}, even alone; "
        "use a smaller picture or a smaller model, or close other programs that use the device."
    )


def not_a_number(waiting: Waiting) -> NotANumber:
    """The error for rows whose predictions are not finite."""
    at = waiting.rows[0].at
    return NotANumber(
        f"The model {waiting.rows[0].network!r} returned values that are not numbers in step {at.step + 1}. "
        "Try a lower scale, fewer extra networks, or float32 instead of a shorter number type."
    )
