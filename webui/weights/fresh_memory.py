"""Fresh memory for many weights at once, cheap to fill.

Most of the time to read a cached file into new memory goes into the kernel's handing it out page by page. Where the system has
large pages (Linux), memory is therefore asked for in blocks of many weights that lie on such pages; when the last weight of a
block is dropped the block goes back to the system, so that nothing is kept of a model that is no longer held.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 64 << 20  # bytes of weights that may share a block, and so are given back together
LARGE_PAGE = 2 << 20
ALIGNMENT = 64  # bytes, as torch aligns its own
HAS_LARGE_PAGES = hasattr(mmap, "MADV_HUGEPAGE") and hasattr(mmap, "MAP_PRIVATE")


def fresh_memory(sizes: Sequence[int]) -> list[Tensor]:
    """Memory of each of these sizes in bytes, as tensors of bytes; together they should not be much more than `BLOCK`."""
    begins, total = [], 0
    for size in sizes:
        begins.append(total)
        total += -(-size // ALIGNMENT) * ALIGNMENT
    if not HAS_LARGE_PAGES or total < LARGE_PAGE:
        return [torch.empty(size, dtype=torch.uint8) for size in sizes]
    whole = _block(total)
    return [whole[begin : begin + size] for begin, size in zip(begins, sizes, strict=True)]


def _block(size: int) -> Tensor:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without large pages
        memory.madvise(mmap.MADV_HUGEPAGE, 0, size // LARGE_PAGE * LARGE_PAGE)  # not the end, of which most might stay empty
    return torch.frombuffer(memory, dtype=torch.uint8)
