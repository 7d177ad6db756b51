"""How a network's blocks are called: plainly, or by someone who brings each block's weights for the one call."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]


def call(block: Any, *given: Any, **named: Any) -> Any:
    """The plain way to run a block; a caller may stream weights in or recompute activations instead."""
    return block(*given, **named)
