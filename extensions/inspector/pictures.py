"""Small pictures of latents: by the decoder, or by a linear map that is fitted to the model's own autoencoder."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from webui.extension import Ask, EncodePicture, fit_preview

SIDE = 64  # pixels of a picture that the map is fitted to
PICTURES = 6
PATCHES = 4  # along a side, each of another colour
SMALL = 256  # pixels of the longer side that is kept
SIGNATURE = b"\x89PNG\r\n\x1a\n"
Colours = Callable[[Tensor], Tensor]


def colours_of(network: str) -> Generator[Ask, Any, Colours]:
    """The map from a latent [C, h, w] to colours uint8 [h, w, 3], as the autoencoder of a network has them."""
    patches = torch.rand(PICTURES, 3, PATCHES, PATCHES, generator=torch.Generator().manual_seed(1))
    pictures = torch.cat([
        functional.interpolate(patches[::2], SIDE, mode="nearest"),
        functional.interpolate(patches[1::2], SIDE, mode="bilinear"),
    ])
    latents = []
    for picture in pictures:
        latents.append((yield EncodePicture(picture, network=network)).float().cpu())
    size = latents[0].shape[-2:]
    return fit_preview(torch.stack(latents), functional.adaptive_avg_pool2d(pictures, size))


def small(pixels: Tensor) -> Tensor:
    """Pixels [3, H, W] in [0, 1] as uint8 [h, w, 3], the longer side at most `SMALL`."""
    height, width = pixels.shape[-2:]
    scale = min(SMALL / max(height, width), 1)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    shrunk = pixels if scale == 1 else functional.adaptive_avg_pool2d(pixels, size)
    return (shrunk.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()


def png(pixels: Tensor) -> bytes:
    """Pixels uint8 [H, W, 3] as a PNG file (W3C 2003, sections 5 and 11): 8 bits of red, green and blue, no filters."""
    height, width, _ = pixels.shape
    rows = torch.cat([pixels.new_zeros(height, 1), pixels.reshape(height, -1)], dim=1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.numpy().tobytes(), 6)), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
