"""Every sampler along the whole line from request to picture: noise, strength and guidance as each of them wants them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.pipeline.answering import REQUEST, Engine, coloured, made, settled
from webui.pipeline.generate import Registry
from webui.pipeline.given import NOTHING_GIVEN, Given
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.protocol import Row, Rows
from webui.service.extensions import bundled

EXTENSIONS = bundled()
REGISTRY = Registry(samplers=EXTENSIONS.samplers, schedules=EXTENSIONS.schedules)
ENDS_ABOVE_0 = {"DPM fast", "DPM adaptive", *(name for name, info in EXTENSIONS.samplers.items() if info.unit_start)}


def seen_by(row: Row) -> Tensor:
    """A clean latent that depends on the state, as that of a Gaussian of deviation 1 / 2 does, and on the text."""
    shift = 0.1 if row.role == "cond" else 0.0
    return settled(row) + shift + (row.x - settled(row)) * (0.25 / (0.25 + row.at.sigma**2))


def drawn(sampler: str, predict: Any = settled, given: Given = NOTHING_GIVEN, **more: Any) -> tuple[Tensor, list[Row]]:
    """The latent of one picture by a sampler along its own schedule, and the rows that were asked for."""
    engine = Engine(predict=predict)
    request = replace(REQUEST, sampler=sampler, schedule=EXTENSIONS.samplers[sampler].schedule, **more)
    latent = made(request, given, engine, registry=REGISTRY).latent
    assert latent is not None and latent.dtype == torch.float32
    return latent, [row for ask in engine.of(Rows) for row in ask.rows]


@pytest.mark.parametrize("sampler", sorted(EXTENSIONS.samplers))
def test_every_sampler_makes_the_picture_that_is_predicted(sampler: str) -> None:
    latent, rows = drawn(sampler, steps=24)
    torch.testing.assert_close(latent, settled(rows[0]), rtol=0, atol=0.2 if sampler in ENDS_ABOVE_0 else 0.05)
    assert {row.role for row in rows} == {"cond", "uncond"}
    assert torch.equal(drawn(sampler, steps=24)[0], latent)


@pytest.mark.parametrize("sampler", sorted(EXTENSIONS.samplers))
def test_every_sampler_goes_on_from_a_picture(sampler: str) -> None:
    whole, rows = drawn(sampler, seen_by, steps=20)
    part, fewer = drawn(sampler, seen_by, Given(picture=coloured(64, 32)), steps=20, strength=0.4, task="img2img")
    assert torch.isfinite(part).all() and not torch.equal(whole, part)
    assert max(row.at.sigma for row in fewer) < max(row.at.sigma for row in rows) / 2
    assert len(fewer) < len(rows) or sampler == "DPM adaptive"


@pytest.mark.parametrize("sampler", sorted(EXTENSIONS.samplers))
def test_the_seed_decides_the_noise_of_every_sampler(sampler: str) -> None:
    one, other = (drawn(sampler, seen_by, steps=20, seed=seed)[0] for seed in (5, 6))
    assert float((one - other).abs().max()) > 1e-3


def test_guidance_on_the_manifold_counts_a_part_of_the_scale() -> None:
    """What leads back to the noise is unconditional, and a scale of 12.5 is the whole way to what is conditional."""

    def apart(row: Row) -> Tensor:
        return settled(row) + (0.1 if row.role == "cond" else 0.0)

    whole, rows = drawn("DDIM CFG++", apart, steps=10, scale=12.5)
    half, _ = drawn("DDIM CFG++", apart, steps=10, scale=6.25)
    sigmas = [*(row.at.sigma for row in rows if row.role == "cond"), NoiseTable.from_betas().sigma_min]
    gained = 0.0
    for sigma, after in pairwise(sigmas):
        gained = 0.1 + gained * after / sigma
    assert float((whole - half).mean()) == pytest.approx(gained / 2 / math.sqrt(1 + sigmas[-1] ** 2), rel=1e-4)
