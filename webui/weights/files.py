"""Weight files: the one door through which tensors come from disk and go to it.

A file is told by its content, never by its name. Safetensors files are read here without any library: their header in
milliseconds, their tensors one by one into fresh memory, so that no file stays mapped. Pickled checkpoints go through
`pickles.py`. Format: https://github.com/huggingface/safetensors (8 bytes length, JSON, then the tensors' bytes).
"""

from __future__ import annotations

import json
import math
import os
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from webui.errors import ModelFileError, StorageError, quoted
from webui.weights.archives import Stored
from webui.weights.remembered import MODEL_INDEX, NO_FILE

if TYPE_CHECKING:  # a header can be read without the seconds that importing torch takes
    import torch
    from torch import Tensor

LONGEST_HEADER = 100_000_000  # bytes, as in the format's reference implementation
MOST_AXES = 64  # of a tensor, as in torch; more would only be there to make the product of the sides slow
LARGEST_SIDE = 1 << 62
Shape = tuple[int, ...]
Named = Iterable[tuple[str, "Tensor"]]
Stamp = tuple[int, int]  # a file's size and time of change in nanoseconds
TORCH_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32", "I16": "int16",
    "I8": "int8", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "U16": "uint16",
    "U32": "uint32", "U64": "uint64",
}  # fmt: skip
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1,
    "F8_E5M2": 1, "U16": 2, "U32": 4, "U64": 8,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """Shape and dtype (safetensors' name, "F16") of one tensor, and where its bytes are in the file (0 for pickles)."""

    shape: tuple[int, ...]
    dtype: str
    begin: int = 0
    end: int = 0
    stored: Stored | None = None  # of pickles that need not be unpickled again to be read

    @property
    def span(self) -> tuple[int, int]:
        """Where in the file its bytes begin and end."""
        return (self.begin, self.end) if self.stored is None else (self.stored.begin, self.stored.end)

    def shaped(self, raw: Tensor) -> Tensor:
        """The tensor that the bytes of its span are."""
        numbers = raw.view(numbers_of(self))
        if self.in_order or self.stored is None:
            return numbers.reshape(self.shape)
        return numbers.as_strided(self.shape, self.stored.strides)

    @property
    def in_order(self) -> bool:
        """Whether its numbers follow each other in the file."""
        return self.stored is None or not self.stored.strides

    @property
    def item_bytes(self) -> int:
        """How many bytes one number takes; 1 for types that only PyTorch's own files have."""
        return ITEM_BYTES.get(self.dtype, 1)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a weight file holds, without the weights; `stamp` tells later whether it is still the same file."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    stamp: Stamp = (0, 0)


def read_header(path: Path) -> Header:
    """Return keys, shapes, dtypes and metadata of a weight file; a `ModelFileError` says what is wrong with it."""
    with _opened(path) as file:
        if _is_pickle(file):
            from webui.weights.pickles import pickled_tensors, places

            tensors = pickled_tensors(path, meta=True)
            lying = places(file, tensors)
            infos = {key: replace(_info(value), stored=lying.get(key)) for key, value in tensors.items()}
            return Header(tensors=infos, metadata={}, stamp=_stamp(file))
        return _safetensors_header(file, path)


def is_pickle(path: Path) -> bool:
    """Whether torch has to be imported to read the file's header; `ModelFileError` where it cannot be opened."""
    with _opened(path) as file:
        return _is_pickle(file)


def read_tensors(path: Path, keys: Collection[str] | None = None) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor (or those named) with its key, in the file's order, each in memory of its own on the CPU.

    Raises `ModelFileError` if a key is not there or the file is broken.
    """
    header = read_header(path)
    wanted = header.tensors if keys is None else keys
    if missing := [key for key in wanted if key not in header.tensors]:
        raise ModelFileError(f"{path.name} lacks {len(missing)} of the {len(wanted)} weights wanted, among them {missing[0]}.")
    yield from read_some(path, {key: header.tensors[key] for key in wanted}, header.stamp)


def read_some(path: Path, infos: Mapping[str, TensorInfo], stamp: Stamp) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors that a file's header told of, without reading it again; `stamp` is that header's.

    Raises `ModelFileError` where the file is another one by now.
    """
    with opened_as(path, stamp) as file:
        if not lie_open(file, infos.values()):
            from webui.weights.pickles import read_pickled

            yield from read_pickled(path, infos)
            return
        for key in sorted(infos, key=lambda key: infos[key].span[0]):
            yield key, _read(file, path, infos[key])


@contextmanager
def opened_as(path: Path, stamp: Stamp) -> Iterator[BinaryIO]:
    """Open a file that was seen before; `ModelFileError` where it is another one by now, or when it was read to the end."""
    with _opened(path) as file:
        if _stamp(file) != stamp:
            raise ModelFileError(f"{path.name} was changed since it was opened; load it again.")
        yield file
        if _stamp(file) != stamp:
            raise ModelFileError(f"{path.name} was changed while it was read; load it again.")


def lie_open(file: BinaryIO, infos: Iterable[TensorInfo]) -> bool:
    """Whether the tensors can be read from where they lie: those of some pickles have to be unpickled."""
    return all(info.stored is not None for info in infos) or not _is_pickle(file)


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all. Raises `StorageError` if it cannot be written."""
    infos = {key: _info(tensor) for key, tensor in tensors.items()}
    _write(path, infos, metadata or {}, ((key, tensor) for key, tensor in tensors.items()))


def write(path: Path, shapes: Mapping[str, Shape], dtype: torch.dtype, metadata: Mapping[str, str], tensors: Named) -> None:
    """Write what `save` does from tensors of one type that come one after the other, in any order.

    Raises `StorageError` if it cannot be written, and whatever their maker raises; then nothing is left of it.
    """
    name = next(name for name, torch_name in TORCH_NAMES.items() if str(dtype) == f"torch.{torch_name}")
    _write(path, {key: TensorInfo(shape=shape, dtype=name) for key, shape in shapes.items()}, metadata, tensors)


def _write(path: Path, infos: Mapping[str, TensorInfo], metadata: Mapping[str, str], tensors: Named) -> None:
    """To a temporary file beside the path, to the disk, then into place."""
    header, begins = _layout(infos, metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(header)
            for key, tensor in tensors:
                file.seek(len(header) + begins.pop(key))
                file.write(_bytes(tensor))
            file.flush()
            os.fsync(file.fileno())
        if begins:
            raise ValueError(f"{len(begins)} weights were announced and never came, among them {next(iter(begins))}.")
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _opened(path: Path) -> BinaryIO:
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise ModelFileError(f"{path} is a folder without {MODEL_INDEX}; choose a weight file or a diffusers folder.")
        if not stat.S_ISREG(kind):  # to open a pipe would be to wait until somebody writes to it
            raise ModelFileError(f"{path} cannot be opened: {NO_FILE}.")
        return path.open("rb")
    except FileNotFoundError as error:
        raise ModelFileError(f"There is no file {path}.") from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be opened: {error.strerror}.") from error


def _is_pickle(file: BinaryIO) -> bool:
    """Tell a zip archive or a bare pickle (protocol 2 to 5) by its first bytes; a safetensors header has "{" at the ninth."""
    start = file.read(9)
    if start[8:] == b"{":  # also where the header's length, which comes first, looks like the beginning of something else
        return False
    return start[:2] == b"PK" or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05")


def _info(tensor: Tensor) -> TensorInfo:
    names = {torch_name: name for name, torch_name in TORCH_NAMES.items()}
    return TensorInfo(shape=tuple(tensor.shape), dtype=names.get(str(tensor.dtype).removeprefix("torch."), str(tensor.dtype)))


def _stamp(file: BinaryIO) -> Stamp:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def _safetensors_header(file: BinaryIO, path: Path) -> Header:
    file.seek(0)
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(9)
    if size == 0:
        raise ModelFileError(f"{path.name} is empty; download or copy it again.")
    if len(prefix) < 9 or prefix[8:] != b"{":
        raise ModelFileError(f"{path.name} is not a weight file: it is neither safetensors nor a PyTorch checkpoint.")
    length = int.from_bytes(prefix[:8], "little")
    if length > LONGEST_HEADER:
        raise ModelFileError(f"{path.name} is not a weight file: its header would have {length} bytes, which is too long.")
    if 8 + length > size:
        raise ModelFileError(f"{path.name} is cut short: it has {size} bytes, its header needs {8 + length}. Download it again.")
    try:
        plain = json.loads(b"{" + file.read(length - 1))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path.name} is broken: its safetensors header cannot be read.") from error
    metadata = plain.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise ModelFileError(f"{path.name} is broken: its metadata is not a table.")
    try:
        texts = {key: str(value) for key, value in metadata.items()}
    except RecursionError as error:
        raise ModelFileError(f"{path.name} is broken: its metadata is not a table of texts.") from error
    tensors = {key: _entry(path, key, entry, 8 + length) for key, entry in plain.items()}
    needed = max((info.end for info in tensors.values()), default=0)
    if needed > size:
        raise ModelFileError(f"{path.name} is cut short: it has {size} bytes of {needed}. Download it again.")
    return Header(tensors=tensors, metadata=texts, stamp=_stamp(file))


def _entry(path: Path, key: str, entry: Any, offset: int) -> TensorInfo:
    try:
        shape, dtype, (begin, end) = tuple(entry["shape"]), entry["dtype"], entry["data_offsets"]
        numbers = (*shape, begin, end)
        whole = len(shape) <= MOST_AXES and all(type(value) is int and 0 <= value < LARGEST_SIDE for value in numbers)
        if dtype not in ITEM_BYTES:
            raise ModelFileError(f"{path.name}: {quoted(key)} has the dtype {quoted(str(dtype))}, which is not supported.")
        if not whole or end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
            raise ValueError
    except (TypeError, KeyError, ValueError) as error:
        raise ModelFileError(f"{path.name} is broken: its header's entry for {quoted(key)} makes no sense.") from error
    return TensorInfo(shape=shape, dtype=dtype, begin=offset + begin, end=offset + end)


def _read(file: BinaryIO, path: Path, info: TensorInfo) -> Tensor:
    import torch

    begin, end = info.span
    raw = torch.empty(end - begin, dtype=torch.uint8)
    file.seek(begin)
    if raw.numel() and file.readinto(memoryview(raw.numpy())) != raw.numel():  # type: ignore[attr-defined, arg-type]
        raise ModelFileError(f"{path.name} became shorter while it was read.")
    return info.shaped(raw).contiguous()


def numbers_of(info: TensorInfo) -> torch.dtype:
    """The type of a tensor's numbers."""
    import torch

    dtype: torch.dtype = getattr(torch, TORCH_NAMES[info.dtype])
    return dtype


def _layout(infos: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> tuple[bytes, dict[str, int]]:
    """Return the bytes before the tensors, and where after them each begins: wide items first, so all are aligned."""
    if strange := [key for key, info in infos.items() if info.dtype not in ITEM_BYTES]:
        raise ValueError(f"{strange[0]} has the dtype {infos[strange[0]].dtype}, which safetensors cannot hold.")
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begins, begin = {}, 0
    for key in sorted(infos, key=lambda key: (-ITEM_BYTES[infos[key].dtype], key)):
        begins[key], end = begin, begin + math.prod(infos[key].shape) * infos[key].item_bytes
        table[key] = {"dtype": infos[key].dtype, "shape": list(infos[key].shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, begins


def _bytes(tensor: Tensor) -> memoryview:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())  # type: ignore[arg-type]  # numpy's arrays are buffers
