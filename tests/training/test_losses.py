"""The losses: each is least where it should be, and the VAE's standardisation changes nothing end to end."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import TextSpec, VAESpec
from webui.nets.text import TextTower
from webui.pipeline.noise_table import NoiseTable
from webui.training.clip import ClipPair, PictureTower, clip_loss
from webui.training.noise_predictor import EVERYWHERE, MIDDLE, SPREAD, level_chances, noise_predictor_loss, spread_times
from webui.training.vae import divergence, edges, standardise, vae_loss

SPEC = VAESpec(channels=8, channel_mult=(1, 2), res_blocks=1, latent_channels=3, scale=1.0, groups=4)
ALPHAS = NoiseTable.from_betas().alphas_cumprod


class Oracle(nn.Module):
    """Knows the clean latents, so its v is exact up to `fault`."""

    def __init__(self, clean: Tensor, fault: float = 0.0) -> None:
        super().__init__()
        self.clean, self.fault = clean, fault

    def forward(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        kept = ALPHAS[t.long()].float().view(-1, 1, 1, 1)
        noise = (x - kept.sqrt() * self.clean) / (1 - kept).sqrt()
        return kept.sqrt() * noise - (1 - kept).sqrt() * self.clean + self.fault


CHANCES = level_chances(ALPHAS)


def loss_of(network: nn.Module, clean: Tensor, chances: Tensor = CHANCES) -> dict[str, Tensor]:
    context, generator = torch.zeros(len(clean), 1, 1), torch.Generator().manual_seed(1)
    return noise_predictor_loss(network, clean, context, ALPHAS, chances, generator)  # type: ignore[arg-type]


def test_an_exact_v_has_no_loss_and_a_wrong_one_its_square() -> None:
    clean = torch.randn(64, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    assert float(loss_of(Oracle(clean), clean)["loss"]) < 1e-6
    for chances in (CHANCES, torch.full((1000,), 1e-3, dtype=torch.float64)):  # levels are drawn, never weighed
        wrong = loss_of(Oracle(clean, 0.5), clean, chances)
        assert float(wrong["loss"]) == pytest.approx(0.25, rel=1e-4)
        assert wrong["v error"] == wrong["loss"] and not wrong["v error"].requires_grad


def test_what_goes_beside_the_latent_is_neither_noised_nor_predicted() -> None:
    class Watched(Oracle):
        def forward(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
            self.beside = x[:, 2:]
            return super().forward(x[:, :2], t, context)

    clean, depth = torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(0)), torch.rand(8, 1, 4, 4)
    watched = Watched(clean)
    generator = torch.Generator().manual_seed(1)
    found = noise_predictor_loss(watched, clean, torch.zeros(8, 1, 1), ALPHAS, CHANCES, generator, depth)  # type: ignore[arg-type]
    assert torch.equal(watched.beside, depth) and float(found["loss"]) < 1e-6


def test_the_chances_are_those_of_levels_even_in_part_and_log_normal_for_the_rest() -> None:
    for table in (ALPHAS, NoiseTable.from_betas(0.00085, 0.018).alphas_cumprod):
        chances = level_chances(table)
        assert chances.shape == (1000,) and float(chances.sum()) == pytest.approx(1, abs=1e-9)
        assert float(chances.min()) >= EVERYWHERE / 1000 > 0
        logs = 0.5 * ((1 - table.double()) / table.double()).log()
        drawn = (chances - EVERYWHERE / 1000) / (1 - EVERYWHERE)
        normal = torch.distributions.Normal(torch.tensor(MIDDLE, dtype=torch.float64), SPREAD)
        inside = normal.cdf(logs[-1]) - normal.cdf(logs[0])
        for low, high in ((-2.0, 0.0), (0.0, 1.0), (1.0, 2.5)):
            mass = float(drawn[(logs >= low) & (logs < high)].sum())
            expected = float((normal.cdf(torch.tensor(high)) - normal.cdf(torch.tensor(low))) / inside)
            assert mass == pytest.approx(expected, abs=0.01)
        assert abs(float(logs[drawn.argmax()]) - MIDDLE) < SPREAD  # a step spans more of log sigma at the ends


def test_times_follow_their_chances_one_from_each_part() -> None:
    even = torch.full((1000,), 1e-3, dtype=torch.float64)
    times = spread_times(100, even, torch.Generator().manual_seed(0))
    assert sorted(int(time) // 10 for time in times) == list(range(100))
    assert times.tolist() != sorted(times.tolist())
    chances = torch.tensor([0.5, 0.0, 0.25, 0.25], dtype=torch.float64)
    counts = torch.bincount(spread_times(4000, chances, torch.Generator().manual_seed(0)), minlength=4)
    assert counts.tolist() == [2000, 0, 1000, 1000]


def test_times_are_steps_even_where_rounding_leaves_the_chances_below_one() -> None:
    short = torch.full((8,), 0.12, dtype=torch.float64)
    assert int(spread_times(1000, short, torch.Generator().manual_seed(0)).max()) == 7


def test_standardise_changes_latents_and_nothing_else() -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(SPEC).requires_grad_(False)
    pictures = torch.rand(8, 3, 16, 16) * 2 - 1
    before, (mean, logvar) = vae(pictures), vae.encode(pictures)
    standardise(vae, mean)
    after, (new_mean, new_logvar) = vae(pictures), vae.encode(pictures)
    assert torch.allclose(before, after, atol=1e-5)
    assert torch.allclose(new_mean.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(new_mean.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-4)
    scale = mean.std(dim=(0, 2, 3)).view(1, -1, 1, 1)
    assert torch.allclose((0.5 * new_logvar).exp() * scale, (0.5 * logvar).exp(), rtol=1e-4)


def test_divergence_is_that_of_two_normal_distributions() -> None:
    mean, logvar = torch.tensor([0.3, -1.0]), torch.tensor([0.2, -0.5])
    ours = divergence(mean, logvar)
    posterior = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0, 1)).mean()
    assert float(ours) == pytest.approx(float(expected), rel=1e-6)


def test_the_vae_loss_reports_the_psnr_of_its_own_picture() -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(SPEC)
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    values = vae_loss(vae, pictures, torch.Generator().manual_seed(0))
    values["loss"].backward()
    assert all(parameter.grad is not None for parameter in vae.parameters())
    vae.requires_grad_(False)
    mean, logvar = vae.encode(pictures)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    made = vae.decode(mean + (0.5 * logvar).exp() * noise).clamp(-1, 1)
    psnr = sum(10 * math.log10(4 / float((a - b).square().mean())) for a, b in zip(made, pictures, strict=True)) / 2
    assert values["psnr"].item() == pytest.approx(psnr, abs=1e-3)


def test_edges_are_differences() -> None:
    across, down = edges(torch.tensor([[1.0, 3.0], [6.0, 10.0]]).view(1, 1, 2, 2))
    assert across.flatten().tolist() == [2.0, 4.0]
    assert down.flatten().tolist() == [5.0, 7.0]


def test_clips_temperature_is_the_published_one_and_bounded() -> None:
    spec = TextSpec(width=16, layers=1, heads=2, hidden=32, vocabulary=12, padding=11)
    pair = ClipPair(TextTower(spec), PictureTower(32), 16, 32, 8)
    assert pair.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    torch.manual_seed(0)
    given = torch.rand(2, 3, 32, 32), torch.tensor([[10, 1, 11], [10, 2, 11]])
    with torch.no_grad():
        at_limit, beyond = (clip_loss(scaled(pair, scale), *given)["loss"] for scale in (100.0, 1e6))
    assert torch.equal(at_limit, beyond)


def scaled(pair: ClipPair, scale: float) -> ClipPair:
    pair.logit_scale.fill_(math.log(scale))
    return pair


def test_clip_learns_to_pair_colours_with_words() -> None:
    torch.manual_seed(0)
    spec = TextSpec(width=16, layers=1, heads=2, hidden=32, vocabulary=12, padding=11)
    pair = ClipPair(TextTower(spec), PictureTower(32), 16, 32, 8)
    colours = torch.rand(8, 3, 1, 1) * 2 - 1
    pictures = colours.expand(8, 3, 32, 32).contiguous()
    ids = torch.tensor([[10, word, 11, 11] for word in range(8)])
    optimizer = torch.optim.AdamW(pair.parameters(), lr=3e-3)
    first = clip_loss(pair, pictures, ids)["loss"].item()
    for _ in range(60):
        optimizer.zero_grad()
        values = clip_loss(pair, pictures, ids)
        values["loss"].backward()
        optimizer.step()
    assert first > 1.5
    assert values["loss"].item() < 0.3 and values["right"].item() == 1.0
    assert torch.allclose(pair.place_texts(ids).norm(dim=1), torch.ones(8), atol=1e-5)


def test_clip_learns_the_order_of_words_from_captions_that_are_nearly_right() -> None:
    torch.manual_seed(0)
    spec = TextSpec(width=16, layers=1, heads=2, hidden=32, vocabulary=12, padding=11)
    pair = ClipPair(TextTower(spec), PictureTower(32), 16, 32, 8)
    pictures = (torch.rand(4, 3, 1, 1) * 2 - 1).expand(4, 3, 32, 32).contiguous()
    ids = torch.tensor([[10, 2 * each, 2 * each + 1, 11] for each in range(4)])
    wrong = ids[:, [0, 2, 1, 3]]
    assert clip_loss(pair, pictures, ids, wrong)["loss"] > clip_loss(pair, pictures, ids)["loss"]
    optimizer = torch.optim.AdamW(pair.parameters(), lr=3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        clip_loss(pair, pictures, ids, wrong)["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        images, right, reversed_ = pair.place_pictures(pictures), pair.place_texts(ids), pair.place_texts(wrong)
    assert ((images * right).sum(1) - (images * reversed_).sum(1)).min() > 0.3
