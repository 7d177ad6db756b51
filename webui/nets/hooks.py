"""The seams of the noise predictor: hook objects that travel as an argument of one call and leave nothing behind.

An attention hook defines any of
    context(call, ctx) -> (ctx_k, ctx_v)     before the key and value projections, [B, M, C'] (hypernetworks)
    attend(call, q, k, v) -> [B, N, C] or None   in place of softmax attention; projected, heads side by side; None declines
    output(call, x) -> [B, N, C]             after the output projection, before the residual sum
and a block hook any of
    before(call, h) -> h                     before a block of the network, [B, C, H, W]
    skip(call, h, skip) -> (h, skip)         before an output block joins a skip connection
    after(call, h) -> h                      after a block
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # so that extensions may name what their hooks are given before torch is there
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """The hooks of one network call; `at` is handed to them as it is (the engine's moments, one a row)."""

    attention: tuple[object, ...] = ()
    blocks: tuple[object, ...] = ()
    at: object = None


NO_HOOKS = Hooks()


@dataclass(frozen=True, kw_only=True)
class Call:
    """Where a hook is called: the key path of the layer or block, how many rows, the size in latent pixels there, the moments.

    `heads` is the number of attention heads that share the channels; 0 at a block.
    """

    site: str
    rows: int
    height: int
    width: int
    at: object
    heads: int = 0


def seams(hooks: tuple[object, ...], name: str) -> Iterator[Callable[..., Any]]:
    """The method `name` of every hook that has one, in order."""
    for hook in hooks:
        method = getattr(hook, name, None)
        if method is not None:
            yield method


def hooked_context(hooks: tuple[object, ...], call: Call, context: Tensor) -> tuple[Tensor, Tensor]:
    """The contexts for keys and for values, each passed through every hook in turn."""
    for_keys = for_values = context
    for change in seams(hooks, "context"):
        if for_keys is for_values:
            for_keys, for_values = change(call, for_keys)
        else:
            for_keys, for_values = change(call, for_keys)[0], change(call, for_values)[1]
    return for_keys, for_values


def hooked_attention(hooks: tuple[object, ...], call: Call, q: Tensor, k: Tensor, v: Tensor) -> Tensor | None:
    """The result of the first hook that does not decline, or None."""
    for attend in seams(hooks, "attend"):
        result: Tensor | None = attend(call, q, k, v)
        if result is not None:
            return result
    return None


def hooked(hooks: tuple[object, ...], name: str, call: Call, x: Tensor) -> Tensor:
    """x passed through the method `name` of every hook in turn."""
    for change in seams(hooks, name):
        x = change(call, x)
    return x


def block_call(site: str, h: Tensor, at: object) -> Call:
    """Where a block hook is called, for h [B, C, H, W]."""
    return Call(site=site, rows=h.shape[0], height=h.shape[-2], width=h.shape[-1], at=at)
