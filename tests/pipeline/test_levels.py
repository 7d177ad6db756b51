"""Noise levels as plain numbers are those of the table, and so are the schedules that read them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny_checkpoint import SPEC
from webui.drawing import DEFAULT_NOISE, ZERO_TERMINAL
from webui.errors import UserError
from webui.pipeline.levels import Levels
from webui.pipeline.noise_table import NoiseTable
from webui.service.extensions import bundled

SPECS = [
    SPEC, replace(SPEC, betas=(0.0001, 0.02), train_steps=500), replace(SPEC, zero_terminal_snr=True, prediction="v"),
    replace(SPEC, family="sdxl-base"),
]  # fmt: skip
SCHEDULES = bundled().schedules


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("schedule", [DEFAULT_NOISE, ZERO_TERMINAL])
def test_they_are_those_of_the_table(spec: object, schedule: str) -> None:
    plain = Levels.of(spec, zero_terminal=schedule == ZERO_TERMINAL)  # type: ignore[arg-type]
    table = NoiseTable.asked(schedule, spec) or NoiseTable.from_spec(spec)  # type: ignore[arg-type]
    assert plain.sigmas == pytest.approx(table.sigmas.tolist(), rel=1e-7)
    assert plain.sigmas[:-1] == pytest.approx(table.sigmas.tolist()[:-1], rel=1e-9)
    assert plain.family == table.family and plain.sigma_max == pytest.approx(table.sigma_max, rel=1e-9)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("spec", SPECS[2:])
def test_schedules_make_the_same_of_them(name: str, spec: object) -> None:
    plain, table = Levels.of(spec), NoiseTable.from_spec(spec)  # type: ignore[arg-type]
    for steps in (1, 2, 9, 30):
        found, expected = SCHEDULES[name](steps, plain), SCHEDULES[name](steps, table)  # type: ignore[arg-type]
        assert found == pytest.approx(expected, rel=1e-9)


@given(t=st.floats(0, 999))
@settings(max_examples=60, deadline=None)
def test_a_time_has_a_level_and_the_level_that_time(t: float) -> None:
    levels, table = Levels.of(SPEC), NoiseTable.from_spec(SPEC)
    assert levels.t_of(levels.sigma_of(t)) == pytest.approx(t, abs=1e-9)
    assert table.sigma_of(t) == pytest.approx(levels.sigma_of(t), rel=1e-12)


def test_nothing_but_noise_needs_v_prediction_where_the_model_says_it() -> None:
    with pytest.raises(UserError, match="v prediction"):
        Levels.of(replace(SPEC, zero_terminal_snr=True, prediction="eps"))


def test_levels_that_would_be_all_alike_are_refused_with_a_sentence() -> None:
    steep = replace(SPEC, betas=(0.0008, 0.06))
    with pytest.raises(UserError, match="Leave the noise schedule at Default"):
        NoiseTable.asked(ZERO_TERMINAL, steep)
    with pytest.raises(UserError, match="Leave the noise schedule at Default"):
        Levels.of(steep, zero_terminal=True)
    assert NoiseTable.asked(DEFAULT_NOISE, steep) is None
    bold = NoiseTable.asked(ZERO_TERMINAL, replace(SPEC, betas=(0.00085, 0.018)))
    assert bold is not None and bold.sigma_max == pytest.approx(2 * float(bold.sigmas[-2]), rel=1e-3) and bold.sigma_max > 8192


def test_the_table_of_a_request_is_its_own() -> None:
    plain, zero = SPECS[0], SPECS[2]
    assert NoiseTable.asked(DEFAULT_NOISE, plain) is None and NoiseTable.asked(ZERO_TERMINAL, zero) is None
    found = NoiseTable.asked(ZERO_TERMINAL, replace(plain, prediction="eps"))  # A1111 draws such pictures too
    assert found is not None and found.sigma_max == pytest.approx(4096, rel=1e-3)
    assert found.sigma_min == pytest.approx(NoiseTable.from_spec(plain).sigma_min)
