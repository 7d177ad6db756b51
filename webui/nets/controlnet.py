"""ControlNets: a copy of the noise predictor's first half that sees a picture, and what it adds to the other half.

Zhang et al. 2023 (arXiv:2302.05543). Attribute names are the keys under `control_model.` in published files.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.nets.attention import Signal
from webui.nets.controlnet_spec import STRIDES, ControlSpec
from webui.nets.convolution import Convolution, Padding, zeroed
from webui.nets.unet import Block, input_blocks, middle_block, mlp, timestep_embedding


class ControlNet(nn.Module):
    """Steers a noise predictor: the same latent, time and text in, and a picture; residuals for its skip connections out."""

    def __init__(self, spec: ControlSpec) -> None:
        super().__init__()
        self.spec = spec
        unet = spec.unet
        self.time_embed = mlp(unet.model_channels, unet.time_width)
        if unet.label_width is not None:
            self.label_emb = nn.Sequential(mlp(unet.label_width, unet.time_width))
        self.input_blocks, widths = input_blocks(unet)
        self.zero_convs = nn.ModuleList(joining(width) for width in widths)
        self.input_hint_block = PictureLayers(spec)
        middle = middle_block(unet)
        # Those that diffusers published without transformers have but one residual block there.
        self.middle_block = middle if unet.middle_depth else Block([middle[0]])
        self.middle_block_out = joining(widths[-1])

    def forward(
        self, x: Tensor, t: Tensor | float, context: Tensor, y: Tensor | None = None, *, picture: Tensor,
        padding: Padding = "zeros",
    ) -> tuple[Tensor, ...]:
        """Residuals for x [B, in_channels, H, W], t (a number, or [B]), context [B, M, context_width] and y [B, label_width].

        x, t, context and y are what the noise predictor is given; `picture` [B, picture_channels, 8 H, 8 W] is in [0, 1].
        Residuals are in the order of its input blocks, the last one for its middle: what `UNetModel` takes.
        """
        if (y is None) != (self.spec.unet.label_width is None):
            raise ValueError("This ControlNet needs a vector y of its label width." if y is None else "It takes no vector y.")
        times = torch.as_tensor(t, dtype=torch.float32, device=x.device).expand(len(x))
        embedding = self.time_embed(timestep_embedding(times, self.spec.unet.model_channels).to(x.dtype))
        if y is not None:
            embedding = embedding + self.label_emb(y.to(x.dtype))
        signal = Signal(embedding=embedding, context=context, padding=padding)
        seen = self.input_hint_block(picture, padding)
        h, residuals = x, []
        for index, (block, joined) in enumerate(zip(self.input_blocks, self.zero_convs, strict=True)):
            h = block(h, signal) if index else block(h, signal) + seen
            residuals.append(joined(h))
        residuals.append(self.middle_block_out(self.middle_block(h, signal)))
        return tuple(residuals)


class PictureLayers(nn.Sequential):
    """From a picture's pixels to features of the latent's size: convolutions with SiLU between them."""

    def __init__(self, spec: ControlSpec) -> None:
        widths = (spec.picture_channels, *spec.hint_widths)
        layers: list[nn.Module] = []
        for (before, after), stride in zip(pairwise(widths), STRIDES, strict=False):
            layers += [Convolution(before, after, 3, padding=1, stride=stride), nn.SiLU()]
        super().__init__(*layers, zeroed(Convolution(widths[-1], spec.unet.model_channels, 3, padding=1)))

    def forward(self, picture: Tensor, padding: Padding = "zeros") -> Tensor:
        """picture [B, picture_channels, 8 H, 8 W] -> [B, model_channels, H, W]."""
        *first, last = self
        h = picture
        for layer in first[::2]:
            h = functional.silu(layer(h, padding))
        y: Tensor = last(h, padding)
        return y


def joining(width: int) -> nn.Sequential:
    """What a result passes before it is added to the noise predictor: a convolution that starts at zero."""
    return nn.Sequential(zeroed(Convolution(width, width, 1)))
