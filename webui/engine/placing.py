"""Putting weights where they compute: device, number type and memory layout, one tensor at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from webui.engine.device import Choice
from webui.nets.spec import ModelSpec

Module = TypeVar("Module", bound=nn.Module)


class Weights(Protocol):
    """Where a model's weights come from, as often as they are wanted (see `webui.weights.source`)."""

    @property
    def spec(self) -> ModelSpec:
        """The model's description."""
        ...

    def shapes(self, part: str) -> Mapping[str, tuple[tuple[int, ...], int]]:
        """The shape of each of a part's weights, and the bytes of a number in the file."""
        ...

    def build(self, part: str) -> nn.Module:
        """A part's network without memory."""
        ...

    def read(self, part: str, keys: Collection[str] | None = None) -> Iterator[tuple[str, Tensor]]:
        """All or some of a part's weights, one after the other."""
        ...


def placed(weight: Tensor, choice: Choice) -> Tensor:
    """A weight on the device of a choice, in its number type and memory layout."""
    weight = weight.detach().to(choice.device, choice.torch_dtype)
    return weight.contiguous(memory_format=torch.channels_last) if choice.channels_last and weight.dim() == 4 else weight


def brought(source: Weights, part: str, choice: Choice) -> nn.Module:
    """A part's network with its weights in place; nothing of the source is held twice."""
    module = source.build(part)
    weights = {key: placed(value, choice) for key, value in source.read(part)}
    return filled(module, weights)


def filled(module: Module, weights: Mapping[str, Tensor]) -> Module:
    """The network with these tensors as its weights."""
    module.load_state_dict(weights, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def size_of(source: Weights, part: str, choice: Choice) -> int:
    """The bytes that a part takes in place."""
    item = choice.torch_dtype.itemsize
    return sum(math.prod(shape) * item for shape, _ in source.shapes(part).values())
