"""The stream tells everything of one's own jobs in order, holds nothing up, and ends when it should."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import anyio.to_thread
import pytest

from tests.api.house import SECRET, House, Listener, house
from webui.api import events
from webui.api.events import Previews, Stream, Streams
from webui.errors import TooMany
from webui.settings import Settings

LONG = {"steps": 150, "count": 100}
KEPT = ("queued", "started", "picture", "finished")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house"), step_seconds=0.002) as made:
        yield made


@pytest.fixture
def home(opened: House) -> Iterator[House]:
    yield opened
    for user in (opened.owner, opened.anna, opened.bob):
        for view in opened.studio.queue.view(user):
            opened.studio.queue.cancel(user, view["job"])
        asyncio.run(opened.until_idle(user))


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


async def until(test: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not test():
            await asyncio.sleep(0.005)


def test_without_an_open_job_it_ends_at_once(home: House) -> None:
    async def test() -> None:
        async with home.listen(home.anna) as listener:
            assert await listener.rest() == [{"job": "", "number": 0, "kind": "idle"}]
            assert listener.ended and listener.status == 200
            assert listener.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert listener.headers["cache-control"] == "no-store"

    run(test)


def test_a_job_is_told_from_its_view_to_its_end(home: House) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            await told_from_the_view(stack)

    async def told_from_the_view(stack: AsyncExitStack) -> None:
        with home.held():
            job = await asyncio.to_thread(home.submit, home.anna, steps=20, count=2, prompt="tell me")
            listener = await stack.enter_async_context(home.listen(home.anna))
            view = await listener.next() or {}
        *told, idle = await listener.rest()
        assert (view["kind"], view["job"], view["pictures"], view["prompt"]) == ("view", job, 2, "tell me")
        assert idle["kind"] == "idle" and told[-1]["kind"] == "finished"
        assert {event["job"] for event in told} == {job} and {event["kind"] for event in told} > {"progress", "picture"}
        numbers = [event["number"] for event in told if event["number"] > view["last"]]
        assert numbers == list(range(view["last"] + 1, numbers[-1] + 1))
        kept = home.studio.queue.events(home.anna, job)
        assert [event for event in told if event["number"]] == [event for event in kept if event["number"] >= numbers[0]]
        for name in [event["id"] for event in told if event["kind"] == "picture"]:
            assert home.studio.pictures.get(home.anna, name).path.is_file()

    run(test)


def test_a_reload_finds_the_running_job_again_and_its_step_goes_on(home: House) -> None:
    async def test() -> None:
        job = await asyncio.to_thread(home.submit, home.anna, **LONG)
        steps: list[tuple[int, int]] = []
        for _ in range(3):
            async with home.listen(home.anna) as listener:
                view = await listener.next()
                assert view is not None and view["kind"] == "view" and view["job"] == job
                await listener.until(lambda event: event["kind"] == "progress" and event["step"] > 5)
                steps.append((view["picture"] or 0, view["step"] or 0))
        assert steps == sorted(steps) and steps[0] < steps[-1]

    run(test)


def test_two_tabs_hear_the_same_and_nobody_else_hears_it(home: House) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            with home.held():
                hers = await asyncio.to_thread(home.submit, home.anna)
                his = await asyncio.to_thread(home.submit, home.bob)
                listeners = [await stack.enter_async_context(home.listen(user)) for user in (home.anna, home.anna, home.bob)]
                assert [(await listener.next() or {})["job"] for listener in listeners] == [hers, hers, his]
            for listener, job in zip(listeners, (hers, hers, his), strict=True):
                told = await listener.rest()
                assert {event["job"] for event in told} == {job, ""} and told[-2]["kind"] == "finished"

    run(test)


def test_a_job_that_is_submitted_while_another_ends_keeps_the_stream_open(home: House) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            with home.held():
                first = await asyncio.to_thread(home.submit, home.anna)
                listener = await stack.enter_async_context(home.listen(home.anna))
                await listener.next()
                second = await asyncio.to_thread(home.submit, home.anna, steps=60)
            told = await listener.rest()
            assert [event["job"] for event in told if event["kind"] == "finished"] == [first, second]

    run(test)


def test_whoever_goes_away_is_forgotten_at_once(home: House) -> None:
    async def test() -> None:
        await asyncio.to_thread(home.submit, home.anna, **LONG)
        async with home.listen(home.anna) as listener:
            await listener.until(lambda event: event["kind"] == "progress")
            assert home.studio.queue.broadcast.watchers() == (home.anna.id,)
        assert home.studio.queue.broadcast.watchers() == ()

    run(test)


def test_whoever_is_signed_out_hears_no_more(home: House, caplog: pytest.LogCaptureFixture) -> None:
    users = home.studio.users

    async def test() -> None:
        token = await asyncio.to_thread(users.sign_in, "Bob", SECRET, "elsewhere", "another browser")
        await asyncio.to_thread(home.submit, home.bob, **LONG)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(home.cookies, home.bob.id, f"webui-0={token}")
            async with home.listen(home.bob) as listener:
                await listener.until(lambda event: event["kind"] == "progress")
                await asyncio.to_thread(users.sign_out, token)
                assert "idle" not in {event["kind"] for event in await listener.rest()}
        assert home.studio.queue.broadcast.watchers() == ()

    with caplog.at_level(logging.INFO, "webui"):
        run(test)
    assert "failed" not in caplog.text


def test_no_listener_holds_a_thread(home: House) -> None:
    async def test() -> None:
        await asyncio.to_thread(home.submit, home.anna, **LONG)
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1
        async with AsyncExitStack() as stack:
            listeners = [await stack.enter_async_context(home.listen(home.anna)) for _ in range(15)]
            for listener in listeners:
                await listener.until(lambda event: event["kind"] == "progress")

    run(test)


def test_news_that_arrive_late_do_not_keep_the_stream_open(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event may be taken before the word that there is one: that comes while the stream looks whether jobs are open."""
    look = Stream._idle
    looked = []

    async def late(stream: Stream) -> bool:
        idle = await look(stream)
        if idle and len(looked) < 2:
            looked.append(stream)
            stream._news.set()
        return idle

    async def test() -> None:
        monkeypatch.setattr(Stream, "_idle", late)
        with home.held():
            await asyncio.to_thread(home.submit, home.anna)
            listening = asyncio.create_task(home.until_idle(home.anna))
            await until(lambda: home.studio.queue.broadcast.watchers())
        async with asyncio.timeout(events.HEARTBEAT_SECONDS / 2):
            assert (await listening)[-1]["kind"] == "idle" and len(looked) == 2
            looked.clear()
            assert (await home.until_idle(home.bob))[-1]["kind"] == "idle" and len(looked) == 2

    run(test)


def test_silence_is_looked_into(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever went unsaid, a stream ends soon after nothing is open any more."""
    async def test() -> None:
        streams, listener = Streams(home.studio.queue, home.studio.preferences, heartbeat=0.01), Listener()
        with monkeypatch.context() as patch:
            patch.setattr(home.studio.queue.broadcast, "tell", lambda user, event: None)
            with home.held():
                await asyncio.to_thread(home.submit, home.anna)
                task = await alone(streams, home, listener)
                assert (await listener.next() or {})["kind"] == "view"
            assert [event["kind"] for event in await listener.rest()] == ["idle"]
            await task

    run(test)


def test_one_more_than_many_streams_is_a_sentence(home: House) -> None:
    async def test() -> None:
        await asyncio.to_thread(home.submit, home.anna, **LONG)
        async with AsyncExitStack() as stack:
            for _ in range(events.MOST_STREAMS):
                listener = await stack.enter_async_context(home.listen(home.anna))
                await listener.next()
            refused = await asyncio.to_thread(home.get, "/x/events", home.anna)
            assert refused.status == 429 and "20 pages of yours listen already" in refused.json()["error"]
            assert (await home.until_idle(home.bob))[-1]["kind"] == "idle"
        async with home.listen(home.anna) as listener:
            assert (await listener.next() or {})["kind"] == "view"

    run(test)


async def alone(streams: Streams, home: House, listener: Listener) -> asyncio.Task[None]:
    """A stream without the guard around it."""
    stream = await streams.events(home.anna)
    return asyncio.create_task(stream({"type": "http"}, listener.receive, listener.send))  # type: ignore[arg-type]


def test_the_end_of_the_server_ends_streams_at_once_and_does_not_call_that_idle(home: House) -> None:
    async def test() -> None:
        streams, listener = Streams(home.studio.queue, home.studio.preferences), Listener()
        with home.held():
            await asyncio.to_thread(home.submit, home.anna, **LONG)
            task = await alone(streams, home, listener)
            assert (await listener.next() or {})["kind"] == "view"
            await asyncio.sleep(3 * events.PAUSE_SECONDS)  # it waits for news now, of which there are none
            await asyncio.to_thread(streams.close)
            told = await asyncio.wait_for(listener.rest(), events.HEARTBEAT_SECONDS / 2)
            assert "idle" not in {event["kind"] for event in told}
            await task
        late = Listener()
        await (await alone(streams, home, late))
        assert {event["kind"] for event in await late.rest()} == {"view"}

    run(test)


def test_silence_is_filled_with_comments(home: House) -> None:
    async def test() -> None:
        with home.held():
            await asyncio.to_thread(home.submit, home.anna)
            streams, listener = Streams(home.studio.queue, home.studio.preferences, heartbeat=0.01), Listener()
            task = await alone(streams, home, listener)
            await until(lambda: listener.comments > 3)
            listener.gone.set()
            await task

    run(test)


def test_who_wants_no_previews_gets_none_and_none_are_made(home: House) -> None:
    async def test() -> None:
        home.studio.preferences.change(home.anna, {"previews": False})
        await asyncio.to_thread(home.submit, home.anna, **LONG)
        async with home.listen(home.anna) as listener:
            seen = [await listener.until(lambda event: event["kind"] != "view") for _ in range(20)]
            assert "preview" not in {event["kind"] for event in seen}
            assert not home.studio.queue.broadcast.watched(home.anna.id)
            changed = {"values": {"previews": True, "previews_per_second": 8}}
            assert (await asyncio.to_thread(home.post, "/x/settings", changed, home.anna)).status == 200
            await listener.until(lambda event: event["kind"] == "preview")
            await asyncio.to_thread(home.post, "/x/settings", {"values": {"previews": False}}, home.anna)
            await until(lambda: not home.studio.queue.broadcast.watched(home.anna.id))

    try:
        run(test)
    finally:
        home.studio.preferences.change(home.anna, {"previews": None, "previews_per_second": None})


# --- which previews are passed on


def preview(picture: int, sequence: int, job: str = "j") -> dict[str, Any]:
    return {"job": job, "number": 0, "kind": "preview", "picture": picture, "step": sequence, "sequence": sequence}


def test_previews_come_no_sooner_than_wanted_and_the_newest_is_never_lost() -> None:
    sieve = Previews(Settings(previews_per_second=2))
    assert sieve.sift([preview(0, 1), preview(1, 2)], 10.0) == [preview(0, 1), preview(1, 2)] and sieve.due(10.0) is None
    progress = {"job": "j", "number": 0, "kind": "progress", "picture": 0}
    assert sieve.sift([preview(0, 3), progress, preview(0, 4)], 10.1) == [progress]
    assert sieve.due(10.1) == pytest.approx(0.4)
    assert sieve.sift([], 10.4) == [] and sieve.sift([], 10.5) == [preview(0, 4)]
    assert sieve.due(10.5) is None and sieve.sift([preview(0, 5)], 10.9) == [] and sieve.due(11.5) == 0


def test_a_finished_picture_has_no_preview_after_it_and_nothing_is_remembered() -> None:
    sieve = Previews(Settings(previews_per_second=1))
    picture = {"job": "j", "number": 5, "kind": "picture", "picture": 0}
    ended = {"job": "j", "number": 6, "kind": "finished"}
    sieve.sift([preview(0, 1), preview(1, 1), preview(0, 1, "k")], 0.0)
    sieve.sift([preview(0, 2), preview(1, 2), preview(0, 2, "k")], 0.1)
    assert sieve.sift([picture], 0.2) == [picture] and sieve.sift([ended], 0.3) == [ended]
    assert sieve.sift([], 5.0) == [preview(0, 2, "k")] and set(sieve._next) == {("k", 0)} and not sieve._held


def test_no_previews_are_wanted() -> None:
    sieve = Previews(Settings(previews=False))
    assert sieve.sift([preview(0, 1)], 0.0) == [] and sieve.due(0.0) is None
    sieve.use(Settings())
    assert sieve.sift([preview(0, 2)], 0.0) == [preview(0, 2)]


def test_too_many_is_said_before_anything_is_sent(home: House) -> None:
    async def test() -> None:
        streams = Streams(home.studio.queue, home.studio.preferences, most=0)
        with pytest.raises(TooMany):
            await streams.events(home.anna)
        assert isinstance(await Streams(home.studio.queue, home.studio.preferences).events(home.anna), Stream)

    run(test)
