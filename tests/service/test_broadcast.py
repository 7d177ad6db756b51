"""Everybody who listens hears everything that matters, once, in order; who does not read costs a bounded amount."""

from __future__ import annotations

import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from webui.service.broadcast import BEHIND, MOST_WAITING, Broadcast


def event(number: int, kind: str = "picture", job: str = "a", **data: Any) -> dict[str, Any]:
    return {"job": job, "number": number, "kind": kind, **data}


def test_only_those_who_listen_to_a_user_hear_of_their_jobs() -> None:
    broadcast = Broadcast()
    calls: list[str] = []
    one, other = (broadcast.subscribe(user, lambda user=user: calls.append(str(user))) for user in (1, 2))  # type: ignore[misc]
    broadcast.tell(1, event(1))
    assert (one.take(), other.take(), calls) == ([event(1)], [], ["1"])
    assert one.take() == []


def test_every_subscription_of_a_user_gets_everything() -> None:
    broadcast = Broadcast()
    both = [broadcast.subscribe(1, lambda: None) for _ in range(2)]
    broadcast.tell(1, event(1))
    assert [each.take() for each in both] == [[event(1)], [event(1)]]


def test_after_closing_nothing_comes_and_nobody_watches() -> None:
    broadcast = Broadcast()
    subscription = broadcast.subscribe(1, lambda: None)
    assert broadcast.watched(1) and broadcast.watchers() == (1,)
    subscription.close()
    subscription.close()
    broadcast.tell(1, event(1))
    assert subscription.take() == [] and not broadcast.watched(1) and broadcast.watchers() == ()


def test_progress_and_previews_keep_only_the_newest_of_each_picture_in_its_place() -> None:
    broadcast = Broadcast()
    subscription = broadcast.subscribe(1, lambda: None)
    for told in (
        event(0, "progress", picture=0, step=1), event(1, "started"), event(0, "progress", picture=1, step=1),
        event(0, "progress", picture=0, step=2), event(0, "preview", picture=0, step=2), event(2, "notice", sentence="x"),
        event(0, "progress", job="b", picture=0, step=1),
    ):  # fmt: skip
        broadcast.tell(1, told)
    assert [(each["job"], each["kind"], each.get("picture"), each.get("step")) for each in subscription.take()] == [
        ("a", "started", None, None), ("a", "progress", 1, 1), ("a", "progress", 0, 2), ("a", "preview", 0, 2),
        ("a", "notice", None, None), ("b", "progress", 0, 1),
    ]  # fmt: skip


def test_who_falls_too_far_behind_is_told_to_look_again() -> None:
    broadcast = Broadcast()
    slow = broadcast.subscribe(1, lambda: None)
    for number in range(1, 3 * MOST_WAITING):
        broadcast.tell(1, event(number))
    taken = slow.take()
    assert len(taken) <= MOST_WAITING
    assert taken[0] == BEHIND
    assert [each["number"] for each in taken[1:]] == list(range(3 * MOST_WAITING - len(taken) + 1, 3 * MOST_WAITING))
    broadcast.tell(1, event(1))
    assert slow.take() == [event(1)]


def test_a_listener_whose_loop_has_ended_is_dropped_and_the_others_still_hear() -> None:
    broadcast = Broadcast()

    def ended() -> None:
        raise RuntimeError("Event loop is closed")

    broadcast.subscribe(1, ended)
    other = broadcast.subscribe(1, lambda: None)
    broadcast.tell(1, event(1))
    broadcast.tell(1, event(2))
    assert [each["number"] for each in other.take()] == [1, 2]
    other.close()
    assert not broadcast.watched(1)


@given(st.lists(st.integers(1, 5), max_size=30))
def test_events_taken_at_any_moments_are_all_events_in_order(moments: list[int]) -> None:
    broadcast = Broadcast()
    subscription = broadcast.subscribe(1, lambda: None)
    taken, number = [], 0
    for count in moments:
        for _ in range(count):
            number += 1
            broadcast.tell(1, event(number))
        taken += subscription.take()
    assert [each["number"] for each in taken] == list(range(1, number + 1))


def test_telling_and_listening_from_many_threads_loses_nothing() -> None:
    broadcast = Broadcast()
    steady = broadcast.subscribe(1, lambda: None)
    barrier = threading.Barrier(4)

    def tell(start: int) -> None:
        barrier.wait()
        for number in range(start, start + 100):
            broadcast.tell(1, event(number))
            broadcast.subscribe(1, lambda: None).close()

    threads = [threading.Thread(target=tell, args=(1 + 100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each["number"] for each in steady.take()) == list(range(1, 401))
