"""A network that an extension brings: a function that builds it, and the one file with its weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from webui.errors import ModelFileError, quoted
from webui.weights.files import Header, Stamp
from webui.weights.headers import read_header
from webui.weights.plans import Place
from webui.weights.reading import Form, read_places
from webui.weights.rules import Piece

PART = "network"


@dataclass(frozen=True, eq=False)
class NetworkFile:
    """A network whose weights the engine holds: what `build()` makes, with the weights in the file at `path`.

    `build` is called where nothing takes memory (torch's meta device), so all that the network needs must be weights or buffers
    of the file, or made in `forward`. `keys` makes the network's name of a weight out of the file's, None for what is not needed;
    without it they are the same. The network's `forward` takes the named inputs of a `Call`, each with a batch in front, and
    returns a tensor or a tuple of them, likewise. The file is safetensors, or a pickle that is opened by the safe door.
    """

    path: Path | str
    build: Callable[[], nn.Module]
    keys: Callable[[str], str | None] | None = None


class OwnNetwork:
    """A `NetworkFile` as a source of weights: it has the one part `PART`. No weight is read before it is wanted.

    `ModelFileError` where the file has not what the network needs.
    """

    def __init__(self, told: NetworkFile) -> None:
        self.path = Path(told.path)
        self._told = told
        self._header: Header = read_header(self.path)
        named = {key: key if told.keys is None else told.keys(key) for key in self._header.tensors}
        self._keys = {ours: theirs for theirs, ours in named.items() if ours is not None}
        self._check()

    @property
    def stamps(self) -> Mapping[Path, Stamp]:
        """What the file was when it was opened."""
        return {self.path: self._header.stamp}

    def shapes(self, part: str) -> dict[str, tuple[tuple[int, ...], int]]:
        """The shape of every weight, and how many bytes a number of it takes in the file."""
        del part
        return {key: (place.shape, place.info.item_bytes) for key, place in self._places.items()}

    def build(self, part: str) -> nn.Module:
        """The network without memory."""
        del part
        with torch.device("meta"):
            return self._told.build()

    def read(
        self, part: str, keys: Collection[str] | None = None, dtype: torch.dtype | None = None, channels_last: bool = False
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield all or some of the weights, in memory of their own."""
        del part
        places = self._places if keys is None else {key: self._places[key] for key in keys}
        yield from read_places(places, self.stamps, Form(dtype, channels_last))

    @cached_property
    def _places(self) -> dict[str, Place]:
        tensors = self._header.tensors
        return {
            ours: Place(file=self.path, key=theirs, piece=Piece(ours), info=tensors[theirs], shape=tensors[theirs].shape)
            for ours, theirs in self._keys.items()
        }

    def _check(self) -> None:
        wanted = {key: tuple(value.shape) for key, value in self.build(PART).state_dict().items()}
        for key, shape in wanted.items():
            if key not in self._keys:
                raise ModelFileError(f"{self.path.name} lacks {quoted(key)}, which its network needs; it may be another file.")
            found = tuple(self._header.tensors[self._keys[key]].shape)
            if found != shape:
                raise ModelFileError(f"{self.path.name}: {quoted(key)} has the shape {list(found)}, its network's {list(shape)}.")
        unknown = [key for key in self._keys if key not in wanted]
        if unknown:
            raise ModelFileError(
                f"{self.path.name} has {len(unknown)} weights that its network does not know, among them {quoted(unknown[0])}."
            )
