"""Pictures are found by their words, belong to one person, survive the trash, and are deleted only when that is meant."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.shelf import ANNA, BOB, OWNER, Shelf, request, shelf
from webui.errors import NotFound, StorageError, UserError
from webui.service.pictures import LONGEST_SEARCH, MOST_AT_ONCE
from webui.service.users import User

MANY = 10_000
QUICK_SECONDS = 0.05


@pytest.fixture
def full(tmp_path: Path) -> Shelf:
    return shelf(tmp_path)


# --- looking


def test_a_picture_is_what_was_saved(full: Shelf) -> None:
    full.job(ANNA, "j1")
    name = full.add(ANNA, "a red ball", seed=2**64 - 1, job="j1", place=3)
    picture = full.pictures.get(ANNA, name)
    assert picture.seed == str(2**64 - 1) and picture.prompt == "a red ball" and (picture.job, picture.place) == ("j1", 3)
    assert picture.path == full.root / "outputs" / f"00000-{2**64 - 1}.png" and picture.path.stat().st_size == picture.bytes
    assert picture.created == full.clock.now and not (picture.starred or picture.interrupted or picture.gone)
    assert picture.trashed is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["ball", "cube", "grüne"]), ("BALL", ["ball"]), ("a red", ["ball", "cube"]), ("red cube", ["cube"]),
        ("cube red", ["cube"]), ("100%", ["cube"]), ("100_", []), ("%", ["cube"]), ("_", ["cube"]), ("\\", ["ball"]),
        ("Euler", ["ball", "cube", "grüne"]), ("Steps: 20", ["ball", "cube", "grüne"]), ("Heun", []), ("ed ba", ["ball"]),
        ("GRÜNE", ["grüne"]), ("grüne", ["grüne"]), ("red nothing", []), ("' OR 1=1 --", []),
        ("blurry", ["ball", "cube", "grüne"]), ("  \n ", ["ball", "cube", "grüne"]), ("\0", ["ball", "cube", "grüne"]),
    ],
)  # fmt: skip
def test_every_word_must_occur_in_the_prompts_or_parameters(full: Shelf, text: str, found: list[str]) -> None:
    names = {
        full.add(ANNA, "a red ball \\ here"): "ball", full.add(ANNA, "a red_cube 100% red"): "cube",
        full.add(ANNA, "eine Grüne Kugel"): "grüne",
    }  # fmt: skip
    assert [names[each] for each in full.ids(ANNA, text)] == found[::-1]


def test_a_search_has_an_end(full: Shelf) -> None:
    with pytest.raises(UserError, match="at most 500"):
        full.ids(ANNA, "x" * (LONGEST_SEARCH + 1))
    assert full.ids(ANNA, "a " * 200) == []


def test_pages_do_not_move_while_pictures_arrive(full: Shelf) -> None:
    before = [full.add(ANNA, seed=seed) for seed in range(5)]
    page = full.pictures.search(ANNA, limit=2)
    full.add(ANNA, seed=100)
    full.pictures.trash(ANNA, [page[0].id])
    following = full.pictures.search(ANNA, before=page[-1].number, limit=2)
    assert [picture.id for picture in (*page, *following)] == before[:0:-1]


def test_starred_trashed_and_jobs_are_shelves(full: Shelf) -> None:
    full.job(ANNA, "j1")
    first, second = full.add(ANNA, seed=1, job="j1"), full.add(ANNA, seed=2)
    third = full.add(ANNA, seed=3, job="j1", place=1)
    full.pictures.star(ANNA, [first, second])
    full.pictures.trash(ANNA, [second])
    assert full.ids(ANNA, starred=True) == [first] and full.ids(ANNA, trashed=True) == [second]
    assert full.ids(ANNA, job="j1") == [third, first] and full.ids(ANNA, trashed=True, starred=True) == [second]
    assert [picture.place for picture in full.pictures.of_job(ANNA, "j1")] == [0, 1]
    full.pictures.unstar(ANNA, [first])
    assert full.ids(ANNA, starred=True) == []


# --- whose

Act = Callable[[Shelf, User, str], object]
ACTS: dict[str, Act] = {
    "get": lambda full, user, name: full.pictures.get(user, name),
    "thumbnail": lambda full, user, name: full.pictures.thumbnail(user, name),
    "several": lambda full, user, name: full.pictures.several(user, [name]),
    "star": lambda full, user, name: full.pictures.star(user, [name]),
    "unstar": lambda full, user, name: full.pictures.unstar(user, [name]),
    "trash": lambda full, user, name: full.pictures.trash(user, [name]),
    "restore": lambda full, user, name: full.pictures.restore(user, [name]),
    "delete": lambda full, user, name: full.pictures.delete(user, [name]),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
@pytest.mark.parametrize("user", [BOB, OWNER])
def test_a_picture_of_somebody_else_does_not_exist(full: Shelf, act: Act, user: User) -> None:
    name = full.add(ANNA)
    full.pictures.star(ANNA, [name])
    full.pictures.trash(ANNA, [name])
    before = full.pictures.get(ANNA, name)
    with pytest.raises(NotFound, match=r"There is no picture '\w+'\."):
        act(full, user, name)
    assert full.pictures.get(ANNA, name) == before and before.path.is_file()
    act(full, ANNA, name)


def test_one_foreign_picture_among_several_stops_all(full: Shelf) -> None:
    mine, hers = full.add(BOB, seed=1), full.add(ANNA, seed=2)
    with pytest.raises(NotFound):
        full.pictures.trash(BOB, [mine, hers])
    assert full.ids(BOB) == [mine]


def test_owners_see_everyones_pictures_when_they_ask_for_them(full: Shelf) -> None:
    hers, his = full.add(ANNA, seed=1), full.add(BOB, seed=2)
    assert full.ids(OWNER) == [] and full.ids(OWNER, everyone=True) == [his, hers]
    assert full.pictures.get(OWNER, hers, everyone=True).user == ANNA.id
    full.pictures.trash(OWNER, [hers], everyone=True)
    assert full.ids(ANNA) == []
    with pytest.raises(UserError, match="Only an owner"):
        full.ids(BOB, everyone=True)
    with pytest.raises(UserError, match="Only an owner"):
        full.pictures.get(BOB, hers, everyone=True)


# --- the trash


def test_the_trash_gives_everything_back(full: Shelf) -> None:
    name = full.add(ANNA)
    content = full.pictures.get(ANNA, name).path.read_bytes()
    before = full.pictures.get(ANNA, name)
    full.pictures.trash(ANNA, [name])
    first = full.pictures.get(ANNA, name).trashed
    full.clock.now += 60
    full.pictures.trash(ANNA, [name])  # once more does not make it younger
    assert full.pictures.get(ANNA, name).trashed == first and full.ids(ANNA) == []
    full.pictures.restore(ANNA, [name])
    assert full.pictures.get(ANNA, name) == before and before.path.read_bytes() == content


def test_only_what_is_in_the_trash_is_deleted_file_row_and_thumbnail(full: Shelf) -> None:
    kept, name = full.add(ANNA, seed=1), full.add(ANNA, seed=2)
    picture = full.pictures.get(ANNA, name)
    assert full.pictures.thumbnail(ANNA, name) == full.pictures.thumbnails.kept(name)
    with pytest.raises(UserError, match="not in the trash"):
        full.pictures.delete(ANNA, [name])
    full.pictures.trash(ANNA, [name])
    with pytest.raises(UserError, match="not in the trash"):
        full.pictures.delete(ANNA, [name, kept])
    assert picture.path.is_file()
    full.pictures.delete(ANNA, [name])
    assert not picture.path.exists() and full.pictures.thumbnails.kept(name) is None
    assert full.ids(ANNA, trashed=True) == [] and full.ids(ANNA) == [kept]
    assert full.pictures.get(ANNA, kept).path.is_file()


def test_what_somebody_took_away_is_gone_and_can_be_removed_from_the_list(full: Shelf) -> None:
    name = full.add(ANNA)
    full.pictures.get(ANNA, name).path.unlink()
    assert full.pictures.get(ANNA, name).gone and full.ids(ANNA) == [name]
    full.pictures.delete(ANNA, [name])
    assert full.ids(ANNA) == []


def test_a_file_that_cannot_be_deleted_keeps_its_row(full: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, name = full.add(ANNA, seed=1), full.add(ANNA, seed=2)
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name.endswith("-1.png"):
            raise PermissionError(13, "Permission denied")
        real(path, missing_ok=missing_ok)

    full.pictures.trash(ANNA, [stuck, name])
    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(StorageError, match=r"1 pictures could not be deleted: .*00000-1\.png \(Permission denied\)"):
        full.pictures.delete(ANNA, [stuck, name])
    assert full.ids(ANNA, trashed=True) == [stuck]


def test_the_trash_is_emptied_of_what_is_old_enough(full: Shelf) -> None:
    old, young, his = full.add(ANNA, seed=1), full.add(ANNA, seed=2), full.add(BOB, seed=3)
    full.pictures.trash(ANNA, [old])
    full.pictures.trash(BOB, [his])
    full.clock.now += 100
    full.pictures.trash(ANNA, [young])
    assert full.pictures.empty_trash(ANNA.id, full.clock.now - 50) == 1
    assert full.ids(ANNA, trashed=True) == [young] and full.ids(BOB, trashed=True) == [his]


# --- adding


def test_a_row_is_plain_data_that_can_be_written_later(full: Shelf) -> None:
    path = full.root / "outputs" / "00000-7.png"
    row = full.pictures.row_values(
        user=ANNA.id, job=None, place=0, path=path, size=5, width=8, height=8, request=request("a ball"), parameters="a ball",
    )  # fmt: skip
    with full.database.write() as connection:
        name = full.pictures.insert(connection, json.loads(json.dumps(row)))
    assert full.pictures.get(ANNA, name).path == path


def test_the_folder_may_be_moved_as_a_whole(full: Shelf, tmp_path: Path) -> None:
    inside = full.add(ANNA)
    elsewhere = tmp_path.with_name(tmp_path.name + " elsewhere")
    elsewhere.mkdir()
    (elsewhere / "x.png").write_bytes(b"x")
    outside = full.note(ANNA, request("far"), "far", elsewhere / "x.png")
    rows = {row["id"]: row["path"] for row in full.database.all("SELECT id, path FROM pictures")}
    assert rows == {inside: "outputs/00000-7.png", outside: str(elsewhere / "x.png")}
    assert not full.pictures.get(ANNA, outside).gone


def test_the_row_of_who_made_it_takes_the_place_of_one_that_a_scan_made(full: Shelf) -> None:
    scanned = full.add(OWNER)
    path = full.pictures.get(OWNER, scanned).path
    name = full.note(ANNA, request("a cone"), "a cone", path)
    assert full.ids(ANNA) == [name] and full.ids(OWNER) == []


def test_too_many_at_once_is_a_sentence(full: Shelf) -> None:
    with pytest.raises(UserError, match="at most 1,000 at once"):
        full.pictures.star(ANNA, ["x"] * (MOST_AT_ONCE + 1))


def test_ten_thousand_pictures_are_listed_without_delay(full: Shelf) -> None:
    """The typical time of each kind of page; a search that finds nothing has to look at all of them and is given more."""
    text = "a {} ball on a wooden table, soft light, seen from above, very detailed\nNegative prompt: blurry\nSteps: 20, Seed: 1"
    colours = ("red", "green", "blue", "yellow", "white")
    row = full.pictures.row_values(
        user=ANNA.id, job=None, place=0, path=full.root / "outputs" / "x.png", size=1, width=8, height=8,
        request=request("a ball"), parameters=text,
    )  # fmt: skip
    rows = [
        {
            **row, "id": f"{n:016}", "path": f"outputs/{n:05}-1.png", "user": (ANNA.id, BOB.id)[n % 10 == 0],
            "parameters": text.format(colours[n % 5]), "starred": int(n % 3 == 0), "trashed": 1.0 if n % 7 == 0 else None,
        }
        for n in range(MANY)
    ]  # fmt: skip
    with full.database.write() as connection:
        names = list(rows[0])
        connection.executemany(f"INSERT INTO pictures ({', '.join(names)}) VALUES ({', '.join(':' + n for n in names)})", rows)
    middle = full.pictures.search(ANNA, limit=1)[0].number // 2
    asked = {
        "newest": {}, "middle": {"before": middle}, "one word": {"text": "red"}, "two words": {"text": "green table"},
        "starred": {"starred": True}, "trash": {"trashed": True}, "starred word": {"text": "blue", "starred": True},
    }  # fmt: skip
    for kind, wanted in asked.items():
        took = typical(lambda wanted=wanted: full.pictures.search(ANNA, **wanted))
        assert took < QUICK_SECONDS, kind
        assert len(full.pictures.search(ANNA, **wanted)) == 60  # type: ignore[arg-type]
    took = typical(lambda: full.pictures.search(ANNA, "red nothing"))
    assert took < 4 * QUICK_SECONDS


def typical(call: Callable[[], object]) -> float:
    """The least of several times: what it takes where nothing else disturbs."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)
