"""Strengths: which noise levels are visited, by both conventions, and what a picture looks like under its noise."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.answering import REQUEST
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.plan import on_entries
from webui.pipeline.samplers import SAMPLERS, SamplerInfo
from webui.pipeline.schedules import SCHEDULES
from webui.pipeline.strength import begun, way
from webui.request import Request
from webui.tasks import A1111, DIFFUSERS

TABLE = NoiseTable.from_betas()
EULER, DDIM = SAMPLERS["Euler"], SAMPLERS["DDIM"]
STRENGTHS = st.integers(1, 99).map(lambda percent: percent / 100)
SCHEDULE = st.sampled_from(sorted(SCHEDULES))


def wanted(steps: int, strength: float, **more: object) -> Request:
    return replace(REQUEST, steps=steps, strength=strength, **more)


@given(steps=st.integers(1, 150), strength=STRENGTHS, schedule=SCHEDULE)
@settings(max_examples=80, deadline=None)
def test_samplers_in_sigma_begin_where_a1111_has_them_begin(steps: int, strength: float, schedule: str) -> None:
    sigmas = SCHEDULES[schedule](steps, TABLE)
    encoded = min(int(strength * steps), steps - 1)
    found = way(wanted(steps, strength), EULER, SCHEDULES[schedule], TABLE)
    assert found.sigmas == sigmas[steps - encoded - 1 :] and found.noised == found.sigmas[0] and not found.fresh


@given(steps=st.integers(2, 150), strength=STRENGTHS)
@settings(max_examples=60, deadline=None)
def test_ddim_begins_one_step_after_the_level_it_is_noised_to(steps: int, strength: float) -> None:
    rising = range(1, 1000, 1000 // steps)  # latent diffusion's training steps
    encoded = max(min(int(strength * steps), steps - 1), 1)
    found = way(wanted(steps, strength), DDIM, SCHEDULES["DDIM timesteps"], TABLE)
    times = [round(TABLE.t_of(sigma)) for sigma in found.sigmas[:-1]]
    assert times == list(reversed(rising[:encoded])) and round(TABLE.t_of(found.noised)) == rising[encoded]
    clean, noise = torch.tensor([0.7]), torch.tensor([-1.3])
    level = float(TABLE.alphas_cumprod[rising[encoded]])
    shown = begun(clean, noise, found) / math.sqrt(1 + found.sigmas[0] ** 2)  # what its network sees
    assert torch.allclose(shown, math.sqrt(level) * clean + math.sqrt(1 - level) * noise, atol=1e-5)


@given(steps=st.integers(1, 150), strength=STRENGTHS, schedule=SCHEDULE, sampler=st.sampled_from(["Euler", "DDIM"]))
@settings(max_examples=80, deadline=None)
def test_diffusers_convention_runs_strength_times_steps(steps: int, strength: float, schedule: str, sampler: str) -> None:
    found = way(wanted(steps, strength, convention=DIFFUSERS), SAMPLERS[sampler], SCHEDULES[schedule], TABLE)
    whole = SCHEDULES[schedule](steps, TABLE)
    whole = on_entries(whole, TABLE) if sampler == "DDIM" else whole
    count = max(min(int(steps * strength), steps), 1)
    assert found.sigmas == whole[len(whole) - 1 - count :] and found.noised == found.sigmas[0]


@given(
    steps=st.integers(1, 60), strength=STRENGTHS, convention=st.sampled_from([A1111, DIFFUSERS]),
    schedule=st.sampled_from(["Karras", "Uniform"]), info=st.sampled_from([EULER, DDIM]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_all_steps_are_run_where_that_is_wanted(
    steps: int, strength: float, convention: str, schedule: str, info: SamplerInfo
) -> None:
    found = way(wanted(steps, strength, convention=convention, all_steps=True), info, SCHEDULES[schedule], TABLE)
    usual = way(wanted(steps, strength, convention=convention), info, SCHEDULES[schedule], TABLE)
    assert len(found.sigmas) - 1 == steps >= len(usual.sigmas) - 1


@pytest.mark.parametrize("convention", [A1111, DIFFUSERS])
def test_the_faintest_strength_asks_for_no_endless_schedule(convention: str) -> None:
    asked = []

    def schedule(n: int, table: NoiseTable, **more: float | None) -> tuple[float, ...]:
        asked.append(n)
        return SCHEDULES["Karras"](min(n, 100_000), table)

    for strength in (1e-2, 1e-6, 1e-300):
        found = way(wanted(150, strength, convention=convention, all_steps=True), EULER, schedule, TABLE)
        assert len(found.sigmas) == 151
    assert max(asked) == asked[0] == 15_000


@given(
    steps=st.integers(1, 150), schedule=SCHEDULE, sampler=st.sampled_from(["Euler", "DDIM"]), every=st.booleans(),
    convention=st.sampled_from([A1111, DIFFUSERS]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_higher_strength_never_means_less_noise(steps: int, schedule: str, sampler: str, every: bool, convention: str) -> None:
    more = {"convention": convention, "all_steps": every}
    schedule = "Karras" if every else schedule  # where DDIM's begins depends on how many steps it has
    strengths = (0.01, 0.25, 0.6, 0.99, 1.0)
    ways = [way(wanted(steps, each, **more), SAMPLERS[sampler], SCHEDULES[schedule], TABLE) for each in strengths]
    room = 1e-9 if sampler == "Euler" else 0.5 + 1e-9  # a schedule of another length may lie on training steps, or may not
    times = [TABLE.t_of(each.noised) for each in ways]
    assert all(later + room >= earlier for earlier, later in pairwise(times))
    assert all(len(each.sigmas) > 1 for each in ways)


@pytest.mark.parametrize("convention", [A1111, DIFFUSERS])
@pytest.mark.parametrize("every", [False, True])
def test_full_strength_is_the_whole_schedule(convention: str, every: bool) -> None:
    for info in (EULER, DDIM):
        found = way(wanted(7, 1.0, convention=convention, all_steps=every), info, SCHEDULES["Karras"], TABLE)
        whole = SCHEDULES["Karras"](7, TABLE)
        assert found.fresh and found.sigmas == (on_entries(whole, TABLE) if info is DDIM else whole)
