"""What a request says of its noise and its noise levels reaches its picture; left out, it changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.pipeline.answering import FACTOR, MODEL, REQUEST, Engine, coloured, made
from webui.drawing import ZERO_TERMINAL
from webui.pipeline.brownian import DrawnAhead, Path
from webui.pipeline.generate import Registry, generate
from webui.pipeline.given import NOTHING_GIVEN, Given
from webui.pipeline.noise import Seeds, initial, per_step
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.plan import on_entries, planned
from webui.pipeline.protocol import Row, Rows, answer_all
from webui.pipeline.samplers import SAMPLERS, SamplerInfo
from webui.pipeline.schedules import SCHEDULES
from webui.request import Request
from webui.service.extensions import bundled

ALL = Registry(samplers=bundled().samplers, schedules=bundled().schedules)
TABLE = NoiseTable.from_spec(MODEL.spec)
TXT2IMG = replace(REQUEST, task="txt2img", strength=1.0, steps=6, scale=6.0)
SHAPE = (4, TXT2IMG.height // FACTOR, TXT2IMG.width // FACTOR)
OPTIONS: dict[str, dict[str, Any]] = {
    "rng NV": {"rng": "NV"},
    "rng GPU": {"rng": "GPU"},
    "variation": {"variation_seed": 7, "variation_strength": 0.3},
    "resize from": {"seed_width": 128, "seed_height": 64},
    "resize from a width": {"seed_width": 128},
    "sigma range": {"schedule_options": {"sigma_min": 0.1, "sigma_max": 10.0}},
    "rho": {"schedule_options": {"rho": 3.0}},
    "discard": {"discard_penultimate": True},
    "sgm noise": {"sgm_noise": True},
    "zero terminal": {"noise_schedule": ZERO_TERMINAL},
}


def differing(row: Row) -> Tensor:
    """A clean latent that depends on the state, the text and the time that the network is told."""
    told = TABLE.t_of(row.at.sigma) if row.time is None else row.time
    return row.x / (1 + row.at.sigma) + torch.sin(row.x * 3 + told / 999) * (0.3 if row.role == "cond" else 0.1)


def drawn(request: Request, given: Given = NOTHING_GIVEN, **more: Any) -> Engine:
    """The engine that a picture was made by."""
    engine = Engine(predict=differing)
    made(request, given, engine, registry=ALL, **more)
    return engine


def latent(request: Request, **more: Any) -> Tensor:
    found = made(request, engine=Engine(predict=differing), registry=ALL, **more).latent
    assert found is not None
    return found


def visited(request: Request, given: Given = NOTHING_GIVEN) -> list[float]:
    """The noise levels of a picture's steps, and the one it ends at."""
    return [row.at.sigma for row in drawn(request, given).rows]


@pytest.mark.parametrize("name", sorted(OPTIONS))
@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ SDE", "DPM++ 2M"])
def test_an_option_changes_the_picture(name: str, sampler: str) -> None:
    wanted = replace(TXT2IMG, sampler=sampler)
    assert not torch.equal(latent(wanted), latent(replace(wanted, **OPTIONS[name])))


LEFT_OUT: list[dict[str, Any]] = [
    {"variation_seed": 7, "variation_strength": 0.0}, {"seed_width": TXT2IMG.width, "seed_height": TXT2IMG.height},
    {"schedule_options": {}}, {"schedule_options": {"beta_alpha": 3.0}}, {"ensd": 0}, {"noise_schedule": "Default"},
]  # fmt: skip


@pytest.mark.parametrize("left_out", LEFT_OUT, ids=str)
@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "DDIM"])
def test_what_is_left_out_or_means_nothing_changes_nothing(left_out: dict[str, Any], sampler: str) -> None:
    wanted = replace(TXT2IMG, sampler=sampler, schedule="Karras")
    assert torch.equal(latent(wanted), latent(replace(wanted, **left_out)))


def test_a_picture_without_options_is_the_sampler_s_own_run() -> None:
    for name in ("Euler", "Euler a", "Heun", "DPM++ 2M", "DDIM"):
        wanted = replace(TXT2IMG, sampler=name, scale=1.0)
        sigmas = SCHEDULES["Karras"](6, TABLE)
        sigmas = on_entries(sigmas, TABLE) if name == "DDIM" else sigmas
        info, engine = SAMPLERS[name], Engine(predict=differing)
        start, noise = info.start(initial(5, SHAPE), sigmas[0]), per_step(5, SHAPE)

        def denoise(x: Tensor, at: Any) -> Any:
            found = yield Rows(Row(x, at, None))  # type: ignore[arg-type]
            return found[0]

        expected = answer_all(info.run(denoise, start, sigmas, noise, TABLE, {}), engine.answer)
        assert torch.equal(latent(wanted), expected), name


# --- noise ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [OPTIONS[name] for name in ("rng NV", "rng GPU", "variation", "resize from")], ids=str)
def test_a_picture_begins_with_the_noise_of_its_seeds(changes: dict[str, Any]) -> None:
    row = drawn(replace(TXT2IMG, **changes)).rows[0]
    seeds = Seeds(
        5, changes.get("rng", "CPU"), 0, changes.get("variation_seed"), changes.get("variation_strength", 0.0),
        (8, 16) if "seed_width" in changes else None,
    )  # fmt: skip
    assert torch.equal(row.x, initial(seeds, SHAPE) * row.at.sigma)


@pytest.mark.parametrize("rng", ["CPU", "NV"])
def test_a_seed_delta_moves_the_steps_noise_alone(rng: str) -> None:
    wanted = replace(TXT2IMG, sampler="Euler a", rng=rng)
    plain, moved = drawn(wanted), drawn(replace(wanted, ensd=31337))
    assert torch.equal(plain.rows[0].x, moved.rows[0].x) and not torch.equal(plain.rows[1].x, moved.rows[1].x)
    both = (per_step(Seeds(5, rng, delta), SHAPE)(plain.rows[0].at, 1.0) for delta in (0, 31337))
    first, second = both
    up = (plain.rows[1].x - moved.rows[1].x) / (first - second)
    torch.testing.assert_close(up, torch.full_like(up, float(up.median())), rtol=1e-2, atol=1e-2)
    for name in ("Euler", "DPM++ SDE"):  # there is none, or a path that follows from the seed alone
        assert torch.equal(latent(replace(wanted, sampler=name)), latent(replace(wanted, sampler=name, ensd=31337)))


def test_noise_as_strong_as_sdxl_s_code_has_it() -> None:
    plain, strong = drawn(TXT2IMG).rows[0], drawn(replace(TXT2IMG, sgm_noise=True)).rows[0]
    assert torch.equal(strong.x, initial(5, SHAPE) * math.sqrt(1 + plain.at.sigma**2)) and strong.at == plain.at
    img2img = replace(REQUEST, task="img2img")
    given = Given(picture=coloured(64, 32))
    assert torch.equal(drawn(img2img, given).rows[0].x, drawn(replace(img2img, sgm_noise=True), given).rows[0].x)
    ddim = replace(TXT2IMG, sampler="DDIM", schedule="DDIM timesteps")
    assert torch.equal(latent(ddim), latent(replace(ddim, sgm_noise=True)))


# --- noise levels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["Karras", "Uniform", "Exponential", "Polyexponential", "Beta", "KL Optimal"])
def test_a_schedule_gets_the_options_it_has(schedule: str) -> None:
    options = {"sigma_min": 0.05, "sigma_max": 9.0, "rho": 3.0, "beta_alpha": 0.8, "beta_beta": 0.9}
    expected = ALL.schedules[schedule](6, TABLE, **options)
    assert visited(replace(TXT2IMG, schedule=schedule, schedule_options=options)) == list(expected[:-1])
    assert expected[0] == pytest.approx(9.0) and expected != ALL.schedules[schedule](6, TABLE)


@pytest.mark.parametrize("schedule", ["Karras", "Uniform", "Simple"])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_the_last_level_but_one_is_left_out_and_the_steps_are_as_many(schedule: str, steps: int) -> None:
    longer = SCHEDULES[schedule](steps + 1, TABLE)
    found = visited(replace(TXT2IMG, schedule=schedule, steps=steps, discard_penultimate=True))
    assert found == list(longer[:-2]) and len(found) == steps


def test_samplers_that_always_leave_it_out_do_so_once() -> None:
    info = ALL.samplers["DPM++ 3M SDE"]
    assert info.discards_penultimate
    for asked in (False, True):
        plan = planned(replace(TXT2IMG, discard_penultimate=asked), info, SCHEDULES["Karras"])
        longer = SCHEDULES["Karras"](8, TABLE)
        assert plan(7, TABLE) == (*longer[:-2], longer[-1])


def test_a_sampler_that_makes_its_own_steps_is_given_them_all() -> None:
    info = ALL.samplers["DPM fast"]
    assert info.own_steps
    plan = planned(replace(TXT2IMG, discard_penultimate=True), info, SCHEDULES["Karras"])
    assert plan(7, TABLE) == SCHEDULES["Karras"](7, TABLE)


@pytest.mark.parametrize("name", sorted(name for name, info in ALL.samplers.items() if info.timesteps))
@pytest.mark.parametrize("schedule", ["Karras", "Exponential", "Uniform"])
def test_samplers_of_training_steps_are_given_levels_of_them(name: str, schedule: str) -> None:
    found = planned(replace(TXT2IMG, schedule=schedule), ALL.samplers[name], ALL.schedules[schedule])(12, TABLE)
    assert all(TABLE.t_of(sigma) == int(TABLE.t_of(sigma)) for sigma in found[:-1])
    near = zip(found[:-1], ALL.schedules[schedule](12, TABLE)[:-1], strict=True)
    assert all(abs(TABLE.t_of(one) - TABLE.t_of(other)) <= 0.5 for one, other in near)
    own = ALL.samplers[name].schedule
    plan = planned(replace(TXT2IMG, schedule=own), ALL.samplers[name], ALL.schedules[own])
    assert plan(12, TABLE) == ALL.schedules[own](12, TABLE)


def test_levels_that_would_share_a_training_step_stay_as_they_are() -> None:
    many = SCHEDULES["Karras"](150, TABLE)
    assert on_entries(many, TABLE) == many
    few = on_entries(SCHEDULES["Karras"](5, TABLE), TABLE)
    assert few[-1] == 0 and all(one > other for one, other in pairwise(few)) and on_entries(few, TABLE) == few


def test_zero_terminal_snr_begins_in_pure_noise_and_the_network_is_told_the_time_that_belongs_to_it() -> None:
    zero = NoiseTable.asked(ZERO_TERMINAL, MODEL.spec)
    assert zero is not None
    rows = drawn(replace(TXT2IMG, noise_schedule=ZERO_TERMINAL, schedule="Uniform")).rows
    assert [row.time for row in rows] == [zero.t_of(row.at.sigma) for row in rows]
    assert rows[0].at.sigma == zero.sigma_max > 4000 and rows[0].time == 999
    assert {row.time for row in drawn(TXT2IMG).rows} == {None}
    own = replace(MODEL, spec=replace(MODEL.spec, zero_terminal_snr=True, prediction="v"))
    same = replace(TXT2IMG, noise_schedule=ZERO_TERMINAL)
    assert torch.equal(latent(TXT2IMG, model=own), latent(same, model=own))
    assert {row.time for row in drawn(same, model=own).rows} == {None}


def test_a_refiner_is_told_its_own_times() -> None:
    refiner = replace(MODEL, name="second", spec=replace(MODEL.spec, betas=(0.001, 0.011)))
    wanted = replace(TXT2IMG, noise_schedule=ZERO_TERMINAL, schedule="Uniform", refiner_switch_at=0.5)
    rows = drawn(wanted, refiner=refiner).rows
    for row in rows:
        table = NoiseTable.asked(ZERO_TERMINAL, (refiner if row.network == "second" else MODEL).spec)
        assert table is not None and row.time == table.t_of(row.at.sigma)
    assert {row.network for row in rows} == {"m", "second"}


# --- a batch and its pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rng", ["CPU", "NV", "GPU"])
def test_picture_i_has_the_noise_of_seed_plus_i_and_of_variation_seed_plus_i(rng: str) -> None:
    job = replace(TXT2IMG, count=3, rng=rng)
    for index in range(3):
        assert torch.equal(drawn(job.picture(index)).rows[0].x, drawn(replace(TXT2IMG, rng=rng, seed=5 + index)).rows[0].x)
    varied = replace(job, variation_seed=70, variation_strength=0.4)
    for index in range(3):
        row = drawn(varied.picture(index)).rows[0]
        assert torch.equal(row.x, initial(Seeds(5, rng, 0, 70 + index, 0.4), SHAPE) * row.at.sigma)


# --- Brownian noise -------------------------------------------------------------------------------------------------------------


def test_a_brownian_sampler_gets_the_path_of_its_seed() -> None:
    asked: list[tuple[float, float, Tensor]] = []

    def noting(denoise: Any, x: Tensor, sigmas: Any, noise: Any, *, eta: float = 1.0, s_noise: float = 1.0) -> Any:
        def heard(at: Any, sigma_next: float) -> Tensor:
            asked.append((at.sigma, sigma_next, noise(at, sigma_next)))
            return asked[-1][2]

        return (yield from SAMPLERS["DPM++ SDE"].function(denoise, x, sigmas, heard, eta=eta, s_noise=s_noise))

    registry = Registry(samplers={"Noting": SamplerInfo(name="Noting", function=noting, brownian=True)}, schedules=SCHEDULES)
    for rng in ("CPU", "NV"):
        asked.clear()
        engine = Engine(predict=differing)
        made(replace(TXT2IMG, sampler="Noting", rng=rng), engine=engine, registry=registry)
        sigmas = SCHEDULES["Karras"](6, TABLE)
        full = [each for each in asked if each[2].shape == SHAPE]  # the others are those of the rehearsal
        path = Path(Seeds(5, rng), SHAPE, sigmas[-2], sigmas[0])
        assert len(full) == 10 and all(torch.equal(noise, path.noise(one, other)) for one, other, noise in full)


def test_nothing_is_drawn_ahead_for_a_picture_that_was_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(DrawnAhead, "close", lambda self: closed.append(self))
    for wanted, ended in ((replace(TXT2IMG, sampler="DPM++ SDE"), 1), (TXT2IMG, 0)):
        closed.clear()
        generation, engine = generate(wanted, MODEL, ALL), Engine(predict=differing)
        ask = generation.send(None)
        while not isinstance(ask, Rows):
            ask = generation.send(engine.answer(ask))
        assert closed == []
        generation.close()
        assert len(closed) == ended
