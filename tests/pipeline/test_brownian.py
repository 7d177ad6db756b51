"""Brownian noise: torchsde's own path bit by bit, whatever was asked before; drawn ahead, the numbers are the same."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from webui.pipeline.brownian import AHEAD, DrawnAhead, Path, brownian, foreseen, noise_of_steps
from webui.pipeline.noise import Seeds, per_step
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.protocol import Moment
from webui.pipeline.samplers import SAMPLERS, SamplerInfo
from webui.pipeline.schedules import SCHEDULES

TABLE = NoiseTable.from_betas()
SHAPE = (4, 4, 4)
LOW, HIGH = 0.03, 14.6
BROWNIAN = sorted(name for name, info in SAMPLERS.items() if info.brownian)
LEVELS = st.floats(LOW, HIGH).map(lambda level: round(level, 5))
PATIENCE = 20.0  # seconds


def path(seed: int = 42, source: str = "CPU", low: float = LOW, high: float = HIGH) -> Path:
    return Path(Seeds(seed, source), SHAPE, low, high)


@pytest.mark.filterwarnings("ignore:Should have t:UserWarning")  # of torchsde, whose ends are rounded as ours are
@pytest.mark.parametrize("seed", [0, 42, 2**63 + 5])
@pytest.mark.parametrize("schedule", ["Karras", "Uniform"])
def test_the_path_is_that_of_torchsde_bit_by_bit(seed: int, schedule: str) -> None:
    sigmas = SCHEDULES[schedule](12, TABLE)[:-1]
    theirs = BrownianTreeNoiseSampler(torch.zeros(1, *SHAPE), min(sigmas), max(sigmas), [seed])
    ours = path(seed, low=min(sigmas), high=max(sigmas))
    for sigma, sigma_next in pairwise(sigmas):
        for end in ((sigma * sigma_next) ** 0.5, sigma_next):
            assert torch.equal(ours.noise(sigma, end), theirs(sigma, end)[0])


@pytest.mark.filterwarnings("ignore:Should have t:UserWarning")
def test_up_the_path_is_the_way_down_turned_round_and_beyond_its_ends_nothing_is_gained() -> None:
    theirs = BrownianTreeNoiseSampler(torch.zeros(1, *SHAPE), LOW, HIGH, [3])
    assert torch.equal(path(3).noise(1.0, 2.0), -path(3).noise(2.0, 1.0))
    assert torch.equal(path(3).noise(1.0, 2.0), theirs(1.0, 2.0)[0])
    assert torch.equal(path(3).noise(20.0, 2.0), theirs(20.0, 2.0)[0])
    with pytest.raises(ValueError, match="between sigma 2 and 2; the path gains none"):
        path(3).noise(2.0, 2.0)


@pytest.mark.parametrize("near", [(0.0100014, 0.0100012), (5.0000002, 4.9999998), (4e-7, 1e-7)])
def test_between_levels_that_are_one_to_the_path_nothing_is_gained(near: tuple[float, float]) -> None:
    assert torch.equal(path(3, low=min(0.01, *near)).noise(*near), torch.zeros(SHAPE))


@pytest.mark.parametrize("name", BROWNIAN)
@pytest.mark.parametrize("lowest", [1e-7, 1e-6, 0.5])
def test_schedules_may_end_as_low_as_anybody_likes(name: str, lowest: float) -> None:
    sigmas = SCHEDULES["Exponential"](60, TABLE, sigma_min=lowest)

    def denoise(x: Tensor, _at: Moment) -> Any:
        yield from ()
        return x * 0.9

    with noise_of_steps(Seeds(42), SHAPE, SAMPLERS[name], sigmas, TABLE, {}, highest=sigmas[0]) as noise:
        steps = list(SAMPLERS[name].run(denoise, torch.randn(SHAPE), sigmas, noise, TABLE, {}))
    assert len(steps) == 60 and bool(steps[-1].x.isfinite().all())


WAYS = st.tuples(LEVELS, LEVELS).filter(lambda pair: pair[0] != pair[1])


@given(asked=st.lists(WAYS, min_size=2, max_size=5), seed=st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_an_increment_does_not_depend_on_what_was_asked_before(asked: list[tuple[float, float]], seed: int) -> None:
    used = path(seed)
    found = {levels: used.noise(*levels) for levels in asked}
    for levels in reversed(asked):
        assert torch.equal(path(seed).noise(*levels), found[levels])


@given(low=LEVELS, middle=LEVELS, high=LEVELS, source=st.sampled_from(["CPU", "NV"]))
@settings(max_examples=20, deadline=None)
def test_ways_that_follow_each_other_add_up(low: float, middle: float, high: float, source: str) -> None:
    low, middle, high = sorted((low, middle, high))
    if min(middle - low, high - middle) < 1e-3:
        return
    one = path(1, source)
    parts = one.noise(high, middle) * (high - middle) ** 0.5 + one.noise(middle, low) * (middle - low) ** 0.5
    torch.testing.assert_close(parts, one.noise(high, low) * (high - low) ** 0.5, rtol=0, atol=1e-4)


@pytest.mark.parametrize("source", ["CPU", "NV"])
def test_noise_has_unit_variance_and_ways_apart_are_independent(source: str) -> None:
    draws = [Path(Seeds(seed, source), (4, 32, 32), LOW, HIGH) for seed in range(4)]
    first = torch.cat([each.noise(9.0, 3.0).flatten() for each in draws])
    second = torch.cat([each.noise(3.0, 0.5).flatten() for each in draws])
    count = len(first)
    for values in (first, second):
        assert abs(float(values.mean())) < 5 / count**0.5 and abs(float(values.var()) - 1) < 5 * (2 / count) ** 0.5
    assert abs(float((first * second).mean())) < 5 / count**0.5


def test_each_source_and_seed_has_a_path_of_its_own() -> None:
    found = [path(seed, source).noise(9.0, 3.0) for seed in (1, 2) for source in ("CPU", "NV")]
    assert all(not torch.equal(one, other) for index, one in enumerate(found) for other in found[:index])
    assert torch.equal(path(1, "GPU").noise(9.0, 3.0), path(1, "NV").noise(9.0, 3.0))  # there is no CUDA for shapes on the CPU


@pytest.mark.parametrize("name", BROWNIAN)
@pytest.mark.parametrize("schedule", ["Karras", "Uniform"])
def test_all_that_a_sampler_asks_for_is_foreseen(name: str, schedule: str) -> None:
    sigmas, asked = SCHEDULES[schedule](6, TABLE), []

    def denoise(x: Tensor, _at: Moment) -> Any:
        yield from ()
        return x * 0.9

    def noise(at: Moment, sigma_next: float) -> Tensor:
        asked.append((at.sigma, sigma_next))
        return torch.randn(SHAPE)

    for _ in SAMPLERS[name].run(denoise, torch.randn(SHAPE) * 14, sigmas, noise, TABLE, {}):
        pass
    assert asked and foreseen(SAMPLERS[name], sigmas, TABLE, {}) == tuple(asked)
    assert foreseen(SAMPLERS[name], sigmas, TABLE, {"eta": 0.0}) == ()


def test_nothing_is_foreseen_of_a_sampler_that_chooses_its_own_steps() -> None:
    def adaptive(denoise: Any, x: Tensor, sigmas: Sequence[float], noise: Any) -> Any:
        raise AssertionError("It was run.")

    assert foreseen(SamplerInfo(name="Own", function=adaptive, own_steps=True), (9.0, 0.0), TABLE, {}) == ()


def drawing() -> bool:
    """Whether a thread draws ahead."""
    return any(each.name == "brownian noise" for each in threading.enumerate())


def wait_for(condition: Callable[[], bool]) -> None:
    """Return as soon as a thread has made something true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "The thread never came so far."
        threading.Event().wait(0.001)


class Counted:
    """A path that notes which thread drew."""

    def __init__(self) -> None:
        self.path = path()
        self.by: list[str] = []

    def noise(self, sigma: float, sigma_next: float) -> Tensor:
        self.by.append(threading.current_thread().name)
        return self.path.noise(sigma, sigma_next)


STEPS = tuple(pairwise([14.0 - index / 4 for index in range(50)]))


def test_what_is_foreseen_is_drawn_by_other_threads_and_only_so_much_of_it_at_once() -> None:
    made = Counted()
    ahead = DrawnAhead(lambda: made, lambda: STEPS)  # type: ignore[arg-type, return-value]
    wait_for(lambda: len(made.by) == AHEAD and not drawing())
    for index, (sigma, sigma_next) in enumerate(STEPS):
        assert torch.equal(ahead(Moment(sigma, 0, 1), sigma_next), path().noise(sigma, sigma_next))
        wait_for(lambda: not drawing())
        assert len(made.by) <= index + 1 + AHEAD
    assert set(made.by) == {"brownian noise"} and len(made.by) == len(STEPS)


def test_what_is_not_drawn_in_time_or_not_foreseen_is_the_same() -> None:
    hold = threading.Event()

    def late() -> Sequence[tuple[float, float]]:
        hold.wait(PATIENCE)
        return STEPS

    made = Counted()
    ahead = DrawnAhead(lambda: made, late)  # type: ignore[arg-type, return-value]
    found = [ahead(Moment(sigma, 0, 1), sigma_next) for sigma, sigma_next in STEPS[:3]]
    other = ahead(Moment(9.1, 0, 1), 0.7)
    hold.set()
    wait_for(lambda: not drawing())
    assert set(made.by[:4]) == {"MainThread"} and set(made.by[4:]) == {"brownian noise"} and len(made.by) == 4 + AHEAD
    assert all(torch.equal(each, path().noise(*levels)) for each, levels in zip(found, STEPS, strict=False))
    assert torch.equal(other, path().noise(9.1, 0.7)) and torch.equal(ahead(Moment(*STEPS[0][:1], 0, 1), STEPS[0][1]), found[0])


def test_what_fails_ahead_fails_where_it_is_asked_for_and_costs_nothing_else() -> None:
    failing = DrawnAhead(path, lambda: [(2.0, 2.0), (2.0, 1.0)])
    wait_for(lambda: not drawing())
    with pytest.raises(ValueError, match="gains none"):
        failing(Moment(2.0, 0, 1), 2.0)
    assert torch.equal(failing(Moment(2.0, 0, 1), 1.0), path().noise(2.0, 1.0))


@pytest.mark.parametrize("ending", [None, ValueError, GeneratorExit])
def test_nothing_more_is_drawn_ahead_when_a_picture_has_ended_however_that_was(ending: type[BaseException] | None) -> None:
    sigmas = SCHEDULES["Karras"](150, TABLE)
    steps = noise_of_steps(Seeds(42), SHAPE, SAMPLERS["DPM++ SDE"], sigmas, TABLE, {}, highest=sigmas[0])
    with contextlib.suppress(*([ending] if ending else [])), steps as noise:
        assert isinstance(noise, DrawnAhead)
        if ending is not None:
            raise ending
    wait_for(lambda: not drawing())
    assert noise._drawn == {}
    noise(Moment(sigmas[0], 0, 150), sigmas[1])
    assert not drawing() and noise._drawn == {}


def test_other_samplers_draw_one_after_another() -> None:
    wait_for(lambda: not drawing())
    with noise_of_steps(Seeds(42), SHAPE, SAMPLERS["Euler a"], (2.0, 1.0, 0.0), TABLE, {}, highest=2.0) as noise:
        assert torch.equal(noise(Moment(2.0, 0, 2), 1.0), per_step(42, SHAPE)(Moment(2.0, 0, 2), 1.0))
    assert not drawing()


@pytest.mark.parametrize("name", BROWNIAN)
def test_a_sampler_s_noise_lies_between_the_lowest_and_the_highest_level_of_the_whole_schedule(name: str) -> None:
    whole = SCHEDULES["Karras"](7, TABLE, sigma_min=0.2)
    sigmas = whole[2:]  # as of a picture that is made anew in part
    noise = brownian(Seeds(42), SHAPE, SAMPLERS[name], sigmas, TABLE, {}, highest=whole[0])
    expected = path(42, low=whole[-2], high=whole[0]).noise(sigmas[1], sigmas[2])
    assert torch.equal(noise(Moment(sigmas[1], 1, 5), sigmas[2]), expected)
    assert brownian(Seeds(42), SHAPE, SAMPLERS[name], sigmas, TABLE, {}, highest=whole[0], device="meta")(
        Moment(sigmas[1], 1, 5), sigmas[2]
    ).device.type == "meta"
    noise.close()
