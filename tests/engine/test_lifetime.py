"""From submit to forget and close: threads, many jobs, what stays behind."""
from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from tests.engine.making import Exact, last, pictures, plain_pictures, run, simple, stepped, told
from webui.engine import driving, events
from webui.engine.engine import Engine, Limits
from webui.errors import JobError, UserError


def test_ended_jobs_are_kept_until_they_are_read_or_forgotten() -> None:
    engine = stepped(plain_pictures, Exact(), limits=Limits(keep=2))
    jobs = [engine.submit(simple(steps=1)) for _ in range(6)]
    engine.forget(jobs[0])  # has not ended: stays
    run(engine)
    assert all(pictures(engine, job) for job in jobs)
    engine.submit(simple(steps=1))
    run(engine)
    gone = 0
    for job in jobs:
        try:
            told(engine, job)
        except UserError:
            gone += 1
    assert gone == 4
    engine.forget(jobs[-1])
    with pytest.raises(UserError, match="no job"):
        engine.events(jobs[-1])
    engine.forget("never was")


class Blocked(Exact):
    """Networks whose calls wait until they may end."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.leave = threading.Event(), threading.Event()

    def predict(self, call):
        self.entered.set()
        assert self.leave.wait(60)
        return super().predict(call)


def test_nothing_that_people_do_waits_for_a_network_call() -> None:
    networks = Blocked()
    engine = Engine(plain_pictures, networks)
    jobs = [engine.submit(simple(count=2)) for _ in range(5)]
    stream = engine.events(jobs[0])
    assert networks.entered.wait(60)
    done = threading.Event()

    def people() -> None:
        engine.submit(simple())
        with engine.events(jobs[1], previews=True) as own:
            assert isinstance(own.next(timeout=0), events.Queued)
        engine.interrupt(jobs[1])
        engine.skip(jobs[2], 1)
        engine.skip(jobs[2])
        engine.cancel(jobs[3])
        engine.forget(jobs[4])
        engine.close()
        engine.close()
        with pytest.raises(JobError, match="closed"):
            engine.submit(simple())
        engine.cancel(jobs[4])
        done.set()

    thread = threading.Thread(target=people)
    thread.start()
    assert done.wait(60)  # while the call still waits
    thread.join()
    assert not engine.join(timeout=0)
    networks.leave.set()
    assert engine.join(timeout=60)
    assert len(networks.shapes) == 1
    assert [isinstance(last(engine, job), events.Cancelled) for job in jobs] == [True] * 5
    assert isinstance(list(stream)[-1], events.Cancelled)


def test_leaving_the_engine_waits_for_its_end_and_cancels_what_is_left() -> None:
    networks = Blocked()
    with Engine(plain_pictures, networks) as engine:
        jobs = engine.submit(simple(count=2)), engine.submit(simple())
        assert networks.entered.wait(60)
        threading.Timer(0.01, networks.leave.set).start()
    assert engine._thread is not None
    assert not engine._thread.is_alive()
    assert all(isinstance(last(engine, job), events.Cancelled | events.Finished) for job in jobs)
    engine.close()


def test_an_engine_without_a_thread_is_closed_at_once() -> None:
    engine = stepped(plain_pictures, Exact())
    job = engine.submit(simple())
    engine.step()
    engine.close()
    assert engine.join()
    assert isinstance(last(engine, job), events.Cancelled)


def test_a_job_submitted_while_the_engine_closes_is_refused_or_ended() -> None:
    for _ in range(20):
        engine = Engine(plain_pictures, Exact())
        jobs, refused, go = [], [], threading.Barrier(5)

        def submit(engine=engine, jobs=jobs, refused=refused, go=go) -> None:
            go.wait(60)
            try:
                for _ in range(20):
                    jobs.append(engine.submit(simple(steps=1)))
            except JobError:
                refused.append(1)

        threads = [threading.Thread(target=submit) for _ in range(4)]
        for thread in threads:
            thread.start()
        go.wait(60)
        engine.close()
        for thread in threads:
            thread.join(60)
        assert engine.join(timeout=60)
        assert all(isinstance(last(engine, job), events.Cancelled | events.Finished) for job in jobs)


ENDING = """
import sys, threading, time, torch
from webui.engine.engine import Engine
sys.path.insert(0, {root!r})
from tests.engine.making import Exact, plain_pictures, simple

class Busy(Exact):
    def predict(self, call):
        entered.set()
        x, ending = torch.randn(1, 32, 64, 64), None
        while ending is None or time.monotonic() - ending < 1:  # busy in torch for a while after the main thread's end
            with torch.no_grad():
                torch.nn.functional.conv2d(x, x.new_full((32, 32, 3, 3), 1e-3), padding=1)
            if ending is None and not threading.main_thread().is_alive():
                ending = time.monotonic()
        return super().predict(call)

entered = threading.Event()
engine = Engine(plain_pictures, Busy())
engine.submit(simple())
entered.wait()
{close}
sys.exit(3)
"""


@pytest.mark.slow
@pytest.mark.parametrize("close", ["", "engine.close()"])
def test_a_program_that_ends_during_a_call_ends_in_order(close: str) -> None:
    root = str(Path(__file__).resolve().parents[2])
    code = ENDING.format(root=root, close=close)
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (3, "")


def test_an_engine_that_nobody_holds_any_more_is_let_go() -> None:
    engine = Engine(plain_pictures, Exact())
    gone = weakref.ref(engine)
    engine.close()
    assert engine.join(timeout=60)
    del engine
    gc.collect()
    assert gone() is None


def test_an_ended_job_can_be_forgotten_as_soon_as_its_last_event_is_read() -> None:
    engine = stepped(plain_pictures, Exact())
    job = engine.submit(simple())
    stream = engine.events(job)
    end = engine._driver.end

    def read_at_once(ending, event) -> None:
        end(ending, event)
        assert isinstance(list(stream)[-1], events.Finished)
        engine.forget(job)  # the loop has not taken it out of the queue yet

    engine._driver.end = read_at_once
    run(engine)
    with pytest.raises(UserError, match="no job"):
        engine.events(job)


@pytest.mark.parametrize("forget", [True, False])
def test_many_jobs_leave_nothing_behind_once_they_are_forgotten_or_read(forget: bool, monkeypatch) -> None:
    monkeypatch.setattr(driving.LOGGER, "disabled", True)  # pytest keeps what is logged, errors' frames included
    made, sources = [], []

    def start(wanted):
        if wanted.seed % 20 == 3:
            raise UserError("no")
        generations = plain_pictures(wanted)
        sources.extend(map(weakref.ref, generations))
        return generations

    engine = stepped(start, Exact(), limits=Limits(keep=5))
    for first in range(0, 200, 20):
        roles = ("nan" if seed == 4 else "cond" for seed in range(20))
        jobs = [engine.submit(simple(role, steps=1, seed=first + seed)) for seed, role in enumerate(roles)]
        made += [weakref.ref(engine._jobs[job]) for job in jobs]
        engine.cancel(jobs[5])
        engine.skip(jobs[6], 0)
        engine.interrupt(jobs[7])
        run(engine)
        for job in jobs:
            if forget:
                engine.forget(job)
            else:
                assert isinstance(last(engine, job), events.LAST)
    engine.submit(simple(steps=1))
    run(engine)
    gc.collect()
    kept = 0 if forget else 5
    assert sum(each() is not None for each in made) == kept
    assert len(sources) > 100
    assert not any(each() is not None for each in sources[:-1])
    assert len(engine._jobs) == kept + 1
    assert not engine._open
    assert not engine._wished


def test_the_thread_serves_a_waiting_reader_and_wakes_up_for_new_jobs() -> None:
    with Engine(plain_pictures, Exact()) as engine:
        for seed in range(3):
            kinds = [type(each) for each in engine.events(engine.submit(simple(seed=seed)))]
            assert kinds[-1] is events.Finished
            assert events.Picture in kinds


def test_a_thousand_jobs_from_many_threads() -> None:
    jobs: list[str] = []
    with Engine(plain_pictures, Exact()) as engine:

        def submit(seed: int) -> None:
            for index in range(50):
                job = engine.submit(simple(steps=1, seed=seed * 50 + index))
                jobs.append(job)
                if index % 10 == 3:
                    engine.cancel(job)
                if index % 10 == 4:
                    engine.interrupt(job)

        threads = [threading.Thread(target=submit, args=(seed,)) for seed in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(jobs)) == 1000
        ends = [list(engine.events(job))[-1] for job in jobs]
    assert sum(isinstance(each, events.Finished) for each in ends) >= 800
    assert not any(isinstance(each, events.Failed) for each in ends)


@pytest.mark.parametrize("limits", [
    {"running": 0}, {"each": 0}, {"in_flight": 0}, {"counts": ()}, {"counts": (0, 1)}, {"counts": (4, 2)},
    {"previews_per_second": 0.0},
])
def test_limits_with_which_nothing_would_ever_happen_are_refused(limits) -> None:
    with pytest.raises(ValueError, match=r"never do anything|must rise"):
        Limits(**limits)
