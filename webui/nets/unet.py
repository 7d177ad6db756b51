"""The noise predictor of Stable Diffusion 1, 2 and XL and their relatives, built from a `UNetSpec`.

Rombach et al. 2022 (arXiv:2112.10752), Podell et al. 2023 (arXiv:2307.01952), Luo et al. 2023 (arXiv:2310.04378, guidance
embedding). Attribute names are the keys under `model.diffusion_model.` in published checkpoints.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.nets.attention import Attention, Embeddings, KeysValues, Signal, SpatialTransformer
from webui.nets.convolution import Activated, Convolution, Padding, norm, zeroed
from webui.nets.hooks import NO_HOOKS, Call, Hooks, block_call, hooked, seams
from webui.nets.running import Run, call
from webui.nets.spec import UNetSpec

__all__ = ["NO_HOOKS", "Call", "Hooks", "UNetModel", "call", "guidance_embedding", "timestep_embedding"]


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """Sinusoids of t [B], unrounded -> [B, width], float32: cosines first, periods 2 pi to 20,000 pi (arXiv:2006.11239)."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def guidance_embedding(scale: Tensor, width: int) -> Tensor:
    """Sinusoids of w = guidance scale - 1, [B] -> [B, width], float32: sines first (arXiv:2310.04378, LCM)."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=scale.device) / (half - 1))
    angles = 1000 * scale.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class UNetModel(nn.Module):
    """The noise predictor: noisy latent, time and text in, predicted noise (or velocity) out."""

    def __init__(self, spec: UNetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.time_embed = mlp(spec.model_channels, spec.time_width)
        if spec.guidance_width is not None:
            # Published LCM files carry diffusers' name for this one layer.
            self.time_embedding = nn.ModuleDict({"cond_proj": nn.Linear(spec.guidance_width, spec.model_channels, bias=False)})
        if spec.label_width is not None:
            self.label_emb = nn.Sequential(mlp(spec.label_width, spec.time_width))
        self.input_blocks, widths = input_blocks(spec)
        self.middle_block = middle_block(spec)
        self.output_blocks = output_blocks(spec, widths)
        self.out = Activated(
            norm(spec.model_channels, spec.groups, 1e-5),
            nn.SiLU(),
            zeroed(Convolution(spec.model_channels, spec.out_channels, 3, padding=1)),
        )

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor,
        y: Tensor | None = None,
        *,
        guidance: Tensor | None = None,
        hooks: Hooks = NO_HOOKS,
        residuals: Sequence[Tensor | None] | None = None,
        keys_values: KeysValues | None = None,
        embeddings: Embeddings | None = None,
        spread: Tensor | None = None,
        padding: Padding = "zeros",
        run: Run = call,
    ) -> Tensor:
        """Predict for x [B, in_channels, H, W], t [B] (0 to 999, fractions allowed), context [B, M, context_width].

        y [B, label_width] is SDXL's vector; guidance [B] is LCM's w = guidance scale - 1. `residuals` are added to the skip
        connections, in order of the input blocks, and the last one to the middle block's output (ControlNet, arXiv:2302.05543).
        `keys_values` comes from `cross_keys_values`, `embeddings` from the method of that name; then t, y and guidance are not
        looked at. `spread` [B] says which of fewer x, t, y and guidance each row of the context belongs to. `run(block, *args)`
        invokes each block. Returns [B, out_channels, H, W]; a ValueError says which of y and residuals does not fit.
        """
        self._check(y, residuals)
        embedding = None if embeddings is not None else self._embed(x.dtype, t, y, guidance, run)
        signal = Signal(
            embedding=embedding, embeddings=embeddings, context=context, hooks=hooks, keys_values=keys_values, padding=padding,
            spread=spread,
        )
        h = x
        skips: list[Tensor] = []
        for index, block in enumerate(self.input_blocks):
            h = invoke(run, block, f"input_blocks.{index}", h, signal)
            skips.append(h)
        h = signal.rows(invoke(run, self.middle_block, "middle_block", h, signal))
        skips = [signal.rows(skip) for skip in skips]
        if residuals is not None:
            skips = [skip if more is None else skip + more for skip, more in zip(skips, residuals[:-1], strict=True)]
            h = h if residuals[-1] is None else h + residuals[-1]
        for index, block in enumerate(self.output_blocks):
            skip = skips.pop()
            size = skips[-1].shape[-2:] if skips else skip.shape[-2:]
            h = invoke(run, block, f"output_blocks.{index}", h, signal, skip, (size[0], size[1]))
        predicted: Tensor = run(self.out, h, padding)
        return predicted

    def cross_keys_values(self, context: Tensor, run: Run = call) -> dict[str, tuple[Tensor, Tensor]]:
        """Keys and values [B, M, C] of context [B, M, context_width] at every cross-attention site, to reuse over steps."""
        layers = [layer for layer in self.modules() if isinstance(layer, Attention) and layer.site.endswith("attn2")]
        return {layer.site: (run(layer.to_k, context), run(layer.to_v, context)) for layer in layers}

    def embeddings(
        self, t: Tensor, y: Tensor | None = None, *, guidance: Tensor | None = None, dtype: torch.dtype = torch.float32,
        run: Run = call,
    ) -> dict[str, Tensor]:
        """What every residual block adds for these t, y and guidance, [B, its width] by site, to reuse wherever they recur."""
        self._check(y, None)
        embedding = self._embed(dtype, t, y, guidance, run)
        # Where they can be, and not through all modules: this is asked in every step.
        layers = (layer for block in (*self.input_blocks, self.middle_block, *self.output_blocks) for layer in block)
        return {layer.site: run(layer.emb_layers, embedding) for layer in layers if isinstance(layer, ResBlock)}

    def _check(self, y: Tensor | None, residuals: Sequence[Tensor | None] | None) -> None:
        if (y is None) != (self.spec.label_width is None):
            raise ValueError("This model needs a vector y of its label width." if y is None else "This model takes no vector y.")
        expected = len(self.input_blocks) + 1
        if residuals is not None and len(residuals) != expected:
            raise ValueError(f"Got {len(residuals)} residuals; this model takes {expected}, one a skip and the middle's.")

    def _embed(self, dtype: torch.dtype, t: Tensor, y: Tensor | None, guidance: Tensor | None, run: Run) -> Tensor:
        time = timestep_embedding(t, self.spec.model_channels).to(dtype)
        if guidance is not None:
            if self.spec.guidance_width is None:
                raise ValueError("This model has no guidance embedding; leave guidance out.")
            scale = guidance_embedding(guidance, self.spec.guidance_width).to(dtype)
            time = time + run(self.time_embedding["cond_proj"], scale)
        embedding: Tensor = run(self.time_embed, time)
        return embedding if y is None else embedding + run(self.label_emb, y.to(dtype))


class Block(nn.ModuleList):
    """The layers that stand at one index of the published layout, applied in order."""

    def forward(self, h: Tensor, signal: Signal, size: tuple[int, int] | None = None) -> Tensor:
        """h [B, C, H, W] -> [B, C', H', W']; an upsampling layer goes to `size`, that of the next skip connection."""
        for layer in self:
            if isinstance(layer, (ResBlock, SpatialTransformer)):
                h = layer(h, signal)
            elif isinstance(layer, Upsample):
                h = layer(h, size, signal.padding)
            else:
                h = layer(h, signal.padding)
        return h


class ResBlock(nn.Module):
    """Two normed convolutions beside a shortcut; the embedding is added between them."""

    def __init__(self, channels: int, width: int, embedding: int, groups: int, site: str) -> None:
        super().__init__()
        self.site = site
        self.in_layers = Activated(norm(channels, groups, 1e-5), nn.SiLU(), Convolution(channels, width, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, width))
        # Index 2 is a dropout in the published layout.
        last = zeroed(Convolution(width, width, 3, padding=1))
        self.out_layers = Activated(norm(width, groups, 1e-5), nn.SiLU(), nn.Identity(), last)
        self.skip_connection = nn.Identity() if channels == width else Convolution(channels, width, 1)

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        """x [B, C, H, W] -> [B, width, H, W]."""
        added = self.emb_layers(signal.embedding) if signal.embeddings is None else signal.embeddings[self.site]
        h = self.in_layers(x, signal.padding)
        h = h + (added if len(added) == len(h) else signal.rows(added))[:, :, None, None]
        y: Tensor = self.skip_connection(x) + self.out_layers(h, signal.padding)
        return y


class Downsample(nn.Module):
    """A strided convolution to half the size, rounded up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = Convolution(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, padding: Padding) -> Tensor:
        y: Tensor = self.op(x, padding)
        return y


class Upsample(nn.Module):
    """Nearest neighbour to the size of the next skip connection (twice, or one less), then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Convolution(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int], padding: Padding) -> Tensor:
        y: Tensor = self.conv(functional.interpolate(x, size=size, mode="nearest"), padding)
        return y


def mlp(channels: int, width: int) -> nn.Sequential:
    """Linear, SiLU, linear."""
    return nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width))


def input_blocks(spec: UNetSpec) -> tuple[nn.ModuleList, list[int]]:
    """The half that goes down, and the number of channels after each of its blocks."""
    blocks = nn.ModuleList([Block([Convolution(spec.in_channels, spec.model_channels, 3, padding=1)])])
    widths = [spec.model_channels]
    for level, mult in enumerate(spec.channel_mult):
        width = mult * spec.model_channels
        for _ in range(spec.res_blocks):
            site = f"input_blocks.{len(blocks)}"
            layers: list[nn.Module] = [ResBlock(widths[-1], width, spec.time_width, spec.groups, f"{site}.0")]
            layers += transformer(spec, width, spec.transformer_depth[level], f"{site}.1")
            blocks.append(Block(layers))
            widths.append(width)
        if level < spec.levels - 1:
            blocks.append(Block([Downsample(width)]))
            widths.append(width)
    return blocks, widths


def middle_block(spec: UNetSpec) -> Block:
    """The blocks at the lowest resolution."""
    width = spec.channel_mult[-1] * spec.model_channels
    between = transformer(spec, width, spec.middle_depth, "middle_block.1")
    sites = ("middle_block.0", f"middle_block.{1 + len(between)}")
    first, last = (ResBlock(width, width, spec.time_width, spec.groups, site) for site in sites)
    return Block([first, *between, last])


def output_blocks(spec: UNetSpec, skips: list[int]) -> nn.ModuleList:
    """The half that goes up; each block takes the previous one's output beside a skip connection of `skips` channels."""
    blocks = nn.ModuleList()
    channels, skips = skips[-1], list(skips)
    for level, mult in reversed(list(enumerate(spec.channel_mult))):
        width = mult * spec.model_channels
        for index in range(spec.res_blocks + 1):
            site = f"output_blocks.{len(blocks)}"
            layers: list[nn.Module] = [ResBlock(channels + skips.pop(), width, spec.time_width, spec.groups, f"{site}.0")]
            layers += transformer(spec, width, spec.transformer_depth[level], f"{site}.1")
            if level > 0 and index == spec.res_blocks:
                layers.append(Upsample(width))
            blocks.append(Block(layers))
            channels = width
    return blocks


def transformer(spec: UNetSpec, width: int, depth: int, site: str) -> list[nn.Module]:
    """The transformer that follows a residual block, if its level has one."""
    if depth == 0:
        return []
    heads = spec.heads_at(width)
    return [SpatialTransformer(width, spec.context_width, heads, depth, spec.linear_projection, spec.groups, site)]


def invoke(
    run: Run,
    block: nn.Module,
    site: str,
    h: Tensor,
    signal: Signal,
    skip: Tensor | None = None,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """One block between its hooks: h, joined with its skip connection where there is one."""
    hooks = signal.hooks.blocks
    if hooks:
        h = hooked(hooks, "before", block_call(site, h, signal.hooks.at), h)
        if skip is not None:
            for change in seams(hooks, "skip"):
                h, skip = change(block_call(site, h, signal.hooks.at), h, skip)
    if skip is not None:
        h = torch.cat([h, skip], dim=1)
    h = run(block, h, signal, size)
    return hooked(hooks, "after", block_call(site, h, signal.hooks.at), h) if hooks else h
