"""How models are told on a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from webui.commands.terminal import show
from webui.errors import ModelFileError, one_line

if TYPE_CHECKING:
    from webui.weights.files import Header


def show_lines(lines: Mapping[str, str]) -> None:
    """Print names and what is known, one a line."""
    for name, value in lines.items():
        show(one_line(f"{name + ':':<13} {value}"))


def weights(header: Header) -> str:
    """How many numbers of which types a file holds."""
    count = sum(math.prod(each.shape) for each in header.tensors.values())
    dtypes = ", ".join(sorted({each.dtype for each in header.tensors.values()}))
    return f"{count:,} in {len(header.tensors):,} tensors, {dtypes}"


def megabytes(path: Path) -> str:
    """The size of a file, or of all files in a folder; `ModelFileError` where it is gone, as what a link leads to may be."""
    try:
        size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) if path.is_dir() else path.stat().st_size
        return f"{size / 1e6:,.1f} MB"
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error
