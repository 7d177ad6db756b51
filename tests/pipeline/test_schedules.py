"""Noise levels against recorded tables, diffusers' schedule, and what must hold for any of them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.tiny_checkpoint import SPEC
from webui.errors import UserError
from webui.nets.spec import Prediction
from webui.pipeline.noise_table import NoiseTable, denoised_from, network_input
from webui.pipeline.schedules import SCHEDULES

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "schedules.json").read_text())
TABLE = NoiseTable.from_betas(0.00085, 0.012, 1000)
SINGLE = 2e-5  # the recorded tables were computed from float32 alphas, which are this coarse at the smallest sigma
TO_ZERO = set(SCHEDULES) - {"DDIM timesteps"}


@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        ("Uniform", "uniform:10"), ("Karras", "karras:10"), ("Exponential", "exponential:10"),
        ("SGM Uniform", "sgm_uniform:10"), ("Simple", "simple:10"), ("DDIM", "ddim:10"),
    ],
)  # fmt: skip
def test_a_schedule_equals_the_recorded_one(name: str, recorded: str) -> None:
    assert SCHEDULES[name](10, TABLE) == pytest.approx(RECORDED["tables"][recorded], rel=SINGLE, abs=0)


def test_karras_takes_rho_and_ends() -> None:
    ends = {"sigma_min": RECORDED["sigma_min"], "sigma_max": RECORDED["sigma_max"]}
    assert SCHEDULES["Karras"](10, TABLE, **ends, rho=5.0) == pytest.approx(
        RECORDED["tables"]["karras rho=5:10"], rel=1e-6, abs=0
    )
    for name in ("Uniform", "Karras"):
        sigmas = SCHEDULES[name](7, TABLE, sigma_min=0.1, sigma_max=10.0)
        assert (sigmas[0], sigmas[-2], sigmas[-1]) == (pytest.approx(10, rel=1e-9), pytest.approx(0.1, rel=1e-9), 0.0)


@given(n=st.integers(1, 150), name=st.sampled_from(sorted(SCHEDULES)))
@settings(deadline=None, max_examples=60)
def test_sigmas_fall_within_the_table(n: int, name: str) -> None:
    sigmas = SCHEDULES[name](n, TABLE)
    assert all(sigma > following for sigma, following in pairwise(sigmas))
    assert sigmas[0] <= TABLE.sigma_max * (1 + 1e-12)
    assert sigmas[-1] == (0.0 if name in TO_ZERO else TABLE.sigma_min)
    assert len(sigmas) == n + 1 or (name.startswith("DDIM") and len(sigmas) > n)


@pytest.mark.parametrize("n", sorted(int(key) for key in RECORDED["ldm_ddim_timesteps(uniform)"]))
def test_ddim_visits_the_training_steps_of_latent_diffusion(n: int) -> None:
    steps = [TABLE.t_of(sigma) for sigma in SCHEDULES["DDIM timesteps"](n, TABLE)]
    assert steps == [*reversed(RECORDED["ldm_ddim_timesteps(uniform)"][str(n)]), 0]
    assert SCHEDULES["DDIM"](n, TABLE)[:-1] == SCHEDULES["DDIM timesteps"](n, TABLE)[:-1]
    if n == 30:
        assert len(steps) - 1 == 31


def test_ddim_never_leaves_the_table() -> None:
    assert len(SCHEDULES["DDIM"](5000, TABLE)) == len(SCHEDULES["DDIM"](600, TABLE)) == 1000


def test_times_equal_the_recorded_ones() -> None:
    recorded = RECORDED["sigma_to_t"]
    assert [TABLE.t_of(sigma) for sigma in recorded["sigma"]] == pytest.approx(recorded["t(interp)"], abs=5e-5)
    assert (TABLE.t_of(math.inf), TABLE.t_of(0.0)) == (999.0, 0.0)


@given(t=st.floats(0, 999))
def test_time_and_sigma_round_trip(t: float) -> None:
    assert TABLE.t_of(TABLE.sigma_of(t)) == pytest.approx(t, abs=1e-9)


@given(t=st.integers(0, 999))
def test_whole_times_are_exact(t: int) -> None:
    assert TABLE.sigma_of(t) == float(TABLE.sigmas[t])
    assert TABLE.t_of(TABLE.sigma_of(t)) == t


@given(sigma=st.floats(TABLE.sigma_min, TABLE.sigma_max))
def test_sigma_and_time_round_trip(sigma: float) -> None:
    assert TABLE.sigma_of(TABLE.t_of(sigma)) == pytest.approx(sigma, rel=1e-12)


def test_log_sigma_is_straight_between_steps() -> None:
    middle = math.sqrt(TABLE.sigma_of(499) * TABLE.sigma_of(500))
    assert TABLE.sigma_of(499.5) == pytest.approx(middle, rel=1e-12)


@pytest.mark.parametrize("betas", [(0.00085, 0.012), (0.0005, 0.02)])
def test_the_table_is_that_of_diffusers(betas: tuple[float, float]) -> None:
    theirs = DDIMScheduler(beta_schedule="scaled_linear", beta_start=betas[0], beta_end=betas[1]).alphas_cumprod
    torch.testing.assert_close(NoiseTable.from_betas(*betas).alphas_cumprod, theirs.double(), rtol=2e-5, atol=0)


def test_the_table_has_the_recorded_alphas() -> None:
    found = TABLE.alphas_cumprod[[0, 1, 499, 998, 999]].tolist()
    assert found == pytest.approx(RECORDED["alphas_cumprod[0,1,499,998,999]"], rel=1e-12, abs=0)
    assert (TABLE.sigma_min, TABLE.sigma_max) == pytest.approx((RECORDED["sigma_min"], RECORDED["sigma_max"]), rel=SINGLE)


def test_a_table_that_ends_at_zero_snr_stays_finite() -> None:
    alphas = TABLE.alphas_cumprod.clone()
    alphas[-1] = 0.0
    table = NoiseTable(alphas)
    assert table.sigma_max == pytest.approx(4096, rel=1e-6)
    assert all(map(math.isfinite, SCHEDULES["Karras"](10, table)))
    assert torch.equal(table.sigmas[:-1], TABLE.sigmas[:-1])


def test_zero_terminal_snr_is_that_of_diffusers() -> None:
    table = NoiseTable.from_spec(replace(SPEC, prediction="v", zero_terminal_snr=True))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    theirs = (1 - rescale_zero_terminal_snr(betas)).cumprod(0)
    assert float(theirs[-1]) == 0 and table.sigma_max == pytest.approx(4096, rel=1e-6)
    torch.testing.assert_close(table.alphas_cumprod[:-1], theirs[:-1], rtol=1e-9, atol=0)
    torch.testing.assert_close(table.sigmas[0], TABLE.sigmas[0])
    assert (table.sigmas[1:] > TABLE.sigmas[1:]).all()
    assert torch.equal(NoiseTable.from_spec(SPEC).sigmas, TABLE.sigmas)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("n", [1, 4, 30])
def test_zero_terminal_snr_makes_finite_falling_schedules(name: str, n: int) -> None:
    sigmas = SCHEDULES[name](n, NoiseTable.from_spec(replace(SPEC, prediction="v", zero_terminal_snr=True)))
    assert all(math.isfinite(sigma) and sigma > following for sigma, following in pairwise(sigmas))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_first_step_of_zero_terminal_snr_is_finite_in_every_number_type(dtype: torch.dtype) -> None:
    """From nothing but noise the clean latent is minus the velocity, whatever the noise."""
    table = NoiseTable.from_spec(replace(SPEC, prediction="v", zero_terminal_snr=True))
    data, noise, _ = example(2, torch.float32)
    x = noise * table.sigma_max
    shown = network_input(x, table.sigma_max).to(dtype)
    assert torch.isfinite(shown).all() and 0.9 < float(shown.float().std()) < 1.1
    found = denoised_from("v", -data.to(dtype), x, table.sigma_max)
    torch.testing.assert_close(found, data.to(dtype).float(), rtol=0, atol=2e-3)


def test_zero_terminal_snr_needs_v_prediction() -> None:
    with pytest.raises(UserError, match=r"to predict eps; .* Set the prediction to v"):
        NoiseTable.from_spec(replace(SPEC, prediction="eps", zero_terminal_snr=True))


@pytest.mark.parametrize("row", [[0.9], [0.5, 0.9], [1.0, 0.5], [float("nan"), 0.5], [[0.9, 0.5]]])
def test_what_is_no_table_is_refused(row: list[Any]) -> None:
    with pytest.raises(ValueError, match="falling row"):
        NoiseTable(torch.tensor(row))


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("n", [0, -1])
def test_no_steps_are_refused(name: str, n: int) -> None:
    with pytest.raises(UserError, match="at least 1"):
        SCHEDULES[name](n, TABLE)


@pytest.mark.parametrize("options", [{"sigma_min": 20.0}, {"sigma_min": 0.0}, {"sigma_max": math.nan}, {"sigma_max": math.inf}])
@pytest.mark.parametrize("name", ["Uniform", "Karras"])
def test_impossible_ends_are_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(UserError, match="was to run from sigma"):
        SCHEDULES[name](10, TABLE, **options)


@pytest.mark.parametrize("rho", [0.0, -1.0, 1e-3, math.nan, math.inf])
def test_impossible_rho_is_refused(rho: float) -> None:
    with pytest.raises(UserError, match="rho"):
        SCHEDULES["Karras"](10, TABLE, rho=rho)


def example(seed: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Data and noise of four rows, and a noise level for each."""
    generator = torch.Generator().manual_seed(seed)
    data, noise = torch.randn((2, 4, 3, 5, 5), generator=generator, dtype=torch.float64).to(dtype)
    return data, noise, torch.tensor([0.03, 0.5, 2.0, 14.6], dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_an_exact_output_gives_the_exact_clean_latent(prediction: Prediction, dtype: torch.dtype, tolerance: float) -> None:
    data, noise, sigma = example(0, dtype)
    kept = (1 / (1 + sigma**2)).view(4, 1, 1, 1)
    x = data + sigma.view(4, 1, 1, 1) * noise
    torch.testing.assert_close(network_input(x, sigma), kept.sqrt() * data + (1 - kept).sqrt() * noise, rtol=0, atol=tolerance)
    output = noise if prediction == "eps" else kept.sqrt() * noise - (1 - kept).sqrt() * data
    found = denoised_from(prediction, output, x, sigma)
    assert found.dtype == dtype
    torch.testing.assert_close(found, data, rtol=0, atol=tolerance)
    for row in range(4):  # a number for one row alone gives what a row of many gets
        alone = denoised_from(prediction, output[row], x[row], float(sigma[row]))
        torch.testing.assert_close(alone, found[row], rtol=0, atol=tolerance)
        torch.testing.assert_close(network_input(x[row], float(sigma[row])), network_input(x, sigma)[row], rtol=0, atol=tolerance)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_half_precision_outputs_are_raised_to_the_state_before_they_are_used(prediction: Prediction) -> None:
    data, noise, sigmas = example(1, torch.float32)
    output = noise.to(torch.bfloat16)
    for sigma in (sigmas, 3.3):
        found = denoised_from(prediction, output, data, sigma)
        assert found.dtype == torch.float32
        assert torch.equal(found, denoised_from(prediction, output.float(), data, sigma))


def test_an_unknown_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="'sample'"):
        denoised_from("sample", torch.zeros(1), torch.zeros(1), 1.0)  # type: ignore[arg-type]
