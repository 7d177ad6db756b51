"""The engine's promises: sharing changes rounding only, failures hit their cause only, people are heard at once."""
from __future__ import annotations

import itertools
import threading
import time

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
from webui.engine.batching import RowCall
from webui.engine.engine import Engine, Limits
from webui.errors import JobError, UserError
from webui.pipeline.patches import Patches
from webui.pipeline.protocol import Call, Decode, Encode, EncodePicture, Gradient, Moment, Read, Row, Rows, answer_all

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


def test_jobs_started_together_equal_each_alone_with_few_calls() -> None:
    wanted = [request(**changes) for changes in MIXED]
    networks, latents = local(), {}
    decode = networks.decode
    engine = stepped(pictures_of, networks)

    class Watching:
        def __getattr__(self, name):
            return getattr(networks, name)

        def decode(self, ask):
            latents[len(latents)] = ask.latent
            return decode(ask)

    own = []
    for each in wanted:
        single = stepped(pictures_of, Watching())
        job = single.submit(each)
        run(single)
        assert isinstance(last(single, job), events.Finished)
        assert not pictures(single, job)[0].batched
        own.append((single.calls, latents.popitem()[1], pictures(single, job)[0].pixels))
    engine = stepped(pictures_of, Watching())
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


def test_reproducible_jobs_share_no_call_and_their_pictures_equal_each_alone_bit_for_bit() -> None:
    engine = stepped(pictures_of, local())
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


class Broken:
    """A hook that raises from its n-th call on."""

    def __init__(self, after: int) -> None:
        self.left = after

    def output(self, call, x):
        self.left -= 1
        if self.left < 0:
            raise ZeroDivisionError("a hook of an extension")
        return x


def test_a_hook_that_raises_fails_its_job_alone() -> None:
    def start(wanted):
        return pictures_of(wanted, Patches(attention=(Broken(9),)) if wanted.prompt == "bad" else Patches())

    engine = stepped(start, local())
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
    ValueError("bad row"), torch.cuda.OutOfMemoryError("pretended"), MemoryError(), RuntimeError("CUDA error: out of memory"),
])
@pytest.mark.parametrize("step", [0, 2])
def test_a_call_that_raises_fails_only_the_culprit(error: Exception, step: int) -> None:
    networks = Exact(fault_at("bad", error, step))
    engine = stepped(plain_pictures, networks)
    jobs = [engine.submit(simple(role, seed=seed, count=2)) for seed, role in enumerate(("cond", "bad", "cond"))]
    run(engine)
    assert isinstance(last(engine, jobs[1]), events.Failed)
    memory = not isinstance(error, ValueError)
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


def test_calls_that_do_not_fit_are_halved_once_and_the_size_is_remembered_while_jobs_run() -> None:
    def fault(call: RowCall) -> None:
        if len(call.rows) > 2:
            raise MemoryError

    networks = Exact(fault)
    engine = stepped(plain_pictures, networks)
    job = engine.submit(simple(count=4, steps=5))
    run(engine)
    assert networks.shapes.count(4) == 1
    assert networks.shapes.count(2) == 10
    expected = alone(simple(count=4, steps=5), Exact(), plain_pictures)
    assert all(np.array_equal(a.pixels, b) for a, b in zip(pictures(engine, job), expected, strict=True))
    engine.submit(simple(count=4, steps=5))
    run(engine)
    assert networks.shapes.count(4) == 2


def test_one_ask_of_several_rows_is_halved_too() -> None:
    def fault(call: RowCall) -> None:
        if len(call.rows) > 1:
            raise MemoryError

    def start(wanted):
        return [plain(wanted, rows=3)]

    engine = stepped(start, Exact(fault))
    job = engine.submit(request())
    run(engine)
    assert pictures(engine, job)[0].batched
    assert np.array_equal(pictures(engine, job)[0].pixels, alone(request(), Exact(), start)[0])


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


def raising(error: BaseException, first: bool = False):
    if not first:
        yield Rows(Row(torch.ones(4, 2, 2), Moment(1.0, 0, 1), conditioning_of()))
    raise error
    yield


def conditioning_of():
    from tests.engine.making import conditioning

    return conditioning()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("error", [KeyError("oops"), UserError("Use another sampler."), StopIteration()])
def test_a_generator_that_raises_fails_alone(error: Exception, first: bool) -> None:
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


@pytest.mark.parametrize("begun", [3, 5, 6])
def test_after_an_interrupt_at_most_one_more_call_begins_and_the_picture_is_delivered(begun: int) -> None:
    engine = stepped(pictures_of, local())
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


def test_every_other_ask_is_answered() -> None:
    answers = []

    def curious():
        answers.append((yield Encode(((),))))
        answers.append((yield EncodePicture(torch.full((3, 4, 4), 0.25))))
        answers.append((yield Call("depth", {"picture": 3})))
        answers.append((yield Gradient(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))))
        answers.append((yield Read(torch.tensor([5.0]))))
        answers.append((yield Rows()))
        return (yield from plain(simple()))

    engine = stepped(lambda wanted: [curious()], Exact())
    job = engine.submit(request())
    run(engine)
    assert isinstance(last(engine, job), events.Finished)
    text, latent, called, gradient, read, none = answers
    assert text.tokens.shape == (3, 2)
    assert torch.equal(latent, torch.full((4, 2, 2), 0.25))
    assert called == {"picture": 3}
    assert torch.equal(gradient, torch.tensor([3.0, 12.0]))
    assert torch.equal(read, torch.tensor([5.0]))
    assert none == ()


def test_asks_that_are_none_and_pictures_that_are_none_fail() -> None:
    def nonsense():
        yield "a picture, please"

    def nothing():
        return None
        yield

    engine = stepped(lambda wanted: [nonsense() if wanted.seed else nothing()], Exact())
    jobs = [engine.submit(request(seed=seed)) for seed in (0, 1)]
    run(engine)
    assert "none of the asks" in last(engine, jobs[1]).sentence
    assert isinstance(last(engine, jobs[0]), events.Failed)


@pytest.mark.parametrize("failures", [1, 2])
def test_a_decode_without_memory_is_tried_once_more(failures: int) -> None:
    class Full(Exact):
        left = failures

        def decode(self, ask):
            self.left -= 1
            if self.left >= 0:
                raise MemoryError
            return super().decode(ask)

    networks = Full()
    engine = stepped(plain_pictures, networks)
    job = engine.submit(simple())
    run(engine)
    assert networks.freed == failures
    assert isinstance(last(engine, job), events.Finished if failures == 1 else events.Failed)


def test_a_decoded_picture_that_is_not_numbers_and_a_decode_that_raises() -> None:
    class Bad(Exact):
        def decode(self, ask):
            if ask.network == "raise":
                raise ValueError("broken file")
            return torch.full((3, 4, 4), float("nan"))

    engine = stepped(lambda wanted: [plain(wanted, network=wanted.prompt)], Bad())
    jobs = [engine.submit(request(prompt=prompt)) for prompt in ("nan", "raise")]
    run(engine)
    assert "not numbers" in last(engine, jobs[0]).sentence
    assert "broken file" in last(engine, jobs[1]).sentence


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


def test_close_ends_the_thread_and_cancels_what_is_left() -> None:
    entered, leave = threading.Event(), threading.Event()

    def fault(call):
        entered.set()
        leave.wait(5)

    with Engine(plain_pictures, Exact(fault)) as engine:
        first, second = engine.submit(simple(count=2)), engine.submit(simple())
        stream = engine.events(second)
        assert entered.wait(5)
        leave.set()
    assert engine._thread is not None
    assert not engine._thread.is_alive()
    assert isinstance(list(stream)[-1], events.Cancelled | events.Finished)
    assert isinstance(last(engine, first), events.Cancelled | events.Finished)
    with pytest.raises(JobError, match="closed"):
        engine.submit(simple())
    engine.close()


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


def test_a_fault_of_the_loop_itself_fails_the_jobs_and_the_engine_lives_on() -> None:
    class Faulty(Exact):
        broken = True

        def ready(self, row):
            if self.broken:
                raise RuntimeError("a bug")
            return True

    networks = Faulty()
    with Engine(plain_pictures, networks) as engine:
        failed = list(engine.events(engine.submit(simple())))[-1]
        assert isinstance(failed, events.Failed)
        networks.broken = False
        assert isinstance(list(engine.events(engine.submit(simple())))[-1], events.Finished)


def test_a_stream_can_time_out_and_be_closed_from_elsewhere() -> None:
    engine = stepped(plain_pictures, Exact())
    stream = engine.events(engine.submit(simple()))
    assert isinstance(stream.next(), events.Queued)
    assert stream.next(timeout=0) is None
    began = time.monotonic()
    threading.Timer(0.05, stream.close).start()
    assert list(stream) == []
    assert time.monotonic() - began < 5
