"""Samplers against recorded trajectories, the closed-form problems of `tests.analytic`, and each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.analytic import DEVIATION, MEAN, PROBLEMS, exact, sd_alphas_cumprod, vp
from tests.random_weights import random_tensor
from webui.errors import UnknownName
from webui.nets.spec import Prediction
from webui.pipeline.noise_table import NoiseTable, denoised_from, network_input
from webui.pipeline.protocol import Asking, Conditioning, Moment, Row, Rows, Sampler, Step, answer_all
from webui.pipeline.samplers import SAMPLERS, SamplerInfo, ddim, dpmpp_2m, euler, euler_ancestral, heun, moments, resolve
from webui.pipeline.schedules import SCHEDULES

RECORDED = load_file(Path(__file__).parents[1] / "data" / "samplers.safetensors")
TABLE = NoiseTable.from_betas()
SHAPE = (2, 4, 4, 4)
NOTHING = Conditioning(torch.zeros(0, 0))
Answer = Callable[[Tensor, float], Tensor]


@dataclass
class Run:
    """One sampling run on a denoiser, with everything it asked and told."""

    denoiser: Answer
    noise: Callable[[int, Tensor], Tensor] = lambda index, x: random_tensor(f"noise:{index}", x.shape).to(x.dtype)
    asked: list[Moment] = field(default_factory=list)
    told: list[Step] = field(default_factory=list)
    drawn: list[tuple[Moment, float]] = field(default_factory=list)

    def __call__(self, sampler: Sampler, x: Tensor, sigmas: Any, **options: float) -> Tensor:
        def denoise(state: Tensor, at: Moment) -> Asking:
            (denoised,) = yield Rows(Row(state, at, NOTHING))
            return denoised

        def noise(at: Moment, sigma_next: float) -> Tensor:
            self.drawn.append((at, sigma_next))
            return self.noise(len(self.drawn) - 1, x)

        def watched() -> Asking:
            steps = sampler(denoise, x, sigmas, noise, **options)
            sent = None
            while True:
                try:
                    ask = steps.send(sent)
                except StopIteration as end:
                    return end.value
                if isinstance(ask, Step):
                    self.told.append(ask)
                sent = yield ask

        return answer_all(watched(), self._answer)

    def _answer(self, ask: Any) -> tuple[Tensor, ...]:
        self.asked += [row.at for row in ask.rows]
        return tuple(self.denoiser(row.x, row.at.sigma) for row in ask.rows)


def sample(sampler: Sampler, x: Tensor, sigmas: Any, problem: str = "gmm", **options: float) -> Tensor:
    return Run(PROBLEMS[problem])(sampler, x, sigmas, **options)


def noise_of(dtype: torch.dtype = torch.float64) -> Tensor:
    return random_tensor("x0", SHAPE).to(dtype)


def recorded_sigmas() -> tuple[float, ...]:
    """Ten Karras sigmas computed in float32, as the recording had them."""
    low, high = 0.029167533 ** (1 / 7), 14.614642 ** (1 / 7)
    return (*((high + torch.linspace(0, 1, 10) * (low - high)) ** 7).double().tolist(), 0.0)


def log_spaced(steps: int, high: float = 14.6, low: float = 0.03) -> tuple[float, ...]:
    return tuple(torch.logspace(math.log10(high), math.log10(low), steps + 1, dtype=torch.float64).tolist())


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
@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (heun, 2), (dpmpp_2m, 2), (ddim, 1)])
def test_the_error_falls_with_the_sampler_s_order(sampler: Sampler, order: int, problem: str) -> None:
    errors = []
    for steps in (128, 256):
        sigmas = log_spaced(steps)
        x = noise_of()[0] * sigmas[0]
        truth = exact(problem, x, sigmas[0], sigmas[-1])
        scale = math.sqrt(1 + sigmas[-1] ** 2) if sampler is ddim else 1.0
        errors.append(float((sample(sampler, x, sigmas, problem) * scale - truth).abs().mean()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)
    assert errors[1] < 0.02


def moments_of_the_result(sampler: Sampler, sigmas: tuple[float, ...], **options: float) -> tuple[float, float]:
    """The exact mean and variance of what `sampler` makes of the Gaussian problem's true distribution at the first sigma.

    The result is linear in the start and in each draw, so a unit impulse in each of them, one a row, gives every coefficient.
    """
    x = torch.full((len(sigmas) + 1, 1, 1), MEAN, dtype=torch.float64)
    x[1] += 1

    def impulse(index: int, state: Tensor) -> Tensor:
        unit = torch.zeros_like(state)
        unit[2 + index] = 1
        return unit

    result = Run(PROBLEMS["gauss"], impulse)(sampler, x, sigmas, **options).flatten()
    coefficients = result[1:] - result[0]
    start = DEVIATION**2 + sigmas[0] ** 2
    return float(result[0]), float(coefficients[0] ** 2 * start + coefficients[1:].square().sum())


@pytest.mark.parametrize(
    ("sampler", "options"),
    [(euler_ancestral, {}), (euler_ancestral, {"eta": 0.5}), (euler, {"s_churn": 30.0}), (heun, {"s_churn": 30.0})],
)
def test_a_stochastic_sampler_reaches_the_true_mean_and_variance(sampler: Sampler, options: dict[str, float]) -> None:
    errors = []
    for steps in (128, 256):
        sigmas = log_spaced(steps)
        mean, variance = moments_of_the_result(sampler, sigmas, **options)
        assert mean == pytest.approx(MEAN, abs=1e-12)
        errors.append(abs(variance - (DEVIATION**2 + sigmas[-1] ** 2)))
    assert math.log2(errors[0] / errors[1]) > (1.85 if sampler is heun else 0.85)  # weak order 1; Heun keeps its 2
    assert errors[1] < 0.05


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
    most = Run(PROBLEMS["gmm"])
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
