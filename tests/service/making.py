"""The core of the jobs put together for tests: real rows, real files, no model and no torch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from webui.drawing import Txt2Img
from webui.request import NO_INPUTS, InputFacts, ModelFacts, Request, SamplerFacts, resolve
from webui.service.broadcast import Broadcast, Subscription
from webui.service.database import Database
from webui.service.engines import EngineHandle
from webui.service.inputs import Inputs
from webui.service.jobs import Job, Jobs
from webui.service.keeping import Keeper
from webui.service.limits import UserLimits
from webui.service.pictures import Pictures
from webui.service.queue import Queue
from webui.service.running import Complete, as_it_is
from webui.service.turns import Slots
from webui.service.users import User
from webui.service.worker import Worker

WAIT = 60.0  # seconds; nothing takes so long but a machine that is very busy


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that is going to hold."""
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        threading.Event().wait(0.002)


class Clock:
    """A time that only passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Model:
    """Resolves parameters as if there were one model, of 32 x 32 pixels; without `known` it was never read whole."""

    def __init__(self, *, known: bool = True) -> None:
        self.hash = "0" * 64 if known else ""

    def outline(self, params: Txt2Img, inputs: Mapping[str, InputFacts] = NO_INPUTS, task: str = "") -> Request:
        if task == "map":
            return replace(self.outline(params, inputs), task=task)
        facts = ModelFacts(name="m", hash=self.hash, native_size=32)
        sampler = SamplerFacts(name=params.sampler, schedule="Karras")
        return resolve(params, model=facts, sampler=sampler, random_seed=lambda: 7, inputs=inputs)


@dataclass(kw_only=True, eq=False)
class Core:
    """Everything around an engine."""

    database: Database
    broadcast: Broadcast
    jobs: Jobs
    pictures: Pictures
    worker: Worker
    queue: Queue
    engine: EngineHandle
    clock: Clock
    inputs: Inputs
    owner: User = field(default_factory=lambda: User(id=1, name="owner", owner=True))

    def user(self, name: str) -> User:
        """Another account."""
        with self.database.write() as connection:
            made = connection.execute("INSERT INTO users (name, created) VALUES (?, 0)", (name,))
        return User(id=int(made.lastrowid or 0), name=name, owner=False)

    def submit(self, user: User | None = None, **params: Any) -> str:
        """Queue a small job."""
        return self.queue.submit(user or self.owner, "txt2img", Txt2Img(**{"width": 64, "height": 64, "steps": 3} | params))

    def job(self, job: str) -> Job:
        """The row."""
        found = self.jobs.get(job)
        assert found is not None
        return found

    def ended(self, job: str) -> Job:
        """The row once the job has ended."""
        until(lambda: not self.job(job).open)
        return self.job(job)

    def kinds(self, job: str) -> list[str]:
        """What happened to a job."""
        return [event["kind"] for event in self.jobs.events(job)]

    def listen(self, user: User) -> Listener:
        """Hear what is told to a user."""
        return Listener(self.broadcast, user)

    def close(self) -> None:
        """End in good order."""
        self.worker.close()
        self.database.close()


class Listener:
    """What a user's page would hear."""

    def __init__(self, broadcast: Broadcast, user: User) -> None:
        self._called = threading.Condition()
        self.heard: list[dict[str, Any]] = []
        self.subscription: Subscription = broadcast.subscribe(user.id, self._notify)

    def _notify(self) -> None:
        with self._called:
            self._called.notify_all()

    def until(self, kind: str, **data: Any) -> dict[str, Any]:
        """The first event like this since the beginning; what came is in `heard`."""
        deadline = time.monotonic() + WAIT
        while True:
            with self._called:
                self.heard += self.subscription.take()
                found = [each for each in self.heard if each["kind"] == kind and data.items() <= each.items()]
                if found:
                    return found[0]
                assert time.monotonic() < deadline, f"no {kind} among {self.heard}"
                self._called.wait(0.05)


def core(
    root: Path, engine: EngineHandle, *, slots: Slots | None = None, limits: UserLimits | None = None, start: bool = True,
    complete: Complete = as_it_is, known: bool = True,
) -> Core:  # fmt: skip
    """Open one below `root`; what is there already goes on."""
    clock = Clock()
    database = Database(root / "data" / "webui.sqlite3")
    broadcast = Broadcast()
    jobs = Jobs(database, clock, broadcast)
    pictures = Pictures(database, root / "outputs", clock)
    inputs = Inputs(database, root, clock)
    keeper = Keeper(database=database, jobs=jobs, pictures=pictures, inputs=inputs)
    worker = Worker(jobs, engine, broadcast, keeper, slots=slots or Slots(), timer=time.monotonic, complete=complete)
    queue = Queue(jobs, worker, Model(known=known), broadcast, lambda: limits or UserLimits(), inputs)  # type: ignore[arg-type]
    made = Core(
        database=database, broadcast=broadcast, jobs=jobs, pictures=pictures, worker=worker, queue=queue, engine=engine,
        clock=clock, inputs=inputs,
    )  # fmt: skip
    if start:
        worker.start()
    return made
