"""Large pictures in little memory: the autoencoder's decoder and encoder, a band of rows at a time, without seams.

Between two layers the whole picture waits in the host's memory; the device holds one band. Each band is given the rows above and
below that its convolution looks at, and group norms use the statistics of the whole picture, so the result is that of the network
itself, but for rounding. The lowest resolution, where every pixel attends to every other, is computed at once.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.nets.autoencoder import LOGVAR_RANGE, AutoencoderKL, DownLevel, Downsample, Moments, ResnetBlock, UpLevel, Upsample

Work = Callable[[Tensor, int, int], Tensor]


def decode_in_bands(vae: AutoencoderKL, z: Tensor, bands: int) -> Tensor:
    """z [B, latent_channels, h, w], unscaled -> picture [B, 3, h * factor, w * factor], as `vae.decode` does, on z's device."""
    decoder = vae.decoder
    h = Rows(decoder.mid(decoder.conv_in(vae.post_quant_conv(z), "zeros"), "zeros"), bands)
    for level in reversed(decoder.up):
        assert isinstance(level, UpLevel)
        for block in level.block:
            assert isinstance(block, ResnetBlock)
            h = resnet_block(block, h)
        if level.upsample is not None:
            h = upsampled(level.upsample, h)
    return activated(decoder.norm_out, decoder.conv_out, h).whole()


def encode_in_bands(vae: AutoencoderKL, picture: Tensor, bands: int) -> Moments:
    """picture [B, 3, H, W] in [-1, 1] -> the posterior, unscaled, as `vae.encode` gives it, on the picture's device."""
    encoder = vae.encoder

    def first(rows: Tensor, top: int, bottom: int) -> Tensor:
        return convolved(encoder.conv_in, rows, above=top == 0, below=bottom == picture.shape[-2])

    h = Rows(picture, bands).mapped(first)
    for level in encoder.down:
        assert isinstance(level, DownLevel)
        for block in level.block:
            assert isinstance(block, ResnetBlock)
            h = resnet_block(block, h)
        if level.downsample is not None:
            h = downsampled(level.downsample, h)
    lowest = encoder.mid(h.whole(), "zeros")
    moments = encoder.conv_out(functional.silu(encoder.norm_out(lowest)), "zeros")
    mean, logvar = vae.quant_conv(moments).chunk(2, dim=1)
    return Moments(mean, logvar.clamp(*LOGVAR_RANGE))


class Rows:
    """A feature map [B, C, H, W] that waits on the host and is looked at a band of rows at a time."""

    def __init__(self, values: Tensor, bands: int, device: torch.device | None = None) -> None:
        self.device = device or values.device
        self.values = values.cpu()
        self.bands = bands

    @property
    def height(self) -> int:
        """How many rows there are."""
        return int(self.values.shape[-2])

    def band(self, first: int, last: int) -> Tensor:
        """Rows `first` to `last` on the device, as far as there are such rows."""
        return self.values[..., max(first, 0) : min(last, self.height), :].to(self.device)

    def mapped(self, work: Work, scale: int = 1) -> Rows:
        """What `work(band, first, last)` makes of every band, put together; its rows are `scale` times as many."""
        made: Tensor | None = None
        for first, last in ranges(self.height, self.bands):
            rows = work(self.band(first - 1, last + 1), first, last)
            if made is None:
                made = self.values.new_empty(*rows.shape[:2], self.height * scale, rows.shape[-1])
            made[..., first * scale : last * scale, :] = rows.cpu()
        assert made is not None
        return Rows(made, self.bands, self.device)

    def whole(self) -> Tensor:
        """All of it on the device."""
        return self.values.to(self.device)


def ranges(height: int, bands: int) -> list[tuple[int, int]]:
    """The first row of each band, and the one after its last."""
    edges = [height * number // bands for number in range(bands + 1)]
    return [(first, last) for first, last in itertools.pairwise(edges) if last > first]


def resnet_block(block: ResnetBlock, x: Rows) -> Rows:
    """A residual block."""
    h = activated(block.norm2, block.conv2, activated(block.norm1, block.conv1, x))
    shortcut = block.nin_shortcut

    def joined(_: Tensor, first: int, last: int) -> Tensor:
        beside = x.band(first, last)
        return h.band(first, last) + (beside if shortcut is None else shortcut(beside))

    return x.mapped(joined)


def activated(norm: nn.GroupNorm, convolution: nn.Conv2d, x: Rows) -> Rows:
    """Group norm, SiLU and a convolution that looks one row up and down."""
    factor, offset = statistics(norm, x)

    def work(rows: Tensor, first: int, last: int) -> Tensor:
        h = functional.silu(rows * factor + offset)
        return convolved(convolution, h, above=first == 0, below=last == x.height)

    return x.mapped(work)


def upsampled(layer: Upsample, x: Rows) -> Rows:
    """Nearest neighbour, then a convolution."""

    def work(rows: Tensor, first: int, last: int) -> Tensor:
        h = functional.interpolate(rows, scale_factor=2.0, mode="nearest")
        above, below = first == 0, last == x.height
        # Of the row above only its lower half is looked at, of the one below its upper half.
        h = h[..., 0 if above else 1 : h.shape[-2] if below else h.shape[-2] - 1, :]
        return convolved(layer.conv, h, above=above, below=below)

    return x.mapped(work, scale=2)


def downsampled(layer: Downsample, x: Rows) -> Rows:
    """A strided convolution, each of whose rows looks at two rows and the one below them."""
    made = []
    for first, last in ranges(x.height // 2, x.bands):
        rows = x.band(2 * first, 2 * last + 1)
        below = 2 * (last - first) + 1 - rows.shape[-2]
        made.append(layer.conv(functional.pad(rows, (0, 1, 0, below))).cpu())
    return Rows(torch.cat(made, dim=-2), x.bands, x.device)


def convolved(layer: nn.Conv2d, h: Tensor, *, above: bool, below: bool) -> Tensor:
    """A convolution of rows that bring their neighbours along, but for those at the picture's edges, where zeros stand."""
    return functional.conv2d(functional.pad(h, (0, 0, int(above), int(below))), layer.weight, layer.bias, padding=(0, 1))


def statistics(norm: nn.GroupNorm, x: Rows) -> tuple[Tensor, Tensor]:
    """The factor and offset [B, C, 1, 1] that a group norm applies to each channel, from the mean and variance of all rows."""
    batch, channels = x.values.shape[:2]
    count, mean, squares = 0, torch.zeros((), device=x.device), torch.zeros((), device=x.device)
    # Pairwise updating of mean and variance (Chan, Golub and LeVeque 1979), which loses no digits.
    for first, last in ranges(x.height, x.bands):
        rows = x.band(first, last).float().reshape(batch, norm.num_groups, -1)
        size, own = rows.shape[-1], rows.mean(-1)
        spread = (rows - own[..., None]).square().sum(-1)
        apart = own - mean
        squares = squares + spread + apart.square() * (count * size / (count + size))
        mean = mean + apart * (size / (count + size))
        count += size
    assert norm.weight is not None and norm.bias is not None
    scale = (squares / count + norm.eps).rsqrt()
    each = channels // norm.num_groups
    factor = scale.repeat_interleave(each, 1) * norm.weight.float()
    offset = norm.bias.float() - mean.repeat_interleave(each, 1) * factor
    dtype = x.values.dtype
    return factor[..., None, None].to(dtype), offset[..., None, None].to(dtype)
