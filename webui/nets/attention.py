"""Attention over latent pixels and text (Vaswani et al. 2017, arXiv:1706.03762), with the seams that extensions use."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.nets.convolution import Convolution, Padding, norm, zeroed
from webui.nets.dot_product import attend
from webui.nets.hooks import NO_HOOKS, Call, Hooks, hooked, hooked_attention, hooked_context, seams

KeysValues = Mapping[str, tuple[Tensor, Tensor]]
Embeddings = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Signal:
    """What every block of the noise predictor receives beside its input.

    `embedding` [U, time_width] carries time and the like, `embeddings` what residual blocks made of it earlier, by site: one of
    the two is there. `context` [B, M, context_width] is the text; `keys_values` projections of it made earlier, by site.
    `spread` [B] says which of the U different inputs each of the B rows has, where there are fewer of those (U < B): up to the
    first look at the text such rows are the same and are computed once.
    """

    embedding: Tensor | None
    context: Tensor
    embeddings: Embeddings | None = None
    hooks: Hooks = NO_HOOKS
    keys_values: KeysValues | None = None
    padding: Padding = "zeros"
    spread: Tensor | None = None

    def rows(self, h: Tensor) -> Tensor:
        """h [U or B, ...] -> [B, ...], in the same memory layout."""
        if self.spread is None or h.shape[0] == len(self.spread):
            return h
        layout = torch.channels_last if h.dim() == 4 and h.is_contiguous(memory_format=torch.channels_last) else None
        spread = h.index_select(0, self.spread)
        return spread if layout is None else spread.contiguous(memory_format=layout)


class Attention(nn.Module):
    """Multi-head attention of x to itself, or to a context. `site` is its key path in the network."""

    def __init__(self, width: int, context_width: int, heads: int, site: str) -> None:
        super().__init__()
        self.heads = heads
        self.site = site
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor | None, signal: Signal, size: tuple[int, int]) -> Tensor:
        """x [B, N, C] of `size` (height, width); context [B, M, C'] or None for self-attention -> [B, N, C]."""
        if signal.hooks.attention:
            return self._hooked(x, context, signal, size)
        k, v = self._keys_values(x, context, signal)
        y: Tensor = self.to_out[0](attend(self.to_q(x), k, v, self.heads))
        return y

    def _keys_values(self, x: Tensor, context: Tensor | None, signal: Signal) -> tuple[Tensor, Tensor]:
        if context is None:
            return self.to_k(x), self.to_v(x)
        if signal.keys_values is not None:
            return signal.keys_values[self.site]
        return self.to_k(context), self.to_v(context)

    def _hooked(self, x: Tensor, context: Tensor | None, signal: Signal, size: tuple[int, int]) -> Tensor:
        hooks = signal.hooks.attention
        call = Call(site=self.site, rows=x.shape[0], height=size[0], width=size[1], at=signal.hooks.at, heads=self.heads)
        if any(seams(hooks, "context")):
            for_keys, for_values = hooked_context(hooks, call, x if context is None else context)
            k, v = self.to_k(for_keys), self.to_v(for_values)
        else:
            k, v = self._keys_values(x, context, signal)
        q = self.to_q(x)
        y = hooked_attention(hooks, call, q, k, v)
        if y is None:
            y = attend(q, k, v, self.heads)
        return hooked(hooks, "output", call, self.to_out[0](y))


class GatedProjection(nn.Module):
    """GEGLU: half of the projection, gated by the exact GELU of the other half (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        y: Tensor = value * functional.gelu(gate)
        return y


class FeedForward(nn.Module):
    """The two layers after attention, four times as wide inside; `net.1` is a dropout in the published layout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GatedProjection(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention, feed-forward, each normed and added."""

    def __init__(self, width: int, context_width: int, heads: int, site: str) -> None:
        super().__init__()
        self.attn1 = Attention(width, width, heads, f"{site}.attn1")
        self.attn2 = Attention(width, context_width, heads, f"{site}.attn2")
        self.ff = FeedForward(width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, signal: Signal, size: tuple[int, int]) -> Tensor:
        """x [B, N, C] of `size` (height, width) -> the same; of rows with the same input one may be given, and all come out."""
        x = signal.rows(x + self.attn1(self.norm1(x), None, signal, size))
        x = x + self.attn2(self.norm2(x), signal.context, signal, size)
        y: Tensor = x + self.ff(self.norm3(x))
        return y


class SpatialTransformer(nn.Module):
    """Transformer blocks over the pixels of a feature map; projections are 1x1 convolutions (SD 1) or linear (SD 2, SDXL)."""

    def __init__(self, channels: int, context_width: int, heads: int, depth: int, linear: bool, groups: int, site: str) -> None:
        super().__init__()
        self.linear = linear
        self.norm = norm(channels, groups, 1e-6)
        self.proj_in = nn.Linear(channels, channels) if linear else Convolution(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, context_width, heads, f"{site}.transformer_blocks.{index}") for index in range(depth)
        )
        self.proj_out = zeroed(nn.Linear(channels, channels) if linear else Convolution(channels, channels, 1))

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        """x [B, C, H, W] -> the same."""
        _, channels, height, width = x.shape
        h = self.norm(x) if self.linear else self.proj_in(self.norm(x))
        # Pixels as tokens: a view where memory is channels-last.
        h = h.permute(0, 2, 3, 1).reshape(-1, height * width, channels)
        if self.linear:
            h = self.proj_in(h)
        for block in self.transformer_blocks:
            h = block(h, signal, (height, width))
        if self.linear:
            h = self.proj_out(h)
        h = h.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        y: Tensor = signal.rows(x) + (h if self.linear else self.proj_out(h))
        return y
