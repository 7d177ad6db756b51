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
    h: Rows | Upsampled = Rows(decoder.mid(decoder.conv_in(vae.post_quant_conv(z), padding), padding), bands, padding=padding)
    for level in reversed(decoder.up):
        assert isinstance(level, UpLevel)
        for block in level.block:
            assert isinstance(block, ResnetBlock)
            h = resnet_block(block, h)
        assert isinstance(h, Rows)
        if level.upsample is not None:
            h = Upsampled(level.upsample, h) if level is decoder.up[1] else upsampled(level.upsample, h)
    assert isinstance(h, Rows)  # no resolution lies above that of the last blocks
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
    def dtype(self) -> torch.dtype:
        """Of its numbers."""
        return self.values.dtype

    @property
    def shape(self) -> torch.Size:
        """B, C, H and W."""
        return self.values.shape

    @property
    def height(self) -> int:
        """How many rows there are."""
        return self.shape[-2]

    def band(self, first: int, last: int) -> Tensor:
        """Rows `first` to `last` on the device, as far as there are such rows; circular ones go on at the opposite edge."""
        if self.padding == "circular" and (first < 0 or last > self.height):
            return self.values.index_select(-2, torch.arange(first, last) % self.height).to(self.device)
        return self.values[..., max(first, 0) : min(last, self.height), :].to(self.device)

    def edges(self, first: int, last: int) -> Edges:
        """What stands beside the band that brings along a row above `first` and one below `last`."""
        return edges(self.padding, first, last, self.height)

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


class Upsampled:
    """A feature map of twice the resolution that is nowhere held: each band of it is made when it is looked at."""

    def __init__(self, layer: Upsample, x: Rows) -> None:
        self.layer = layer
        self.x = x
        self.device, self.bands, self.padding, self.dtype = x.device, x.bands, x.padding, x.dtype
        batch, _, height, width = x.shape
        self.shape = torch.Size((batch, layer.conv.out_channels, 2 * height, 2 * width))
        self.height = 2 * height

    def band(self, first: int, last: int) -> Tensor:
        """Rows `first` to `last`, as `Rows` has them."""
        if self.padding == "zeros":
            first, last = max(first, 0), min(last, self.height)
        begin = (first - 1) // 2
        rows = self.x.band(begin, last // 2 + 1)
        begin = max(begin, 0) if self.padding == "zeros" else begin
        h = functional.interpolate(rows, scale_factor=2.0, mode="nearest")
        edges = self.edges(first, last)
        h = h[..., max(first - 1 - 2 * begin, 0) : last + 1 - 2 * begin, :]
        return convolved(self.layer.conv, h, edges)

    def edges(self, first: int, last: int) -> Edges:
        """What stands beside a band."""
        return edges(self.padding, first, last, self.height)


def edges(padding: Padding, first: int, last: int, height: int) -> Edges:
    """What stands beside the rows `first` to `last` of so many."""
    zeros = padding == "zeros"
    return Edges(above=zeros and first == 0, below=zeros and last == height, padding=padding)


def ranges(height: int, bands: int) -> list[tuple[int, int]]:
    """The first row of each band, and the one after its last."""
    edges = [height * number // bands for number in range(bands + 1)]
    return [(first, last) for first, last in itertools.pairwise(edges) if last > first]


def resnet_block(block: ResnetBlock, x: Rows | Upsampled) -> Rows:
    """A residual block, whose result takes the place of x where that has as many channels."""
    shortcut = block.nin_shortcut
    beside = x if shortcut is None and isinstance(x, Rows) else empty_rows(x, block.conv1.out_channels)
    h = empty_rows(x, block.conv1.out_channels)
    factor, offset = statistics(block.norm1, x)
    for first, last in ranges(x.height, x.bands):
        rows = x.band(first - 1, last + 1)
        h.values[..., first:last, :] = convolved(block.conv1, functional.silu(rows * factor + offset), x.edges(first, last))
        if beside is not x:
            above = 0 if x.edges(first, last).above else 1
            own = rows[..., above : above + last - first, :]
            beside.values[..., first:last, :] = own if shortcut is None else shortcut(own)
    factor, offset = statistics(block.norm2, h)
    for first, last in ranges(x.height, x.bands):
        rows = functional.silu(h.band(first - 1, last + 1) * factor + offset)
        beside.values[..., first:last, :] += convolved(block.conv2, rows, h.edges(first, last)).to(beside.values.device)
    return beside


def empty_rows(like: Rows | Upsampled, channels: int) -> Rows:
    """Rows to be filled, as many and as wide as others."""
    batch, _, height, width = like.shape
    values = torch.empty(batch, channels, height, width, dtype=like.dtype)
    return Rows(values, like.bands, like.device, padding=like.padding)


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


def statistics(norm: nn.GroupNorm, x: Rows | Upsampled) -> tuple[Tensor, Tensor]:
    """The factor and offset [B, C, 1, 1] that a group norm applies to each channel, from the mean and variance of all rows."""
    batch, channels = x.shape[:2]
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
    return factor[..., None, None].to(x.dtype), offset[..., None, None].to(x.dtype)
