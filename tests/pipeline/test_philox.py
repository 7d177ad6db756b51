"""Philox against recorded draws of CUDA's generator and the published vectors of the algorithm, number for number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.pipeline.philox import normal, words

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "noise.json").read_text())["philox"]
COUNT = 4 * 64 * 64


@pytest.mark.parametrize("seed", sorted(map(int, RECORDED)))
def test_a_seed_gives_the_recorded_numbers(seed: int) -> None:
    recorded = RECORDED[str(seed)]
    draws = [normal(seed, draw, COUNT) for draw in range(3)]
    assert draws[0][:8].tolist() == recorded["first8_call0"] and draws[0][-2:].tolist() == recorded["last2_call0"]
    assert draws[1][:8].tolist() == recorded["first8_call1"]
    assert draws[2][:4].tolist() == recorded["first4_call2"]
    assert float(draws[0].mean()) == pytest.approx(recorded["mean_call0"], rel=1e-5)
    assert float(draws[0].std()) == pytest.approx(recorded["std_call0"], rel=1e-4)
    assert float(np.abs(draws[0].astype(np.float64)).sum()) == pytest.approx(recorded["sum_abs"], rel=1e-9)


def test_the_words_are_those_published_with_the_algorithm() -> None:
    first, second = words(0, 0, 1)  # Random123's known answers: counter and key all zero
    assert (int(first[0]), int(second[0])) == (0x6627E8D5, 0xE169C58D)


@given(seed=st.integers(0, 2**64 - 1), draw=st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_a_number_depends_on_its_place_alone_and_not_on_how_many_there_are(seed: int, draw: int) -> None:
    assert np.array_equal(normal(seed, draw, 40)[:7], normal(seed, draw, 7))
    assert np.isfinite(normal(seed, draw, 40)).all()


def test_seeds_differ_in_all_their_bits_and_draws_differ() -> None:
    found = {normal(seed, draw, 8).tobytes() for seed in (0, 1, 2**31, 2**32, 2**63) for draw in (0, 1)}
    assert len(found) == 10
