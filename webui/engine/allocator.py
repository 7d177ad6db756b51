"""The C library's memory, kept for the next step instead of given back and fetched anew page by page.

Every step of a picture asks for the same large pieces of memory. By default glibc returns each to the system at once, and the
next one costs a fault for every 4 KiB: a tenth of a step on a CPU. So freed memory is kept while pictures are made, and given
back when weights go. Weights themselves lie elsewhere (`webui.weights.fresh_memory`).
"""


from __future__ import annotations

import ctypes
import platform
import sys
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)
KEPT = 1 << 30  # bytes of freed memory that may stay before some goes back
LARGEST = (1 << 30, 32 << 20)  # pieces up to this are kept: as much as this version of glibc allows


def keep_freed_memory() -> bool:
    """Keep what is freed; False where the C library is another one, which is left as it is."""
    library = glibc()
    if library is None:
        return False
    kept = bool(library.mallopt(TRIM_THRESHOLD, KEPT))
    return any(library.mallopt(MMAP_THRESHOLD, size) for size in LARGEST) and kept


def give_back() -> None:
    """Give freed memory back to the system, where it was kept."""
    library = glibc()
    if library is not None:
        library.malloc_trim(0)


def glibc() -> Any:
    """The C library of this process where it is glibc, else None."""
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.CDLL(None)
