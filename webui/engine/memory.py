"""How many bytes of weights a device may hold: what a person set, else what is free there, less room to compute in."""

from __future__ import annotations

import torch

MEGABYTE = 10**6
SHARE = 0.8  # of the free memory of a device, or of this machine; the rest is for everybody else and for what nobody counted
WORKING = 1536 * MEGABYTE  # what drawing and decoding ordinary pictures takes beside the weights, in the largest family
LEAST = 256 * MEGABYTE  # with less than this nothing can be drawn; then it is tried, and an error says what was needed


def free_bytes(device: str, machine: float | None) -> int | None:
    """What is free on a device in bytes; `machine` is what is free of this machine's memory in gigabytes, None unknown."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return int(free)
    return None if machine is None else int(machine * 1000 * MEGABYTE)


def weights_budget(free: int | None, megabytes: int = 0) -> int:
    """The bytes that weights may take: `megabytes` where they are set (not 0), else what is sensible of what is free."""
    if megabytes:
        return megabytes * MEGABYTE
    if free is None:
        return 2**62
    return max(int(free * SHARE) - WORKING, LEAST)
