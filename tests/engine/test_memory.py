"""Memory that does not suffice: halved calls, what is remembered of them, and for how long."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.making import Exact, alone, last, pictures, plain, plain_pictures, request, run, simple, stepped
from webui.engine import events
from webui.engine.batching import ROW_COUNTS, RowCall
from webui.engine.calls import FORGET_AFTER, Fits
from webui.engine.engine import Limits


def only(most: int):
    """Memory for calls of so many rows."""

    def fault(call: RowCall) -> None:
        if len(call.rows) > most:
            raise MemoryError

    return fault


def test_calls_that_do_not_fit_are_halved_once_and_the_size_is_remembered_while_jobs_run() -> None:
    networks = Exact(only(2))
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
    def start(wanted):
        return [plain(wanted, rows=3)]

    engine = stepped(start, Exact(only(1)))
    job = engine.submit(request())
    run(engine)
    assert pictures(engine, job)[0].batched
    assert np.array_equal(pictures(engine, job)[0].pixels, alone(request(), Exact(), start)[0])


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


def test_what_fits_does_not_shrink_and_no_rows_are_gathered_that_do_not_fit() -> None:
    networks = Exact(only(4))
    engine = stepped(plain_pictures, networks, limits=Limits(each=3))
    jobs = [engine.submit(simple(seed=seed, count=3, steps=9)) for seed in (1, 10)]
    run(engine)
    assert all(len(pictures(engine, job)) == 3 for job in jobs)
    assert networks.rows[0] == 6  # the one call that taught it
    assert max(networks.rows[1:]) == 4
    assert len(networks.rows) - 1 <= 6 * 9 / 4 + 2  # all others full, but for the last few


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), min_size=1, max_size=5))
def test_whatever_the_memory_every_job_gets_its_picture(most: int, jobs: list[tuple[int, int]]) -> None:
    networks = Exact(only(most))
    engine = stepped(lambda wanted: [plain(wanted, rows=int(wanted.prompt))], networks)
    names = [engine.submit(request(prompt=str(rows), steps=steps, seed=seed)) for seed, (rows, steps) in enumerate(jobs)]
    run(engine)
    assert all(isinstance(last(engine, name), events.Finished) for name in names)
    assert sum(rows > most for rows in networks.rows) <= 4  # 16, 8, 4, 2
    assert sum(rows for rows in networks.rows if rows <= most) == sum(rows * steps for rows, steps in jobs)


def test_a_job_that_does_not_fit_at_all_does_not_make_the_calls_of_others_small() -> None:
    def fault(call: RowCall) -> None:
        if any(row.role == "bad" for row in call.rows):
            raise MemoryError

    networks = Exact(fault)
    engine = stepped(plain_pictures, networks)
    bad, good = engine.submit(simple("bad")), engine.submit(simple(count=4, steps=6))
    run(engine)
    assert isinstance(last(engine, bad), events.Failed)
    assert len(pictures(engine, good)) == 4
    assert networks.shapes[-4:] == [4] * 4


@given(st.integers(2, 40), st.integers(0, 10**6))
def test_what_did_not_fit_gets_smaller_until_one_row_and_is_forgotten_in_time(rows: int, calls: int) -> None:
    fits = Fits(ROW_COUNTS)
    tried = rows
    while tried > 1:
        fewer = fits.learn("key", tried, calls)
        assert 1 <= fewer < tried
        tried = fewer
    assert fits.known(calls + FORGET_AFTER - 1) == {"key": 1}
    assert fits.known(calls + FORGET_AFTER) == {}


def test_fewer_rows_get_smaller_even_where_the_fixed_counts_lie_far_apart() -> None:
    fits = Fits((1, 16))
    assert fits.learn("key", 5, 0) == 4
    assert fits.learn("key", 2, 0) == 1
    fits.forget("key")
    assert fits.known(0) == {}


def test_a_busy_engine_tries_larger_calls_again_when_memory_may_have_come_back() -> None:
    full = [True]

    def fault(call: RowCall) -> None:
        if full[0] and len(call.rows) > 1:
            raise MemoryError

    networks = Exact(fault)
    engine = stepped(plain_pictures, networks)
    engine.submit(simple(count=2, steps=2 * FORGET_AFTER))
    while engine.calls < 3:
        engine.step()
    full[0] = False
    run(engine)
    small, large = networks.shapes.count(1), networks.shapes.count(2)
    assert FORGET_AFTER - 2 <= small <= FORGET_AFTER + 2
    assert large >= FORGET_AFTER
