"""Settings, styles and uploads over HTTP."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.api.house import SECRET, House, house
from webui.settings import Settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house")) as made:
        yield made


# --- settings


def test_settings_are_looked_up_and_changed(home: House) -> None:
    told = home.get("/x/settings", home.anna).json()
    assert told["values"]["theme"] == Settings().theme
    theme, steps = (next(each for each in told["settings"] if each["name"] == name) for name in ("theme", "most_steps"))
    assert theme["yours"] and {each["value"] for each in theme["choices"]} == {"system", "light", "dark"}
    assert steps["owner"] and not steps["yours"] and (steps["min"], steps["max"], steps["kind"]) == (1, 150, "int")
    changed = home.post("/x/settings", {"values": {"theme": "dark"}}, home.anna)
    assert changed.json()["values"]["theme"] == "dark" == home.get("/x/settings", home.anna).json()["values"]["theme"]
    assert home.get("/x/settings", home.bob).json()["values"]["theme"] == "system"


def test_only_owners_change_what_holds_for_everybody(home: House) -> None:
    refused = home.post("/x/settings", {"values": {"most_steps": 3}}, home.anna)
    assert refused.status == 403 and "only an owner" in refused.json()["error"]
    home.post("/x/settings", {"values": {"most_steps": 3}})
    assert home.get("/x/settings", home.anna).json()["values"]["most_steps"] == 3
    assert home.post("/x/jobs", {"kind": "txt2img", "parameters": {"steps": 4}}, home.anna).status == 400
    home.post("/x/settings", {"values": {"most_steps": None}})


@pytest.mark.parametrize(
    "told", [{"values": []}, {"values": {"x": 1}}, {"values": {"theme": "<b>"}}, {"values": {"trash_days": 1e99}}, []]
)
def test_bad_settings_get_a_sentence(home: House, told: object) -> None:
    reply = home.post("/x/settings", told)
    assert reply.status == 400 and reply.json()["error"].endswith(".")


def test_sessions_last_as_long_as_the_owner_wants(home: House) -> None:
    users = home.studio.users
    home.post("/x/settings", {"values": {"session_days": 2}})
    token = users.sign_in("Bob", SECRET, "here", "test")
    home.post("/x/settings", {"values": {"session_days": None}})
    longer = users.sign_in("Bob", SECRET, "here", "test")
    lengths = {users.id_of(each): each for each in (token, longer)}
    found = {session.id: round((session.ends - session.created) / 86400) for session in users.sessions() if session.id in lengths}
    assert [found[users.id_of(each)] for each in (token, longer)] == [2, 30]


# --- styles


def test_styles_are_kept_renamed_and_removed(home: House) -> None:
    style = {"name": "a/b & ü?", "prompt": "<script>{prompt}", "negative": ""}
    assert home.post("/x/styles", style, home.anna).json() == {"name": "a/b & ü?"}
    assert home.get("/x/styles", home.anna).json() == {"styles": [style]}
    assert home.get("/x/styles", home.bob).json() == {"styles": []}
    renamed = {**style, "name": "b", "instead_of": "a/b & ü?"}
    assert home.post("/x/styles", renamed, home.anna).status == 200
    assert home.send("DELETE", "/x/styles/b", user=home.bob).status == 404
    assert home.send("DELETE", "/x/styles/b", user=home.anna).status == 200
    assert home.get("/x/styles", home.anna).json() == {"styles": []}


def test_a_styles_name_may_hold_any_sign(home: House) -> None:
    home.post("/x/styles", {"name": "a/b & ü?"}, home.anna)
    assert home.send("DELETE", "/x/styles/a/b%20&%20%C3%BC%3F", user=home.anna).status == 200


@pytest.mark.parametrize(
    "told", [{}, {"name": 1}, {"name": ""}, {"name": "a", "prompt": []}, {"name": "a", "instead_of": "none"}]
)
def test_bad_styles_get_a_sentence(home: House, told: object) -> None:
    reply = home.post("/x/styles", told, home.anna)
    assert reply.status in (400, 404) and "error" in reply.json()


def test_a_file_of_styles_comes_in_and_goes_out(home: House) -> None:
    content = "\ufeffname,prompt,negative_prompt\r\n=1+1,ü,\r\n,nameless,\r\n"
    for body, kind in ((content.encode(), "text/csv"), (json.dumps({"text": content}).encode(), "application/json")):
        reply = home.send("POST", "/x/styles/import", body, home.bob, headers={"content-type": kind})
        assert reply.json()["imported"] == 1 and len(reply.json()["left_out"]) == 1
    out = home.get("/x/styles/export", home.bob)
    assert out.header("content-type") == "text/csv; charset=utf-8"
    assert out.header("content-disposition") == 'attachment; filename="styles.csv"'
    assert out.body.decode("utf-8-sig") == "name,prompt,negative_prompt\r\n=1+1,ü,\r\n"
    refused = home.send("POST", "/x/styles/import", b"<html>", home.bob)
    assert refused.status == 400 and "name,prompt,negative_prompt" in refused.json()["error"]


# --- uploads


def picture(kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 5)).save(buffer, kind)
    return buffer.getvalue()


def test_an_upload_comes_back_to_who_brought_it(home: House) -> None:
    content = picture()
    told = home.send("POST", "/x/inputs", content, home.anna).json()
    assert (told["width"], told["height"], told["kind"]) == (9, 5, "image/png")
    reply = home.get(f"/x/inputs/{told['digest']}", home.anna)
    assert reply.body == content and reply.header("content-type") == "image/png"
    assert reply.header("x-content-type-options") == "nosniff" and reply.header("vary") == "Cookie"
    for user in (home.bob, home.owner):
        assert home.get(f"/x/inputs/{told['digest']}", user).status == 404
        assert home.send("DELETE", f"/x/inputs/{told['digest']}", user=user).status == 404
    assert home.send("DELETE", f"/x/inputs/{told['digest']}", user=home.anna).status == 200
    assert home.get(f"/x/inputs/{told['digest']}", home.anna).status == 404


def test_ones_own_uploads_are_listed_with_what_they_take(home: House) -> None:
    assert home.get("/x/inputs", home.anna).json() == {"inputs": [], "used": 0, "most": 1024 * 2**20}
    told = [home.send("POST", "/x/inputs", picture(kind), home.anna).json() for kind in ("PNG", "JPEG")]
    listed = home.get("/x/inputs", home.anna).json()
    assert sorted(listed["inputs"], key=str) == sorted(told, key=str) and listed["used"] == sum(each["bytes"] for each in told)
    assert home.get("/x/inputs", home.bob).json()["inputs"] == []
    for each in told:
        home.send("DELETE", f"/x/inputs/{each['digest']}", user=home.anna)


@pytest.mark.parametrize(
    "content", [b"<html><script>alert(1)</script>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"", b"GIF89a"]
)
def test_pages_and_drawings_are_no_pictures(home: House, content: bytes) -> None:
    reply = home.send("POST", "/x/inputs", content, home.anna, headers={"content-type": "image/png"})
    assert reply.status == 400 and "PNG, JPEG, WebP or AVIF" in reply.json()["error"]


def test_a_flood_ends_at_the_quota(home: House) -> None:
    home.post("/x/settings", {"values": {"upload_megabytes": 1}})
    statuses = []
    for at in range(4):
        buffer = io.BytesIO()
        Image.new("L", (700, 700), at).save(buffer, "PNG", compress_level=0)
        statuses.append(home.send("POST", "/x/inputs", buffer.getvalue(), home.bob).status)
    assert statuses == [200, 200, 429, 429]
    home.post("/x/settings", {"values": {"upload_megabytes": None}})


def test_a_picture_of_the_gallery_becomes_an_input_without_passing_through_the_browser(home: House) -> None:
    (made,) = home.make(home.anna, prompt="a cat", seed=3)
    told = home.post("/x/inputs/from-picture", {"id": made}, home.anna).json()
    whole = home.get(f"/x/pictures/{made}", home.anna).body
    assert home.get(f"/x/inputs/{told['digest']}", home.anna).body == whole and (told["width"], told["height"]) == (128, 128)
    for user in (home.bob, home.owner):
        assert home.post("/x/inputs/from-picture", {"id": made}, user).status == 404
    home.studio.pictures.get(home.anna, made).path.unlink()
    gone = home.post("/x/inputs/from-picture", {"id": made}, home.anna)
    assert gone.status == 404 and "is gone; somebody took it away" in gone.json()["error"]
    home.send("DELETE", f"/x/inputs/{told['digest']}", user=home.anna)
