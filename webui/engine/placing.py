"""Putting weights where they compute: device, number type and memory layout, one tensor at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from webui.engine.device import Choice
from webui.nets.spec import ModelSpec

Shapes = Mapping[str, tuple[tuple[int, ...], int]]  # by key, with the bytes of a number in the file
Module = TypeVar("Module", bound=nn.Module)


class Parts(Protocol):
    """Where the weights of networks come from, as often as they are wanted (see `webui.weights.source`)."""

    def shapes(self, part: str) -> Shapes:
        """The shape of each of a part's weights, and the bytes of a number in the file."""
        ...

    def build(self, part: str) -> nn.Module:
        """A part's network without memory."""
        ...

    def read(
        self, part: str, keys: Collection[str] | None = None, dtype: torch.dtype | None = None, channels_last: bool = False
    ) -> Iterator[tuple[str, Tensor]]:
        """All or some of a part's weights on the host, one after the other, in a number type and memory layout."""
        ...


class Weights(Parts, Protocol):
    """Where a whole model's weights come from."""

    @property
    def spec(self) -> ModelSpec:
        """The model's description."""
        ...


def brought(source: Parts, part: str, choice: Choice) -> nn.Module:
    """A part's network with its weights in place; nothing of the source is held twice."""
    module = source.build(part)
    read = source.read(part, None, choice.torch_dtype, choice.channels_last)
    return filled(module, {key: value.to(choice.device) for key, value in read})


def filled(module: Module, weights: Mapping[str, Tensor]) -> Module:
    """The network with these tensors as its weights."""
    module.load_state_dict(weights, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def size_of(shapes: Shapes, choice: Choice) -> int:
    """The bytes that weights of these shapes take in place."""
    return sum(math.prod(shape) for shape, _ in shapes.values()) * choice.torch_dtype.itemsize
