"""The guard names who fails, lets through what was foreseen, and knows who is at work; the mark outlives the program."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from webui.errors import ExtensionError, NotANumber, UserError
from webui.pipeline.patches import Patches, WeightPatch
from webui.pipeline.protocol import Gradient, Interrupted, Moment, Row, Rows
from webui.service.extension_guard import Guard
from webui.service.extension_mark import PLACES, Mark
from webui.service.extension_watch import Entry, Limits, Watch

MOMENT = Moment(1.0, 0, 1)


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> Guard:
    return Guard(owner="mine", watch=Watch(clock=clock, limits=Limits(page=5, job=30)))


def raising(error: BaseException) -> Callable[[], Any]:
    def function() -> Any:
        raise error

    return function


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(2), KeyError("x"), AssertionError(), RuntimeError("shape")])
def test_what_nobody_foresaw_is_told_with_the_name(guard: Guard, error: BaseException) -> None:
    for call in (guard.direct("patches", raising(error)), guard.page("patches", raising(error))):
        with pytest.raises(ExtensionError, match=f"^The extension mine failed in patches: .*{type(error).__name__}") as told:
            call()
        assert told.value.__cause__ is error, "the log has where it came from"


@pytest.mark.parametrize(
    "error", [UserError("Give more."), NotANumber("x"), MemoryError(), Interrupted(None), RuntimeError("CUDA out of memory")]
)
def test_what_was_foreseen_is_told_as_it_is(guard: Guard, error: BaseException) -> None:
    import torch  # without it nobody can have run out of its memory

    assert torch
    with pytest.raises(type(error)) as told:
        guard.direct("patches", raising(error))()
    assert told.value is error


def test_an_error_that_cannot_be_told_is_told_without_words(guard: Guard) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    with pytest.raises(ExtensionError, match=r"Mute: \(an error without words\)"):
        guard.direct("patches", raising(Mute()))()


def generator(seen: list[Any]) -> Generator[Any, Any, Any]:
    try:
        seen.append((yield "one"))
        seen.append((yield "two"))
    except Interrupted:
        seen.append("early")
        yield "last"
    finally:
        seen.append("closed")
    return "made"


def test_a_generator_is_what_it_was(guard: Guard) -> None:
    seen: list[Any] = []
    made = guard.steps("guide", generator(seen))
    assert [next(made), made.send(1)] == ["one", "two"]
    with pytest.raises(StopIteration) as end:
        made.send(2)
    assert end.value.value == "made" and seen == [1, 2, "closed"] and not guard.watch.at_work()

    early: list[Any] = []
    made = guard.steps("guide", generator(early))
    next(made)
    assert made.throw(Interrupted(None)) == "last"
    made.close()
    assert early == ["early", "closed"]

    thrown, made = NotANumber("x"), guard.steps("guide", generator([]))
    next(made)
    with pytest.raises(NotANumber) as told:
        made.throw(thrown)
    assert told.value is thrown


def test_what_a_generator_raises_names_it_and_what_is_thrown_into_it_does_not(guard: Guard) -> None:
    def fails() -> Generator[Any, Any, Any]:
        yield "ask"
        raise IndexError("far")

    made = guard.steps("guide", fails())
    next(made)
    with pytest.raises(ExtensionError, match="mine failed in guide: 'IndexError: far'"):
        made.send(None)
    fault, made = ValueError("of the program"), guard.steps("guide", fails())
    next(made)
    with pytest.raises(ValueError, match="of the program") as told:
        made.throw(fault)
    assert told.value is fault
    with pytest.raises(ExtensionError, match="returned '3' in guide, where a generator is wanted"):
        guard.steps("guide", 3)


class Hook:
    def __init__(self) -> None:
        self.given: Any = None
        self.kind = "own"

    def output(self, call: Any, x: Any) -> Any:
        self.given = x
        return x


def row(*hooks: Any) -> Row:
    return Row(None, MOMENT, None, patches=Patches(attention=hooks))  # type: ignore[arg-type]


def test_hook_objects_have_their_own_seams_and_stay_the_same(guard: Guard) -> None:
    target = Hook()
    patches = guard.patches(Patches(attention=(target,), blocks=(target,)))
    assert patches is not None
    (proxy,) = patches.attention
    assert proxy.output("call", 3) == 3 and target.given == 3 and proxy.kind == "own"
    assert not hasattr(proxy, "attend") and not hasattr(proxy, "before")
    assert patches.blocks[0] is proxy, "rows that have the same hooks may share a call"
    again = guard.patches(Patches(attention=(target,)))
    assert again is not None and again.attention[0] is proxy
    mixed = guard.row(row(target, proxy))
    assert mixed.patches.attention == (proxy, proxy)
    assert guard.row(mixed) is mixed
    asked = guard.ask(Rows(row(target)))
    assert isinstance(asked, Rows) and asked.rows[0].patches.attention[0] is proxy
    del patches, again, mixed, asked, proxy
    gc.collect()
    assert not guard._objects, "nothing is kept for ever"


def test_functions_in_what_it_returns_are_guarded_too(guard: Guard) -> None:
    patch = WeightPatch("key", raising(ValueError("x")), "content", low_rank=raising(ValueError("y")))
    patches = guard.patches(Patches(weights=(patch,)))
    asked = guard.ask(Gradient(raising(ValueError("z")), None))  # type: ignore[arg-type]
    assert patches is not None and isinstance(asked, Gradient)
    (made,) = patches.weights
    assert made.low_rank is not None and (made.key, made.content) == ("key", "content")
    for call in (made.low_rank, asked.function):
        with pytest.raises(ExtensionError, match="mine failed in"):
            call()  # type: ignore[call-arg]
    with pytest.raises(ExtensionError, match="returned '7' in patches, where Patches are wanted"):
        guard.patches(7)


def test_what_others_use_too_is_given_as_a_copy_to_who_was_added(clock: Clock) -> None:
    import torch

    def change(given: torch.Tensor) -> torch.Tensor:
        return given.zero_()

    class Context:
        def context(self, call: Any, given: torch.Tensor) -> torch.Tensor:
            return given.zero_()

    for trusted, left in ((False, 3.0), (True, 0.0)):
        guard = Guard(owner="mine", watch=Watch(clock=clock), trusted=trusted)
        patches = guard.patches(Patches(weights=(WeightPatch("key", change, "content"),), attention=(Context(),)))
        assert patches is not None
        for call in (patches.weights[0].delta, lambda given, own=patches: own.attention[0].context("call", given)):
            original = torch.ones(3)
            assert call(original).sum() == 0 and original.sum() == left


def test_hooks_in_jobs_are_past_their_limit_by_their_own_time(guard: Guard, clock: Clock) -> None:
    watch, told = guard.watch, list[Entry]()
    watch.listeners.append(told.append)

    def inner() -> None:
        clock.now += 20
        assert not watch.look()

    def outer() -> None:
        clock.now += 20
        guard.direct("rows", inner)()
        clock.now += 9
        assert not watch.look(), "29 seconds of its own"
        with watch.unhurried():
            clock.now += 1000
            assert not watch.look(), "the program reads a file for it"
        assert not watch.look()
        clock.now += 2
        assert [entry.hook for entry in watch.look()] == ["patches"]
        assert not watch.look(), "it is told once"

    job = object()
    with_job = guard.direct("patches", outer, job)
    with_job()
    assert [(entry.owner, entry.hook, entry.job, entry.limit) for entry in told] == [("mine", "patches", job, 30)]
    assert not watch.at_work()


def test_it_is_known_for_which_job_a_thread_works(guard: Guard) -> None:
    seen: list[Any] = []

    def source(name: str) -> Generator[Any, Any, Any]:
        seen.append((name, guard.watch.job()))
        try:
            yield name
        except ValueError:
            yield "thrown"
        finally:
            seen.append((name, guard.watch.job()))

    first, second = guard.watch.during("one", source("first")), guard.watch.during("two", source("second"))
    assert [next(first), next(second)] == ["first", "second"] and guard.watch.job() is None
    assert first.throw(ValueError()) == "thrown"
    assert list(first) == []
    second.close()
    assert seen == [("first", "one"), ("second", "two"), ("first", "one"), ("second", "two")]


def test_the_mark_says_who_was_at_work_whatever_ends_the_program(tmp_path: Path, guard: Guard) -> None:
    path = tmp_path / "mark"
    guard.watch.mark = Mark(path)
    assert guard.watch.mark.left == ()
    found: list[Any] = []

    def at_work() -> list[tuple[str, str]]:
        copy = tmp_path / "copy"  # what the next program finds if this one ends now
        copy.write_bytes(path.read_bytes())
        return sorted(Mark(copy).left)

    def inner() -> None:
        found.append(at_work())

    def outer() -> None:
        found.append(at_work())
        guard.direct("rows", inner)()
        found.append(at_work())

    guard.direct("the sampler Émile's", outer)()
    assert found == [[("mine", "the sampler ?mile's")], [("mine", "rows")], [("mine", "the sampler ?mile's")]]
    assert at_work() == []
    entries = [guard.watch.mark.begin(b"mine hook".ljust(64, b"\0")) for _ in range(PLACES + 3)]
    assert entries.count(-1) == 3, "those beyond leave no mark"
    assert len(at_work()) == PLACES
    guard.watch.close()
    assert at_work() == [], "it ended because somebody wanted it to"


@pytest.mark.parametrize("content", [b"", b"\xff" * 300, b"../up hook".ljust(64, b"\0"), b"A b".ljust(64, b"\0")])
def test_a_mark_that_makes_no_sense_names_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mark").write_bytes(content)
    assert Mark(tmp_path / "mark").left == ()
    assert Mark(tmp_path / "no" / "folder").begin(b"x" * 64) == -1


def test_what_comes_with_the_program_is_called_in_the_thread_that_asks(clock: Clock) -> None:
    watch = Watch(clock=clock)
    threads = [Guard(owner="x", watch=watch, trusted=trusted).page("hook", threading.get_ident)() for trusted in (True, False)]
    assert threads[0] == threading.get_ident() != threads[1]
