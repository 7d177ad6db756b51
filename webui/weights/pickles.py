"""PyTorch's pickled files (.ckpt, .pt, .pth, .bin), read without running anything that is in them: the one door for all kinds.

`torch.load(weights_only=True)` builds tensors and plain containers only. Some real files also hold a few harmless objects of
training programs; each is replaced by an inert one that only keeps its state. What comes out holds nothing of them any more:
dictionaries, lists, tensors, numbers and texts.
"""

from __future__ import annotations

import pickle
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from webui.errors import ModelFileError
from webui.weights.archives import Stored, storages

STATE_NAMES = ("state_dict", "model_state_dict", "params_ema", "params", "model", "module")
REFUSED = re.compile(r"GLOBAL ([\w.]+)")  # in torch's message
LOCK = threading.Lock()  # torch keeps its list of allowed names per process


class Inert(dict[Any, Any]):
    """Stands for an object that has no use here: any arguments, no behaviour, its state kept aside."""

    state: Any = None

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __hash__(self) -> int:  # type: ignore[override]  # an object here may have been a dictionary's key
        return id(self)


CALLBACKS = (
    "model_checkpoint.ModelCheckpoint", "early_stopping.EarlyStopping", "lr_monitor.LearningRateMonitor",
    "progress.tqdm_progress.TQDMProgressBar", "model_summary.ModelSummary", "stochastic_weight_avg.StochasticWeightAveraging",
)  # fmt: skip
INERT_NAMES = (
    *(f"{package}.callbacks.{name}" for package in ("pytorch_lightning", "lightning.pytorch") for name in CALLBACKS),
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "torch.nn.modules.container.ParameterDict",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
)
DEEPEST = 24  # containers within containers; files have five


def load_pickle(path: Path, meta: bool = False) -> Any:
    """Return what a pickled file holds: containers of tensors, numbers and text; with `meta` tensors without values.

    Raises `ModelFileError` if it is broken or holds anything that could run code.
    """
    # An open file, not its path: given a path, torch goes by the name's ending.
    with LOCK, torch.serialization.safe_globals([(Inert, name) for name in INERT_NAMES]), path.open("rb") as file:
        try:
            return plain(torch.load(file, map_location="meta" if meta else "cpu", weights_only=True))
        except pickle.UnpicklingError as error:
            if match := REFUSED.search(str(error)):
                raise ModelFileError(
                    f"{path.name} was refused: besides weights it holds {match[1]}, which could run code. "
                    "Look for the same model as .safetensors."
                ) from error
            raise ModelFileError(f"{path.name} is not a weight file, or is broken: PyTorch cannot read it.") from error
        except MemoryError as error:
            raise ModelFileError(f"{path.name} needs more memory than there is, or is broken.") from error
        except Exception as error:  # a broken archive raises nearly anything
            raise ModelFileError(f"{path.name} is broken or cut short: PyTorch cannot read it. Download it again.") from error


def plain(loaded: Any) -> Any:
    """Return the same as plain containers of tensors, numbers and texts; all else becomes None, and a container met again.

    The methods called are the built-in types' own: a file may have given its containers attributes of the same names.
    """
    return _plain(loaded, set(), 0)


def _plain(loaded: Any, seen: set[int], depth: int) -> Any:
    if isinstance(loaded, Tensor):
        return loaded.detach() if loaded.layout == torch.strided and not loaded.is_quantized else None
    if loaded is None or isinstance(loaded, (str, bytes, bool, int, float)):
        return loaded
    if id(loaded) in seen or depth == DEEPEST:  # a file of a kilobyte can be a tree of more branches than can be counted
        return None
    seen.add(id(loaded))
    if isinstance(loaded, Inert):
        return _plain(_kept(loaded.state), seen, depth)
    if isinstance(loaded, dict):
        items = ((key, value) for key, value in dict.items(loaded) if isinstance(key, (str, int)))
        return {key: _plain(value, seen, depth + 1) for key, value in items}
    if isinstance(loaded, (list, tuple)):
        values = list.__iter__(loaded) if isinstance(loaded, list) else tuple.__iter__(loaded)
        return [_plain(value, seen, depth + 1) for value in values]
    return None


def _kept(state: Any) -> dict[Any, Any]:
    """The parameters among what an object was: torch keeps them as attributes, and kept them in a table before."""
    if not isinstance(state, dict):
        return {}
    table = dict.get(state, "_parameters")
    own = {key: value for key, value in dict.items(state) if isinstance(value, Tensor)}
    return own if not isinstance(table, dict) else {**dict(dict.items(table)), **own}


def places(file: BinaryIO, tensors: Mapping[str, Tensor]) -> dict[str, Stored]:
    """Return where tensors that were loaded with `meta` lie in their file; those of other formats than archives lie nowhere."""
    known = storages(file)
    found = {key: _place(value, known) for key, value in tensors.items()}
    return {key: place for key, place in found.items() if place is not None}


def _place(tensor: Tensor, known: Mapping[int, int]) -> Stored | None:
    # torch notes it for whoever loads without values (its FakeTensorMode uses it); pinned, and the tests notice if it goes.
    base: int = getattr(tensor.untyped_storage(), "_checkpoint_offset", -1)
    if base not in known or not tensor.numel():
        return None
    numbers = 1 + sum((side - 1) * step for side, step in zip(tensor.shape, tensor.stride(), strict=True))
    begin = base + int(tensor.storage_offset()) * tensor.element_size()
    end = begin + numbers * tensor.element_size()
    if end > known[base] or numbers < tensor.numel():  # the latter repeats its numbers
        return None
    return Stored(begin=begin, end=end, strides=() if tensor.is_contiguous() else tensor.stride())


def read_pickled(path: Path, keys: Collection[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors named, each in memory of its own."""
    loaded = pickled_tensors(path)
    for key in keys:
        yield key, loaded.pop(key).clone(memory_format=torch.contiguous_format)


def pickled_tensors(path: Path, meta: bool = False) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint's state dictionary by key."""
    loaded = load_pickle(path, meta)
    for name in STATE_NAMES:
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
            break
    if not isinstance(loaded, dict):
        raise ModelFileError(f"{path.name} holds a {type(loaded).__name__}, not named weights.")
    return {key: value for key, value in loaded.items() if isinstance(key, str) and isinstance(value, Tensor)}
