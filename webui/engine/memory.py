"""How many bytes of weights a device may hold: what a person set, else what is free there, less room to compute in."""

from __future__ import annotations

import torch

MEGABYTE = 10**6
SHARE = 0.8  # of the free memory of a device, or of this machine; the rest is for everybody else and for what nobody counted
WORKING = 1536 * MEGABYTE  # what drawing and decoding ordinary pictures takes beside the weights, in the largest family
UNKNOWN = 8000 * MEGABYTE  # taken to be free where nothing is known: a cache without a bound would fill any machine
LEAST = 256 * MEGABYTE  # with less than this nothing can be drawn; then it is tried, and an error says what was needed


def free_bytes(device: str, total: float | None, free: float | None) -> int | None:
    """What is free on a device in bytes; `total` and `free` are this machine's memory in gigabytes, None where it is unknown.

    A system that does not tell what is free (macOS) is taken to have half of its memory free.
    """
    if device.startswith("cuda"):
        found, _ = torch.cuda.mem_get_info(torch.device(device))
        return int(found)
    gigabytes = free if free is not None else None if total is None else total / 2
    return None if gigabytes is None else int(gigabytes * 1000 * MEGABYTE)


def weights_budget(free: int | None, megabytes: int = 0) -> int:
    """The bytes that weights may take: `megabytes` where they are set (not 0), else what is sensible of what is free."""
    if megabytes:
        return megabytes * MEGABYTE
    return max(int((UNKNOWN if free is None else free) * SHARE) - WORKING, LEAST)
