"""Samplers against recorded trajectories, the closed-form problems of `tests.analytic`, and each other."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.analytic import DEVIATION, MEAN, PROBLEMS, exact, sd_alphas_cumprod, vp
from tests.random_weights import random_tensor
from tests.sampling import SHAPE, Answer, Run, log_spaced, moments_of_the_result, noise_of, recorded_sigmas, sample
from webui.errors import UnknownName
from webui.nets.spec import Prediction
from webui.pipeline.noise_table import NoiseTable, denoised_from, network_input
from webui.pipeline.protocol import Moment, Sampler
from webui.pipeline.samplers import (
    SAMPLERS,
    SamplerInfo,
    ddim,
    dpmpp_2m,
    dpmpp_2m_sde,
    dpmpp_sde,
    euler,
    euler_ancestral,
    heun,
    lcm,
    moments,
    resolve,
)
from webui.pipeline.schedules import SCHEDULES

RECORDED = load_file(Path(__file__).parents[1] / "data" / "samplers.safetensors")
TABLE = NoiseTable.from_betas()


# --- the recorded trajectories ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sampler", "options"),
    [
        ("euler", euler, {}),
        ("euler/churn0.8n", euler, {"s_churn": 8.0, "s_noise": 1.003}),
        ("heun", heun, {}),
        ("heun/churn0.8n", heun, {"s_churn": 8.0, "s_noise": 1.003}),
        ("euler_ancestral", euler_ancestral, {"eta": 0.0}),
        ("euler_ancestral/eta0.5", euler_ancestral, {"eta": 0.5}),
        ("euler_ancestral/eta1", euler_ancestral, {}),
        ("euler_ancestral/s_noise0.9", euler_ancestral, {"s_noise": 0.9}),
        ("dpmpp_2m", dpmpp_2m, {}),
        ("dpmpp_sde", dpmpp_sde, {"eta": 0.0}),
        ("dpmpp_sde/eta1", dpmpp_sde, {}),
        ("dpmpp_2m_sde", dpmpp_2m_sde, {"eta": 0.0}),
        ("dpmpp_2m_sde/eta0.5", dpmpp_2m_sde, {"eta": 0.5}),
        ("dpmpp_2m_sde/eta1", dpmpp_2m_sde, {}),
    ],
)
def test_a_sampler_equals_the_recorded_trajectory(name: str, sampler: Sampler, options: dict[str, float]) -> None:
    sigmas = recorded_sigmas()
    found = sample(sampler, noise_of() * sigmas[0], sigmas, **options)
    recorded = RECORDED[f"{name}/karras10"]
    torch.testing.assert_close(found, recorded, rtol=0, atol=1e-13)


@pytest.mark.parametrize("sampler", [euler, euler_ancestral, dpmpp_2m, ddim])
def test_single_precision_suffices_for_the_sigmas_of_zero_terminal_snr(sampler: Sampler) -> None:
    sigmas = (4096.0, 20.0, 8.0, 2.0, 0.5)
    options = {} if sampler in (euler, dpmpp_2m) else {"eta": 0.0}
    single, double = (sample(sampler, noise_of(dtype) * sigmas[0], sigmas, **options) for dtype in (torch.float32, torch.float64))
    assert single.dtype == torch.float32
    assert float((single - double).abs().max() / double.abs().max()) < 3e-7


def as_network(prediction: Prediction) -> Answer:
    """The mixture's denoiser by way of a network that predicts `prediction` at whole training steps."""
    network = vp("gmm", sd_alphas_cumprod(), prediction)

    def answer(x: Tensor, sigma: float) -> Tensor:
        t = TABLE.t_of(sigma)
        assert t == int(t)
        return denoised_from(prediction, network(network_input(x, sigma), t), x, sigma)

    return answer


@pytest.mark.parametrize(
    ("name", "prediction", "steps", "eta"),
    [
        ("ldm_ddim", "eps", 10, 0.0),
        ("ldm_ddim_v", "v", 10, 0.0),
        ("a1111_ddim", "eps", 9, 0.0),  # that program leaves out the last step
        ("a1111_ddim/eta1", "eps", 9, 1.0),
    ],
)
def test_ddim_equals_the_recorded_trajectory(name: str, prediction: Prediction, steps: int, eta: float) -> None:
    sigmas = SCHEDULES["DDIM timesteps"](10, TABLE)[: steps + 1]
    found = Run(as_network(prediction))(ddim, SAMPLERS["DDIM"].start(noise_of(), sigmas[0]), sigmas, eta=eta)
    torch.testing.assert_close(found, RECORDED[f"{name}/10"], rtol=0, atol=1e-6)  # recorded with float32 alphas


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_is_the_paper_s_step_in_the_paper_s_coordinates(eta: float) -> None:
    alphas, network = sd_alphas_cumprod(), vp("gmm", sd_alphas_cumprod())
    x, draws = noise_of(), iter(range(100))
    for t, before in zip(range(901, 0, -100), [*range(801, 0, -100), 0], strict=True):
        a, a_before, eps = float(alphas[t]), float(alphas[before]), network(x, t)
        deviation = eta * math.sqrt((1 - a_before) / (1 - a) * (1 - a / a_before))  # eq. 16
        data = (x - math.sqrt(1 - a) * eps) / math.sqrt(a)
        fresh = random_tensor(f"noise:{next(draws)}", SHAPE).double()
        x = math.sqrt(a_before) * data + math.sqrt(1 - a_before - deviation**2) * eps + deviation * fresh  # eq. 12
    sigmas = SCHEDULES["DDIM timesteps"](10, TABLE)
    found = sample(ddim, SAMPLERS["DDIM"].start(noise_of(), sigmas[0]), sigmas, eta=eta)
    torch.testing.assert_close(found, x, rtol=0, atol=1e-11)


# --- convergence to the exact solution --------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", ["gauss", "gmm"])
@pytest.mark.parametrize(
    ("sampler", "order"),
    [(euler, 1), (heun, 2), (dpmpp_2m, 2), (ddim, 1), (euler_ancestral, 1), (dpmpp_sde, 2), (dpmpp_2m_sde, 2)],
)
def test_the_error_falls_with_the_sampler_s_order(sampler: Sampler, order: int, problem: str) -> None:
    options = {"eta": 0.0} if sampler in (euler_ancestral, dpmpp_sde, dpmpp_2m_sde) else {}
    errors = []
    for steps in (128, 256):
        sigmas = log_spaced(steps)
        x = noise_of()[0] * sigmas[0]
        truth = exact(problem, x, sigmas[0], sigmas[-1])
        scale = math.sqrt(1 + sigmas[-1] ** 2) if sampler is ddim else 1.0
        errors.append(float((sample(sampler, x, sigmas, problem, **options) * scale - truth).abs().mean()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)
    assert errors[1] < 0.02


@pytest.mark.parametrize(
    ("sampler", "options", "order"),
    [
        (euler_ancestral, {}, 1),
        (euler_ancestral, {"eta": 0.5}, 1),
        (euler, {"s_churn": 30.0}, 1),
        (heun, {"s_churn": 30.0}, 2),
        (dpmpp_sde, {}, 2),
        (dpmpp_sde, {"eta": 0.5}, 2),
        (dpmpp_2m_sde, {}, 2),
        (dpmpp_2m_sde, {"eta": 0.5}, 2),
    ],
)
def test_a_stochastic_sampler_reaches_the_true_mean_and_variance(
    sampler: Sampler, options: dict[str, float], order: int
) -> None:
    errors = []
    for steps in (128, 256):
        sigmas = log_spaced(steps)
        mean, variance = moments_of_the_result(sampler, sigmas, brownian=sampler in (dpmpp_sde, dpmpp_2m_sde), **options)
        assert mean == pytest.approx(MEAN, abs=1e-12)
        errors.append(abs(variance - (DEVIATION**2 + sigmas[-1] ** 2)))
    assert math.log2(errors[0] / errors[1]) > order - 0.15
    assert errors[1] < 0.05


def test_two_draws_of_one_brownian_path_are_not_independent() -> None:
    """What `SamplerInfo.brownian` asks for matters: with draws that know nothing of each other, DPM++ SDE is of order 1."""
    errors = []
    for steps in (128, 256):
        sigmas = log_spaced(steps)
        _, variance = moments_of_the_result(dpmpp_sde, sigmas, brownian=False)
        errors.append(abs(variance - (DEVIATION**2 + sigmas[-1] ** 2)))
    assert math.log2(errors[0] / errors[1]) < 1.5


def test_consistency_sampling_has_the_variance_of_its_last_jump() -> None:
    sigmas = (14.6, 4.0, 1.0, 0.3)
    variance = DEVIATION**2 + sigmas[0] ** 2
    for sigma, after in pairwise(sigmas):
        variance = (DEVIATION**2 / (DEVIATION**2 + sigma**2)) ** 2 * variance + after**2
    assert moments_of_the_result(lcm, sigmas) == (pytest.approx(MEAN), pytest.approx(variance, rel=1e-12))


def test_a_consistency_model_s_answers_meet_the_state_at_time_0() -> None:
    sigmas = (TABLE.sigma_of(0), 0.0)
    x = noise_of() * sigmas[0]
    assert torch.equal(sample(lcm, x, sigmas, table=TABLE), x)
    high = SCHEDULES["LCM"](8, TABLE)
    plain, bounded = (sample(lcm, noise_of() * high[0], high, table=table) for table in (None, TABLE))
    assert 0 < float((plain - bounded).abs().max()) < 1e-4  # from step 19 on it hardly shows
    mixed = 0.25 / ((10 * 19) ** 2 + 0.25)
    told = Run(PROBLEMS["gmm"])
    told(lcm, noise_of() * high[-2], high[-2:], table=TABLE)
    x = noise_of() * high[-2]
    expected = mixed * x + math.sqrt(1 - mixed) * PROBLEMS["gmm"](x, high[-2])
    torch.testing.assert_close(told.told[0].x, expected, rtol=0, atol=1e-12)


def test_more_noise_than_asked_for_would_show_in_the_variance() -> None:
    _, plain = moments_of_the_result(euler_ancestral, log_spaced(128))
    _, louder = moments_of_the_result(euler_ancestral, log_spaced(128), s_noise=1.05)
    assert louder > plain * 1.05


# --- what holds for every sampler -------------------------------------------------------------------------------------------


@pytest.fixture(params=sorted(SAMPLERS))
def info(request: pytest.FixtureRequest) -> SamplerInfo:
    found: SamplerInfo = SAMPLERS[request.param]
    return found


def test_the_number_of_evaluations_is_as_documented(info: SamplerInfo) -> None:
    run, sigmas = Run(PROBLEMS["gmm"]), SCHEDULES["Karras"](6, TABLE)
    run(info.function, noise_of() * sigmas[0], sigmas)
    expected = [Moment(sigma, step, 6, 0) for step, sigma in enumerate(sigmas[:-1])]
    if info.evaluations == 2:
        middle = info.name == "DPM++ SDE"
        levels = [math.sqrt(a * b) if middle else b for a, b in pairwise(sigmas[:-1])]
        second = [Moment(sigma, step, 6, 1) for step, sigma in enumerate(levels)]
        expected = sorted(expected + second, key=lambda at: (at.step, at.evaluation))
    assert run.asked == expected
    assert [step.at for step in run.told] == [Moment(sigma, step, 6) for step, sigma in enumerate(sigmas[:-1])]
    assert bool(run.drawn) == info.uses_noise


def test_the_last_step_tells_the_result(info: SamplerInfo) -> None:
    run, sigmas = Run(PROBLEMS["gmm"]), SCHEDULES["Karras"](4, TABLE)
    result = run(info.function, noise_of() * sigmas[0], sigmas)
    assert torch.equal(run.told[-1].x, result)
    torch.testing.assert_close(run.told[-1].denoised, result, rtol=0, atol=1e-12)  # at sigma 0 nothing but data is left
    assert not torch.equal(run.told[-2].x, run.told[-2].denoised)


def test_single_precision_stays_and_suffices(info: SamplerInfo) -> None:
    sigmas = SCHEDULES[info.schedule](20, TABLE)
    double = sample(info.function, noise_of() * sigmas[0], sigmas)
    single = sample(info.function, noise_of(torch.float32) * sigmas[0], sigmas)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-5)


def test_known_data_is_found_and_the_start_is_left_alone(info: SamplerInfo) -> None:
    data = random_tensor("data", (3, 2, 2)).double()
    sigmas = SCHEDULES["Karras"](5, TABLE)
    x = data + random_tensor("start", (3, 2, 2)).double() * sigmas[0]
    before = x.clone()
    found = Run(lambda state, sigma: data)(info.function, x, sigmas)
    torch.testing.assert_close(found, data, rtol=0, atol=1e-12)
    assert torch.equal(x, before)


def test_one_step_and_none(info: SamplerInfo) -> None:
    x = noise_of() * 14.6
    torch.testing.assert_close(sample(info.function, x, (14.6, 0.0)), PROBLEMS["gmm"](x, 14.6), rtol=0, atol=1e-12)
    assert torch.equal(sample(info.function, x, (0.0,)), x)


# --- what holds for some ----------------------------------------------------------------------------------------------------


def test_moments_say_where_a_step_is() -> None:
    assert list(moments((3.0, 1.0, 0.0))) == [(Moment(3.0, 0, 2), 1.0), (Moment(1.0, 1, 2), 0.0)]


def test_euler_ancestral_asks_for_noise_between_steps_only() -> None:
    run = Run(PROBLEMS["gmm"])
    run(euler_ancestral, noise_of() * 10, (10.0, 1.0, 0.1, 0.0))
    assert run.drawn == [(Moment(10.0, 0, 3), 1.0), (Moment(1.0, 1, 3), 0.1)]


def test_no_eta_adds_more_noise_than_the_next_level_has() -> None:
    x = noise_of() * 10
    found = sample(euler_ancestral, x, (10.0, 1.0), eta=5.0)
    torch.testing.assert_close(found, PROBLEMS["gmm"](x, 10.0) + random_tensor("noise:0", SHAPE), rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampler", [euler, heun])
def test_churn_keeps_to_its_range_and_draws_in_every_step(sampler: Sampler) -> None:
    sigmas = (10.0, 3.0, 1.0, 0.1, 0.0)
    x = noise_of() * sigmas[0]
    outside, inside = Run(PROBLEMS["gmm"]), Run(PROBLEMS["gmm"])
    unmoved = outside(sampler, x, sigmas, s_churn=4.0, s_tmin=20.0)
    inside(sampler, x, sigmas, s_churn=0.4, s_tmin=1.0, s_tmax=3.0)
    assert torch.equal(unmoved, sample(sampler, x, sigmas))
    assert len(outside.drawn) == len(inside.drawn) == 4
    starts = [at.sigma for at in inside.asked if at.evaluation == 0]
    assert starts == pytest.approx([10.0, 3.3, 1.1, 0.1])
    unbounded, most = Run(PROBLEMS["gmm"]), Run(PROBLEMS["gmm"])
    unbounded(sampler, x, sigmas, s_churn=0.4, s_tmax=0.0)
    assert unbounded.asked[0].sigma == pytest.approx(11.0)
    most(sampler, x, sigmas, s_churn=100.0)
    assert most.asked[0].sigma == pytest.approx(10.0 * math.sqrt(2))


# --- names ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("DPM++ 2M",), ("DPM++ 2M", "Karras")),
        (("DPM++ 2M", "Uniform"), ("DPM++ 2M", "Uniform")),
        (("DPM++ 2M Karras",), ("DPM++ 2M", "Karras")),
        (("DPM++ 2M Karras", "uniform"), ("DPM++ 2M", "Uniform")),
        (("k_dpmpp_2m_ka",), ("DPM++ 2M", "Karras")),
        (("k_euler_a", "karras"), ("Euler a", "Karras")),
        (("k_euler_ancestral",), ("Euler a", "Uniform")),
        (("Euler Automatic",), ("Euler", "Uniform")),
        ((" euler A karras ",), ("Euler a", "Karras")),
        (("Heun",), ("Heun", "Uniform")),
        (("k_heun",), ("Heun", "Uniform")),
        (("ddim", "Automatic"), ("DDIM", "DDIM timesteps")),
        (("Euler DDIM",), ("Euler", "DDIM")),
    ],
)
def test_names_old_and_new_resolve(given: tuple[str, ...], expected: tuple[str, str]) -> None:
    info, schedule = resolve(*given)
    assert (info.name, schedule) == expected


@pytest.mark.parametrize(
    ("given", "near"),
    [(("Eular",), "Euler"), (("Euler b Karras",), ""), (("",), ""), (("Euler", "Karas"), "Karras"), (("_ka",), "")],
)
def test_unknown_names_are_refused_with_the_nearest(given: tuple[str, ...], near: str) -> None:
    with pytest.raises(UnknownName, match=r"Unknown (sampler|schedule)") as refusal:
        resolve(*given)
    assert near in (*refusal.value.near, "")


def test_names_of_others_resolve_too() -> None:
    mine = SamplerInfo(name="Mine", function=euler, schedule="Flat", aliases=("my own",))
    flat = {"Flat": SCHEDULES["Uniform"]}
    assert resolve("My Own", samplers={"Mine": mine}, schedules=flat) == (mine, "Flat")
    with pytest.raises(UnknownName, match="Mine"):
        resolve("Euler", samplers={"Mine": mine}, schedules=flat)


def test_every_sampler_names_a_schedule_and_its_options() -> None:
    assert all(info.schedule in SCHEDULES and name == info.name for name, info in SAMPLERS.items())
    names = [name.casefold() for info in SAMPLERS.values() for name in (info.name, *info.aliases)]
    assert len(names) == len(set(names))
    assert {name: dict(info.options) for name, info in SAMPLERS.items()} == {
        "DPM++ 2M": {},
        "DPM++ SDE": {"eta": 1.0, "s_noise": 1.0},
        "DPM++ 2M SDE": {"eta": 1.0, "s_noise": 1.0},
        "Euler a": {"eta": 1.0, "s_noise": 1.0},
        "Euler": {"s_churn": 0.0, "s_tmin": 0.0, "s_tmax": math.inf, "s_noise": 1.0},
        "Heun": {"s_churn": 0.0, "s_tmin": 0.0, "s_tmax": math.inf, "s_noise": 1.0},
        "DDIM": {"eta": 0.0},
        "LCM": {"s_noise": 1.0},
    }


def test_the_start_has_the_scale_a_sampler_expects() -> None:
    noise = noise_of()
    torch.testing.assert_close(SAMPLERS["Euler"].start(noise, 3.0), 3 * noise)
    torch.testing.assert_close(network_input(SAMPLERS["DDIM"].start(noise, 3.0), 3.0), noise)


def test_a_sampler_is_run_with_what_it_takes() -> None:
    taken: dict[str, Any] = {}

    def mine(denoise: Any, x: Any, sigmas: Any, noise: Any, *, eta: float = 1.0, table: Any = None) -> Any:
        taken.update(eta=eta, table=table)
        yield from ()
        return x

    x, none = noise_of(), SamplerInfo(name="Mine", function=mine)
    assert dict(none.options) == {"eta": 1.0}
    assert Run(PROBLEMS["gmm"])(lambda *given: none.run(*given, TABLE, {"eta": 0.3, "s_churn": 4.0}), x, (1.0, 0.0)) is x
    assert taken == {"eta": 0.3, "table": TABLE}
    assert torch.equal(
        Run(PROBLEMS["gmm"])(lambda *given: SAMPLERS["Euler a"].run(*given, TABLE, {"eta": 0.0}), x, (1.0, 0.5)),
        sample(euler, x, (1.0, 0.5)),
    )
