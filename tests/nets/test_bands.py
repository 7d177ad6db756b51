"""Decoding and encoding in bands is what it is at once: no seam, no wrong statistics, for any number of bands."""
from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.nets.families import GAINS, assert_same, autoencoder
from webui.nets import bands
from webui.nets.bands import decode_in_bands, encode_in_bands
from webui.nets.convolution import Padding

PADDINGS = ("zeros", "circular")


def latent(height: int = 12, width: int = 6, batch: int = 1) -> Tensor:
    return torch.randn(batch, 4, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize(("count", "height"), [(1, 12), (2, 12), (3, 7), (5, 12), (64, 5)])
def test_bands_have_no_seams(gain: float, count: int, height: int, padding: Padding) -> None:
    vae, z = autoencoder(gain=gain), latent(height)
    with torch.no_grad():
        assert_same(decode_in_bands(vae, z, count, padding), vae.decode(z, padding))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize(("count", "height"), [(1, 12), (2, 12), (3, 7), (5, 12), (64, 5)])
def test_bands_of_a_picture_that_is_encoded_have_no_seams(gain: float, count: int, height: int, padding: Padding) -> None:
    vae = autoencoder(gain=gain)
    picture = torch.rand(1, 3, height * vae.spec.factor, 6 * vae.spec.factor, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected, made = vae.encode(picture, padding), encode_in_bands(vae, picture, count, padding)
    assert_same(made.mean, expected.mean)
    assert_same(made.logvar, expected.logvar)


def test_bands_of_several_pictures_and_memory_layouts() -> None:
    vae, z = autoencoder().to(memory_format=torch.channels_last), latent(batch=2).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert_same(decode_in_bands(vae, z, 3), vae.decode(z))


def test_no_convolution_sees_more_than_a_band(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, z = autoencoder(), latent(16)
    heights: list[tuple[int, int]] = []

    def seen(layer: Any, h: Tensor, edges: Any) -> Tensor:
        heights.append((h.shape[-2], h.shape[-1]))
        return real(layer, h, edges)

    real = bands.convolved
    monkeypatch.setattr(bands, "convolved", seen)
    with torch.no_grad():
        decode_in_bands(vae, z, 4)
    assert max(height / width for height, width in heights) <= (16 / 4 + 2) / 6


def test_the_host_holds_two_feature_maps_of_the_picture_s_resolution_and_the_one_below(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in numbers of the picture's resolution, a channel each; the decoder has 32 there, and 64 in the one below."""
    vae, z = autoencoder(), latent(16)
    held: dict[int, int] = {}
    most = 0

    def counted(self: bands.Rows, values: Tensor, *given: Any, **more: Any) -> None:
        nonlocal most
        real(self, values, *given, **more)
        held[id(self)] = self.values.numel()
        most = max(most, sum(held.values()))
        weakref.finalize(self, held.pop, id(self))

    real = bands.Rows.__init__
    monkeypatch.setattr(bands.Rows, "__init__", counted)
    with torch.no_grad():
        picture = decode_in_bands(vae, z, 4)
        decoded, most = most, 0
        encode_in_bands(vae, picture, 4)
    pixels = picture[0, 0].numel()
    assert vae.spec.channels == 32 and decoded <= (2 * 32 + 64 / 4) * pixels and most <= (2 * 32 + 64 / 4 + 3) * pixels
