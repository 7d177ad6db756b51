"""Weights from files into fresh memory, converted on the way: several at once, a block ahead of whoever takes them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from webui.errors import ModelFileError
from webui.weights.files import Stamp, TensorInfo, lie_open, numbers_of, opened_as
from webui.weights.fresh_memory import BLOCK, fresh_memory
from webui.weights.pickles import read_pickled
from webui.weights.plans import Place

READERS = 4  # threads; two keep the memory of a small machine busy
ALONE = 8 << 20  # bytes up to which threads are not worth their start
STEP = 1 << 19  # numbers changed at once, so that they are still in the cache


LOCK = threading.Lock()  # for systems where a file has one position only
Use = list[tuple[str, Place]]  # the weights that come of one tensor of a file


@dataclass(frozen=True)
class Form:
    """How weights are wanted: their number type, None for the file's, and whether convolutions' channels are last in memory."""

    dtype: torch.dtype | None = None
    channels_last: bool = False


@dataclass(frozen=True, eq=False)
class Reading:
    """One tensor of a file, and which weights it is for, each with the memory that it gets."""

    info: TensorInfo
    uses: tuple[tuple[str, Place, Tensor], ...]


def read_places(places: Mapping[str, Place], stamps: Mapping[Path, Stamp], form: Form) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights that lie at `places` with the keys they have there.

    Raises `ModelFileError` where a file is another one than its stamp says.
    """
    by_file: dict[Path, dict[str, list[str]]] = {}
    for key, place in places.items():
        by_file.setdefault(place.file, {}).setdefault(place.key, []).append(key)
    for path, wanted in by_file.items():
        uses = [[(key, places[key]) for key in keys] for keys in wanted.values()]
        with opened_as(path, stamps[path]) as file:
            open_ = lie_open(file, [use[0][1].info for use in uses])
            yield from _read(file, path, uses, form) if open_ else _unpickled(path, uses, form)


def _unpickled(path: Path, uses: Sequence[Use], form: Form) -> Iterator[tuple[str, Tensor]]:
    wanted = {use[0][1].key: use for use in uses}
    for source, tensor in read_pickled(path, list(wanted)):
        for key, place in wanted[source]:
            memory = torch.empty(_room(place, form), dtype=torch.uint8)
            yield key, _shaped(memory, place, form).copy_(place.piece.take(tensor).reshape(place.shape))


def _read(file: BinaryIO, path: Path, uses: Sequence[Use], form: Form) -> Iterator[tuple[str, Tensor]]:
    spare = Spare()
    ordered = sorted(uses, key=lambda use: use[0][1].info.span[0])
    total = sum(_room(place, form) for use in ordered for _, place in use)
    if total <= ALONE:
        for reading in _planned(ordered, form):
            _fill(file, path, reading, spare)
            yield from ((key, value) for key, _, value in reading.uses)
        return
    with ThreadPoolExecutor(min(READERS, os.cpu_count() or 1), "read-weights") as pool:
        waiting: list[tuple[Reading, Future[None]]] = []
        try:
            for block in _blocks(ordered, form):
                ahead = [(reading, pool.submit(_fill, file, path, reading, spare)) for reading in _planned(block, form)]
                yield from _taken(waiting)
                waiting = ahead
            yield from _taken(waiting)
        finally:
            pool.shutdown(cancel_futures=True)


def _taken(waiting: list[tuple[Reading, Future[None]]]) -> Iterator[tuple[str, Tensor]]:
    """Yield what was read, and let go of it here: whoever takes it decides how long it is kept."""
    waiting.reverse()
    while waiting:
        reading, done = waiting.pop()
        done.result()
        yield from ((key, value) for key, _, value in reading.uses)


def _blocks(uses: Sequence[Use], form: Form) -> Iterator[list[Use]]:
    block: list[Use] = []
    filled = 0
    for use in uses:
        size = sum(_room(place, form) for _, place in use)
        if block and filled + size > BLOCK:
            yield block
            block, filled = [], 0
        block.append(use)
        filled += size
    if block:
        yield block


def _planned(uses: Sequence[Use], form: Form) -> list[Reading]:
    """Give memory to a block of weights."""
    memory = iter(fresh_memory([_room(place, form) for use in uses for _, place in use]))
    return [
        Reading(use[0][1].info, tuple((key, place, _shaped(next(memory), place, form)) for key, place in use)) for use in uses
    ]


def _room(place: Place, form: Form) -> int:
    numbers = 1
    for side in place.shape:
        numbers *= side
    return numbers * (place.info.item_bytes if form.dtype is None else form.dtype.itemsize)


def _shaped(memory: Tensor, place: Place, form: Form) -> Tensor:
    numbers = memory.view(form.dtype or numbers_of(place.info))
    if form.channels_last and len(place.shape) == 4:
        out, channels, height, width = place.shape
        return numbers.reshape(out, height, width, channels).permute(0, 3, 1, 2)
    return numbers.reshape(place.shape)


def _fill(file: BinaryIO, path: Path, reading: Reading, spare: Spare) -> None:
    """Read one tensor of a file into the memory of the weights it is for."""
    begin, end = reading.info.span
    _, place, value = reading.uses[0]
    if len(reading.uses) > 1 or place.piece.parts > 1 or place.piece.transposed or not reading.info.in_order:
        raw = torch.empty(end - begin, dtype=torch.uint8)
        _bytes_into(raw, file, path, begin)
        tensor = reading.info.shaped(raw)
        for _, place, value in reading.uses:
            value.copy_(place.piece.take(tensor).reshape(place.shape))
    elif value.dtype == numbers_of(reading.info) and value.is_contiguous():
        _bytes_into(value.reshape(-1).view(torch.uint8), file, path, begin)
    else:
        _changed_into(value, reading.info, file, path, spare)


def _changed_into(value: Tensor, info: TensorInfo, file: BinaryIO, path: Path, spare: Spare) -> None:
    """Fill a tensor with numbers of another type or in another order, a few rows at a time."""
    rows = value if value.dim() else value.reshape(1)
    length = rows[0].numel()
    step = max(1, STEP // length)
    with spare.borrowed(step * length) as (scratch, singles, last):
        for done in range(0, len(rows), step):
            into = rows[done : done + step]
            count = into.numel()
            read = scratch[: count * info.item_bytes]
            _bytes_into(read, file, path, info.span[0] + done * length * info.item_bytes)
            numbers = read.view(numbers_of(info))
            if numbers.dtype == torch.float16 and value.dtype == torch.bfloat16:
                # torch turns half into bfloat16 one by one, but many at once into single precision and from there
                numbers = singles[:count].copy_(numbers)
            if not value.is_contiguous() and numbers.dtype != value.dtype:
                numbers = last[: count * value.element_size()].view(value.dtype).copy_(numbers)  # then only moving is left
            into.copy_(numbers.reshape(into.shape))


class Spare:
    """Memory to change numbers in, lent to one thread after the other, for fresh memory costs more than the change."""

    def __init__(self) -> None:
        self._free: list[tuple[Tensor, Tensor, Tensor]] = []

    @contextmanager
    def borrowed(self, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Room for so many numbers of at most eight bytes, as bytes, as singles, and as bytes again."""
        try:
            lent = self._free.pop()
        except IndexError:
            lent = torch.empty(0, dtype=torch.uint8), torch.empty(0), torch.empty(0, dtype=torch.uint8)
        if len(lent[1]) < count:
            size = max(count, STEP)
            lent = torch.empty(8 * size, dtype=torch.uint8), torch.empty(size), torch.empty(8 * size, dtype=torch.uint8)
        try:
            yield lent
        finally:
            self._free.append(lent)


def _bytes_into(memory: Tensor, file: BinaryIO, path: Path, begin: int) -> None:
    view = memoryview(memory.numpy())  # type: ignore[arg-type]  # numpy's arrays are buffers
    done = 0
    while done < len(view):
        count = _read_at(file, view[done:], begin + done)
        if count == 0:
            raise ModelFileError(f"{path.name} became shorter while it was read.")
        done += count


def _read_at(file: BinaryIO, view: memoryview, begin: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [view], begin)
    with LOCK:
        file.seek(begin)
        count: int = file.readinto(view)  # type: ignore[attr-defined]
        return count
