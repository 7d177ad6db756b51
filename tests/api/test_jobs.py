"""Jobs over HTTP: what is submitted is what was meant, and everybody has to do with their own only."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.api.house import House, house
from webui.service.styles import Style
from webui.service.users import User

ACTS = ["interrupt", "skip", "cancel", "retry", "move"]


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


def test_a_job_is_made_of_its_parameters(home: House) -> None:
    job = home.submit(
        home.anna, prompt="a ball", negative="blurry", steps="3", scale=2.5, seed=str(2**64 - 1), width=64, height=None,
        sampler="DPM++ 2M Karras", count=2,
    )  # fmt: skip
    asyncio.run(home.until_idle(home.anna))
    newest, first = home.pictures(home.anna, f"?job={job}")
    assert first["parameters"].startswith("a ball\nNegative prompt: blurry\nSteps: 3, Sampler: DPM++ 2M, Schedule type: Karras,")
    assert "CFG scale: 2.5" in first["parameters"] and "Size: 64x128" in first["parameters"]
    assert (first["seed"], newest["seed"]) == (str(2**64 - 1), "0")
    told = home.get(f"/x/jobs/{job}/events", home.anna).json()["events"]  # numbers would lose digits in a browser
    assert {event["seed"] for event in told if event["kind"] == "picture"} == {str(2**64 - 1), "0"}


def test_styles_are_part_of_what_is_submitted(home: House) -> None:
    home.studio.styles.put(home.anna, Style(name="photo", prompt="photo of {prompt}", negative="drawing"))
    told = {"kind": "txt2img", "parameters": {"prompt": "a ball", "negative": "blurry", "steps": 1}, "styles": ["photo"]}
    job = home.post("/x/jobs", told, home.anna).json()["job"]
    asyncio.run(home.until_idle(home.anna))
    (made,) = home.pictures(home.anna, f"?job={job}")
    assert made["parameters"].startswith("photo of a ball\nNegative prompt: blurry, drawing\n")
    refused = home.post("/x/jobs", told, home.bob)
    assert refused.status == 400 and refused.json()["error"] == "Unknown style 'photo': there is none yet."


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({}, "kind was null; it must be a text."), ([], "no JSON object"), ({"kind": "img3img"}, "no jobs of the kind 'img3img'"),
        ({"kind": "txt2img", "parameters": []}, "parameters was []"), ({"kind": "txt2img", "parameters": {"stesp": 3}}, "steps"),
        ({"kind": "txt2img", "parameters": {"steps": 0}}, "Steps was 0; it must be"), ({"kind": ["txt2img"]}, "kind was"),
        ({"kind": "txt2img", "parameters": {"seed": None}}, "Seed was"),
        ({"kind": "txt2img", "parameters": {"steps": float("inf")}}, "no JSON"),
        ({"kind": "txt2img", "parameters": {"sampler": "Eular"}}, "did you mean Euler"),
        ({"kind": "txt2img", "parameters": {"model": "../../x"}}, "Unknown model"),
        ({"kind": "txt2img", "styles": "x"}, "styles was 'x'; it must be a list of texts."),
        ({"kind": "txt2img", "styles": ["x"] * 51}, "styles has 51 entries; name at most 50 at once."),
        ({"kind": "txt2img", "parameters": {"prompt": "x" * 20_001}}, "Prompt was 20,001 characters"),
        ({"kind": "txt2img", "parameters": {"width": 8192, "height": 8192}}, "The size was 8192x8192"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_job_is_a_sentence_and_costs_nothing(home: House, told: object, sentence: str) -> None:
    reply = home.post("/x/jobs", told, home.anna)
    assert reply.status == 400 and sentence in reply.json()["error"]
    assert home.get("/x/jobs", home.anna).json() == {"jobs": []}


def test_a_queue_has_an_end_and_the_limits_are_the_owners(home: House) -> None:
    home.post("/x/settings", {"values": {"most_jobs": 2, "most_steps": 60}})
    for _ in range(2):
        home.submit(home.anna, steps=60, count=90)
    refused = home.post("/x/jobs", {"kind": "txt2img", "parameters": {}}, home.anna)
    assert refused.status == 429 and refused.json()["error"].startswith("You have 2 jobs that have not ended, and may have 2")
    reply = home.post("/x/jobs", {"kind": "txt2img", "parameters": {"steps": 61}}, home.bob)
    assert (reply.status, reply.json()) == (400, {"error": "Steps was 61; here it is at most 60."})
    home.submit(home.bob)
    home.post("/x/settings", {"values": {"most_jobs": None, "most_steps": None}})


def test_one_sees_ones_own_jobs_in_order(home: House) -> None:
    hers = [home.submit(home.anna, steps=150, count=90) for _ in range(3)]
    his = home.submit(home.bob, steps=150)
    views = home.get("/x/jobs", home.anna).json()["jobs"]
    assert [view["job"] for view in views] == hers and {view["kind"] for view in views} == {"txt2img"}
    assert [view["job"] for view in home.get("/x/jobs", home.bob).json()["jobs"]] == [his]


@pytest.mark.parametrize("act", ACTS)
def test_nobody_touches_somebody_elses_job(home: House, act: str) -> None:
    job = home.submit(home.anna, steps=150, count=90)
    theirs = home.post(f"/x/jobs/{job}/{act}", {}, home.bob)
    absent = home.post(f"/x/jobs/{'0' * 16}/{act}", {}, home.bob)
    assert theirs.status == absent.status == 404 and theirs.text.replace(job, "0" * 16) == absent.text
    for address in (f"/x/jobs/{job}/events", f"/x/jobs/{job}/preview/0", f"/x/jobs/{job}/zip"):
        assert home.get(address, home.bob).status == 404
    assert [view["job"] for view in home.get("/x/jobs", home.anna).json()["jobs"]] == [job]


def test_a_job_is_interrupted_skipped_moved_cancelled_and_tried_again(home: House) -> None:
    def kinds(job: str) -> list[str]:
        return [event["kind"] for event in home.get(f"/x/jobs/{job}/events", home.anna).json()["events"]]

    jobs = [home.submit(home.anna, steps=150, count=100) for _ in range(7)]  # some run, the last ones wait
    first, second, waiting, last = jobs[0], jobs[1], jobs[-2], jobs[-1]
    assert home.post(f"/x/jobs/{last}/move", {"before": waiting}, home.anna).json() == {"job": last}
    assert [view["job"] for view in home.get("/x/jobs", home.anna).json()["jobs"]][-2:] == [last, waiting]
    assert home.post(f"/x/jobs/{last}/move", {"before": None}, home.anna).status == 200
    assert [view["job"] for view in home.get("/x/jobs", home.anna).json()["jobs"]][-2:] == [waiting, last]
    assert home.post(f"/x/jobs/{first}/skip", {"picture": 5}, home.anna).status == 200
    assert home.post(f"/x/jobs/{first}/interrupt", None, home.anna).status == 200
    for job in jobs[1:]:
        assert home.post(f"/x/jobs/{job}/cancel", {}, home.anna).json() == {"job": job}
    asyncio.run(home.until_idle(home.anna))
    assert kinds(first)[-1] == "interrupted" and kinds(second)[-1] == kinds(last)[-1] == "cancelled"
    again = home.post(f"/x/jobs/{second}/retry", {}, home.anna).json()["job"]
    assert again not in jobs and kinds(again)[0] == "queued"
    numbers = [event["number"] for event in home.get(f"/x/jobs/{first}/events?after=1", home.anna).json()["events"]]
    assert numbers == list(range(2, len(numbers) + 2))


@pytest.mark.parametrize(
    ("act", "body", "sentence"),
    [
        ("skip", b'{"picture": -1}', "picture was -1"), ("skip", b'{"picture": "0"}', "picture was '0'"),
        ("skip", b'{"picture": 1.5}', "picture was 1.5"), ("skip", b'{"picture": true}', "picture was true"),
        ("skip", b'{"picture": 1' + b"0" * 5000 + b"}", "no JSON"), ("skip", b'{"picture": 999}', "numbered from 0"),
        ("move", b'{"before": 3}', "before was 3"), ("move", b'{"before": "nothing"}', "There is no job 'nothing'"),
        ("paint", b"{}", "nothing of that"), ("skip", b"{", "no JSON"), ("skip", b"[" * 100_000, "no JSON"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_with_a_job_is_a_sentence(home: House, act: str, body: bytes, sentence: str) -> None:
    job = home.submit(home.anna, steps=150, count=100)
    reply = home.send("POST", f"/x/jobs/{job}/{act}", body, home.anna)
    assert reply.status in (400, 404) and sentence in reply.json()["error"]


def test_a_preview_is_a_jpeg_that_nobody_keeps(home: House) -> None:
    async def first_preview() -> dict[str, Any]:
        async with home.listen(home.anna) as listener:
            return await listener.until(lambda event: event["kind"] == "preview")

    job = home.submit(home.anna, steps=150, count=100)
    event = asyncio.run(first_preview())
    reply = home.get(f"/x/jobs/{job}/preview/{event['picture']}?{event['sequence']}", home.anna)
    assert (reply.header("content-type"), reply.header("cache-control")) == ("image/jpeg", "no-store")
    with Image.open(io.BytesIO(reply.body)) as preview:
        assert preview.format == "JPEG"
    gone = home.get(f"/x/jobs/{job}/preview/99", home.anna)
    assert (gone.status, gone.body) == (204, b"")  # no fault: the next event says more
    for name in ("x", "-1", "1.5"):
        assert home.get(f"/x/jobs/{job}/preview/{name}", home.anna).status == 404


@pytest.mark.parametrize("after", ["99999999999999999999", "-99999999999999999999", "0"])
def test_any_number_may_be_asked_after(home: House, after: str) -> None:
    job = home.submit(home.anna)
    reply = home.get(f"/x/jobs/{job}/events?after={after}", home.anna)
    assert reply.status == 200 and bool(reply.json()["events"]) is (len(after) == 1 or after[0] == "-")


@pytest.mark.parametrize("address", ["/x/jobs/{job}/move", "/x/pictures/star", "/x/styles", "/x/jobs"])
def test_half_a_sign_is_no_text(home: House, address: str) -> None:
    job = home.submit(home.anna)
    body = b'{"before": "\\ud800", "ids": ["\\ud800"], "name": "\\ud800", "kind": "txt2img", "styles": ["\\ud800"]}'
    reply = home.send("POST", address.format(job=job), body, home.anna, headers={"content-type": "application/json"})
    assert reply.status == 400 and "not Unicode" in reply.json()["error"]
    whole = body.replace(b"ud800", b"u00e4")
    assert home.send("POST", address.format(job=job), whole, home.anna).status in (200, 400, 404)


def upload(home: House, user: User, size: tuple[int, int] = (90, 60), colour: int = 1) -> str:
    """A picture that somebody brings; its digest."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (colour, 2, 3)).save(buffer, "PNG")
    return str(home.send("POST", "/x/inputs", buffer.getvalue(), user).json()["digest"])


def test_a_job_begins_with_ones_own_picture(home: House) -> None:
    digest = upload(home, home.anna)
    told = {"kind": "img2img", "parameters": {"steps": 1, "prompt": "a ball"}, "inputs": {"picture": digest, "sketch": None}}
    with home.held():
        job = home.post("/x/jobs", told, home.anna).json()["job"]
        (listed,) = home.get("/x/jobs", home.anna).json()["jobs"]
        assert (listed["job"], listed["kind"], listed["inputs"]) == (job, "img2img", {"picture": digest})
    asyncio.run(home.until_idle(home.anna))
    (made,) = home.pictures(home.anna, f"?job={job}")
    assert made["inputs"] == {"picture": digest} and (made["width"], made["height"], made["maps"]) == (160, 104, {})
    assert f"Init image hash: {digest[:10]}" in made["parameters"] and "Denoising strength: 0.75" in made["parameters"]


@pytest.mark.parametrize(
    ("inputs", "status", "sentence"),
    [
        ({"picture": "0" * 64}, 404, "no uploaded picture '0000"), ({"picture": "../../x"}, 404, "no uploaded picture"),
        ({"picture": 3}, 400, "picture was 3; it must be a text"), ({"pictures": "x"}, 400, "Unknown input 'pictures'"),
        ([], 400, "inputs was []"), ({}, 400, "img2img needs a picture"),
    ],
)  # fmt: skip
def test_a_picture_that_cannot_be_begun_with_is_a_sentence(home: House, inputs: object, status: int, sentence: str) -> None:
    reply = home.post("/x/jobs", {"kind": "img2img", "inputs": inputs}, home.anna)
    assert reply.status == status and sentence in reply.json()["error"]
    assert home.get("/x/jobs", home.anna).json()["jobs"] == []


def test_the_picture_of_somebody_else_does_not_exist(home: House) -> None:
    digest = upload(home, home.anna)
    for user in (home.bob, home.owner):
        reply = home.post("/x/jobs", {"kind": "extras", "inputs": {"picture": digest}}, user)
        assert reply.status == 404 and "no uploaded picture" in reply.json()["error"]


def test_a_job_is_tried_again_only_while_its_picture_is_there(home: House) -> None:
    digest = upload(home, home.anna, colour=99)
    told = {"kind": "img2img", "parameters": {"steps": 1, "prompt": "fail"}, "inputs": {"picture": digest}}
    job = home.post("/x/jobs", told, home.anna).json()["job"]
    asyncio.run(home.until_idle(home.anna))
    assert home.post(f"/x/jobs/{job}/retry", {}, home.anna).status == 200
    asyncio.run(home.until_idle(home.anna))
    home.send("DELETE", f"/x/inputs/{digest}", user=home.anna)
    reply = home.post(f"/x/jobs/{job}/retry", {}, home.anna)
    assert reply.status == 404 and "upload it again" in reply.json()["error"]


def test_a_map_alone_is_no_picture_of_the_gallery_but_an_input(home: House) -> None:
    digest, before = upload(home, home.anna), len(home.pictures(home.anna))
    (home.studio.root / "models" / "depth").mkdir()
    (home.studio.root / "models" / "depth" / "one.pt").write_bytes(b"weights")
    job = home.post("/x/jobs", {"kind": "map", "inputs": {"picture": digest}}, home.anna).json()["job"]
    asyncio.run(home.until_idle(home.anna))
    events = home.get(f"/x/jobs/{job}/events", home.anna).json()["events"]
    (made,) = [event for event in events if event["kind"] == "map"]
    assert (made["picture"], made["width"], made["height"]) == (0, 90, 60) and events[-1]["kind"] == "finished"
    content = home.get(f"/x/inputs/{made['digest']}", home.anna)
    with Image.open(io.BytesIO(content.body)) as shown:
        assert shown.size == (90, 60) and shown.mode == "I;16"
    assert home.get(f"/x/inputs/{made['digest']}", home.bob).status == 404
    assert len(home.pictures(home.anna)) == before
