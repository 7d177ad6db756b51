"""The bundled samplers against recorded trajectories, the closed-form problems, and each other; and what holds for every one."""

from __future__ import annotations

import ast
import math
import subprocess
import sys
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from tests.analytic import DEVIATION, MEAN, PROBLEMS, exact
from tests.sampling import (
    Run,
    log_spaced,
    moments_of_the_result,
    noise_of,
    recorded_sigmas,
    sample,
)
from webui.errors import UnknownName, UserError
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.protocol import Moment, Read
from webui.pipeline.samplers import SamplerInfo, resolve
from webui.service.extensions import bundled

ROOT = Path(__file__).parents[2]
RECORDED = load_file(ROOT / "tests" / "data" / "samplers.safetensors")
TABLE = NoiseTable.from_betas()
KNOWN, SCHEDULES = bundled().samplers, bundled().schedules
ON_STEPS = "DDIM timesteps"
LONGEST_FUNCTION = 40
NO_NOISE = {"eta": 0.0}


def tiny(seed: int = 0) -> Any:
    return torch.randn((1, 2, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run_of(info: SamplerInfo, denoiser: Any = PROBLEMS["gmm"]) -> Run:
    return Run(denoiser, pairs=info.cfg_pp)


def quiet(info: SamplerInfo) -> dict[str, float]:
    """The options with which a sampler adds no noise."""
    return NO_NOISE if "eta" in info.options else {}


# --- the recorded trajectories ----------------------------------------------------------------------------------------------

KARRAS: dict[str, tuple[str, dict[str, float]]] = {
    "dpm_2": ("DPM2", {}),
    "dpm_2/churn0.8n": ("DPM2", {"s_churn": 8.0, "s_noise": 1.003}),
    "dpm_2_ancestral": ("DPM2 a", NO_NOISE),
    "dpm_2_ancestral/eta1": ("DPM2 a", {}),
    "dpmpp_2m": ("DPM++ 2M", {}),
    "dpmpp_2m_sde": ("DPM++ 2M SDE", NO_NOISE),
    "dpmpp_2m_sde/eta0.5": ("DPM++ 2M SDE", {"eta": 0.5}),
    "dpmpp_2m_sde/eta1": ("DPM++ 2M SDE", {}),
    "dpmpp_2m_sde(heun)/eta1": ("DPM++ 2M SDE Heun", {}),
    "dpmpp_2s_ancestral": ("DPM++ 2S a", NO_NOISE),
    "dpmpp_2s_ancestral/eta1": ("DPM++ 2S a", {}),
    "dpmpp_3m_sde": ("DPM++ 3M SDE", NO_NOISE),
    "dpmpp_3m_sde/eta0.5": ("DPM++ 3M SDE", {"eta": 0.5}),
    "dpmpp_3m_sde/eta1": ("DPM++ 3M SDE", {}),
    "dpmpp_sde": ("DPM++ SDE", NO_NOISE),
    "dpmpp_sde/eta1": ("DPM++ SDE", {}),
    "euler": ("Euler", {}),
    "euler/churn0.8n": ("Euler", {"s_churn": 8.0, "s_noise": 1.003}),
    "euler_ancestral": ("Euler a", NO_NOISE),
    "euler_ancestral/eta0.5": ("Euler a", {"eta": 0.5}),
    "euler_ancestral/eta1": ("Euler a", {}),
    "euler_ancestral/s_noise0.9": ("Euler a", {"s_noise": 0.9}),
    "forge_deis": ("DEIS", {}),
    "forge_heunpp2": ("HeunPP2", {}),
    "forge_ipndm": ("IPNDM", {}),
    "forge_ipndm_v": ("IPNDM_V", {}),
    "heun": ("Heun", {}),
    "heun/churn0.8n": ("Heun", {"s_churn": 8.0, "s_noise": 1.003}),
    "lms": ("LMS", {}),
    "lms/order2": ("LMS", {"order": 2}),
    "restart": ("Restart", {}),
}
# Timestep samplers: the recorded name, the sampler, its schedule, and how many of its ten steps were taken.
STEPWISE: dict[str, tuple[str, str, int, dict[str, float]]] = {
    "ldm_ddim": ("DDIM", ON_STEPS, 10, {}),
    "ldm_ddim_v": ("DDIM", ON_STEPS, 10, {}),
    "a1111_ddim": ("DDIM", ON_STEPS, 9, {}),
    "a1111_ddim/eta1": ("DDIM", ON_STEPS, 9, {"eta": 1.0}),
    "ldm_plms": ("PLMS", ON_STEPS, 10, {}),
    "a1111_plms": ("PLMS", ON_STEPS, 9, {}),
    "a1111_unipc": ("UniPC", "UniPC", 10, {}),
}


def test_every_recorded_trajectory_is_compared() -> None:
    assert {f"{name}/karras10" for name in KARRAS} | {f"{name}/10" for name in STEPWISE} == set(RECORDED)


@pytest.mark.parametrize("name", KARRAS)
def test_a_sampler_in_sigma_equals_the_recorded_trajectory(name: str) -> None:
    sampler, options = KARRAS[name]
    sigmas = recorded_sigmas()
    found = sample(KNOWN[sampler].function, noise_of() * sigmas[0], sigmas, **options)
    # DEIS was recorded with its integrals summed over 10,000 points.
    torch.testing.assert_close(found, RECORDED[f"{name}/karras10"], rtol=0, atol=2e-5 if sampler == "DEIS" else 1e-13)


@pytest.mark.parametrize("name", STEPWISE)
def test_a_sampler_on_training_steps_equals_the_recorded_trajectory(name: str) -> None:
    """Recorded with alphas in float32, and UniPC with a time whose sigma is interpolated otherwise: a few millionths apart."""
    sampler, schedule, steps, options = STEPWISE[name]
    sigmas = SCHEDULES[schedule](10, TABLE)[: steps + 1]
    found = sample(KNOWN[sampler].function, KNOWN[sampler].start(noise_of(), sigmas[0]), sigmas, **options)
    torch.testing.assert_close(found, RECORDED[f"{name}/10"], rtol=0, atol=3e-6)


# --- convergence ------------------------------------------------------------------------------------------------------------

ORDERS = {
    "DPM++ 2M SDE Heun": 2, "DPM++ 2S a": 2, "DPM++ 3M SDE": 2, "LMS": 2.7, "DPM2": 2, "DPM2 a": 2, "DPM fast": 3,
    "HeunPP2": 1, "IPNDM": 2, "IPNDM_V": 2.7, "DEIS": 2.5, "PLMS": 2, "UniPC": 2, "UniPC bh2": 2, "UniPC vary": 2, "TCD": 1,
    "DDIM CFG++": 1,
}  # fmt: skip
"""The orders of what is solved without noise. Adams-Bashforth of order 4 shows its beginning, whose steps are of lower order."""
WITHOUT_ORDER = {"DPM adaptive", "Restart", "DDPM"}  # no fixed steps, or nothing without noise: see below


def test_every_further_sampler_has_an_order_or_a_reason() -> None:
    core = {"DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "Euler a", "Euler", "Heun", "DDIM", "LCM"}
    assert set(ORDERS) | WITHOUT_ORDER | core == set(KNOWN)


@pytest.mark.parametrize("problem", ["gauss", "gmm"])
@pytest.mark.parametrize("name", ORDERS)
def test_the_error_falls_with_the_sampler_s_order(name: str, problem: str) -> None:
    info, errors = KNOWN[name], []
    for steps in (128, 257):  # both leave 2 when divided by 3, so that DPM fast ends with a step of the same order
        sigmas = log_spaced(steps)
        x = noise_of()[0] * sigmas[0]
        found = run_of(info, PROBLEMS[problem])(info.function, x, sigmas, **quiet(info))
        scale = math.sqrt(1 + sigmas[-1] ** 2) if info.unit_start else 1.0
        errors.append(float((found * scale - exact(problem, x, sigmas[0], sigmas[-1])).abs().mean()))
    assert math.log2(errors[0] / errors[1]) > ORDERS[name] - 0.1
    assert errors[1] < (0.005 if ORDERS[name] == 1 else 1.5e-4)


VARIANCES = [
    ("DPM++ 2M SDE Heun", {}, 2), ("DPM++ 2M SDE Heun", {"eta": 0.5}, 2), ("DPM++ 2S a", {}, 2), ("DPM++ 2S a", {"eta": 0.5}, 2),
    ("DPM++ 3M SDE", {}, 2), ("DPM++ 3M SDE", {"eta": 0.5}, 2), ("DPM2", {"s_churn": 10.0}, 2), ("DPM2 a", {}, 2),
    ("DPM2 a", {"eta": 0.5}, 2), ("DPM fast", {}, 2), ("DDPM", {}, 1), ("Restart", {}, 2), ("DDIM CFG++", {"eta": 1.0}, 1),
]  # fmt: skip


def variance_of(info: SamplerInfo, sigmas: tuple[float, ...], **options: float) -> tuple[float, float]:
    scale = 1 + sigmas[-1] ** 2 if info.unit_start else 1.0
    mean, variance = moments_of_the_result(info.function, sigmas, brownian=info.brownian, pairs=info.cfg_pp, **options)
    return mean * math.sqrt(scale), variance * scale


@pytest.mark.parametrize(("name", "options", "order"), VARIANCES)
def test_a_stochastic_sampler_reaches_the_true_mean_and_variance(name: str, options: dict[str, float], order: int) -> None:
    errors = []
    for steps in (127, 254) if name == "DPM fast" else (128, 256):
        sigmas = log_spaced(steps)
        mean, variance = variance_of(KNOWN[name], sigmas, **options)
        assert mean == pytest.approx(MEAN, abs=1e-12)
        errors.append(abs(variance - (DEVIATION**2 + sigmas[-1] ** 2)))
    assert errors[1] < 1e-4 or math.log2(errors[0] / errors[1]) > order - 0.2
    assert errors[1] < (0.02 if order == 1 else 2e-3)


def test_every_sampler_that_draws_is_held_to_its_variance() -> None:
    core = {"DPM++ SDE", "DPM++ 2M SDE", "Euler a", "LCM"}
    elsewhere = {"TCD", "DPM adaptive"}  # by a formula of its own; by many numbers
    assert {name for name, info in KNOWN.items() if info.uses_noise} <= {name for name, *_ in VARIANCES} | core | elsewhere


def test_more_noise_than_asked_for_would_show_in_the_variance() -> None:
    for name in sorted({name for name, *_ in VARIANCES} - {"DDPM", "DDIM CFG++"}):
        options = {"s_churn": 10.0} if name == "DPM2" else {}
        _, plain = variance_of(KNOWN[name], log_spaced(64), **options)
        _, louder = variance_of(KNOWN[name], log_spaced(64), **options, s_noise=1.05)
        assert louder > plain * 1.005, name


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_tcd_has_the_variance_of_its_steps(eta: float) -> None:
    sigmas = SCHEDULES["TCD"](6, TABLE)[:-1]
    variance = DEVIATION**2 + sigmas[0] ** 2
    for sigma, after in pairwise(sigmas):
        down = after if eta == 0 else TABLE.sigma_of(math.floor((1 - eta) * TABLE.t_of(after)))
        data = DEVIATION**2 / (DEVIATION**2 + sigma**2)
        variance = (data + (1 - data) * down / sigma) ** 2 * variance + after**2 - down**2
    found = moments_of_the_result(KNOWN["TCD"].function, sigmas, eta=eta, table=TABLE)
    assert found == (pytest.approx(MEAN), pytest.approx(variance, rel=1e-9))


def test_the_adaptive_sampler_keeps_to_its_tolerance() -> None:
    sigmas, errors, evaluations = log_spaced(4), [], []
    x = noise_of() * sigmas[0]
    truth = exact("gmm", x, sigmas[0], sigmas[-1])
    for part in (1.0, 0.1, 0.01):
        run = Run(PROBLEMS["gmm"])
        found = run(KNOWN["DPM adaptive"].function, x, sigmas, eta=0.0, rtol=0.05 * part, atol=0.0078 * part)
        errors.append(float((found - truth).abs().mean()))
        evaluations.append(len(run.asked))
        assert run.asks.count("Read") >= len(run.told)
        for kind, group in groupby(run.asks):
            assert kind != "Read" or len(list(group)) == 1  # one number a try
        assert run.told[-1].at.steps is None and [step.at.step for step in run.told] == list(range(len(run.told)))
        assert run.asks.count("Rows") == len(run.told) + 2 * run.asks.count("Read")  # what a try begins with is had once a step
    assert errors[0] < 0.06 and errors[1] < errors[0] / 5 and errors[2] < errors[1] / 5
    assert evaluations[0] < 60 < evaluations[2]


def test_the_adaptive_sampler_s_noise_leaves_the_variance_as_it_is() -> None:
    sigmas = log_spaced(4)
    generator = torch.Generator().manual_seed(1)

    def draw() -> Any:
        return torch.randn((40_000, 1, 1), generator=generator, dtype=torch.float64)

    x = MEAN + draw() * math.sqrt(DEVIATION**2 + sigmas[0] ** 2)
    run = Run(PROBLEMS["gauss"], lambda *_: draw())
    found = run(KNOWN["DPM adaptive"].function, x, sigmas, rtol=0.01, atol=0.0015)
    assert len(run.drawn) > 5
    assert float(found.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(found.var()) == pytest.approx(DEVIATION**2 + sigmas[-1] ** 2, rel=0.03)


def test_the_adaptive_sampler_refuses_what_is_no_number() -> None:
    with pytest.raises(UserError, match="choose another sampler"):
        Run(lambda x, sigma: x * math.nan)(KNOWN["DPM adaptive"].function, tiny() * 10, (10.0, 1.0, 0.0))


def test_the_adaptive_sampler_comes_to_an_end_on_a_denoiser_without_rhyme() -> None:
    run = Run(lambda x, sigma: 1e3 * torch.sin(1e5 * x / sigma))
    found = run(KNOWN["DPM adaptive"].function, tiny() * 10, (10.0, 8.0, 0.0))
    assert torch.isfinite(found).all() and len(run.asked) < 3000


# --- samplers that are others in disguise -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "options", "other_options"),
    [
        ("DDPM", "Euler a", {}, {"eta": 1.0}),
        ("DPM++ 2S a", "DPM++ SDE", NO_NOISE, NO_NOISE),
        ("DPM++ 2M", "DPM++ 2M SDE", {}, NO_NOISE),
        ("TCD", "Euler", NO_NOISE, {}),
        ("TCD", "LCM", {"eta": 1.0}, {}),
        ("DDIM CFG++", "DDIM", {}, {}),
        ("DPM2 a", "DPM2", NO_NOISE, {}),
        ("LMS", "Euler", {"order": 1}, {}),
        ("DEIS", "Euler", {"order": 1}, {}),
        ("UniPC", "UniPC bh2", {"order": 1}, {"order": 1}),
    ],
)
def test_samplers_that_come_to_the_same_give_the_same(
    one: str, other: str, options: dict[str, float], other_options: dict[str, float]
) -> None:
    sigmas = log_spaced(9)
    found = [
        run_of(KNOWN[name])(KNOWN[name].function, noise_of() * sigmas[0], sigmas, **own)
        for name, own in ((one, options), (other, other_options))
    ]
    if "UniPC" in one:  # their correctors differ in a single weight
        assert 0 < float((found[0] - found[1]).abs().mean()) < 0.05
    else:
        torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("UniPC", lambda h: h / 2),
        ("UniPC bh2", lambda h: (1 - math.exp(-h)) / 2),
        ("UniPC vary", lambda h: 1 - (1 - math.exp(-h)) / h),  # which is exact where the data move evenly with log sigma
    ],
)
def test_unipc_s_variants_weigh_a_single_difference_by_their_papers_rule(name: str, weight: Any) -> None:
    x, (first, second, last) = tiny(), (5.0, 2.0, 1.0)
    data = {sigma: tiny(int(sigma)) for sigma in (first, second)}
    found = Run(lambda state, sigma: data[sigma])(KNOWN[name].function, x, (first, second, last), order=1)
    h = math.log(first / second)
    corrected = data[first] + (x - data[first]) * (second / first) + weight(h) * (data[second] - data[first])
    expected = data[second] + (corrected - data[second]) * (last / second)
    torch.testing.assert_close(found * math.sqrt(1 + last**2), expected, rtol=0, atol=1e-12)


def test_unipc_s_exact_weights_follow_data_that_move_as_a_parabola_in_log_sigma() -> None:
    """The integral that a step of order 3 with its correction comes to, of data c + b t + a t^2, t = log sigma."""
    x, sigmas = tiny(), (5.0, 3.0, 2.0, 1.2, 1.0, 0.9)
    c, b, a = tiny(1), tiny(2), tiny(3)

    def whole(sigma: float) -> Any:  # of data / sigma^2, without its sign
        t = math.log(sigma)
        return (c + b * (t + 1) + a * (t**2 + 2 * t + 2)) / sigma

    def data(_state: Any, sigma: float) -> Any:
        return c + b * math.log(sigma) + a * math.log(sigma) ** 2

    errors = []
    for part in (1, 2):
        levels = [high * (low / high) ** (i / part) for high, low in pairwise(sigmas) for i in range(part)] + [sigmas[-1]]
        found = Run(data)(KNOWN["UniPC vary"].function, x, levels) * math.sqrt(1 + levels[-1] ** 2)
        truth = levels[-1] * (x / levels[0] + whole(levels[-1]) - whole(levels[0]))
        errors.append(float((found - truth).abs().max()))
    assert errors[0] < 0.1 and errors[1] < errors[0] / 3


def test_ddim_with_cfgpp_goes_back_towards_the_unconditional_answer() -> None:
    x, (sigma, after) = tiny(), (3.0, 1.0)

    def denoise(state: Any, at: Moment) -> Any:
        yield from ()
        return state * 0.5, state * 0.1

    steps = KNOWN["DDIM CFG++"].function(denoise, x, (sigma, after), lambda *_: 1 / 0)
    told = next(steps)
    torch.testing.assert_close(told.x, x * 0.5 + after * (x - x * 0.1) / sigma)
    with pytest.raises(StopIteration) as end:
        next(steps)
    torch.testing.assert_close(end.value.value, told.x / math.sqrt(1 + after**2))


# --- Restart, Heun++ and DPM fast: where they go ----------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "restarts", "length"), [(19, 0, 0), (20, 1, 9), (35, 1, 9), (36, 2, 9), (60, 2, 15)])
def test_restart_goes_up_again_and_takes_as_many_steps_as_asked_for(steps: int, restarts: int, length: int) -> None:
    run, sigmas = Run(PROBLEMS["gmm"]), SCHEDULES["Karras"](steps, TABLE)
    run(KNOWN["Restart"].function, noise_of() * sigmas[0], sigmas)
    starts = [step.at.sigma for step in run.told]
    assert len(run.told) == steps and [(step.at.step, step.at.steps) for step in run.told] == [(i, steps) for i in range(steps)]
    ups = [i for i, (one, after) in enumerate(pairwise(starts), 1) if after > one]
    assert len(ups) == len(run.drawn) == restarts
    assert all(after - one == length for one, after in pairwise(ups))
    for at, up in run.drawn:
        assert at.sigma == pytest.approx(0.1, rel=0.6) and up == pytest.approx(2.0, rel=0.4)
    base = [sigma for i, sigma in enumerate(starts) if restarts == 0 or not ups[0] <= i < ups[0] + length * restarts]
    assert base == pytest.approx(SCHEDULES["Karras"](len(base), TABLE)[:-1], rel=1e-9)  # its own schedule, with fewer steps


def test_restart_takes_all_its_steps_where_there_is_nothing_to_go_up_to() -> None:
    run, sigmas = Run(PROBLEMS["gmm"]), SCHEDULES["Karras"](24, TABLE, sigma_max=0.08)
    run(KNOWN["Restart"].function, noise_of() * sigmas[0], sigmas)
    assert [step.at.sigma for step in run.told] == list(sigmas[:-1]) and not run.drawn


def test_dpm_fast_evaluates_as_often_as_there_are_steps() -> None:
    for steps in (1, 2, 3, 4, 5, 6, 20, 21, 22):
        run, sigmas = Run(PROBLEMS["gmm"]), SCHEDULES["Uniform"](steps, TABLE)
        run(KNOWN["DPM fast"].function, noise_of() * sigmas[0], sigmas)
        assert len(run.asked) == steps and run.told[-1].at.step == steps - 1


# --- what holds for every sampler, core and further -------------------------------------------------------------------------


@pytest.fixture(params=sorted(KNOWN))
def info(request: pytest.FixtureRequest) -> SamplerInfo:
    found: SamplerInfo = KNOWN[request.param]
    return found


@given(
    name=st.sampled_from(sorted(KNOWN)), schedule=st.sampled_from(sorted(SCHEDULES)), n=st.integers(1, 150), loud=st.booleans()
)
@settings(deadline=None, max_examples=120)
def test_any_sampler_is_finite_on_any_schedule(name: str, schedule: str, n: int, loud: bool) -> None:
    info, sigmas = KNOWN[name], SCHEDULES[schedule](n, TABLE)
    run, x = run_of(info), tiny() * sigmas[0]
    before = x.clone()
    found = run(info.function, x, sigmas, **({"s_churn": 20.0} if loud and "s_churn" in info.options else {}))
    assert found.shape == x.shape and torch.isfinite(found).all() and torch.equal(x, before)
    assert all(at.sigma > 0 and after > 0 for at, after in run.drawn)
    assert all(0 < at.sigma < 400 for at in run.asked)
    steps = len(sigmas) - 1
    if not info.own_steps:
        assert [(step.at.step, step.at.steps) for step in run.told] == [(i, steps) for i in range(steps)]
        assert len(run.asked) <= info.evaluations * steps + 1
    assert all(at.step in {step.at.step for step in run.told} or info.own_steps for at in run.asked)
    assert all(one.step <= after.step for one, after in pairwise(run.asked))
    assert run.asks.count("Read") == 0 or info.own_steps


def test_single_precision_stays_and_suffices(info: SamplerInfo) -> None:
    sigmas = SCHEDULES[info.schedule](20, TABLE)
    options = {"eta": 0.0} if info.name == "DPM adaptive" else {}  # whose steps depend on the last digits
    double, single = (
        run_of(info)(info.function, noise_of(dtype) * sigmas[0], sigmas, **options) for dtype in (torch.float64, torch.float32)
    )
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-3 if info.name == "DPM adaptive" else 1e-4)


class Far(Run):
    """A run on tensors without values, so that whatever waits for one fails; what is read is a number that lets steps pass."""

    def _answer(self, ask: Any) -> Any:
        return torch.tensor(0.5) if isinstance(ask, Read) else super()._answer(ask)


def test_no_sampler_waits_for_a_value_but_by_asking(info: SamplerInfo) -> None:
    sigmas = SCHEDULES[info.schedule](24, TABLE)
    x = torch.zeros((4, 8, 8), device="meta")
    run = Far(lambda state, sigma: state / 2, lambda *_: torch.zeros_like(x), info.cfg_pp)
    found = run(info.function, x, sigmas)
    assert found.device.type == "meta" and run.told
    with pytest.raises((RuntimeError, NotImplementedError)):
        Far(lambda state, sigma: state * float(state.sum()))(info.function, x, sigmas)


def test_known_data_is_found(info: SamplerInfo) -> None:
    data = tiny(1)
    sigmas = SCHEDULES["Karras"](24, TABLE)
    run = run_of(info, lambda state, sigma: data)
    found = run(info.function, data + tiny(2) * sigmas[0], sigmas)
    # Those with steps of their own end at the lowest sigma; the weights of IPNDM_V do not sum to 1 where steps are uneven.
    torch.testing.assert_close(found, data, rtol=0, atol=0.15 if info.own_steps else 1e-3 if info.name == "IPNDM_V" else 1e-11)
    assert bool(run.drawn) == info.uses_noise


def test_one_step_and_none(info: SamplerInfo) -> None:
    x = noise_of() * 14.6
    run = run_of(info)
    torch.testing.assert_close(run(info.function, x, (14.6, 0.0)), PROBLEMS["gmm"](x, 14.6), rtol=0, atol=1e-12)
    assert len(run.told) == 1
    assert torch.equal(run_of(info)(info.function, x, (0.0,)), x)


def test_the_sigmas_of_zero_terminal_snr_stay_finite_in_single_precision(info: SamplerInfo) -> None:
    sigmas = (4096.0, 20.0, 8.0, 2.0, 0.5, 0.0)
    double, single = (
        run_of(info)(info.function, noise_of(dtype) * sigmas[0], sigmas, **quiet(info))
        for dtype in (torch.float64, torch.float32)
    )
    worst = 0.01 if info.name == "DPM adaptive" else 2e-3  # whose steps depend on the last digits
    assert float((single - double).abs().max()) < worst * max(1.0, float(double.abs().max()))


# --- names ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("DPM++ 2M Karras", ("DPM++ 2M", "Karras")),
        ("DPM++ SDE Karras", ("DPM++ SDE", "Karras")),
        ("DPM++ 2M SDE Exponential", ("DPM++ 2M SDE", "Exponential")),
        ("DPM++ 2M SDE Karras", ("DPM++ 2M SDE", "Karras")),
        ("DPM++ 2M SDE Heun Karras", ("DPM++ 2M SDE Heun", "Karras")),
        ("DPM++ 2M SDE Heun Exponential", ("DPM++ 2M SDE Heun", "Exponential")),
        ("DPM++ 2M SDE Heun", ("DPM++ 2M SDE Heun", "Exponential")),
        ("DPM++ 3M SDE", ("DPM++ 3M SDE", "Exponential")),
        ("DPM++ 3M SDE Karras", ("DPM++ 3M SDE", "Karras")),
        ("DPM++ 3M SDE Exponential", ("DPM++ 3M SDE", "Exponential")),
        ("DPM++ 2S a Karras", ("DPM++ 2S a", "Karras")),
        ("DPM2 Karras", ("DPM2", "Karras")),
        ("DPM2 a Karras", ("DPM2 a", "Karras")),
        ("LMS Karras", ("LMS", "Karras")),
        ("k_lms_ka", ("LMS", "Karras")),
        ("k_lms", ("LMS", "Uniform")),
        ("k_dpm_2", ("DPM2", "Karras")),
        ("k_dpm_2_a", ("DPM2 a", "Karras")),
        ("k_dpm_2_ka", ("DPM2", "Karras")),
        ("k_dpm_fast", ("DPM fast", "Uniform")),
        ("k_dpm_ad", ("DPM adaptive", "Uniform")),
        ("k_dpmpp_sde_ka", ("DPM++ SDE", "Karras")),
        ("k_dpmpp_2m_sde_exp", ("DPM++ 2M SDE", "Exponential")),
        ("k_dpmpp_2s_a_ka", ("DPM++ 2S a", "Karras")),
        ("restart", ("Restart", "Karras")),
        ("unipc", ("UniPC", "UniPC")),
        ("plms", ("PLMS", ON_STEPS)),
        ("k_euler_a", ("Euler a", "Uniform")),
        ("k_euler_ancestral", ("Euler a", "Uniform")),
        ("dpmpp_2m_sde_gpu", ("DPM++ 2M SDE", "Exponential")),
        ("Euler SGM Uniform", ("Euler", "SGM Uniform")),
        ("Euler sgm_uniform", ("Euler", "SGM Uniform")),
        ("Euler align_your_steps", ("Euler", "Align Your Steps")),
    ],
)
def test_old_names_resolve(given: str, expected: tuple[str, str]) -> None:
    info, schedule = resolve(given, samplers=KNOWN, schedules=SCHEDULES)
    assert (info.name, schedule) == expected


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sgm_uniform", "SGM Uniform"), ("SGMUniform", "SGM Uniform"), ("kl_optimal", "KL Optimal"), ("ays", "Align Your Steps"),
        ("align_your_steps_GITS", "Align Your Steps GITS"), ("ddim", "DDIM"), ("ddim_uniform", "DDIM"), ("beta", "Beta"),
    ],
)  # fmt: skip
def test_schedules_go_by_the_names_of_others_too(written: str, meant: str) -> None:
    assert resolve("Euler", written, samplers=KNOWN, schedules=SCHEDULES)[1] == meant
    assert resolve(f"Euler {written}", samplers=KNOWN, schedules=SCHEDULES)[1] == meant


@pytest.mark.parametrize(("given", "near"), [("DPM++ 2N", "DPM++ 2M"), ("Unipcc", "UniPC"), ("DPM adaptiv", "DPM adaptive")])
def test_unknown_names_list_the_near_ones(given: str, near: str) -> None:
    with pytest.raises(UnknownName, match="did you mean") as refusal:
        resolve(given, samplers=KNOWN, schedules=SCHEDULES)
    assert near in refusal.value.near


def test_no_two_names_are_the_same_and_every_schedule_is_there() -> None:
    meant: dict[str, str] = {}
    for info in KNOWN.values():
        for name in (info.name, *info.aliases):
            assert meant.setdefault("".join(each for each in name.casefold() if each not in " _-"), info.name) == info.name
        assert info.schedule in SCHEDULES


# --- the extension as source ------------------------------------------------------------------------------------------------


def test_each_sampler_is_one_short_function_with_its_source() -> None:
    for path in [*(ROOT / "extensions" / "samplers").glob("*.py"), ROOT / "webui" / "pipeline" / "samplers.py"]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                assert node.end_lineno - node.lineno < LONGEST_FUNCTION, f"{path.name}: {node.name}"


def test_importing_the_extension_imports_neither_torch_nor_scipy() -> None:
    code = (
        "import sys; from webui.service.extensions import bundled; assert 'UniPC' in bundled().samplers; "
        "sys.exit(', '.join({'torch', 'scipy', 'numpy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
