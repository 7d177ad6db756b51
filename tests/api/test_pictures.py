"""Pictures over HTTP: exactly as saved, by id only, to whom they belong, and never an error page in a list."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

from tests.api.house import House, house

ABSENT = "0123456789abcdef"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house")) as made:
        yield made


def file_of(home: House, name: str) -> Path:
    return home.studio.pictures.several(home.owner, [name], everyone=True)[0].path


# --- lists


def test_a_list_says_what_the_page_needs(home: House) -> None:
    (name,) = home.make(home.anna, prompt="an owl <b>&amp;", seed=str(2**64 - 1))
    (listed,) = home.pictures(home.anna, "?text=owl")
    assert listed["id"] == name and listed["seed"] == str(2**64 - 1) and listed["prompt"] == "an owl <b>&amp;"
    assert (listed["width"], listed["height"]) == (128, 128) and listed["parameters"].startswith("an owl <b>&amp;\nSteps: 1,")
    assert (listed["starred"], listed["trashed"], listed["gone"], listed["interrupted"]) == (False, None, False, False)
    assert home.get("/x/pictures", home.anna).header("content-type") == "application/json"


def test_pages_follow_each_other_by_number_and_by_id(home: House) -> None:
    made = home.make(home.bob, count=5, prompt="a page")
    first = home.get("/x/pictures?text=page&limit=2", home.bob).json()
    assert first["more"] and [each["id"] for each in first["pictures"]] == made[:2:-1]
    last = first["pictures"][-1]
    for before in (last["id"], last["number"]):
        following = home.get(f"/x/pictures?text=page&limit=3&before={before}", home.bob).json()
        assert [each["id"] for each in following["pictures"]] == made[2::-1] and not following["more"]


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ("limit=0", 400, "Limit was 0; it must be a whole number from 1 to 500"), ("limit=x", 400, "Limit was 'x'"),
        ("starred=maybe", 400, "Starred was 'maybe'; it must be true or false"), ("sort=size", 400, "Unknown parameter 'sort'"),
        ("text=" + "x" * 501, 400, "at most 500"), (f"before={ABSENT}", 404, "There is no picture"),
        ("before=-1", 404, "no picture"), ("before=" + "9" * 15, 200, "pictures"), ("text=%00", 400, "NUL"),
        ("starred=1&trashed=0&everyone=false", 200, "pictures"), ("everyone=1", 403, "Only an owner"),
        ("job=%27%20OR%201", 200, "pictures"), ("before=²", 404, "no picture"),
    ],
)  # fmt: skip
def test_a_question_that_makes_no_sense_gets_a_sentence(home: House, query: str, status: int, sentence: str) -> None:
    reply = home.get(f"/x/pictures?{query}", home.anna)
    assert reply.status == status and sentence in reply.text


# --- files


def test_a_picture_is_sent_as_it_was_saved(home: House) -> None:
    (name,) = home.make(home.anna, prompt="as saved")
    reply = home.get(f"/x/pictures/{name}", home.anna)
    assert reply.body == file_of(home, name).read_bytes() and reply.header("content-type") == "image/png"
    assert reply.header("x-content-type-options") == "nosniff" and reply.header("content-disposition") is None
    assert reply.header("cache-control") == "private, max-age=31536000, immutable" and reply.header("vary") == "Cookie"
    download = home.get(f"/x/pictures/{name}?download=1", home.anna)
    assert download.body == reply.body
    assert download.header("content-disposition") == f'attachment; filename="{file_of(home, name).name}"'


def test_who_has_it_already_is_sent_nothing_but_only_if_it_is_theirs(home: House) -> None:
    (name,) = home.make(home.anna)
    for address in (f"/x/pictures/{name}", f"/x/pictures/{name}/thumbnail"):
        tag = home.get(address, home.anna).header("etag") or ""
        again = home.get(address, home.anna, headers={"if-none-match": tag})
        assert again.status == 304 and again.body == b"" and again.header("etag") == tag
        assert home.get(address, home.anna, headers={"if-none-match": '"other"'}).status == 200
        assert home.get(address, home.bob, headers={"if-none-match": tag}).status == 404


def test_a_small_picture_is_a_webp_of_that_picture(home: House) -> None:
    (name,) = home.make(home.anna, width=768, height=512)
    reply = home.get(f"/x/pictures/{name}/thumbnail", home.anna)
    assert reply.header("content-type") == "image/webp"
    with Image.open(io.BytesIO(reply.body)) as small:
        assert small.size == (320, 213)
    assert home.get(f"/x/pictures/{name}/thumbnail", home.anna).body == reply.body


def test_a_file_that_is_gone_or_broken_is_a_grey_square_in_the_list(home: House) -> None:
    gone, broken = home.make(home.anna, count=2, prompt="gone")
    file_of(home, gone).unlink()
    file_of(home, broken).write_bytes(b"\x89PNG broken")
    for name in (gone, broken):
        reply = home.get(f"/x/pictures/{name}/thumbnail", home.anna)
        assert (reply.status, reply.header("content-type"), reply.header("cache-control")) == (200, "image/webp", "no-store")
        with Image.open(io.BytesIO(reply.body)) as square:
            assert square.size == (160, 160)
    assert [each["gone"] for each in home.pictures(home.anna, "?text=gone")] == [False, True]
    reply = home.get(f"/x/pictures/{gone}", home.anna)
    assert reply.status == 404 and "is gone" in reply.json()["error"]
    assert home.post("/x/pictures/delete", {"ids": [gone]}, home.anna).status == 200
    assert len(home.pictures(home.anna, "?text=gone")) == 1


# --- whose

OTHERS = ["/x/pictures/{}", "/x/pictures/{}?download=1", "/x/pictures/{}/thumbnail", "/x/pictures/zip?ids={}"]
MARKS = ["star", "unstar", "trash", "restore", "delete"]


@pytest.mark.parametrize("address", OTHERS)
def test_a_picture_of_somebody_else_is_like_one_that_never_was(home: House, address: str) -> None:
    (name,) = home.make(home.anna, prompt="hers")
    theirs, absent = (home.get(address.format(each), home.bob) for each in (name, ABSENT))
    assert theirs.status == absent.status == 404
    assert theirs.text.replace(name, ABSENT) == absent.text and theirs.header("cache-control") == "no-store"
    assert home.get(address.format(name)).status == 404  # for the owner too
    assert home.get(address.format(name) + ("&" if "?" in address else "?") + "everyone=1").status == 200
    assert home.get(address.format(name) + ("&" if "?" in address else "?") + "everyone=1", home.bob).status == 403


@pytest.mark.parametrize("what", MARKS)
def test_nobody_marks_what_is_somebody_elses(home: House, what: str) -> None:
    (name,) = home.make(home.anna)
    before = home.pictures(home.anna, "?limit=1")
    for user in (home.bob, home.owner):
        assert home.post(f"/x/pictures/{what}", {"ids": [name]}, user).status == 404
    assert home.post(f"/x/pictures/{what}", {"ids": [name], "everyone": True}, home.bob).status == 403
    assert home.pictures(home.anna, "?limit=1") == before and file_of(home, name).is_file()


@pytest.mark.parametrize(
    "name", ["..", "../../data/webui.sqlite3", "%2e%2e", "..%2f..%2fdata%2fwebui.sqlite3", "%00", "00000-1.png", "x" * 500]
)
def test_a_name_is_never_a_path(home: House, name: str) -> None:
    for tail in ("", "/thumbnail"):
        reply = home.get(f"/x/pictures/{name}{tail}", home.anna)
        assert reply.status in (400, 404) and b"SQLite" not in reply.body


# --- marks


def test_marks_over_http(home: House) -> None:
    one, two = home.make(home.bob, count=2, prompt="marked")
    assert home.post("/x/pictures/star", {"ids": [one]}, home.bob).json() == {"ids": [one]}
    assert [each["id"] for each in home.pictures(home.bob, "?text=marked&starred=1")] == [one]
    home.post("/x/pictures/unstar", {"ids": [one]}, home.bob)
    assert home.pictures(home.bob, "?text=marked&starred=1") == []
    home.post("/x/pictures/trash", {"ids": [one, two]}, home.bob)
    assert home.pictures(home.bob, "?text=marked") == []
    assert [each["id"] for each in home.pictures(home.bob, "?text=marked&trashed=1")] == [two, one]
    home.post("/x/pictures/restore", {"ids": [two]}, home.bob)
    refused = home.post("/x/pictures/delete", {"ids": [one, two]}, home.bob)
    assert refused.status == 400 and "not in the trash" in refused.json()["error"]
    path = file_of(home, one)
    assert home.post("/x/pictures/delete", {"ids": [one]}, home.bob).status == 200 and not path.exists()
    assert home.get(f"/x/pictures/{one}", home.bob).status == 404
    assert [each["id"] for each in home.pictures(home.bob, "?text=marked")] == [two]


@pytest.mark.parametrize(
    ("what", "told", "status"),
    [
        ("star", {"ids": "abc"}, 400), ("star", {"ids": [1]}, 400), ("star", {"ids": ["x" * 101]}, 400), ("star", [], 400),
        ("star", {"ids": ["a"] * 1001}, 400), ("star", {"ids": [], "everyone": 1}, 400), ("paint", {"ids": []}, 404),
        ("star", {"ids": ["'; DROP TABLE pictures; --"]}, 404), ("star", {"ids": []}, 200), ("star", None, 200),
    ],
)  # fmt: skip
def test_bad_marks_get_a_sentence(home: House, what: str, told: object, status: int) -> None:
    reply = home.post(f"/x/pictures/{what}", told, home.anna)
    assert reply.status == status and (status == 200 or reply.json()["error"].endswith("."))


# --- zip files


def test_pictures_come_as_one_file(home: House) -> None:
    made = home.make(home.anna, count=3, prompt="zipped")
    reply = home.get(f"/x/pictures/zip?ids={','.join(made[:2])}", home.anna)
    assert reply.header("content-type") == "application/zip"
    assert re.match(r"attachment; filename\*=utf-8''2%20pictures%20", reply.header("content-disposition") or "")
    with ZipFile(io.BytesIO(reply.body)) as file:
        assert [name for name in file.namelist() if name.endswith(".png")] == [file_of(home, each).name for each in made[:2]]
        assert file.read(file_of(home, made[0]).name) == file_of(home, made[0]).read_bytes()
    assert home.get("/x/pictures/zip", home.anna).status == 400
    assert home.get("/x/pictures/zip?ids=" + ",".join([made[0]] * 1500), home.anna).status == 400


def test_a_jobs_pictures_come_as_one_file(home: House) -> None:
    made = home.make(home.anna, count=3, prompt="batch")
    job = home.pictures(home.anna, "?text=batch&limit=1")[0]["job"]
    home.post("/x/pictures/trash", {"ids": made[1:2]}, home.anna)
    with ZipFile(io.BytesIO(home.get(f"/x/jobs/{job}/zip", home.anna).body)) as file:
        pngs = [name for name in file.namelist() if name.endswith(".png")]
        assert pngs == [file_of(home, each).name for each in (made[0], made[2])]
    for user in (home.bob, home.owner):
        assert home.get(f"/x/jobs/{job}/zip", user).status == 404
    assert home.get(f"/x/jobs/{job}/zip?everyone=1").status == 200
