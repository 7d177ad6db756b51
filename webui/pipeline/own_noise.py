"""Noise that foreign code draws by torch's own functions, taken from a picture's seed instead of the whole program's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# What makes a tensor of the same kind from the same arguments.
EMPTY: Mapping[Any, Callable[..., Tensor]] = MappingProxyType({torch.randn: torch.empty, torch.randn_like: torch.empty_like})


class OwnNoise(TorchFunctionMode):
    """While it is entered, in its thread alone, `torch.randn` and `torch.randn_like` give what `drawn()` does.

    Where another shape is wanted, or a generator was given, torch draws as ever.
    """

    def __init__(self, drawn: Callable[[], Tensor]) -> None:
        super().__init__()
        self._drawn = drawn

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, or draw in its place."""
        named = dict(kwargs or {})
        if func in EMPTY and named.get("generator") is None:
            like = EMPTY[func](*args, **named)
            own = self._drawn()
            if own.shape == like.shape:
                return own.to(like)
        return func(*args, **named)
