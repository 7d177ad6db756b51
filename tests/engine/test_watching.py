"""What watchers are told: progress, previews, and streams that can be read slowly, closed and left."""
from __future__ import annotations

import threading
import time

import pytest
import torch

from tests.engine.making import Exact, last, pictures, plain_pictures, run, simple, stepped, told
from webui.engine import events
from webui.engine.engine import Limits
from webui.pipeline.protocol import Moment, Step


def test_progress_estimates_and_previews_only_while_someone_watches_and_not_too_often() -> None:
    now = [0.0]
    shown = []

    def preview(wanted, latent):
        shown.append(now[0])
        return torch.zeros(2, 2, 3, dtype=torch.uint8)

    class Slow(Exact):
        def predict(self, call):
            now[0] += 0.05
            return super().predict(call)

    engine = stepped(plain_pictures, Slow(), preview=preview, clock=lambda: now[0])
    job = engine.submit(simple(steps=40))
    while engine.calls < 10:
        engine.step()
    assert shown == []
    stream = engine.events(job, previews=True)
    while engine.calls < 30:
        engine.step()
    assert 6 <= len(shown) <= 8
    kinds = [stream.next(timeout=0) for _ in range(6)]
    progress = next(each for each in kinds if isinstance(each, events.Progress))
    assert (progress.step, progress.steps) == (30, 40)
    assert progress.seconds_left == pytest.approx(0.5)
    assert sum(isinstance(each, events.Preview) for each in kinds) == 1
    stream.close()
    count = len(shown)
    run(engine)
    assert len(shown) == count
    assert not any(isinstance(each, events.Preview) for each in told(engine, job))


def test_a_preview_that_raises_is_noted_once_and_the_picture_comes() -> None:
    def preview(wanted, latent):
        raise RuntimeError("no colours")

    engine = stepped(plain_pictures, Exact(), preview=preview, limits=Limits(previews_per_second=1e9))
    job = engine.submit(simple())
    with engine.events(job, previews=True):
        run(engine)
    assert sum(isinstance(each, events.Notice) for each in told(engine, job)) == 1
    assert isinstance(last(engine, job), events.Finished)


def test_a_stream_can_time_out_and_be_closed_from_elsewhere() -> None:
    engine = stepped(plain_pictures, Exact())
    stream = engine.events(engine.submit(simple()))
    assert isinstance(stream.next(), events.Queued)
    assert stream.next(timeout=0) is None
    began = time.monotonic()
    threading.Timer(0.05, stream.close).start()
    assert list(stream) == []
    assert time.monotonic() - began < 5


def test_a_slow_reader_misses_no_picture_and_holds_nobody_up() -> None:
    preview = torch.zeros(2, 2, 3, dtype=torch.uint8)
    engine = stepped(
        plain_pictures, Exact(), preview=lambda wanted, latent: preview, limits=Limits(each=1, previews_per_second=1e9)
    )
    job = engine.submit(simple(count=6, steps=5))
    slow, quick = engine.events(job, previews=True), engine.events(job)
    seen, busy = [], True
    while busy:
        busy = engine.step()
        while (event := quick.next(timeout=0)) is not None:
            seen.append(event)
    read = list(slow)
    for each in (seen, read):
        assert [event.picture for event in each if isinstance(event, events.Picture)] == list(range(6))
        assert isinstance(each[0], events.Queued)
        assert isinstance(each[-1], events.Finished)
    assert len(read) < len(seen)
    assert sum(isinstance(event, events.Progress) for event in read) == 6  # the newest of each picture
    assert not any(isinstance(event, events.Preview) for event in read)


def test_the_time_left_is_that_of_the_pictures_still_wanted() -> None:
    now = [0.0]

    class Slow(Exact):
        def predict(self, call):
            now[0] += 1.0
            return super().predict(call)

    engine = stepped(plain_pictures, Slow(), clock=lambda: now[0], limits=Limits(each=1))
    job = engine.submit(simple(count=5, steps=10))
    stream, left = engine.events(job), []
    while engine.step():
        if engine.calls == 15:
            engine.skip(job, 2)
            engine.skip(job, 3)
        while (event := stream.next(timeout=0)) is not None:
            if isinstance(event, events.Progress):
                left.append(event.seconds_left)
    assert left[:14] == pytest.approx([50 - step for step in range(1, 15)])
    assert left[15:] == pytest.approx([30 - step for step in range(16, 31)])


def test_a_sampler_that_does_not_know_its_steps_gives_no_time() -> None:
    def adaptive(wanted):
        yield Step(Moment(1.0, 0, None), torch.ones(1), torch.ones(1))
        return (yield from plain_pictures(wanted)[0])

    engine = stepped(lambda wanted: [adaptive(wanted)], Exact())
    job = engine.submit(simple())
    stream = engine.events(job)
    engine.step()
    engine.step()
    progress = next(event for event in stream if isinstance(event, events.Progress))
    assert (progress.steps, progress.seconds_left) == (None, None)
    run(engine)
    assert len(pictures(engine, job)) == 1
