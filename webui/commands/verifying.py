"""`launch.py models verify`: a file read from end to end."""

from __future__ import annotations

from pathlib import Path

from webui.commands.model_lines import megabytes, show_lines, weights
from webui.commands.terminal import Bar, show
from webui.errors import ModelFileError, one_line
from webui.service.folders import cache_folder

GIGABYTE = 1e9


def verify(path: Path, root: Path) -> int:
    """Print what a file is and all that is wrong with it, and remember it; returns 0 for a good file, 1 for a broken one."""
    from webui.service.catalogue import HASHES
    from webui.weights import hashes
    from webui.weights.verifying import MEMORY, keep, verified, whole_header

    bar = Bar()

    def told(done: int, total: int) -> None:
        bar.show(f"{done / GIGABYTE:.1f} of {total / GIGABYTE:.1f} GB read")

    found = verified(path, told=told)
    lines = {"File": str(path), "What": found.what or "unknown"}
    try:
        lines |= {"Size": megabytes(path)}
        lines |= {"SHA-256": hashes.sha256(path, cache_folder(root) / HASHES, told)}
        lines |= {"Weights": weights(whole_header(path))}
    except ModelFileError:  # the same that `verified` said already
        pass
    bar.clear()
    keep(path, found, cache_folder(root) / MEMORY)
    show_lines(lines)
    for note in found.notes:
        show(one_line(f"Note:         {note}"))
    show("Result:       " + ("broken" if found.faults else "good: nothing is missing or cut off, and every number is finite"))
    for fault in found.faults:
        show(one_line(f"  - {fault}"))
    return 1 if found.faults else 0
