"""Who is next: nobody waits for ever, and nobody's many jobs cost another more than their turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from webui.service.turns import Slots, following, in_order

SLOTS = Slots()


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """As much of a job as the order depends on."""

    name: str = ""
    user: int = 1
    state: str = "queued"
    place: float = 0.0
    turn: int = 0
    created: float = 0.0
    attempts: int = 0

    @property
    def suspect(self) -> bool:
        return self.attempts > (1 if self.state == "running" else 0)


def lane(user: int, count: int, created: float = 0.0) -> list[Waiting]:
    return [Waiting(name=f"{user}.{n}", user=user, place=n, created=created + n) for n in range(count)]


def names(jobs: list[Waiting], turns: dict[int, int] | None = None) -> list[str]:
    return [job.name for job in in_order(jobs, turns or {})]


def test_people_take_turns_whoever_was_served_longest_ago_first() -> None:
    jobs = [*lane(1, 3), *lane(2, 1), *lane(3, 2)]
    assert names(jobs, {1: 7, 2: 9, 3: 4}) == ["3.0", "1.0", "2.0", "3.1", "1.1", "1.2"]


def test_who_was_never_served_comes_first_and_among_those_who_waits_longest() -> None:
    jobs = [*lane(1, 1, created=5), *lane(2, 1, created=3), *lane(3, 1, created=1)]
    assert names(jobs, {3: 1}) == ["2.0", "1.0", "3.0"]


def test_a_persons_own_jobs_go_by_their_place() -> None:
    first, second = lane(1, 2)
    assert names([replace(first, place=2.0), replace(second, place=1.0)]) == ["1.1", "1.0"]


def test_what_ran_goes_on_before_what_waits() -> None:
    ran = Waiting(name="ran", user=2, turn=5)
    runs = Waiting(name="runs", user=3, turn=6, state="running")
    assert names([*lane(1, 1), ran, runs], {2: 5, 3: 6}) == ["runs", "ran", "1.0"]


def next_of(*jobs: Waiting, slots: Slots = SLOTS) -> str | None:
    found = following(list(in_order(jobs, {})), slots)
    return None if found is None else found.name


def running(user: int, turn: int, attempts: int = 1) -> Waiting:
    return Waiting(user=user, state="running", turn=turn, attempts=attempts)


def test_only_so_many_run_at_once() -> None:
    assert next_of(*(running(n, n + 1) for n in range(3)), *lane(9, 1)) == "9.0"
    assert next_of(*(running(n, n + 1) for n in range(4)), *lane(9, 1)) is None


def test_one_person_has_all_slots_only_while_nobody_else_waits() -> None:
    mine = [running(1, 1), running(1, 2)]
    assert next_of(*mine, *lane(1, 1)) == "1.0"
    assert next_of(*mine, *lane(1, 1), *lane(2, 1, created=9)) == "2.0"
    assert next_of(*mine, running(2, 3), *lane(1, 1)) == "1.0", "who runs does not wait"


def test_what_ran_when_the_program_was_killed_runs_alone() -> None:
    suspect = Waiting(name="suspect", user=1, turn=1, attempts=1)
    assert next_of(suspect, *lane(2, 1)) == "suspect"
    assert next_of(running(3, 2), suspect, *lane(2, 1)) is None
    assert next_of(running(1, 3, attempts=2), *lane(2, 1)) is None


USERS = st.integers(1, 5)


@given(st.lists(st.tuples(USERS, st.integers(0, 30)), max_size=40), st.dictionaries(USERS, st.integers(1, 99)))
def test_every_job_has_one_place_and_nobody_gets_two_turns_before_another_who_waits_gets_one(
    given_jobs: list[tuple[int, int]], turns: dict[int, int]
) -> None:
    jobs = [Waiting(name=str(n), user=user, place=place, created=n) for n, (user, place) in enumerate(given_jobs)]
    ordered = list(in_order(jobs, turns))
    assert Counter(job.name for job in ordered) == Counter(job.name for job in jobs)
    left = Counter(job.user for job in jobs)
    had: Counter[int] = Counter()
    for job in ordered:
        assert all(had[job.user] <= had[other] for other in left if left[other] > had[other])
        had[job.user] += 1


@given(st.lists(st.integers(1, 4), max_size=30))
def test_taking_what_is_next_until_nothing_is_left_serves_everybody(users: list[int]) -> None:
    jobs = {n: Waiting(name=str(n), user=user, place=n, created=n) for n, user in enumerate(users)}
    turns: dict[int, int] = {}
    order: list[int] = []
    for turn in range(1, len(users) + 1):
        found = following(list(in_order(list(jobs.values()), turns)), SLOTS)
        assert found is not None
        del jobs[int(found.name)]
        turns[found.user] = turn
        order.append(found.user)
    assert Counter(order) == Counter(users)
    waits = Counter(users)
    for user in set(users):
        gaps = [at for at, each in enumerate(order) if each == user]
        assert all(later - earlier <= len(waits) for earlier, later in pairwise(gaps))
