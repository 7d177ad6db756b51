"""People are heard at once: interrupt, skip and cancel, also while a call is tried again in smaller ones."""
from __future__ import annotations

import numpy as np
import pytest
import torch

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
    told,
)
from webui.engine import events
from webui.engine.engine import Limits
from webui.pipeline.protocol import Decode, Encode, Interrupted, Moment, Rows, Step, answer_all


@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize("begun", [3, 6])
def test_after_an_interrupt_at_most_one_more_call_begins_and_the_picture_is_delivered(begun: int, in_flight: int) -> None:
    engine = stepped(pictures_of, local(), limits=Limits(in_flight=in_flight))
    job = engine.submit(request(count=6, steps=20))
    while engine.calls < begun:
        engine.step()
    engine.interrupt(job)
    run(engine)
    assert engine.calls <= begun + 1
    made = pictures(engine, job)
    assert [each.picture for each in made] == [0, 1, 2, 3]  # the other two had not begun
    assert all(each.interrupted for each in made)
    assert last(engine, job) == events.Interrupted(job=job, pictures=4)


def test_an_interrupted_picture_is_the_last_clean_estimate() -> None:
    engine = stepped(plain_pictures, Exact())
    job = engine.submit(simple(steps=10))
    while engine.calls < 4:
        engine.step()
    engine.interrupt(job)
    run(engine)
    estimates = []
    source = plain(simple(steps=10).picture(0))
    exact = Exact()

    def answer(ask):
        if isinstance(ask, Decode):
            return exact.decode(ask)
        estimates.append(exact.one(ask.rows[0]))
        return (estimates[-1],)

    answer_all(source, answer)
    expected = (exact.decode(Decode(estimates[3])) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(pictures(engine, job)[0].pixels, expected)


def test_an_interrupt_before_anything_has_begun_or_can_be_kept() -> None:
    engine = stepped(pictures_of, local(), limits=Limits(running=1))
    first, second = engine.submit(request()), engine.submit(request())
    engine.step()
    engine.interrupt(first)
    engine.interrupt(second)
    run(engine)
    assert last(engine, first) == events.Interrupted(job=first, pictures=0)
    assert last(engine, second) == events.Interrupted(job=second, pictures=0)
    assert engine.calls == 0
    engine.interrupt(second)  # too late, and harmless
    run(engine)


def test_a_generation_that_goes_on_asking_after_its_interruption_is_closed() -> None:
    def stubborn():
        while True:
            try:
                yield from plain(simple())
            except BaseException as error:
                if isinstance(error, GeneratorExit):
                    raise

    engine = stepped(lambda wanted: [stubborn()], Exact())
    job = engine.submit(request())
    while engine.calls < 1:
        engine.step()
    engine.interrupt(job)
    run(engine)
    assert isinstance(last(engine, job), events.Interrupted)
    assert engine.calls <= 2


def test_skip_drops_what_is_being_made_and_goes_on() -> None:
    engine = stepped(plain_pictures, Exact(), limits=Limits(each=1))
    job = engine.submit(simple(count=4))
    while engine.calls < 2:
        engine.step()
    engine.skip(job)
    engine.skip(job, 2)
    run(engine)
    assert [each.picture for each in pictures(engine, job)] == [1, 3]
    assert sorted(each.picture for each in told(engine, job) if isinstance(each, events.Skipped)) == [0, 2]
    assert last(engine, job) == events.Finished(job=job, pictures=2)
    for each in pictures(engine, job):
        assert np.array_equal(each.pixels, alone(each.request, Exact(), plain_pictures)[0])


def test_cancel_discards_a_running_and_a_waiting_job_and_the_others_do_not_notice() -> None:
    engine = stepped(plain_pictures, Exact(), limits=Limits(running=2))
    running, waiting, other = engine.submit(simple(count=3)), engine.submit(simple()), engine.submit(simple(seed=8))
    while engine.calls < 2:
        engine.step()
    engine.cancel(running)
    engine.cancel(waiting)
    run(engine)
    assert isinstance(last(engine, running), events.Cancelled)
    assert isinstance(last(engine, waiting), events.Cancelled)
    assert not pictures(engine, running)
    assert np.array_equal(pictures(engine, other)[0].pixels, alone(simple(seed=8), Exact(), plain_pictures)[0])


def test_a_generator_that_objects_to_being_closed_concerns_nobody() -> None:
    def clinging():
        try:
            yield from plain(simple())
        finally:
            raise OSError("no")

    engine = stepped(lambda wanted: [clinging()], Exact())
    job = engine.submit(request())
    engine.step()
    engine.cancel(job)
    run(engine)
    assert isinstance(last(engine, job), events.Cancelled)


@pytest.mark.parametrize("error", [MemoryError(), ValueError("at fault together")])
@pytest.mark.parametrize("count", [1, 4])
def test_after_an_interrupt_at_most_one_more_call_begins_even_while_a_call_is_tried_again(error: Exception, count: int) -> None:
    def fault(call):
        for job in jobs:
            engine.interrupt(job)
        if len(call.rows) > 1:
            raise error

    engine = stepped(lambda wanted: [plain(wanted.picture(index), rows=3) for index in range(count)], Exact(fault))
    jobs = [engine.submit(request(count=count)) for _ in range(8 // count)]
    run(engine)
    assert engine.calls <= 2
    for job in jobs:
        assert last(engine, job) == events.Interrupted(job=job, pictures=0)


def test_two_jobs_interrupted_at_once_both_keep_what_they_have() -> None:
    engine = stepped(plain_pictures, Exact())
    jobs = [engine.submit(simple(seed=seed, count=2, steps=50)) for seed in (1, 5)]
    while engine.calls < 4:
        engine.step()
    for job in jobs:
        engine.interrupt(job)
        engine.interrupt(job)
    run(engine)
    assert engine.calls <= 5
    for job in jobs:
        assert [each.interrupted for each in pictures(engine, job)] == [True, True]
        assert last(engine, job) == events.Interrupted(job=job, pictures=2)


def test_an_interrupt_that_makes_one_picture_fail_ends_the_jobs_others_too_and_nobody_elses() -> None:
    touched = []

    def failing():
        try:
            yield from plain(simple())
        except Interrupted:
            raise OSError("no") from None

    def watching(wanted):
        try:
            yield from plain(wanted)
        except Interrupted:
            touched.append(wanted)
            raise

    engine = stepped(lambda wanted: [failing(), watching(wanted)] if wanted.seed else plain_pictures(wanted), Exact())
    job, other = engine.submit(simple()), engine.submit(simple(seed=0))
    while engine.calls < 2:
        engine.step()
    engine.interrupt(job)
    run(engine)
    assert isinstance(last(engine, job), events.Failed)
    assert not touched
    assert isinstance(last(engine, other), events.Finished)


@pytest.mark.parametrize("prepared", [False, True])
def test_pictures_skipped_before_they_begin_are_not_made(prepared: bool) -> None:
    networks = Exact()
    engine = stepped(plain_pictures, networks, limits=Limits(running=1))
    first, waiting = engine.submit(simple()), engine.submit(simple(count=4, seed=7))
    if prepared:
        while engine.calls < 5:
            engine.step()
    for picture in (1, 3, 3, 99, -1):
        engine.skip(waiting, picture)
    engine.step()
    run(engine)
    assert isinstance(last(engine, first), events.Finished)
    assert events.Started(job=waiting, pictures=4) in told(engine, waiting)
    assert [each.picture for each in pictures(engine, waiting)] == [0, 2]
    assert sorted(each.picture for each in told(engine, waiting) if isinstance(each, events.Skipped)) == [1, 3]
    assert last(engine, waiting) == events.Finished(job=waiting, pictures=2)
    for each in pictures(engine, waiting):
        assert np.array_equal(each.pixels, alone(each.request, Exact(), plain_pictures)[0])


def test_a_job_all_of_whose_pictures_are_skipped_before_it_begins_ends_at_once() -> None:
    engine = stepped(plain_pictures, Exact())
    job = engine.submit(simple(count=2))
    engine.skip(job, 0)
    engine.skip(job, 1)
    run(engine)
    assert last(engine, job) == events.Finished(job=job, pictures=0)
    assert engine.calls == 0


@pytest.mark.parametrize("number", ["1", 1.0, [1]])
def test_a_number_that_is_none_is_refused_where_it_is_given(number) -> None:
    engine = stepped(plain_pictures, Exact())
    job = engine.submit(simple())
    with pytest.raises(TypeError):
        engine.skip(job, number)
    run(engine)
    assert isinstance(last(engine, job), events.Finished)


def asking(ask):
    """A generation that asks for the same thing for ever."""
    while True:
        yield ask


@pytest.mark.parametrize("ask", [
    Step(Moment(1.0, 0, 5), torch.ones(1), torch.ones(1)), Rows(), Encode(((),)), Decode(torch.ones(4, 2, 2)),
], ids=lambda ask: type(ask).__name__)
@pytest.mark.parametrize("stop", ["cancel", "skip"])
def test_a_generation_that_goes_round_in_circles_holds_nobody_up_and_can_be_stopped(ask, stop: str) -> None:
    engine = stepped(lambda wanted: [asking(ask)] if wanted.prompt == "endless" else plain_pictures(wanted), Exact())
    endless, good = engine.submit(request(prompt="endless")), engine.submit(simple(steps=9))
    for _ in range(1000):
        engine.step()
    assert isinstance(last(engine, good), events.Finished)
    getattr(engine, stop)(endless)
    run(engine, turns=10)
    assert isinstance(last(engine, endless), events.Cancelled if stop == "cancel" else events.Finished)


@pytest.mark.parametrize("ask", ["step", "rows", "encode"])
def test_a_generation_that_goes_round_in_circles_is_interrupted(ask: str) -> None:
    asks = {"step": Step(Moment(1.0, 0, None), torch.ones(1), torch.ones(1)), "rows": Rows(), "encode": Encode(((),))}
    engine = stepped(lambda wanted: [asking(asks[ask])], Exact())
    job = engine.submit(request())
    for _ in range(20):
        engine.step()
    engine.interrupt(job)
    run(engine, turns=10)
    assert last(engine, job) == events.Interrupted(job=job, pictures=0)


def test_people_are_heard_between_one_jobs_preparation_and_the_next() -> None:
    begun = []

    def start(wanted):
        begun.append(wanted.seed)
        engine.cancel(jobs[1])
        return plain_pictures(wanted)

    engine = stepped(start, Exact())
    jobs = [engine.submit(simple(seed=seed)) for seed in (1, 2, 3)]
    run(engine)
    assert begun == [1, 3]
    assert isinstance(last(engine, jobs[1]), events.Cancelled)
