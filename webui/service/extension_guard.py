"""Around everything of an extension that the program calls: what it raises names it, and who is at work is always known.

Hooks that people wait for run in a thread of their own, which is left behind where they take too long. Hooks in jobs run where
the job's picture is made, for they work with its tensors; there it is the watch that notices. What others use too is given as a
copy to an extension that does not come with the program: tensors cannot be made read-only.
"""

from __future__ import annotations

import functools
import math
import sys
import threading
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

from webui.errors import ExtensionError, WebUIError, quoted
from webui.pipeline.extended import Job
from webui.pipeline.patches import Patches, WeightPatch
from webui.pipeline.protocol import Ask, Conditioning, Gradient, Interrupted, Row, Rows
from webui.service.extension_watch import Watch

LONGEST_ERROR = 300  # characters of an error that are repeated
SEAMS = ("context", "attend", "output", "before", "skip", "after")  # what a hook object may define; see webui.nets.hooks
Failed = Callable[[str, str, BaseException], None]  # is told the extension, the hook and the error
T = TypeVar("T")


def nobody_told(_owner: str, _hook: str, _error: BaseException) -> None:
    """What happens with errors where nobody keeps them: they are raised, and no more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Guard:
    """What is around one extension. `trusted`: it comes with the program. `failed` is told of everything that goes wrong."""

    owner: str
    watch: Watch
    trusted: bool = False
    failed: Failed = nobody_told
    _objects: weakref.WeakValueDictionary[int, HookObject] = field(default_factory=weakref.WeakValueDictionary)
    _stuck: dict[str, threading.Thread] = field(default_factory=dict)

    def limited(self, hook: str, call: Callable[[], T]) -> T:
        """What a call returns that people wait for; `ExtensionError` names the extension where it raises or takes too long."""
        stuck = self._stuck.get(hook)
        if stuck is not None and stuck.is_alive():
            raise ExtensionError(f"The extension {self.owner} is still busy in {hook} with what it was asked before.")
        made = _Call(self, hook, call)
        made.thread.start()
        limit = self.watch.limits.page
        while not made.done.wait(max(self.watch.left(made.entry, limit), 0.001) if made.entry is not None else limit):
            if made.entry is None or self.watch.left(made.entry, limit) <= 0:
                self._stuck[hook] = made.thread
                error = ExtensionError(f"The extension {self.owner} took more than {limit:g} seconds in {hook}; it was given up.")
                self.failed(self.owner, hook, error)
                raise error
        if made.error is not None:
            raise self.named(hook, made.error)
        return made.value  # type: ignore[no-any-return]

    def asked(self, hook: str, call: Callable[[], T]) -> T:
        """What a call returns that people wait for; of what comes with the program without a limit and a thread."""
        return self.direct(hook, call, limit=math.inf)() if self.trusted else self.limited(hook, call)

    def page(self, hook: str, function: Callable[..., T]) -> Callable[..., T]:
        """A function of an extension that the page or a command calls."""

        @functools.wraps(function)
        def called(*given: Any, **named: Any) -> T:
            return self.asked(hook, lambda: function(*given, **named))

        return called

    def direct(self, hook: str, function: Callable[..., T], job: object = None, limit: float | None = None) -> Callable[..., T]:
        """A function of an extension that is called in a job, in the thread that makes its picture."""
        watch, owner, limit = self.watch, self.owner, self.watch.limits.job if limit is None else limit

        @functools.wraps(function)
        def called(*given: Any, **named: Any) -> T:
            entry = watch.begin(owner, hook, limit, job)
            try:
                return function(*given, **named)
            except BaseException as error:
                told = self.named(hook, error)
                if told is error:
                    raise
                raise told from error
            finally:
                watch.end(entry)

        return called

    def steps(self, hook: str, made: Any) -> Generator[Ask, Any, Any]:
        """A generator of an extension that is driven in a job."""
        if not isinstance(made, Generator):
            raise self.wrong(hook, made, "a generator is wanted: a function with `yield`")
        return made if isinstance(made, Steps) else Steps(self, hook, made)

    def generating(self, hook: str, function: Callable[..., Any]) -> Callable[..., Generator[Ask, Any, Any]]:
        """A function of an extension that returns a generator."""
        made = self.direct(hook, function)

        @functools.wraps(function)
        def called(*given: Any, **named: Any) -> Generator[Ask, Any, Any]:
            return self.steps(hook, made(*given, **named))

        return called

    def named(self, hook: str, error: BaseException) -> BaseException:
        """The error that is told: what was foreseen as it is, all else with the extension's name."""
        if isinstance(error, WebUIError | Interrupted | GeneratorExit | KeyboardInterrupt) or _is_memory(error):
            if isinstance(error, ExtensionError):
                self.failed(self.owner, hook, error)
            return error
        what = quoted(f"{type(error).__name__}: {_text(error)}", LONGEST_ERROR)
        told = ExtensionError(f"The extension {self.owner} failed in {hook}: {what}.")
        told.__cause__ = error
        self.failed(self.owner, hook, error)
        return told

    def wrong(self, hook: str, made: object, wanted: str) -> ExtensionError:
        """The error for something that a hook should not return."""
        error = ExtensionError(f"The extension {self.owner} returned {quoted(repr(made))} in {hook}, where {wanted}.")
        self.failed(self.owner, hook, error)
        return error

    # What hooks in jobs are given and return.

    def job(self, job: Job) -> Job:
        """The job as an extension is told of it."""
        if self.trusted:
            return job

        def encode(text: str) -> Generator[Ask, Any, Conditioning]:
            return copied((yield from job.encode(text)))

        return replace(job, encode=encode)

    def patches(self, made: Any) -> Patches | None:
        """Patches whose every function is guarded; hook objects stay the same where they were the same."""
        if made is None:
            return None
        if not isinstance(made, Patches):
            raise self.wrong("patches", made, "Patches are wanted")
        return replace(
            made, weights=tuple(self._weight(each) for each in made.weights),
            attention=tuple(map(self._object, made.attention)), blocks=tuple(map(self._object, made.blocks)),
        )  # fmt: skip

    def ask(self, ask: Ask) -> Ask:
        """What an extension's generator asks for, whose functions and hook objects are its own."""
        if isinstance(ask, Rows):
            rows = tuple(self.row(each) for each in ask.rows)
            return ask if all(map(_is, rows, ask.rows)) else Rows(*rows)
        if isinstance(ask, Gradient):
            return replace(ask, function=self.direct("a gradient", ask.function, self.watch.job()))
        return ask

    def row(self, row: Any) -> Row:
        """A row whose hook objects are guarded."""
        if not isinstance(row, Row):
            raise self.wrong("rows", row, "a Row is wanted")
        patches = row.patches
        if all(isinstance(each, HookObject) for each in (*patches.attention, *patches.blocks)):
            return row
        return replace(row, patches=replace(
            patches, attention=tuple(map(self._object, patches.attention)), blocks=tuple(map(self._object, patches.blocks))
        ))  # fmt: skip

    def _weight(self, patch: WeightPatch) -> WeightPatch:
        change = patch.delta if self.trusted else _on_a_copy(patch.delta)
        low_rank = None if patch.low_rank is None else self.direct("patches", patch.low_rank, self.watch.job())
        return replace(patch, delta=self.direct("patches", change, self.watch.job()), low_rank=low_rank)

    def _object(self, target: Any) -> Any:
        if isinstance(target, HookObject):
            return target
        found = self._objects.get(id(target))
        if found is None:
            found = self._objects[id(target)] = HookObject(self, target)
        return found


class HookObject:
    """A hook object of an extension with the seams that it has and no other, each guarded; all else is the object's own."""

    def __init__(self, guard: Guard, target: Any) -> None:
        self._target = target  # which lives as long as this, so that no other gets its identity
        job = guard.watch.job()
        for name in SEAMS:
            method = getattr(target, name, None)
            if method is not None:
                careful = name == "context" and not guard.trusted
                setattr(self, name, guard.direct(name, _on_a_copy(method, at=1) if careful else method, job))

    def __getattr__(self, name: str) -> Any:
        if name == "_target":
            raise AttributeError(name)
        return getattr(self._target, name)


class Steps(Generator[Ask, Any, Any]):
    """A generator of an extension: every stretch of it from one ask to the next is watched, and what it raises names it."""

    def __init__(self, guard: Guard, hook: str, made: Generator[Ask, Any, Any]) -> None:
        self._guard = guard
        self._hook = hook
        self._made = made

    def send(self, value: Any) -> Ask:
        """Resume it with an answer."""
        watch = self._guard.watch
        entry = watch.begin(self._guard.owner, self._hook, watch.limits.job)
        try:
            return self._guard.ask(self._made.send(value))
        except StopIteration:
            raise
        except BaseException as error:
            told = self._guard.named(self._hook, error)
            if told is error:
                raise
            raise told from error
        finally:
            watch.end(entry)

    def throw(self, error: Any, *more: Any) -> Ask:
        """Resume it with an error, which is told as it is where nothing came of it."""
        watch = self._guard.watch
        entry = watch.begin(self._guard.owner, self._hook, watch.limits.job)
        try:
            return self._guard.ask(self._made.throw(error, *more))
        except StopIteration:
            raise
        except BaseException as raised:
            told = raised if raised is error else self._guard.named(self._hook, raised)
            if told is raised:
                raise
            raise told from raised
        finally:
            watch.end(entry)

    def close(self) -> None:
        """End it."""
        watch = self._guard.watch
        entry = watch.begin(self._guard.owner, self._hook, watch.limits.job)
        try:
            self._made.close()
        finally:
            watch.end(entry)


class _Call:
    """A call in a thread of its own."""

    def __init__(self, guard: Guard, hook: str, call: Callable[[], Any]) -> None:
        self.done = threading.Event()
        self.entry: Any = None
        self.value: Any = None
        self.error: BaseException | None = None
        self._guard = guard
        self._hook = hook
        self._call = call
        self.thread = threading.Thread(target=self._run, name=f"{guard.owner} in {hook}", daemon=True)

    def _run(self) -> None:
        self.entry = entry = self._guard.watch.begin(self._guard.owner, self._hook)
        try:
            self.value = self._call()
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            self.error = error
        finally:
            self._guard.watch.end(entry)
            self.done.set()


def copied(conditioning: Conditioning) -> Conditioning:
    """A conditioning with tensors of its own."""
    vector = conditioning.vector
    return replace(conditioning, tokens=conditioning.tokens.clone(), vector=None if vector is None else vector.clone())


def guarded_result(guard: Guard, hook: str, made: Any) -> Any:
    """What an opener of networks returned: a function, or a description of a file with the function that builds its module.

    A source of weights builds its network itself, which is the program's own.
    """
    if is_dataclass(made) and not isinstance(made, type) and any(each.name == "build" for each in fields(made)):
        return replace(made, build=guard.direct(hook, made.build))  # type: ignore[attr-defined]
    return guard.direct(hook, made) if callable(made) else made


def _on_a_copy(function: Callable[..., Any], at: int = 0) -> Callable[..., Any]:
    """The same function, which is given a copy of the tensor at one place."""

    def called(*given: Any) -> Any:
        return function(*given[:at], given[at].clone(), *given[at + 1 :])

    return called


def _is(one: object, other: object) -> bool:
    return one is other


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  an extension's error may have a broken __str__
        return "(an error without words)"


def _is_memory(error: BaseException) -> bool:
    """Whether an error means that memory did not suffice, which the engine knows what to do about."""
    if isinstance(error, MemoryError):
        return True
    if "torch" not in sys.modules:
        return False
    from webui.engine.faults import out_of_memory

    return out_of_memory(error)
