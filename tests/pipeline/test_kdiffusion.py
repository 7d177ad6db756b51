"""Samplers as k-diffusion writes them: the same states as ours, asks in place of calls, noise of the picture's own."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.engine.making import MODEL, last, local, pictures, request, run, stepped
from tests.sampling import Run, log_spaced
from webui.engine import events
from webui.errors import JobError
from webui.pipeline.generate import Registry, generate
from webui.pipeline.kdiffusion import PATIENCE, k_diffusion
from webui.pipeline.protocol import Interrupted, Moment
from webui.pipeline.samplers import SAMPLERS, SamplerInfo, dpmpp_2m, euler, euler_ancestral, heun
from webui.request import Request

X = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(3)) * 10
SIGMAS = [*log_spaced(5, 10.0, 0.1), 0.0]


def shrink(x: Tensor, sigma: float) -> Tensor:
    """A denoiser of everything."""
    return x / (1 + sigma**2) + torch.sin(x) / (1 + sigma)


def their_euler(
    model, x, sigmas, extra_args=None, callback=None, disable=None, s_churn=0.0, s_tmin=0.0, s_tmax=float("inf"), s_noise=1.0
):
    for i in range(len(sigmas) - 1):
        gamma = min(s_churn / (len(sigmas) - 1), 2**0.5 - 1) if s_tmin <= sigmas[i] <= s_tmax else 0.0
        hat = sigmas[i] * (gamma + 1)
        if gamma > 0:
            x = x + torch.randn_like(x) * s_noise * (hat**2 - sigmas[i] ** 2) ** 0.5
        denoised = model(x, hat * x.new_ones([x.shape[0]]), **(extra_args or {}))
        callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": hat, "denoised": denoised})
        x = x + (x - denoised) / hat * (sigmas[i + 1] - hat)
    return x


def their_heun(model, x, sigmas, extra_args=None, callback=None, disable=None):
    ones = x.new_ones([x.shape[0]])
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i] * ones)
        slope = (x - denoised) / sigmas[i]
        callback({"x": x, "i": i, "denoised": denoised})
        ahead = x + slope * (sigmas[i + 1] - sigmas[i])
        if sigmas[i + 1] == 0:
            x = ahead
        else:
            again = (ahead - model(ahead, sigmas[i + 1] * ones)) / sigmas[i + 1]
            x = x + (slope + again) / 2 * (sigmas[i + 1] - sigmas[i])
    return x


def their_ancestral(model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0, noise_sampler=None):
    draw = noise_sampler or (lambda *_: torch.randn_like(x))
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i] * x.new_ones([1]))
        callback({"x": x, "i": i, "denoised": denoised})
        up = min(sigmas[i + 1], eta * (sigmas[i + 1] ** 2 * (sigmas[i] ** 2 - sigmas[i + 1] ** 2) / sigmas[i] ** 2) ** 0.5)
        down = (sigmas[i + 1] ** 2 - up**2) ** 0.5
        x = x + (x - denoised) / sigmas[i] * (down - sigmas[i])
        if sigmas[i + 1] > 0:
            x = x + draw(sigmas[i], sigmas[i + 1]) * s_noise * up
    return x


def their_own_noise(model, x, sigmas, extra_args=None, callback=None, disable=None, eta=1.0, s_noise=1.0):
    return their_ancestral(model, x, sigmas, extra_args, callback, disable, eta, s_noise)


def their_2m(model, x, sigmas):
    """Without a callback, and with what it needs by log levels."""
    old = None
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i] * x.new_ones([1]))
        t, t_next = -sigmas[i].log(), -sigmas[i + 1].log()
        h = t_next - t
        if old is None or sigmas[i + 1] == 0:
            x = sigmas[i + 1] / sigmas[i] * x - (-h).expm1() * denoised
        else:
            r = (t + sigmas[i - 1].log()) / h
            ahead = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * old
            x = sigmas[i + 1] / sigmas[i] * x - (-h).expm1() * ahead
        old = denoised
    return x


def their_fast(model, x, sigma_min, sigma_max, n, extra_args=None, callback=None):
    for i, sigma in enumerate(torch.linspace(sigma_max, sigma_min, n + 1)[:-1]):
        x = model(x, sigma[None])
        callback({"x": x, "i": i, "denoised": x})
    return x


CASES = [
    (their_euler, euler, {}, {}), (their_euler, euler, {}, {"s_churn": 4.0, "s_noise": 1.1}),
    (their_heun, heun, {"evaluations": 2}, {}), (their_ancestral, euler_ancestral, {"uses_noise": True}, {}),
    (their_ancestral, euler_ancestral, {"uses_noise": True}, {"eta": 0.5}),
    (their_own_noise, euler_ancestral, {"uses_noise": True}, {"s_noise": 0.9}), (their_2m, dpmpp_2m, {}, {}),
]


def made(function: Any, info: dict[str, Any] | None = None) -> SamplerInfo:
    return k_diffusion(function, "theirs", **(info or {}))


@pytest.mark.parametrize(("theirs", "ours", "info", "options"), CASES)
def test_states_moments_steps_and_noise_are_those_of_our_own_samplers(theirs, ours, info, options) -> None:
    one, other = Run(shrink), Run(shrink)
    x = one(made(theirs, info).function, X, SIGMAS, **options)
    wanted = other(ours, X, SIGMAS, **options)
    assert torch.allclose(x, wanted, atol=1e-5 * float(X.abs().max()), rtol=1e-4)
    assert [(at.step, at.steps, at.evaluation) for at in one.asked] == [(at.step, at.steps, at.evaluation) for at in other.asked]
    assert np.allclose([at.sigma for at in one.asked], [at.sigma for at in other.asked], rtol=1e-6)
    assert [told.at.step for told in one.told] == [told.at.step for told in other.told]
    assert all(torch.allclose(a.denoised, b.denoised, atol=1e-3) for a, b in zip(one.told, other.told, strict=True))
    if not options.get("s_churn"):  # levels raised a little by churn have no noise of their own way
        assert [after for _, after in one.drawn] == [after for _, after in other.drawn]
    assert sorted(one.asks) == sorted(other.asks)  # a step is told as soon as its first answer is there


def test_levels_of_the_schedule_are_told_as_the_schedule_has_them() -> None:
    run = Run(shrink)
    run(made(their_euler).function, X, SIGMAS)
    assert [at.sigma for at in run.asked] == SIGMAS[:-1]


def test_options_are_the_numbers_among_the_arguments() -> None:
    assert dict(made(their_euler).options) == {"s_churn": 0.0, "s_tmin": 0.0, "s_tmax": float("inf"), "s_noise": 1.0}
    assert dict(made(their_ancestral).options) == {"eta": 1.0, "s_noise": 1.0}
    assert dict(made(their_fast).options) == {}


def test_a_function_that_makes_its_own_levels_gets_their_ends() -> None:
    run = Run(shrink)
    run(made(their_fast, {"own_steps": True}).function, X, SIGMAS)
    assert [at.sigma for at in run.asked] == pytest.approx(torch.linspace(10.0, 0.1, 7)[:-1].tolist(), rel=1e-5)


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "k-diffusion sampler"]


def broken(model, x, sigmas, callback=None):
    model(x, sigmas[:1])
    raise ValueError("broken")


def no_state(model, x, sigmas, callback=None):
    return x[0]


@pytest.mark.parametrize(("function", "kind"), [(broken, ValueError), (no_state, JobError)])
def test_what_a_function_raises_is_raised_where_its_job_is(function, kind) -> None:
    with pytest.raises(kind):
        Run(shrink)(made(function).function, X, SIGMAS)
    assert not threads()


def test_it_ends_where_its_generation_does() -> None:
    for end in (Interrupted(None), GeneratorExit()):
        def denoise(x: Tensor, at: Moment):
            yield "asked"
            return x

        sampler = made(their_euler).function(denoise, X, SIGMAS, lambda *_: X)
        assert next(sampler) == "asked"
        assert len(threads()) == 1
        with pytest.raises(type(end)):
            sampler.throw(end)
        assert not threads()
    assert PATIENCE > 0


def test_noise_that_it_draws_itself_touches_no_other_and_follows_from_the_seed() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    runs = [Run(shrink) for _ in range(2)]
    one, two = (each(made(their_own_noise).function, X, SIGMAS) for each in runs)
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(runs[0].drawn) == len(SIGMAS) - 2


def test_pictures_are_those_of_our_own_sampler_also_beside_another_job_and_interrupted() -> None:
    registry = Registry(samplers={**SAMPLERS, "theirs": made(their_ancestral, {"uses_noise": True, "ensd": True})})

    def start(wanted: Request) -> list[Any]:
        return [generate(wanted.picture(index), MODEL, registry) for index in range(wanted.count)]

    def drawn(*samplers: str) -> list[np.ndarray]:
        engine = stepped(start, local())
        jobs = [engine.submit(request(sampler=sampler, seed=7 + place)) for place, sampler in enumerate(samplers)]
        run(engine)
        return [pictures(engine, job)[0].pixels for job in jobs]

    ours, theirs = drawn("Euler a"), drawn("theirs", "Euler")
    assert np.abs(ours[0].astype(int) - theirs[0].astype(int)).max() <= 1
    engine = stepped(start, local())
    job = engine.submit(request(sampler="theirs", steps=20))
    for _ in range(12):
        engine.step()
    engine.interrupt(job)
    run(engine)
    assert isinstance(last(engine, job), events.Interrupted) and len(pictures(engine, job)) == 1
    assert not threads()
