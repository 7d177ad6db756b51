"""A failure hits its cause only: hooks, calls, generators, numbers, and what the device says too late."""
from __future__ import annotations

import asyncio
import itertools
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.engine.making import (
    Exact,
    alone,
    conditioning,
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
from webui.engine.batching import RowCall
from webui.engine.engine import Engine, Limits
from webui.engine.networks import Predicted
from webui.errors import UserError
from webui.pipeline.patches import Patches
from webui.pipeline.protocol import Interrupted, Moment, Row, Rows


class Broken:
    """A hook that raises from its n-th call on."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.left, self.error = after, error

    def output(self, call, x):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return x


@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize("error", [ZeroDivisionError("a hook of an extension"), SystemExit("a hook of an extension")])
def test_a_hook_that_raises_fails_its_job_alone(error: BaseException, in_flight: int) -> None:
    def start(wanted):
        return pictures_of(wanted, Patches(attention=(Broken(9, error),)) if wanted.prompt == "bad" else Patches())

    engine = stepped(start, local(), limits=Limits(in_flight=in_flight))
    bad, good = engine.submit(request(prompt="bad")), engine.submit(request(count=2))
    run(engine)
    failed = last(engine, bad)
    assert isinstance(failed, events.Failed)
    assert "a hook of an extension" in failed.sentence
    assert failed.error_id in failed.sentence
    assert not failed.by_request
    expected = alone(request(count=2))
    assert all(np.array_equal(a.pixels, b) for a, b in zip(pictures(engine, good), expected, strict=True))


def fault_at(role: str, error: Exception, step: int = 0):
    """Raise where a row of this role is in the call, from that step on."""

    def fault(call: RowCall) -> None:
        if any(row.role == role and row.at.step >= step for row in call.rows):
            raise error

    return fault


@pytest.mark.parametrize("error", [
    ValueError("bad row"), SystemExit(1), torch.cuda.OutOfMemoryError("pretended"), MemoryError(),
    RuntimeError("CUDA error: out of memory"), RuntimeError("not enough memory: you tried to allocate 8 bytes"),
])
@pytest.mark.parametrize("step", [0, 2])
def test_a_call_that_raises_fails_only_the_culprit(error: Exception, step: int) -> None:
    networks = Exact(fault_at("bad", error, step))
    engine = stepped(plain_pictures, networks)
    jobs = [engine.submit(simple(role, seed=seed, count=2)) for seed, role in enumerate(("cond", "bad", "cond"))]
    run(engine)
    assert isinstance(last(engine, jobs[1]), events.Failed)
    memory = not isinstance(error, ValueError | SystemExit)
    assert ("memory" in last(engine, jobs[1]).sentence) == memory
    assert bool(networks.freed) == memory
    for seed in (0, 2):
        expected = alone(simple(seed=seed, count=2), Exact(), plain_pictures)
        actual = pictures(engine, jobs[seed])
        assert all(np.array_equal(a.pixels, b) for a, b in zip(actual, expected, strict=True))


def test_a_real_job_beside_one_that_runs_out_of_memory_is_bit_identical() -> None:
    networks = local()
    predict = networks.predict

    class Small:
        def __getattr__(self, name):
            return getattr(networks, name)

        def predict(self, call):
            if any(row.network == "tiny" and row.conditioning.key in heavy for row in call.rows):
                raise MemoryError
            return predict(call)

        def encode(self, ask):
            found = networks.encode(ask)
            if any(ids for chunk in ask.chunks[0] for ids in [chunk.ids] if ids == long):
                heavy.add(found.key)
            return found

    heavy: set[str] = set()
    source = pictures_of(request(prompt="heavy"))[0]
    long = next(source).chunks[0][0].ids
    engine = stepped(pictures_of, Small())
    bad, good = engine.submit(request(prompt="heavy")), engine.submit(request())
    run(engine)
    assert isinstance(last(engine, bad), events.Failed)
    assert np.array_equal(pictures(engine, good)[0].pixels, alone(request())[0])


@pytest.mark.parametrize("in_flight", [1, 2])
def test_rows_that_are_not_numbers_fail_their_job_with_a_sentence(in_flight: int) -> None:
    engine = stepped(plain_pictures, Exact(), limits=Limits(in_flight=in_flight))
    bad, good = engine.submit(simple("nan")), engine.submit(simple())
    run(engine)
    failed = last(engine, bad)
    assert isinstance(failed, events.Failed)
    assert "not numbers in step 1" in failed.sentence
    assert not pictures(engine, bad)
    assert np.array_equal(pictures(engine, good)[0].pixels, alone(simple(), Exact(), plain_pictures)[0])


class Wordless(RuntimeError):
    """An error that cannot be turned into text."""

    def __str__(self) -> str:
        raise ValueError("no words")


def raising(error: BaseException, first: bool = False):
    if not first:
        yield Rows(Row(torch.ones(4, 2, 2), Moment(1.0, 0, 1), conditioning()))
    raise error
    yield


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("error", [
    KeyError("oops"), UserError("Use another sampler."), StopIteration(), SystemExit(), GeneratorExit(), asyncio.CancelledError(),
    Wordless(),
])
def test_a_generator_that_raises_fails_alone(error: BaseException, first: bool) -> None:
    def start(wanted):
        return [raising(error, first)] if wanted.prompt == "bad" else plain_pictures(wanted)

    engine = stepped(start, Exact())
    bad, good = engine.submit(request(prompt="bad")), engine.submit(simple())
    run(engine)
    failed = last(engine, bad)
    assert isinstance(failed, events.Failed)
    assert failed.by_request == isinstance(error, UserError)
    assert isinstance(last(engine, good), events.Finished)
    assert np.array_equal(pictures(engine, good)[0].pixels, alone(simple(), Exact(), plain_pictures)[0])


def test_a_start_that_raises_and_one_without_pictures() -> None:
    def start(wanted):
        if wanted.prompt == "bad":
            raise UserError("Unknown sampler.")
        return []

    engine = stepped(start, Exact())
    bad, none = engine.submit(request(prompt="bad")), engine.submit(request())
    run(engine)
    assert last(engine, bad).sentence == "Unknown sampler."
    assert last(engine, none) == events.Finished(job=none, pictures=0)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), SystemExit()])
def test_a_fault_of_the_loop_itself_fails_the_jobs_and_the_engine_lives_on(error: BaseException) -> None:
    engine = stepped(plain_pictures, Exact())
    hear, broken = engine._hear, [True]

    def faulty() -> None:
        if broken.pop():
            raise error
        broken.append(False)
        hear()

    engine._hear = faulty
    first = engine.submit(simple())
    thread = threading.Thread(target=engine._loop)
    thread.start()
    try:
        assert isinstance(last(engine, first), events.Failed)
        broken.append(False)
        assert isinstance(last(engine, engine.submit(simple())), events.Finished)
    finally:
        engine.close()
        thread.join()


def poisoned(source):
    """The same generation, but the rows it asks for hold no numbers from its third call on."""
    answer = None
    for call in itertools.count():
        try:
            ask = source.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(ask, Rows) and call > 4:
            ask = Rows(*[replace(row, x=row.x * float("nan")) for row in ask.rows])
        answer = yield ask


@pytest.mark.parametrize("in_flight", [1, 2])
def test_numbers_that_go_bad_in_a_real_network_fail_their_job_and_the_others_picture_is_the_same(in_flight: int) -> None:
    def start(wanted):
        return [poisoned(each) if wanted.prompt == "bad" else each for each in pictures_of(wanted)]

    engine = stepped(start, local(), limits=Limits(in_flight=in_flight))
    bad, good = engine.submit(request(prompt="bad", steps=9)), engine.submit(request(steps=9))
    run(engine)
    assert "not numbers in step" in last(engine, bad).sentence
    (picture,) = pictures(engine, good)
    (expected,) = alone(request(steps=9))
    assert picture.batched
    assert np.abs(picture.pixels.astype(int) - expected.astype(int)).max() <= 1


class Late(Exact):
    """Networks that say only when they are waited for that something went wrong in a call with a row whose role is "bad"."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def predict(self, call):
        predicted = super().predict(call)

        def finite():
            if any(row.role == "bad" for row in call.rows):
                raise self.error
            return predicted.finite()

        return Predicted(predicted.rows, finite)


LATE = [RuntimeError("CUDA error: an illegal memory access was encountered"), MemoryError(), SystemExit()]


@pytest.mark.parametrize("error", LATE)
def test_what_a_device_says_late_fails_only_the_culprit(error: BaseException) -> None:
    engine = stepped(plain_pictures, Late(error))
    jobs = [engine.submit(simple(role, seed=seed, count=2)) for seed, role in enumerate(("cond", "bad", "cond"))]
    run(engine)
    assert isinstance(last(engine, jobs[1]), events.Failed)
    for seed in (0, 2):
        expected = alone(simple(seed=seed, count=2), Exact(), plain_pictures)
        assert all(np.array_equal(a.pixels, b) for a, b in zip(pictures(engine, jobs[seed]), expected, strict=True))


@pytest.mark.parametrize("error", LATE)
def test_what_a_device_says_after_the_answers_are_in_use_fails_those_who_shared_the_call_and_nobody_else(
    error: BaseException,
) -> None:
    def start(wanted):
        role, _, network = wanted.prompt.partition(" ")
        return [plain(wanted, role=role, network=network)]

    engine = stepped(start, Late(error), limits=Limits(in_flight=2))
    bad, beside, apart = (engine.submit(request(prompt=prompt)) for prompt in ("bad a", "cond a", "cond b"))
    run(engine)
    assert isinstance(last(engine, bad), events.Failed)
    assert isinstance(last(engine, beside), events.Failed)
    assert isinstance(last(engine, apart), events.Finished)
    assert isinstance(last(engine, engine_job(engine)), events.Finished)


def engine_job(engine) -> str:
    """A job submitted later, run to its end."""
    job = engine.submit(request(prompt="cond a"))
    run(engine)
    return job


def test_an_answer_of_too_few_rows_fails_its_job_and_nobody_else() -> None:
    class Short(Exact):
        def predict(self, call):
            predicted = super().predict(call)
            return Predicted(predicted.rows[1:], predicted.finite) if call.rows[0].role == "bad" else predicted

    engine = stepped(plain_pictures, Short())
    bad, good = engine.submit(simple("bad")), engine.submit(simple(length=5))
    run(engine)
    assert "answered 0 rows of 1" in last(engine, bad).sentence
    assert isinstance(last(engine, good), events.Finished)


def test_a_thread_survives_an_extension_that_ends_the_program() -> None:
    def start(wanted):
        if wanted.prompt == "start":
            raise SystemExit
        return [raising(SystemExit())] if wanted.prompt == "step" else plain_pictures(wanted)

    with Engine(start, Exact()) as engine:
        for prompt in ("start", "step"):
            assert isinstance(last(engine, engine.submit(request(prompt=prompt))), events.Failed)
        assert isinstance(last(engine, engine.submit(simple())), events.Finished)


@pytest.mark.parametrize("place", ["start", "generation", "ask", "call", "late", "close"])
def test_ctrl_c_in_the_main_thread_is_nobodys_failure(place: str) -> None:
    class Ending(Exact):
        def predict(self, call):
            predicted = super().predict(call)
            if place == "call":
                raise KeyboardInterrupt

            def finite():
                if place == "late":
                    raise KeyboardInterrupt
                return predicted.finite()

            return Predicted(predicted.rows, finite)

        def decode(self, ask):
            raise KeyboardInterrupt if place == "ask" else ValueError

    def start(wanted):
        if place == "start":
            raise KeyboardInterrupt
        return [raising(KeyboardInterrupt())] if place == "generation" else [holding(place == "close")]

    def holding(interrupt: bool):
        try:
            return (yield from plain(simple()))
        finally:
            if interrupt:
                raise KeyboardInterrupt

    engine = stepped(start, Ending(), limits=Limits(in_flight=2))
    stream = engine.events(engine.submit(simple()))
    with pytest.raises(KeyboardInterrupt):
        run(engine)
    told = []
    while (event := stream.next(timeout=0)) is not None:
        told.append(event)
    assert told
    assert not any(isinstance(event, events.Failed) for event in told)


def test_a_generation_that_says_it_was_stopped_when_nobody_did_fails() -> None:
    engine = stepped(lambda wanted: [raising(Interrupted(None))], Exact())
    job = engine.submit(simple())
    run(engine)
    assert isinstance(last(engine, job), events.Failed)
