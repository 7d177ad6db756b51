"""A picture of a batch is the one that is made of its request alone, whatever the sampler and its noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.engine.making import MODEL, Exact, Source, local, pictures, request, run, stepped
from webui.engine.engine import Engine
from webui.pipeline.generate import Registry, generate
from webui.request import Request
from webui.service.extensions import bundled

ALL = Registry(samplers=bundled().samplers, schedules=bundled().schedules)
SAMPLERS = sorted(ALL.samplers)
VARIATION = {"variation_seed": 40, "variation_strength": 0.3}


def start(wanted: Request) -> Sequence[Source]:
    """The generations of a request, with every sampler there is."""
    return [generate(wanted.picture(index), MODEL, ALL) for index in range(wanted.count)]


def pixels(networks: Any, *wanted: Request) -> list[np.ndarray]:
    """The pictures of requests that are made at the same time."""
    engine: Engine = stepped(start, networks)
    jobs = [engine.submit(each) for each in wanted]
    run(engine)
    return [each.pixels for job in jobs for each in pictures(engine, job)]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_batch_is_its_pictures_alone_bit_by_bit_where_rows_are_answered_alike(name: str) -> None:
    wanted = request(sampler=name, schedule=ALL.samplers[name].schedule, steps=6, count=3)
    together = pixels(Exact(), wanted)
    assert len(together) == 3
    for index, picture in enumerate(together):
        (alone,) = pixels(Exact(), request(sampler=name, schedule=wanted.schedule, steps=6, seed=wanted.seed + index))
        assert np.array_equal(picture, alone)
    assert len({picture.tobytes() for picture in together}) == 3


@pytest.mark.parametrize("name", ["Euler a", "DPM++ SDE", "DPM++ 2M SDE", "DDIM"])
@pytest.mark.parametrize("changes", [VARIATION, {"rng": "NV"}, {"ensd": 31337}, {"seed_width": 32, "seed_height": 8}], ids=str)
def test_so_it_is_with_other_noise(name: str, changes: dict[str, Any]) -> None:
    wanted = request(sampler=name, schedule="Karras", count=2, **changes)
    together = pixels(Exact(), wanted)
    for index, picture in enumerate(together):
        (alone,) = pixels(Exact(), wanted.picture(index))
        assert np.array_equal(picture, alone)


# DPM adaptive is not among them: it takes its steps by what it is answered, to the last digit.
@pytest.mark.parametrize("name", ["Euler a", "DPM++ SDE", "Heun", "DDIM", "DPM++ 2M SDE", "LCM", "DDIM CFG++"])
def test_so_it_is_but_for_rounding_with_networks_that_share_their_calls(name: str) -> None:
    wanted = request(sampler=name, schedule=ALL.samplers[name].schedule, count=2, prompt="a ball AND a cube :0.5", rescale=0.5)
    others = request(sampler="Euler", count=2, seed=70)
    together = pixels(local(), wanted, others)[:2]
    for index, picture in enumerate(together):
        (alone,) = pixels(local(), wanted.picture(index))
        assert int(np.abs(picture.astype(int) - alone.astype(int)).max()) <= 1
