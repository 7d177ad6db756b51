"""The published sizes, with --slow: every network of every family equals diffusers' and transformers' with the same weights."""

from __future__ import annotations

import pytest

from tests.nets.families import GAINS
from tests.nets.measuring import PREDICTORS, TOWERS, full_autoencoder, full_noise_predictors, full_tower, predictor_bytes
from tests.nets.references import assert_accepted
from webui.facts import memory_sizes

ROOM = 1.5  # times the weights' bytes: they are held once, a large one twice for a moment

pytestmark = pytest.mark.slow


def need_memory(gigabytes: float, what: str) -> None:
    """Skip where it is not free."""
    free = memory_sizes()[1]
    if free is not None and free < gigabytes:
        pytest.skip(f"{what} needs {gigabytes:.0f} GB of memory; {free:.0f} GB are free")


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("group", PREDICTORS)
def test_noise_predictors_of_full_size_equal_diffusers(group: str, gain: float) -> None:
    need_memory(ROOM * predictor_bytes(group) / 1e9, group)
    found = {family: each for family, _, each in full_noise_predictors(group, gain)}
    assert tuple(found) == PREDICTORS[group]
    assert_accepted(found)


@pytest.mark.parametrize("gain", GAINS)
def test_the_autoencoder_of_full_size_equals_diffusers(gain: float) -> None:
    need_memory(1, "the autoencoder")
    assert_accepted({part: each for _, part, each in full_autoencoder(gain)})


@pytest.mark.parametrize("which", TOWERS)
def test_text_towers_of_full_size_equal_transformers(which: str) -> None:
    need_memory(9, which)
    assert_accepted({part: each for _, part, each in full_tower(which)})
