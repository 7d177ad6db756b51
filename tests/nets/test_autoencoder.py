"""The autoencoder: any number of latent channels, padding as an argument, rounding."""
from __future__ import annotations

import pytest
import torch

from tests.nets.families import assert_same, autoencoder
from webui.nets.autoencoder import AutoencoderKL, Downsample
from webui.nets.spec import VAESpec

SMALL = VAESpec(channels=16, channel_mult=(1, 2, 3), res_blocks=1, latent_channels=8, groups=8)


def test_any_number_of_channels_and_levels() -> None:
    network = AutoencoderKL(SMALL)
    picture = torch.rand(2, 3, 24, 40) * 2 - 1
    mean, logvar = network.encode(picture)
    assert mean.shape == logvar.shape == (2, 8, 6, 10)
    assert network.decode(mean).shape == picture.shape
    assert torch.equal(network(picture), network.decode(mean))


def test_every_weight_is_trained() -> None:
    network = AutoencoderKL(SMALL)
    picture = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mean, logvar = network.encode(picture)
        loss = (network.decode(mean + logvar) - picture).float().square().mean()
    loss.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())


def test_log_variance_stays_in_a_range_whose_exponential_is_finite() -> None:
    network = AutoencoderKL(SMALL).requires_grad_(False)
    assert network.quant_conv.bias is not None
    network.quant_conv.bias += 1e4
    assert network.encode(torch.zeros(1, 3, 8, 8)).logvar.max() == 20


def test_circular_padding_makes_the_network_equivariant_to_shifts() -> None:
    network = autoencoder()
    z = torch.randn(1, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    picture = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    decoded, encoded = network.decode(z, "circular"), network.encode(picture, "circular").mean
    assert_same(network.decode(z.roll((1, 2), (2, 3)), "circular"), decoded.roll((8, 16), (2, 3)))
    assert_same(network.encode(picture.roll((8, 16), (2, 3)), "circular").mean, encoded.roll((1, 2), (2, 3)))
    assert (network.decode(z.roll(1, 3)) - network.decode(z).roll(8, 3)).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_format_and_precision_change_only_rounding(dtype: torch.dtype) -> None:
    gate = 1.5e-5 if dtype is torch.float32 else 6e-2
    z = torch.randn(2, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    plain = autoencoder().decode(z)
    network = autoencoder().to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    result = network.decode(z.to(dtype).to(memory_format=torch.channels_last))
    assert_same(result.float(), plain, rms=gate, most=2 * gate)


def test_downsampling_pads_right_and_bottom_only() -> None:
    layer = Downsample(4).requires_grad_(False)
    x = torch.randn(1, 4, 8, 6, generator=torch.Generator().manual_seed(0))
    zeros, circular = layer(x, "zeros"), layer(x, "circular")
    assert torch.equal(zeros[..., :-1, :-1], circular[..., :-1, :-1])
    assert_same(circular, layer(torch.cat([x, x[:, :, :2]], dim=2), "circular")[..., :-1, :])
    assert (zeros[..., -1, :] - circular[..., -1, :]).abs().min() > 0
