"""Many people at once on one page: jobs lost, how long what they click takes, and whether memory is bounded.

    python -m benchmarks.page_load [--seconds 60] [--users 50] [--without-page]

The real server runs in a process of its own, on loopback, with an engine that draws gradients. Everybody signs in, submits jobs,
listens to their events, and meanwhile looks at previews, thumbnails, pictures, lists and searches, and stars some, with pauses
between as people make them. Times are those that the clients see. A job is lost if it did not finish, or if its pictures are not
in the gallery. Memory is that of the server's process (on Linux): when everybody has signed in, after a fifth of the time, at the
end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

MOST_SECONDS, MOST_USERS = 600, 200
GOAL_MILLISECONDS = 200  # of the interactive routes, at the 95th percentile
LAST_SECONDS = 120.0  # that jobs may take to end once nobody submits more
START_SECONDS = 120.0
PAUSES = (0.3, 1.2)  # seconds between two clicks of one person
STEPS, COUNT, STEP_SECONDS = 20, 2, 0.005
PASSWORD = "correct horse battery"
WORDS = ("ball", "cube", "cone", "ring", "pyramid", "cylinder")


@dataclass(kw_only=True)
class Outcome:
    """What was seen. Times are in seconds, by what was asked for."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    submitted: dict[str, str] = field(default_factory=dict)  # jobs, and the names of those whose they are
    finished: set[str] = field(default_factory=set)
    pictures: int = 0
    refused: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)  # bytes

    @property
    def lost(self) -> int:
        """How many jobs did not finish, or have no pictures."""
        return len(set(self.submitted) - self.finished)

    def interactive(self) -> list[float]:
        """The times of all that a person waits for."""
        return [seconds for name, found in self.times.items() if name != "sign in" for seconds in found]


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much there is to carry."""

    users: int = 50
    seconds: float = 60.0
    page: bool = True


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns 1 where a job was lost or the goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help=f"how long people submit jobs, at most {MOST_SECONDS}")
    parser.add_argument("--users", type=int, default=50, help=f"how many people, at most {MOST_USERS}")
    parser.add_argument("--without-page", action="store_true", help="leave Gradio out")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    load = Load(
        users=min(max(options.users, 1), MOST_USERS), seconds=min(max(options.seconds, 0.1), MOST_SECONDS),
        page=not options.without_page,
    )  # fmt: skip
    if options.serve is not None:
        serve(options.serve, load)
        return 0
    outcome = asyncio.run(measured(load))
    report(load, outcome)
    return int(outcome.lost > 0 or bool(outcome.refused) or percentile(outcome.interactive(), 95) * 1000 > GOAL_MILLISECONDS)


# --- the server's process


def serve(folder: Path, load: Load) -> None:
    """Serve until the parent ends us; says on stdout where, once it answers."""
    from tests.service.pretend import PretendEngine, place_model
    from webui.api.application import build
    from webui.api.entrance import Entrance
    from webui.api.server import Server, gradio_environment, listen
    from webui.service.studio import open_studio

    for name, value in gradio_environment(dict(os.environ), folder / "uploads").items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    place_model(folder)
    make_accounts(folder, load.users)
    with open_studio(folder, engine=PretendEngine(STEP_SECONDS)) as studio, listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        entrance = Entrance(everyone_signs_in=True, port=port)
        if load.page:
            from webui.ui.page import mount

            application = build(studio, mount, entrance)
        else:
            application = build(studio, None, entrance)
        threading.Thread(target=end_with_parent, daemon=True).start()
        Server(application, lambda: print(json.dumps({"port": port}), flush=True), application.end).run(sockets=[listening])


def end_with_parent() -> None:
    """Wait until whoever started this process is gone, and go too."""
    sys.stdin.read()
    os._exit(0)


def make_accounts(folder: Path, users: int) -> None:
    """Accounts whose passwords cost little to check: what signing in costs is not the question here."""
    from webui.service.database import Database
    from webui.service.folders import DATA, own_folder
    from webui.service.passwords import Cost, Hasher
    from webui.service.studio import DATABASE
    from webui.service.users import Users

    database = Database(own_folder(folder, DATA) / DATABASE)
    known = Users(database, hasher=Hasher(Cost(n=16, r=1, p=1)))
    for number in range(users):
        known.create(name_of(number), PASSWORD)
    database.close()


@contextmanager
def server(load: Load) -> Iterator[tuple[str, int]]:
    """Its address, and the number of its process."""
    with tempfile.TemporaryDirectory(prefix="page-load-") as folder:
        command = [sys.executable, "-m", "benchmarks.page_load", "--serve", folder, "--users", str(load.users)]
        command += [] if load.page else ["--without-page"]
        child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            if not line:
                raise SystemExit("The server ended before it answered; see above.")
            yield f"http://127.0.0.1:{json.loads(line)['port']}", child.pid
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()


# --- the people


def name_of(number: int) -> str:
    """A person's name."""
    return f"person {number}"


class Person:
    """Somebody with a browser."""

    def __init__(self, number: int, client: httpx.AsyncClient, outcome: Outcome) -> None:
        self.name = name_of(number)
        self._client = client
        self._outcome = outcome
        self._random = random.Random(number)
        self._previews: dict[str, str] = {}
        self._known: list[str] = []  # ids of pictures

    async def sign_in(self) -> None:
        """Get a session."""
        reply = await self._ask("sign in", "POST", "/login", data={"name": self.name, "password": PASSWORD})
        if reply.status_code != 303 or reply.headers.get("location") != "/":
            raise SystemExit(f"{self.name} could not sign in: {reply.status_code} {reply.text[:200]}")

    async def work(self, until: float) -> None:
        """Submit jobs one after the other and look around meanwhile."""
        await asyncio.sleep(self._random.uniform(0, PAUSES[1]))
        while time.monotonic() < until:
            prompt = f"a {self._random.choice(WORDS)} on a table"
            told = {"kind": "txt2img", "parameters": {"prompt": prompt, "steps": STEPS, "count": COUNT}}
            reply = await self._ask("submit", "POST", "/x/jobs", json=told)
            if reply.status_code == 200:
                self._outcome.submitted[reply.json()["job"]] = self.name
            listening = asyncio.create_task(self._listen())
            try:
                while not listening.done():
                    await self._click()
                    await asyncio.wait([listening], timeout=self._random.uniform(*PAUSES))
                await listening
            finally:
                listening.cancel()

    async def check(self) -> None:
        """Look whether all jobs have finished, and all their pictures are there."""
        for job, whose in self._outcome.submitted.items():
            if whose == self.name:
                events = (await self._client.get(f"/x/jobs/{job}/events")).json()["events"]
                pictures = (await self._client.get(f"/x/pictures?job={job}")).json()["pictures"]
                self._outcome.pictures += len(pictures)
                if events[-1]["kind"] == "finished" and len(pictures) == COUNT:
                    self._outcome.finished.add(job)

    async def idle(self) -> None:
        """Wait until no job is open."""
        while (await self._client.get("/x/jobs")).json()["jobs"]:
            await asyncio.sleep(0.2)

    async def _listen(self) -> None:
        async with self._client.stream("GET", "/x/events", timeout=60.0) as stream:
            if stream.status_code != 200:
                self._outcome.refused.append(f"events: {stream.status_code}")
                return
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    if event["kind"] == "preview":
                        self._previews[event["job"]] = f"/x/jobs/{event['job']}/preview/{event['picture']}?{event['sequence']}"
                    elif event["kind"] == "picture":
                        self._known.append(event["id"])

    async def _click(self) -> None:
        clicks = [("jobs", "/x/jobs"), ("list", "/x/pictures?limit=60")]
        clicks.append(("search", f"/x/pictures?text={self._random.choice(WORDS)}"))
        if self._known:
            picture = self._random.choice(self._known)
            clicks += [("thumbnail", f"/x/pictures/{picture}/thumbnail"), ("picture", f"/x/pictures/{picture}")]
            clicks.append(("star", picture))
        clicks += [("preview", address) for address in list(self._previews.values())[-2:]]
        name, address = self._random.choice(clicks)
        if name == "star":
            await self._ask(name, "POST", "/x/pictures/star", json={"ids": [address]})
        else:
            await self._ask(name, "GET", address)

    async def _ask(self, name: str, method: str, address: str, **more: Any) -> httpx.Response:
        began = time.perf_counter()
        reply = await self._client.request(method, address, **more)
        self._outcome.times[name].append(time.perf_counter() - began)
        expected = (200, 303) if name != "preview" else (200, 204)  # of a picture that is finished there is none
        if reply.status_code not in expected:
            self._outcome.refused.append(f"{name}: {reply.status_code} {reply.text[:100]}")
        return reply


@asynccontextmanager
async def person(number: int, address: str, outcome: Outcome) -> AsyncIterator[Person]:
    """Somebody whose browser keeps its connections."""
    limits = httpx.Limits(max_connections=6)
    known = {"base_url": address, "headers": {"Origin": address}}
    async with httpx.AsyncClient(**known, timeout=60.0, limits=limits, trust_env=False) as client:  # type: ignore[arg-type]
        yield Person(number, client, outcome)


async def measured(load: Load) -> Outcome:
    """Everything from start to end."""
    outcome = Outcome()
    with server(load) as (address, process):
        async with asyncio.timeout(START_SECONDS + load.seconds + LAST_SECONDS):
            stacks = [person(number, address, outcome) for number in range(load.users)]
            people = [await stack.__aenter__() for stack in stacks]
            try:
                for each in people:
                    await each.sign_in()
                outcome.memory.append(memory_of(process))
                until = time.monotonic() + load.seconds
                working = asyncio.gather(*(each.work(until) for each in people))
                await asyncio.wait([working], timeout=load.seconds / 5)
                outcome.memory.append(memory_of(process))
                await working
                for each in people:
                    await each.idle()
                outcome.memory.append(memory_of(process))
                for each in people:
                    await each.check()
            finally:
                for stack in stacks:
                    await stack.__aexit__(None, None, None)
    return outcome


def memory_of(process: int) -> int:
    """Bytes that a process holds in memory; 0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    import resource

    return pages * resource.getpagesize()


# --- what came of it


def percentile(values: list[float], percent: float) -> float:
    """The value that `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] if ordered else 0.0


def report(load: Load, outcome: Outcome) -> None:
    """Print the figures."""
    print(f"{load.users} people for {load.seconds:g} s, {'with' if load.page else 'without'} the page")
    print(f"jobs: {len(outcome.submitted)} submitted, {outcome.lost} lost; {outcome.pictures} pictures")
    print(f"{'':12}{'requests':>9}{'50 %':>8}{'95 %':>8}{'99 %':>8}  ms")
    rows = [*sorted(outcome.times.items()), ("interactive", outcome.interactive())]
    for name, times in rows:
        cells = "".join(f"{percentile(times, percent) * 1000:8.0f}" for percent in (50, 95, 99))
        print(f"{name:12}{len(times):9}{cells}")
    print(f"goal: interactive routes under {GOAL_MILLISECONDS} ms at the 95th percentile")
    names = ("signed in", "after a fifth", "at the end")
    print("memory: " + ", ".join(f"{size / 2**20:.0f} MB {name}" for name, size in zip(names, outcome.memory, strict=True)))
    for sentence in outcome.refused[:10]:
        print(f"refused: {sentence}")


if __name__ == "__main__":
    raise SystemExit(main())
