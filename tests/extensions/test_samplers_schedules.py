"""The bundled schedules against the recorded tables, and what holds for every schedule there is."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.errors import UserError
from webui.nets.spec import ModelSpec
from webui.pipeline.noise_table import NoiseTable, zero_terminal
from webui.pipeline.schedules import options_of
from webui.service.extensions import bundled
from webui.weights.families import SD15, SDXL

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "schedules.json").read_text())
TABLE = NoiseTable.from_betas()
XL = NoiseTable(TABLE.alphas_cumprod, "sdxl-base")
SCHEDULES = bundled().schedules
ENDS = {"sigma_min": RECORDED["sigma_min"], "sigma_max": RECORDED["sigma_max"]}
SINGLE = 2e-5  # the recorded tables were computed from float32 alphas, which are this coarse at the smallest sigma

TABLES: dict[str, tuple[str, NoiseTable, dict[str, float]]] = {
    "uniform": ("Uniform", TABLE, {}),
    "karras": ("Karras", TABLE, {}),
    "karras rho=5": ("Karras", TABLE, {"rho": 5.0}),
    "exponential": ("Exponential", TABLE, {}),
    "polyexponential": ("Polyexponential", TABLE, {}),
    "polyexponential rho=2": ("Polyexponential", TABLE, {"rho": 2.0}),
    "sgm_uniform": ("SGM Uniform", TABLE, {}),
    "kl_optimal": ("KL Optimal", TABLE, {}),
    "align_your_steps": ("Align Your Steps", TABLE, {}),
    "align_your_steps(sdxl)": ("Align Your Steps", XL, {}),
    "align_your_steps_GITS": ("Align Your Steps GITS", TABLE, {}),
    "align_your_steps_GITS(sdxl)": ("Align Your Steps GITS", XL, {}),
    "align_your_steps_11": ("Align Your Steps 11", TABLE, {}),
    "align_your_steps_11(sdxl)": ("Align Your Steps 11", XL, {}),
    "align_your_steps_32": ("Align Your Steps 32", TABLE, {}),
    "align_your_steps_32(sdxl)": ("Align Your Steps 32", XL, {}),
    "simple": ("Simple", TABLE, {}),
    "normal": ("Normal", TABLE, {}),
    "ddim": ("DDIM", TABLE, {}),
    "beta": ("Beta", TABLE, {}),
    "vp": ("VP", TABLE, {}),
}


def test_every_recorded_table_is_compared() -> None:
    assert {f"{name}:10" for name in TABLES} == set(RECORDED["tables"])


@pytest.mark.parametrize("name", TABLES)
def test_a_schedule_equals_the_recorded_one(name: str) -> None:
    schedule, table, options = TABLES[name]
    within = 3e-4 if name == "vp" else SINGLE  # it takes 1 from exponentials
    assert SCHEDULES[schedule](10, table, **options) == pytest.approx(RECORDED["tables"][f"{name}:10"], rel=within, abs=0)


@pytest.mark.parametrize("n", [1, 4, 10, 20, 30])
def test_the_training_steps_are_those_of_diffusers_three_spacings(n: int) -> None:
    def steps(name: str) -> list[float]:
        return [TABLE.t_of(sigma) for sigma in SCHEDULES[name](n, TABLE) if sigma > 0]

    assert steps("Turbo") == RECORDED[f"diffusers_timesteps(trailing,offset=1):{n}"]
    assert steps("DDIM")[-n:] == RECORDED[f"diffusers_timesteps(leading,offset=1):{n}"]
    if n > 1:  # of a single step theirs is at the wrong end
        assert list(map(round, steps("Uniform"))) == RECORDED[f"diffusers_timesteps(linspace,offset=1):{n}"]


def test_plms_ddim_and_unipc_visit_the_recorded_training_steps() -> None:
    for n, steps in RECORDED["a1111_timesteps(DDIM/PLMS/UniPC)"].items():
        found = [TABLE.t_of(sigma) for sigma in SCHEDULES["DDIM timesteps"](int(n), TABLE)]
        assert found == [*reversed(steps), 0]


def test_consistency_models_are_asked_at_their_fifty_steps_only() -> None:
    known = set(range(19, 1000, 20))
    for n in range(1, 51):
        for name in ("LCM", "TCD"):
            steps = [TABLE.t_of(sigma) for sigma in SCHEDULES[name](n, TABLE)[:-1]]
            assert len(steps) == n and steps[0] == 999 and set(steps) <= known
    assert [TABLE.t_of(sigma) for sigma in SCHEDULES["LCM"](4, TABLE)[:-1]] == [999, 679, 339, 19]
    assert [TABLE.t_of(sigma) for sigma in SCHEDULES["TCD"](4, TABLE)[:-1]] == [999, 759, 499, 259]


def test_unipc_s_steps_end_at_the_first_training_step() -> None:
    for name in ("UniPC", "UniPC quadratic", "UniPC logSNR"):
        for n in (1, 7, 20):
            sigmas = SCHEDULES[name](n, TABLE)
            assert len(sigmas) == n + 1
            assert (sigmas[0], sigmas[-1]) == (pytest.approx(TABLE.sigma_max), pytest.approx(TABLE.sigma_min))
    even = [TABLE.t_of(sigma) for sigma in SCHEDULES["UniPC"](9, TABLE)]
    assert even == pytest.approx([999 - 111 * i for i in range(10)])
    roots = [math.sqrt(TABLE.t_of(sigma) + 1) for sigma in SCHEDULES["UniPC quadratic"](9, TABLE)]
    assert [a - b for a, b in pairwise(roots)] == pytest.approx([(roots[0] - roots[-1]) / 9] * 9)


@given(name=st.sampled_from(sorted(SCHEDULES)), n=st.integers(1, 400))
@settings(deadline=None, max_examples=100)
def test_sigmas_fall_to_the_end_in_as_many_steps_as_asked_for(name: str, n: int) -> None:
    sigmas = SCHEDULES[name](n, TABLE)
    assert all(sigma > following for sigma, following in pairwise(sigmas))
    assert sigmas[0] <= TABLE.sigma_max * (1 + 1e-4) or name == "VP"
    assert len(sigmas) == n + 1 or (name.startswith("DDIM") and len(sigmas) > n) or (name == "TCD" and n > 50)
    assert sigmas[-1] == 0 or sigmas[-1] == pytest.approx(TABLE.sigma_min)


@given(
    name=st.sampled_from(sorted(SCHEDULES)), n=st.integers(1, 60),
    low=st.floats(1e-3, 1), ratio=st.floats(1.001, 1e3), rho=st.floats(1, 100),
    first=st.floats(0.01, 10), second=st.floats(0.01, 10),
)  # fmt: skip
@settings(deadline=None, max_examples=100)
def test_any_options_make_finite_falling_sigmas(
    name: str, n: int, low: float, ratio: float, rho: float, first: float, second: float
) -> None:
    given = {"sigma_min": low, "sigma_max": low * ratio, "rho": rho, "beta_alpha": first, "beta_beta": second}
    taken, by_time = options_of(SCHEDULES[name]), name in ("Uniform", "Normal", "SGM Uniform")
    if by_time and not TABLE.t_of(low) < TABLE.t_of(low * ratio):
        with pytest.raises(UserError, match="the model's noise levels lie between"):
            SCHEDULES[name](n, TABLE, **given)
        return
    sigmas = SCHEDULES[name](n, TABLE, **given)
    assert all(math.isfinite(sigma) and sigma > following for sigma, following in pairwise(sigmas))
    if "sigma_max" in taken:
        assert sigmas[0] == pytest.approx(min(low * ratio, TABLE.sigma_max) if by_time else low * ratio, rel=1e-6)
    else:
        assert sigmas == SCHEDULES[name](n, TABLE)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("n", [1, 4, 30])
def test_zero_terminal_snr_makes_finite_falling_schedules(name: str, n: int) -> None:
    sigmas = SCHEDULES[name](n, NoiseTable(zero_terminal(TABLE.alphas_cumprod)))
    assert all(math.isfinite(sigma) and sigma > following for sigma, following in pairwise(sigmas))


def test_the_beta_schedule_follows_its_distribution() -> None:
    high, low = TABLE.sigma_max, TABLE.sigma_min
    even = SCHEDULES["Beta"](5, TABLE, beta_alpha=1.0, beta_beta=1.0)
    assert even[:-1] == pytest.approx([high + i / 4 * (low - high) for i in range(5)])
    arcsine = SCHEDULES["Beta"](5, TABLE, beta_alpha=0.5, beta_beta=0.5)
    assert arcsine[:-1] == pytest.approx([low + math.sin(math.pi / 2 * (1 - i / 4)) ** 2 * (high - low) for i in range(5)])
    high_ones = SCHEDULES["Beta"](5, TABLE, beta_alpha=2.0, beta_beta=1.0)  # of density 2 x
    assert high_ones[:-1] == pytest.approx([low + math.sqrt(1 - i / 4) * (high - low) for i in range(5)])


@pytest.mark.parametrize("options", [{"beta_alpha": 0.0}, {"beta_beta": -1.0}, {"beta_alpha": math.nan}, {"beta_beta": math.inf}])
def test_parameters_of_no_distribution_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match="both must be above 0"):
        SCHEDULES["Beta"](10, TABLE, **options)


@pytest.mark.parametrize("name", ["Uniform", "Normal", "SGM Uniform"])
@pytest.mark.parametrize("ends", [{"sigma_min": 0.001, "sigma_max": 0.002}, {"sigma_min": 20.0, "sigma_max": 30.0}])
def test_a_range_that_a_model_does_not_know_is_refused(name: str, ends: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"the model's noise levels lie between 0\.0291\d* and 14\.6"):
        SCHEDULES[name](10, TABLE, **ends)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("n", [0, -1])
def test_no_steps_are_refused(name: str, n: int) -> None:
    with pytest.raises(UserError, match="at least 1"):
        SCHEDULES[name](n, TABLE)


def test_the_options_of_schedules_are_known() -> None:
    ranged = ("sigma_min", "sigma_max")
    own = {name: each for name, each in SCHEDULES.items() if bundled().owners.get(f"schedule {name}") != "schedules"}
    assert {name: options_of(schedule) for name, schedule in own.items() if options_of(schedule)} == {
        "Uniform": ranged,
        "Karras": (*ranged, "rho"),
        "Exponential": ranged,
        "SGM Uniform": ranged,
        "Polyexponential": (*ranged, "rho"),
        "KL Optimal": ranged,
        "Normal": ranged,
        "Beta": (*ranged, "beta_alpha", "beta_beta"),
    }


def test_align_your_steps_knows_the_family_from_the_model() -> None:
    def begun(spec: ModelSpec) -> float:
        return SCHEDULES["Align Your Steps"](10, NoiseTable.from_spec(spec))[1]

    assert begun(SD15) == pytest.approx(RECORDED["tables"]["align_your_steps:10"][1])
    assert begun(SDXL) == pytest.approx(RECORDED["tables"]["align_your_steps(sdxl):10"][1])
    assert torch.equal(NoiseTable.from_spec(SDXL).sigmas, TABLE.sigmas)
