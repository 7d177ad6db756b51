"""The autoencoder between pictures and latents (Rombach et al. 2022, arXiv:2112.10752, section 3.1)."""
from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from webui.nets.convolution import Convolution, Padding, norm, wrap
from webui.nets.spec import VAESpec

EPS = 1e-6
LOGVAR_RANGE = (-30.0, 20.0)


class Moments(NamedTuple):
    """The posterior of a latent: mean and log variance, [B, latent_channels, H / factor, W / factor] each, unscaled."""

    mean: Tensor
    logvar: Tensor


class AutoencoderKL(nn.Module):
    """A KL-regularised convolutional autoencoder; its keys are those under `first_stage_model.` in published checkpoints."""

    def __init__(self, spec: VAESpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(spec)
        self.decoder = Decoder(spec)
        self.quant_conv = Convolution(2 * spec.latent_channels, 2 * spec.latent_channels, 1)
        self.post_quant_conv = Convolution(spec.latent_channels, spec.latent_channels, 1)

    def encode(self, picture: Tensor, padding: Padding = "zeros") -> Moments:
        """picture [B, 3, H, W] in [-1, 1], sides multiples of `spec.factor` -> the posterior, unscaled."""
        mean, logvar = self.quant_conv(self.encoder(picture, padding)).chunk(2, dim=1)
        return Moments(mean, logvar.clamp(*LOGVAR_RANGE))

    def decode(self, z: Tensor, padding: Padding = "zeros") -> Tensor:
        """z [B, latent_channels, h, w], unscaled -> picture [B, 3, h * factor, w * factor], about [-1, 1], not clamped."""
        picture: Tensor = self.decoder(self.post_quant_conv(z), padding)
        return picture

    def forward(self, picture: Tensor, padding: Padding = "zeros") -> Tensor:
        """The picture decoded from the mean of its posterior."""
        return self.decode(self.encode(picture, padding).mean, padding)


class Encoder(nn.Module):
    """Picture to the two moments, before `quant_conv`."""

    def __init__(self, spec: VAESpec) -> None:
        super().__init__()
        channels = spec.channels
        self.conv_in = Convolution(spec.picture_channels, channels, 3, padding=1)
        self.down = nn.ModuleList()
        for level, mult in enumerate(spec.channel_mult):
            width = mult * spec.channels
            last = level == len(spec.channel_mult) - 1
            self.down.append(DownLevel(channels, width, spec.res_blocks, spec.groups, last))
            channels = width
        self.mid = Middle(channels, spec.groups)
        self.norm_out = norm(channels, spec.groups, EPS)
        self.conv_out = Convolution(channels, 2 * spec.latent_channels, 3, padding=1)

    def forward(self, x: Tensor, padding: Padding) -> Tensor:
        h = self.conv_in(x, padding)
        for level in self.down:
            h = level(h, padding)
        h = self.mid(h, padding)
        moments: Tensor = self.conv_out(functional.silu(self.norm_out(h)), padding)
        return moments


class Decoder(nn.Module):
    """Latent, after `post_quant_conv`, to picture; level 0 is the one with the picture's resolution."""

    def __init__(self, spec: VAESpec) -> None:
        super().__init__()
        channels = spec.channel_mult[-1] * spec.channels
        self.conv_in = Convolution(spec.latent_channels, channels, 3, padding=1)
        self.mid = Middle(channels, spec.groups)
        levels: list[nn.Module] = []
        for level, mult in reversed(list(enumerate(spec.channel_mult))):
            width = mult * spec.channels
            levels.insert(0, UpLevel(channels, width, spec.res_blocks + 1, spec.groups, last=level == 0))
            channels = width
        self.up = nn.ModuleList(levels)
        self.norm_out = norm(channels, spec.groups, EPS)
        self.conv_out = Convolution(channels, spec.picture_channels, 3, padding=1)

    def forward(self, z: Tensor, padding: Padding) -> Tensor:
        h = self.mid(self.conv_in(z, padding), padding)
        for level in reversed(self.up):
            h = level(h, padding)
        picture: Tensor = self.conv_out(functional.silu(self.norm_out(h)), padding)
        return picture


class DownLevel(nn.Module):
    """The residual blocks of one resolution, then half of it unless it is the last."""

    def __init__(self, channels: int, width: int, blocks: int, groups: int, last: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResnetBlock(channels if i == 0 else width, width, groups) for i in range(blocks))
        self.downsample = None if last else Downsample(width)

    def forward(self, h: Tensor, padding: Padding) -> Tensor:
        for block in self.block:
            h = block(h, padding)
        return h if self.downsample is None else self.downsample(h, padding)


class UpLevel(nn.Module):
    """The residual blocks of one resolution, then twice that resolution unless it is the picture's."""

    def __init__(self, channels: int, width: int, blocks: int, groups: int, last: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResnetBlock(channels if i == 0 else width, width, groups) for i in range(blocks))
        self.upsample = None if last else Upsample(width)

    def forward(self, h: Tensor, padding: Padding) -> Tensor:
        for block in self.block:
            h = block(h, padding)
        return h if self.upsample is None else self.upsample(h, padding)


class Middle(nn.Module):
    """Residual block, attention, residual block at the lowest resolution."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, groups)
        self.attn_1 = PixelAttention(channels, groups)
        self.block_2 = ResnetBlock(channels, channels, groups)

    def forward(self, h: Tensor, padding: Padding) -> Tensor:
        h = self.attn_1(self.block_1(h, padding))
        y: Tensor = self.block_2(h, padding)
        return y


class ResnetBlock(nn.Module):
    """Two normed convolutions beside a shortcut (He et al. 2016, arXiv:1603.05027)."""

    def __init__(self, channels: int, width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = norm(channels, groups, EPS)
        self.conv1 = Convolution(channels, width, 3, padding=1)
        self.norm2 = norm(width, groups, EPS)
        self.conv2 = Convolution(width, width, 3, padding=1)
        self.nin_shortcut = None if channels == width else Convolution(channels, width, 1)

    def forward(self, x: Tensor, padding: Padding) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)), padding)
        h = self.conv2(functional.silu(self.norm2(h)), padding)
        y: Tensor = h + (x if self.nin_shortcut is None else self.nin_shortcut(x))
        return y


class PixelAttention(nn.Module):
    """Self-attention of one head over all pixels; its projections are 1x1 convolutions."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = norm(channels, groups, EPS)
        self.q = Convolution(channels, channels, 1)
        self.k = Convolution(channels, channels, 1)
        self.v = Convolution(channels, channels, 1)
        self.proj_out = Convolution(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        h = self.norm(x)
        # One head: [B, 1, H W, C]; in channels-last memory these permutations move nothing.
        q, k, v = (layer(h).permute(0, 2, 3, 1).reshape(batch, 1, height * width, channels) for layer in (self.q, self.k, self.v))
        h = functional.scaled_dot_product_attention(q, k, v).reshape(batch, height, width, channels)
        y: Tensor = x + self.proj_out(h.permute(0, 3, 1, 2))
        return y


class Downsample(nn.Module):
    """A strided convolution padded on the right and at the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Convolution(channels, channels, 3, stride=2)

    def forward(self, x: Tensor, padding: Padding) -> Tensor:
        x = functional.pad(x, (0, 1, 0, 1)) if padding == "zeros" else wrap(x, left=0, right=1, top=0, bottom=1)
        h: Tensor = self.conv(x)
        return h


class Upsample(nn.Module):
    """Nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Convolution(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, padding: Padding) -> Tensor:
        h: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"), padding)
        return h
