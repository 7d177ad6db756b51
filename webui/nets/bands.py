"""Large pictures in little memory: the autoencoder's decoder and encoder, a band of rows at a time, without seams.

Between two layers the whole picture waits in the host's memory; the device holds one band. Each band is given the rows above and
below that its convolution looks at, and group norms use the statistics of the whole picture, so the result is that of the network
itself, but for rounding. The lowest resolution, where every pixel attends to every other, is computed at once.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.nets.autoencoder import LOGVAR_RANGE, AutoencoderKL, DownLevel, Downsample, Moments, ResnetBlock, UpLevel, Upsample
from webui.nets.convolution import Padding, wrap

Work = Callable[[Tensor, int, int], Tensor]


def decode_in_bands(vae: AutoencoderKL, z: Tensor, bands: int, padding: Padding = "zeros") -> Tensor:
    """z [B, latent_channels, h, w], unscaled -> picture [B, 3, h * factor, w * factor], as `vae.decode` does, on z's device."""
    decoder = vae.decoder
    h = Rows(decoder.mid(decoder.conv_in(vae.post_quant_conv(z), padding), padding), bands, padding=padding)
    for level in reversed(decoder.up):
        assert isinstance(level, UpLevel)
        for block in level.block:
            assert isinstance(block, ResnetBlock)
            h = resnet_block(block, h)
        if level.upsample is not None:
            h = upsampled(level.upsample, h)
    return activated(decoder.norm_out, decoder.conv_out, h).whole()


def encode_in_bands(vae: AutoencoderKL, picture: Tensor, bands: int, padding: Padding = "zeros") -> Moments:
    """picture [B, 3, H, W] in [-1, 1] -> the posterior, unscaled, as `vae.encode` gives it, on the picture's device."""
    encoder = vae.encoder
    whole = Rows(picture, bands, padding=padding)
    h = whole.mapped(lambda rows, first, last: convolved(encoder.conv_in, rows, whole.edges(first, last)))
    for level in encoder.down:
        assert isinstance(level, DownLevel)
        for block in level.block:
            assert isinstance(block, ResnetBlock)
            h = resnet_block(block, h)
        if level.downsample is not None:
            h = downsampled(level.downsample, h)
    lowest = encoder.mid(h.whole(), padding)
    moments = encoder.conv_out(functional.silu(encoder.norm_out(lowest)), padding)
    mean, logvar = vae.quant_conv(moments).chunk(2, dim=1)
    return Moments(mean, logvar.clamp(*LOGVAR_RANGE))


@dataclass(frozen=True, kw_only=True)
class Edges:
    """What stands beside a band: whether zeros are missing `above` and `below`, and how the left and right edges are padded."""

    above: bool
    below: bool
    padding: Padding


class Rows:
    """A feature map [B, C, H, W] that waits on the host and is looked at a band of rows at a time."""

    def __init__(
        self, values: Tensor, bands: int, device: torch.device | None = None, *, padding: Padding = "zeros"
    ) -> None:
        self.device = device or values.device
        self.values = values.cpu()
        self.bands = bands
        self.padding = padding

    @property
    def height(self) -> int:
        """How many rows there are."""
        return int(self.values.shape[-2])

    def band(self, first: int, last: int) -> Tensor:
        """Rows `first` to `last` on the device, as far as there are such rows; circular ones go on at the opposite edge."""
        if self.padding == "circular" and (first < 0 or last > self.height):
            return self.values.index_select(-2, torch.arange(first, last) % self.height).to(self.device)
        return self.values[..., max(first, 0) : min(last, self.height), :].to(self.device)

    def edges(self, first: int, last: int) -> Edges:
        """What stands beside the band that brings along a row above `first` and one below `last`."""
        zeros = self.padding == "zeros"
        return Edges(above=zeros and first == 0, below=zeros and last == self.height, padding=self.padding)

    def mapped(self, work: Work, scale: int = 1) -> Rows:
        """What `work(band, first, last)` makes of every band, put together; its rows are `scale` times as many."""
        made: Tensor | None = None
        for first, last in ranges(self.height, self.bands):
            rows = work(self.band(first - 1, last + 1), first, last)
            if made is None:
                made = self.values.new_empty(*rows.shape[:2], self.height * scale, rows.shape[-1])
            made[..., first * scale : last * scale, :] = rows.cpu()
        assert made is not None
        return Rows(made, self.bands, self.device, padding=self.padding)

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
        return convolved(convolution, h, x.edges(first, last))

    return x.mapped(work)


def upsampled(layer: Upsample, x: Rows) -> Rows:
    """Nearest neighbour, then a convolution."""

    def work(rows: Tensor, first: int, last: int) -> Tensor:
        h = functional.interpolate(rows, scale_factor=2.0, mode="nearest")
        edges = x.edges(first, last)
        # Of the row above only its lower half is looked at, of the one below its upper half.
        h = h[..., 0 if edges.above else 1 : h.shape[-2] if edges.below else h.shape[-2] - 1, :]
        return convolved(layer.conv, h, edges)

    return x.mapped(work, scale=2)


def downsampled(layer: Downsample, x: Rows) -> Rows:
    """A strided convolution, each of whose rows looks at two rows and the one below them."""
    made = []
    for first, last in ranges(x.height // 2, x.bands):
        rows = x.band(2 * first, 2 * last + 1)
        below = 2 * (last - first) + 1 - rows.shape[-2]
        rows = wrap(rows, left=0, right=1, top=0, bottom=0) if x.padding == "circular" else functional.pad(rows, (0, 1, 0, below))
        made.append(layer.conv(rows).cpu())
    return Rows(torch.cat(made, dim=-2), x.bands, x.device, padding=x.padding)


def convolved(layer: nn.Conv2d, h: Tensor, edges: Edges) -> Tensor:
    """A convolution of rows that bring their neighbours along, but for those at the picture's edges, where zeros stand."""
    if edges.padding == "circular":
        return functional.conv2d(wrap(h, left=1, right=1, top=0, bottom=0), layer.weight, layer.bias)
    h = functional.pad(h, (0, 0, int(edges.above), int(edges.below)))
    return functional.conv2d(h, layer.weight, layer.bias, padding=(0, 1))


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
