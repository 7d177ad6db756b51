"""Sharing calls changes rounding only, saves calls, and swaps no more than it must."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.engine.making import (
    Exact,
    alone,
    last,
    local,
    pictures,
    pictures_of,
    plain,
    plain_pictures,
    request,
    run,
    simple,
    stepped,
)
from webui.engine import events
from webui.engine.device import Choice
from webui.engine.engine import Limits

MIXED = (
    {"sampler": "Euler", "steps": 7, "scale": 3.0, "prompt": "a red ball", "seed": 1},
    {"sampler": "Heun", "steps": 4, "scale": 1.0, "prompt": "two green cubes behind a cone, far away", "seed": 2},
    {"sampler": "DPM++ 2M", "steps": 5, "scale": 0.0, "prompt": "", "seed": 3},
    {"sampler": "Euler a", "steps": 6, "scale": 7.5, "prompt": "x", "seed": 4},
    {"sampler": "DDIM", "schedule": "DDIM timesteps", "steps": 5, "scale": 2.0, "prompt": "y", "seed": 5},
)


def rounded(expected: np.ndarray, actual: np.ndarray) -> bool:
    """Equal but where rounding to 8 bits fell the other way."""
    difference = np.abs(expected.astype(int) - actual.astype(int))
    return bool(difference.max() <= 1 and (difference > 0).mean() < 0.01)


@pytest.mark.parametrize("in_flight", [1, 2])
def test_jobs_started_together_equal_each_alone_with_few_calls(in_flight: int) -> None:
    wanted = [request(**changes) for changes in MIXED]
    networks, latents = local(), {}
    decode = networks.decode
    limits = Limits(in_flight=in_flight)

    class Watching:
        def __getattr__(self, name):
            return getattr(networks, name)

        def decode(self, ask):
            latents[len(latents)] = ask.latent
            return decode(ask)

    own = []
    for each in wanted:
        single = stepped(pictures_of, Watching(), limits=limits)
        job = single.submit(each)
        run(single)
        assert isinstance(last(single, job), events.Finished)
        assert not pictures(single, job)[0].batched
        own.append((single.calls, latents.popitem()[1], pictures(single, job)[0].pixels))
    engine = stepped(pictures_of, Watching(), limits=limits)
    jobs = [engine.submit(each) for each in wanted]
    run(engine)
    assert engine.calls <= max(calls for calls, _, _ in own) + 1
    together = list(latents.values())
    for job, (_, latent, pixels) in zip(jobs, own, strict=True):
        (picture,) = pictures(engine, job)
        assert picture.batched
        assert rounded(pixels, picture.pixels)
        closest = min(float((other - latent).abs().max() / latent.abs().max()) for other in together)
        assert closest < 1e-5
    assert len(together) == len(wanted)


def test_a_replay_alone_is_bit_identical_and_a_picture_carries_its_own_request() -> None:
    first, second = alone(request(count=3)), alone(request(count=3))
    assert len(first) == 3
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    engine = stepped(pictures_of, local())
    job = engine.submit(request(count=3))
    run(engine)
    for picture in pictures(engine, job):
        assert picture.request == request(seed=1 + picture.picture)
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.shape == (16, 16, 3)
        assert rounded(picture.pixels, alone(picture.request)[0])


@pytest.mark.parametrize("in_flight", [1, 2])
def test_reproducible_jobs_share_no_call_and_their_pictures_equal_each_alone_bit_for_bit(in_flight: int) -> None:
    engine = stepped(pictures_of, local(), limits=Limits(in_flight=in_flight))
    exact = engine.submit(request(reproducible=True, count=2))
    other = engine.submit(request(seed=9))
    run(engine)
    assert not any(picture.batched for picture in pictures(engine, exact))
    for picture in pictures(engine, exact):
        assert np.array_equal(picture.pixels, alone(picture.request)[0])
    assert np.array_equal(pictures(engine, other)[0].pixels, alone(request(seed=9))[0])


@pytest.mark.parametrize(("scale", "rows"), [(0.0, 1), (1.0, 1), (5.0, 2)])
def test_scales_0_and_1_cost_one_row(scale: float, rows: int) -> None:
    networks = Exact()
    engine = stepped(pictures_of, networks)
    engine.submit(request(scale=scale))
    run(engine)
    assert set(networks.shapes) == {rows}
    assert networks.shared[0] == ({"uncond"} if scale == 0 else {"cond"} if scale == 1 else {"cond", "uncond"})


def test_rows_that_need_a_swap_wait_but_not_for_long() -> None:
    order = []

    class Swapping(Exact):
        held = "a"

        def ready(self, row):
            return row.network == self.held

        def predict(self, call):
            self.held = call.rows[0].network
            order.append(self.held)
            return super().predict(call)

    engine = stepped(lambda wanted: [plain(wanted, network=wanted.prompt)], Swapping(), limits=Limits(patience=4))
    for name in "ab":
        engine.submit(request(prompt=name, steps=12))
    run(engine)
    assert order[:5] == list("aaaab")
    swaps = sum(one != two for one, two in itertools.pairwise(order))
    assert 3 <= swaps <= 7
    assert sorted(order) == sorted("ab" * 12)


@pytest.mark.parametrize("choice", [Choice(), Choice(channels_last=True)])
def test_a_picture_says_what_computed_it(choice: Choice) -> None:
    engine = stepped(pictures_of, local(choice))
    job = engine.submit(request(scale=1.0))
    run(engine)
    (picture,) = pictures(engine, job)
    assert picture.computed == choice.name
    assert picture.computed.startswith("cpu float32")
    assert picture.computed.endswith("channels-last") == choice.channels_last


def test_a_picture_of_two_networks_says_what_computed_each_once() -> None:
    class Two(Exact):
        def predict(self, call):
            predicted = super().predict(call)
            return type(predicted)(predicted.rows, predicted.finite, by=f"on {call.rows[0].network}")

    def both(wanted):
        yield from plain(wanted, network="a")
        yield from plain(wanted, network="b")
        return (yield from plain(wanted, network="a"))

    engine = stepped(lambda wanted: [both(wanted)], Two())
    job = engine.submit(simple())
    run(engine)
    assert pictures(engine, job)[0].computed == "on a + on b"


def test_memory_that_did_not_suffice_is_noted_only_where_it_changed_a_pictures_calls() -> None:
    def fault(call):
        if len(call.rows) > 1:
            raise MemoryError

    engine = stepped(plain_pictures, Exact(fault))
    jobs = [engine.submit(simple(seed=seed)) for seed in (1, 2)]
    run(engine)
    for seed, job in enumerate(jobs, 1):
        (picture,) = pictures(engine, job)
        assert not picture.batched
        assert np.array_equal(picture.pixels, alone(simple(seed=seed), Exact(), plain_pictures)[0])
