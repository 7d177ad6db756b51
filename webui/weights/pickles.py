"""PyTorch's pickled checkpoints (.ckpt, .pt, .pth, .bin), read without running anything that is in them.

`torch.load(weights_only=True)` builds tensors and plain containers only. Some real files also hold a few harmless objects
of training programs; each is replaced by an inert one that only keeps its state. Limits: tensors are taken from the state
dictionary alone; textual inversions and hypernetworks nest theirs deeper and need `load_pickle` and a reader of their own.
"""

from __future__ import annotations

import pickle
import re
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from webui.errors import ModelFileError

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


INERT_NAMES = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint",
    "torch.nn.modules.container.ParameterDict",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
)


def load_pickle(path: Path, meta: bool = False) -> Any:
    """Return what a pickled checkpoint holds: containers of tensors, numbers and text; with `meta` tensors without values.

    Raises `ModelFileError` if it is broken or holds anything that could run code.
    """
    # An open file, not its path: given a path, torch goes by the name's ending.
    with LOCK, torch.serialization.safe_globals([(Inert, name) for name in INERT_NAMES]), path.open("rb") as file:
        try:
            return torch.load(file, map_location="meta" if meta else "cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if match := REFUSED.search(str(error)):
                raise ModelFileError(
                    f"{path.name} was refused: besides weights it holds {match[1]}, which could run code. "
                    "Look for the same model as .safetensors."
                ) from error
            raise ModelFileError(f"{path.name} is not a weight file, or is broken: PyTorch cannot read it.") from error
        except MemoryError:
            raise
        except Exception as error:  # a broken archive raises nearly anything
            raise ModelFileError(f"{path.name} is broken or cut short: PyTorch cannot read it. Download it again.") from error


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
    tensors = {key: value.detach() for key, value in loaded.items() if isinstance(key, str) and isinstance(value, Tensor)}
    return {key: value for key, value in tensors.items() if value.layout == torch.strided and not value.is_quantized}
