"""A weight file read from end to end: whether what its header says is there, in its place, and all of it numbers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.errors import ModelFileError
from webui.nets.spec import ModelSpec
from webui.weights import kinds, remembered
from webui.weights.completeness import faults
from webui.weights.depth_layouts import is_estimator_folder
from webui.weights.families import Override, detect
from webui.weights.files import TORCH_NAMES, Header, TensorInfo, is_pickle, read_some
from webui.weights.first_bytes import header_at
from webui.weights.hashes import Told
from webui.weights.kind_details import details
from webui.weights.plans import plan_of, some

if TYPE_CHECKING:
    from torch import Tensor

MEMORY = "verified.json"  # in the cache folder: what was found in files that were read from end to end


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a file is, in words ("" where that is unknown), what is wrong with it, and what is odd but does no harm.

    `spec` is that of a checkpoint; None where it is another kind of file, or too broken to tell.
    """

    what: str
    spec: ModelSpec | None = None
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def examined(path: Path, override: Override | None = None) -> tuple[Header, Findings]:
    """Return a file's header and what it shows, whatever kind of file it is; `ModelFileError` where it has none."""
    header = whole_header(path)
    try:
        spec = detect(header, override)
    except ModelFileError as error:
        kind = kinds.ESTIMATOR if is_estimator_folder(path) else kinds.kind_of(header.tensors)
        if kind is None or kind is kinds.CHECKPOINT:
            return header, Findings(what="" if kind is None else kind.name, faults=(str(error),))
        what, wrong = details(kind, header)
        return header, Findings(what=what, faults=wrong, notes=(f"It is no checkpoint. {kind.advice}.",))
    return header, Findings(what=f"{spec.title} ({spec.family})", spec=spec, faults=tuple(faults(spec, header)))


def verified(path: Path, override: Override | None = None, told: Told | None = None) -> Findings:
    """Read a whole file or folder, one tensor after the other, and return all that is wrong with it.

    `told` hears how many bytes were read of how many.
    """
    try:
        header, found = examined(path, override)
        more, notes = ((), ()) if path.is_dir() else _order(header)
        values = tuple(_values(path, header, told))
    except ModelFileError as error:
        return Findings(what="", faults=(str(error),))
    return replace(found, faults=(*found.faults, *more, *values), notes=(*found.notes, *notes))


def kept(path: Path, memory: Path) -> tuple[str, ...] | None:
    """The faults that were found in a file when it was last read from end to end; None where it was not, or has changed since."""
    try:
        entry = remembered.of_file(remembered.read(memory), remembered.place(path), remembered.stamp(path))
    except OSError:
        return None
    found = entry.get("faults")
    return tuple(map(str, found)) if isinstance(found, list) else None


def keep(path: Path, found: Findings, memory: Path) -> None:
    """Remember what was found in a file until it changes."""
    with contextlib.suppress(OSError):  # a folder, or a file that is gone by now
        remembered.add(memory, {remembered.place(path): {**remembered.stamp(path), "faults": list(found.faults)}})


def whole_header(path: Path) -> Header:
    """A file's header; of a pickle without a state dictionary, with all tensors wherever they are in it."""
    header = header_at(path)
    if header.tensors or path.is_dir() or not is_pickle(path):
        return header
    from webui.weights.pickles import load_pickle

    names = {torch_name: name for name, torch_name in TORCH_NAMES.items()}
    found = {key: (value.shape, str(value.dtype).removeprefix("torch.")) for key, value in nested(load_pickle(path, meta=True))}
    tensors = {key: TensorInfo(shape=tuple(shape), dtype=names.get(dtype, dtype)) for key, (shape, dtype) in found.items()}
    return Header(tensors=tensors, metadata={}, stamp=header.stamp)


def nested(loaded: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor within containers, its key being the way to it: `string_to_param.*`, `768.0.linear.0.weight`."""
    import torch

    if isinstance(loaded, (dict, list)):
        for key, value in loaded.items() if isinstance(loaded, dict) else enumerate(loaded):
            yield from nested(value, f"{prefix}{key}.")
    elif isinstance(loaded, torch.Tensor):
        yield prefix.removesuffix("."), loaded


def _order(header: Header) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Whether tensors share bytes, and whether bytes belong to none; pickles and folders do not say where theirs lie."""
    placed = sorted((info.begin, info.end, key) for key, info in header.tensors.items() if info.end > info.begin)
    if not placed:
        return (), ()
    shared = [key for (_, end, _), (begin, _, key) in pairwise(placed) if begin < end]
    unused = sum(max(begin - end, 0) for (_, end, _), (begin, _, _) in pairwise(placed))
    unused += max(header.stamp[0] - max(end for _, end, _ in placed), 0)
    wrong = (f"{len(shared)} tensors lie over others: {some(shared)}.",) if shared else ()
    return wrong, (f"{unused:,} bytes belong to no tensor.",) if unused else ()


def _values(path: Path, header: Header, told: Told | None) -> Iterator[str]:
    done, broken = 0, []
    total = sum(_bytes(info.shape, info.item_bytes) for info in header.tensors.values())
    needed = _needed(header)
    for key, value in _tensors(path, header):
        if (path.is_dir() or key in needed) and (odd := _not_finite(value)):
            broken.append(f"{some([key])} ({odd})")
        done += value.nbytes
        if told is not None:
            told(done, total)
    if broken:
        more = f" and {len(broken) - kinds.NEAREST} more" if len(broken) > kinds.NEAREST else ""
        yield f"{len(broken)} tensors hold values that are not numbers: {', '.join(broken[: kinds.NEAREST])}{more}."


def _tensors(path: Path, header: Header) -> Iterator[tuple[str, Tensor]]:
    if path.is_dir():
        from webui.weights.depth_files import open_estimator
        from webui.weights.source import open_model

        source = open_estimator(path) if is_estimator_folder(path) else open_model(path)
        for part in source.parts:
            yield from source.read(part)
    elif is_pickle(path) and not header_at(path).tensors:
        from webui.weights.pickles import load_pickle

        yield from nested(load_pickle(path))
    else:
        yield from read_some(path, header.tensors, header.stamp)


def _needed(header: Header) -> frozenset[str]:
    """The keys whose values matter: in a checkpoint those that a network takes, for masks and the like may hold infinity."""
    try:
        return frozenset(key for key, uses in plan_of(detect(header), header).items() if uses)
    except ModelFileError:
        return frozenset(key for key in header.tensors if not key.endswith("attn_mask"))


def _not_finite(value: Tensor) -> str:
    """How many of a tensor's values are NaN or infinite, in words; "" where none is."""
    if not value.is_floating_point():
        return ""
    value = value if value.element_size() > 1 else value.float()  # torch asks nothing of numbers of 8 bits
    import torch

    # A sum takes half the time of asking each number, and is finite only if all are; one that overflows proves nothing.
    if math.isfinite(value.sum(dtype=torch.float32 if value.element_size() < 4 else None)):
        return ""
    nan = int(value.isnan().sum())
    infinite = int(value.isinf().sum())
    return " and ".join(f"{count:,} {word}" for count, word in ((nan, "NaN"), (infinite, "infinite")) if count)


def _bytes(shape: tuple[int, ...], item: int) -> int:
    for side in shape:
        item *= side
    return item
