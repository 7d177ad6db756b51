"""Groups of jobs: every cell is made once, whatever happens; nobody waits for somebody else's plot; the grid comes at last."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.service.making import until
from tests.service.pretend import PretendEngine, place_model
from tests.service.test_inputs import picture
from webui.drawing import Txt2Img
from webui.errors import NotFound, StorageError, TooMany, UserError
from webui.service.database import Database
from webui.service.gallery import part_of, read_text
from webui.service.grids_kept import NONE_LEFT, GridKeeper
from webui.service.groups_kept import GroupRows
from webui.service.groups_running import AHEAD
from webui.service.schema import STEPS
from webui.service.studio import Studio, open_studio
from webui.service.users import OWNER_ID, User
from webui.tasks import Img2Img


class Slow(PretendEngine):
    """An engine that makes nothing while it is held."""

    held = False

    def _step(self, key: str, job: Any) -> None:
        if not self.held:
            super()._step(key, job)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place_model(tmp_path)
    return tmp_path


@contextmanager
def opened(root: Path, held: bool = False) -> Iterator[Studio]:
    engine = Slow()
    engine.held = held
    with open_studio(root, engine=engine) as studio:
        yield studio


@pytest.fixture
def studio(root: Path) -> Iterator[Studio]:
    with opened(root) as made:
        yield made


def owner(studio: Studio) -> User:
    return studio.users.get(OWNER_ID)


def submit(
    studio: Studio, user: User | None = None, script: str = "xyz_plot", *, of: dict[str, Any] | None = None, **values: Any
) -> str:
    params = Txt2Img(**{"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 5} | (of or {}))
    return studio.groups.submit(user or owner(studio), script, values, "txt2img", params, {})[0]


def seeds(number: int) -> dict[str, str]:
    return {"x_type": "Seed", "x_values": f"1-{number}"}


def ended(studio: Studio, group: str, user: User | None = None) -> dict[str, Any]:
    until(lambda: studio.groups.get(user or owner(studio), group)["ended"] is not None)
    return studio.groups.get(user or owner(studio), group)


def release(studio: Studio) -> None:
    assert isinstance(studio.engine, Slow)
    studio.engine.held = False


def hold(studio: Studio) -> None:
    assert isinstance(studio.engine, Slow)
    studio.engine.held = True


def rows(studio: Studio, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in studio.database.all(query)]


def test_every_cell_becomes_a_picture_of_its_own_and_all_become_a_grid(studio: Studio) -> None:
    group = ended(studio, submit(studio, x_type="CFG scale", x_values="2-4", y_type="Prompt S/R", y_values="cat,dog", margin=3))
    assert (group["state"], group["done"], group["of"], group["sentence"]) == ("done", 6, 6, "")
    assert [cell["labels"][:2] for cell in group["cells"]] == [
        (f"CFG scale: {scale}", animal) for animal in ("cat", "dog") for scale in (2, 3, 4)
    ]
    pictures = {each.id: each for each in studio.pictures.search(owner(studio))}
    assert len(pictures) == 7 and {cell["picture"] for cell in group["cells"]} | {group["grid"]} == set(pictures)
    for cell in group["cells"]:
        part = pictures[cell["picture"]]
        assert part.job == cell["job"] and "Script" not in part.parameters
        assert part.prompt == f"a {cell['labels'][1]}" and f", {cell['labels'][0]}," in part.parameters
    grid = pictures[group["grid"]]
    assert grid.job is None and "grid-5" in grid.path.name
    assert (
        ", Script: X/Y/Z plot, X Type: CFG scale, X Values: 2-4, Y Type: Prompt S/R, Y Values: \"cat,dog\", Version:"
        in grid.parameters
    )
    with Image.open(grid.path) as drawn:
        assert drawn.size == (grid.width, grid.height) and drawn.info["parameters"] == grid.parameters
        assert drawn.width >= 3 * 64 + 2 * 3 and drawn.height >= 2 * 64 + 3


def test_a_group_counts_as_one_job_and_keeps_nobody_waiting(root: Path) -> None:
    with opened(root, held=True) as studio:
        anna, bob = studio.users.create("anna", "correct horse"), studio.users.create("bob", "correct horse")
        studio.preferences.change(owner(studio), {"most_jobs": 2})
        group = submit(studio, anna, **seeds(30))
        until(lambda: len(studio.queue.view(anna)) == AHEAD)
        later = studio.queue.submit(anna, "txt2img", Txt2Img(steps=1, width=64, height=64))
        with pytest.raises(TooMany, match="2 jobs that have not ended"):
            studio.queue.submit(anna, "txt2img", Txt2Img(steps=1))
        with pytest.raises(TooMany, match="2 jobs that have not ended"):
            submit(studio, anna, **seeds(2))
        his = studio.queue.submit(bob, "txt2img", Txt2Img(steps=1, width=64, height=64))
        (place,) = [view["position"] for view in studio.queue.view(bob)]
        assert place <= 4, "he waits for what runs, not for thirty cells"
        release(studio)
        until(lambda: not any(view["job"] in (later, his) for user in (anna, bob) for view in studio.queue.view(user)))
        assert studio.groups.get(anna, group)["done"] < 30, "what was asked for later did not wait for the whole plot"
        assert ended(studio, group, anna)["state"] == "done"


def test_so_many_cells_and_no_more(studio: Studio) -> None:
    studio.preferences.change(owner(studio), {"most_cells": 5})
    with pytest.raises(UserError, match=r"6 cells \(6\); here it may have at most 5: use fewer values"):
        submit(studio, **seeds(6))
    hold(studio)
    first = submit(studio, **seeds(3))
    with pytest.raises(TooMany, match="You have 3 cells that have not ended, and this would be 3 more; you may have 5 at a time"):
        submit(studio, **seeds(3))
    release(studio)
    ended(studio, first)
    assert ended(studio, submit(studio, **seeds(3)))["state"] == "done", "those that have ended do not count"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"x_type": "Sampler", "x_values": "Euler, Eular"}, "X values, Sampler, 'Eular': Unknown sampler 'Eular'; did you mean"),
        ({"y_type": "Steps", "y_values": "10, 0"}, "Y values, Steps: Steps was 0; it must be a whole number from 1 to 150"),
        ({"z_type": "Checkpoint", "z_values": "builtin, x"}, "Z values, Checkpoint, 'x': Unknown model 'x'"),
        ({"x_type": "Steps", "x_values": "1-3", "y_type": "Style"}, "Y type: Unknown axis 'Style'; did you mean Styles"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_told_with_its_axis_and_value_and_nothing_is_queued(
    studio: Studio, values: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        submit(studio, **values)
    assert rows(studio, "SELECT * FROM groups") == rows(studio, "SELECT * FROM cells") == rows(studio, "SELECT * FROM jobs") == []


def test_limits_of_a_picture_hold_for_each_cell(studio: Studio) -> None:
    studio.preferences.change(owner(studio), {"most_steps": 10})
    with pytest.raises(UserError, match="X values, Steps, '11': Steps was 11; here it is at most 10"):
        submit(studio, x_type="Steps", x_values="9-12")


def test_cells_that_fail_are_empty_with_the_reason_and_the_grid_comes_all_the_same(studio: Studio) -> None:
    group = ended(studio, submit(studio, x_type="Prompt S/R", x_values="cat, fail, dog"))
    assert group["state"] == "done" and [cell["state"] for cell in group["cells"]] == ["done", "failed", "done"]
    assert group["cells"][1]["sentence"] == "This was made to fail." and group["cells"][1]["picture"] is None
    with Image.open(studio.pictures.get(owner(studio), group["grid"]).path) as grid:
        middle = grid.convert("RGB").crop((64, grid.height - 64, 128, grid.height))
        colours = {colour for _, colour in middle.getcolors(2**16) or ()}
    assert (232, 232, 232) in colours and len({max(each) - min(each) for each in colours}) == 1, "grey, with letters"


def test_where_nothing_could_be_made_there_is_no_grid_but_a_reason(studio: Studio) -> None:
    group = ended(studio, submit(studio, of={"prompt": "fail"}, **seeds(2)))
    assert (group["state"], group["grid"]) == ("failed", None)
    assert group["sentence"] == "None of its pictures could be made: This was made to fail."


def test_cancelling_ends_what_waits_and_going_on_makes_only_what_is_missing(root: Path) -> None:
    with opened(root) as studio:
        engine = studio.engine
        assert isinstance(engine, Slow)
        group = submit(studio, **seeds(20))
        until(lambda: studio.groups.get(owner(studio), group)["done"] >= 3)
        engine.held = True
        studio.groups.cancel(owner(studio), group)
        until(lambda: not studio.queue.view(owner(studio)))
        until(lambda: studio.groups.get(owner(studio), group)["done"] == 20)
        found = studio.groups.get(owner(studio), group)
        assert found["state"] == "cancelled" and found["grid"] is None
        made = {cell["place"]: cell["picture"] for cell in found["cells"] if cell["picture"]}
        assert 3 <= len(made) < 20
        assert {cell["sentence"] for cell in found["cells"] if not cell["picture"]} == {"Cancelled."}
        engine.held = False
    with opened(root) as studio:  # also in another process
        before = len(rows(studio, "SELECT id FROM jobs"))
        assert studio.groups.resume(owner(studio), group) == 20 - len(made)
        done = ended(studio, group)
        assert done["state"] == "done" and all(cell["picture"] for cell in done["cells"])
        assert {place: done["cells"][place]["picture"] for place in made} == made
        assert len(rows(studio, "SELECT id FROM jobs")) == before + 20 - len(made)
        with pytest.raises(UserError, match="nothing to go on with"):
            studio.groups.resume(owner(studio), group)


def test_a_picture_that_was_deleted_is_made_again_and_so_is_the_grid(studio: Studio) -> None:
    me = owner(studio)
    group = submit(studio, **seeds(3))
    first = ended(studio, group)
    studio.pictures.trash(me, [first["cells"][1]["picture"], first["grid"]])
    studio.pictures.delete(me, [first["cells"][1]["picture"], first["grid"]])
    assert studio.groups.get(me, group)["cells"][1]["picture"] is None
    assert studio.groups.resume(me, group) == 1
    again = ended(studio, group)
    assert again["state"] == "done" and again["grid"] not in (None, first["grid"])
    assert [a["picture"] == b["picture"] for a, b in zip(first["cells"], again["cells"], strict=True)] == [True, False, True]


def test_a_group_that_has_not_ended_cannot_go_on_twice(root: Path) -> None:
    with opened(root, held=True) as studio:
        group = submit(studio, **seeds(2))
        with pytest.raises(UserError, match="has not ended yet"):
            studio.groups.resume(owner(studio), group)


def test_a_cell_that_is_cancelled_or_skipped_alone_costs_only_itself(root: Path) -> None:
    with opened(root, held=True) as studio:
        me = owner(studio)
        group = submit(studio, **seeds(3))
        until(lambda: all(cell["job"] for cell in studio.groups.get(me, group)["cells"]))
        cells = studio.groups.get(me, group)["cells"]
        assert {view["group"] for view in studio.queue.view(me)} == {group}
        studio.queue.cancel(me, cells[0]["job"])
        studio.queue.skip(me, cells[1]["job"], 0)
        release(studio)
        found = ended(studio, group)
        assert [cell["sentence"] for cell in found["cells"]] == ["Cancelled.", "Skipped.", ""]
        assert found["state"] == "done" and found["grid"] is not None


def test_groups_belong_to_who_asked_for_them(studio: Studio) -> None:
    anna, bob = studio.users.create("anna", "correct horse"), studio.users.create("bob", "correct horse")
    group = submit(studio, anna, **seeds(1))
    ended(studio, group, anna)
    assert [each["group"] for each in studio.groups.view(anna)] == [group] and studio.groups.view(bob) == []
    for act in (studio.groups.get, studio.groups.cancel, studio.groups.resume):
        with pytest.raises(NotFound, match=f"There is no group '{group}'"):
            act(bob, group)
    assert studio.groups.get(owner(studio), group)["grid"], "an owner may look, as at jobs"


def test_what_an_account_had_goes_with_it(studio: Studio) -> None:
    anna = studio.users.create("anna", "correct horse")
    ended(studio, submit(studio, anna, **seeds(2)), anna)
    with studio.database.write() as connection:
        connection.execute("DELETE FROM users WHERE id = ?", (anna.id,))
    assert rows(studio, "SELECT * FROM groups") == rows(studio, "SELECT * FROM cells") == []


def test_parts_that_are_not_wanted_are_in_the_trash_once_the_grid_is_there(studio: Studio) -> None:
    group = ended(studio, submit(studio, parts=False, **seeds(3)))
    assert [each.id for each in studio.pictures.search(owner(studio))] == [group["grid"]]
    assert len(studio.pictures.search(owner(studio), trashed=True)) == 3


def test_cells_of_several_pictures_show_their_first(studio: Studio) -> None:
    group = ended(studio, submit(studio, of={"count": 2}, x_type="CFG scale", x_values="1,2"))
    assert len(studio.pictures.search(owner(studio))) == 5
    assert {studio.pictures.get(owner(studio), cell["picture"]).seed for cell in group["cells"]} == {"5"}


def test_uploads_stay_while_a_group_needs_them(root: Path) -> None:
    with opened(root, held=True) as studio:
        me = owner(studio)
        digest = studio.inputs.add(me, picture(size=(64, 64)), megabytes=10)
        studio.groups.submit(
            me, "xyz_plot", seeds(12), "img2img", Img2Img(prompt="x", steps=2, seed=1), {"picture": digest}
        )
        with studio.database.write() as connection:
            connection.execute("DELETE FROM jobs")
        with pytest.raises(UserError, match="Something is made of that upload"):
            studio.inputs.remove(me, digest)


def test_prompts_from_a_file_have_no_grid_unless_it_is_wanted(studio: Studio) -> None:
    lines = "a cat\n--prompt a dog --steps 3 --seed 8\n\n# nothing\na bird"
    plain = ended(studio, submit(studio, script="prompts_from_file", of={"prompt": ""}, lines=lines))
    assert (plain["state"], plain["grid"], plain["of"]) == ("done", None, 3)
    dog = studio.pictures.get(owner(studio), plain["cells"][1]["picture"])
    assert dog.prompt == "a dog" and dog.seed == "8" and "Steps: 3" in dog.parameters
    drawn = ended(studio, submit(studio, script="prompts_from_file", of={"prompt": ""}, lines=lines, grid=True))
    assert "Script: Prompts from file" in studio.pictures.get(owner(studio), drawn["grid"]).parameters


def test_a_prompt_matrix_has_every_combination(studio: Studio) -> None:
    group = ended(studio, submit(studio, script="prompt_matrix", of={"prompt": "a cat|red|big"}))
    prompts = [studio.pictures.get(owner(studio), cell["picture"]).prompt for cell in group["cells"]]
    assert prompts == ["a cat", "a cat, red", "a cat, big", "a cat, red, big"]


@pytest.mark.parametrize(("name", "suffix"), [("JPEG", ".jpg"), ("WebP", ".webp"), ("PNG", ".png")])
def test_a_grid_is_kept_as_pictures_are_and_says_nothing_of_others_pixels(studio: Studio, name: str, suffix: str) -> None:
    studio.preferences.change(owner(studio), {"save_format": name})
    found = ended(studio, submit(studio, **seeds(2)))
    part, grid = (studio.pictures.get(owner(studio), each) for each in (found["cells"][0]["picture"], found["grid"]))
    assert grid.path.suffix == part.path.suffix == suffix
    assert ("Pixels: " in part.parameters) == (name != "PNG") and "Pixels: " not in grid.parameters
    assert read_text(grid.path) == grid.parameters


def test_a_database_of_the_version_before_keeps_its_jobs(tmp_path: Path) -> None:
    path = tmp_path / "webui.sqlite3"
    Database(path, STEPS[:2]).close()
    connection = sqlite3.connect(path)
    connection.execute(
        "INSERT INTO jobs (id, user, kind, request, state, place, pictures, created) VALUES ('a', 1, 'x', '{}', 'done', 1, 1, 0)"
    )
    connection.commit()
    connection.close()
    database = Database(path)
    assert [(row["id"], row["grouped"]) for row in database.all("SELECT * FROM jobs")] == [("a", "")]
    database.close()


@pytest.mark.parametrize("finished", [True, False])
def test_a_grid_is_there_once_wherever_the_program_ended(root: Path, monkeypatch: pytest.MonkeyPatch, finished: bool) -> None:
    def full(keeper: GridKeeper, *_more: Any) -> None:
        raise StorageError("The disk is full.")

    with opened(root) as studio, monkeypatch.context() as patch:
        patch.setattr(GridKeeper, "_end", full)
        group = submit(studio, **seeds(2))
        assert ended(studio, group)["sentence"] == "The disk is full."
        ((path,),) = rows(studio, "SELECT path FROM saving")
        with studio.database.write() as connection:  # as if the program had ended there
            connection.execute("UPDATE groups SET state = 'drawing', ended = NULL, sentence = ''")
    if not finished:
        Path(path).rename(part_of(Path(path)))
    with opened(root) as studio:
        found = ended(studio, group)
        assert found["state"] == "done" and rows(studio, "SELECT * FROM saving") == []
        grids = rows(studio, "SELECT id, path FROM pictures WHERE job IS NULL")
        assert [each[0] for each in grids] == [found["grid"]]
        files = {each.name for each in (root / "outputs").rglob("*") if each.is_file()}
        assert len(files) == 3 and not any(name.endswith(".part") for name in files)


def test_a_picture_whose_file_is_gone_leaves_an_empty_cell(root: Path) -> None:
    with opened(root) as studio:
        group = submit(studio, script="xyz_plot", **seeds(2))
        found = ended(studio, group)
        me = owner(studio)
        studio.pictures.get(me, found["cells"][0]["picture"]).path.unlink()
        studio.pictures.trash(me, [found["grid"]])
        studio.pictures.delete(me, [found["grid"]])
        assert studio.groups.resume(me, group) == 0
        again = ended(studio, group)
        assert again["state"] == "done" and again["grid"] not in (None, found["grid"])


def test_groups_that_nothing_shows_any_more_are_forgotten(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.service.groups_kept.MOST_KEPT", 2)
    first, second, third = (ended(studio, submit(studio, **seeds(2)))["group"] for _ in range(3))
    assert [each["group"] for each in studio.groups.view(owner(studio))] == [third, second] and first
    assert rows(studio, "SELECT COUNT(*) FROM groups") == [(2,)] and rows(studio, "SELECT COUNT(*) FROM cells") == [(4,)]
    hold(studio)
    held = [submit(studio, **seeds(2)) for _ in range(3)]
    assert {held[0]} <= {row[0] for row in rows(studio, "SELECT id FROM groups")}, "one that has not ended is never forgotten"


def test_prompts_of_all_cells_have_an_end(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand cells of a hundred pictures with drawn words each would be gigabytes, in memory and in the database."""
    monkeypatch.setattr("webui.service.plots.MOST_CHARACTERS", 50)
    with pytest.raises(UserError, match="of all 3 cells have more than 50 characters together"):
        submit(studio, of={"prompt": "{a|b} " * 3, "count": 2}, **seeds(3))
    assert rows(studio, "SELECT COUNT(*) FROM groups") == [(0,)]
    submit(studio, of={"prompt": "a cat"}, **seeds(3))


def test_a_grid_whose_pictures_were_all_deleted_meanwhile_says_so_and_is_made_anew(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = GridKeeper.keep

    def late(keeper: GridKeeper, group: Any, cells: Any, **more: Any) -> None:
        names = [cell.picture for cell in cells]
        studio.pictures.trash(owner(studio), names)
        studio.pictures.delete(owner(studio), names)
        own(keeper, group, cells, **more)

    with monkeypatch.context() as patch:
        patch.setattr(GridKeeper, "keep", late)
        group = ended(studio, submit(studio, **seeds(2)))
    assert (group["state"], group["sentence"]) == ("failed", NONE_LEFT)
    assert studio.groups.resume(owner(studio), group["group"]) == 2
    assert ended(studio, group["group"])["state"] == "done"


def test_a_database_that_fails_once_costs_nobody_elses_grid(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    own, failed = GroupRows.get, list[str]()

    def failing(kept: GroupRows, group: str) -> Any:
        if threading.current_thread().name == "grids" and not failed:
            failed.append(group)
            raise StorageError("The database cannot be read.")
        return own(kept, group)

    monkeypatch.setattr(GroupRows, "get", failing)
    first = submit(studio, **seeds(2))
    until(lambda: failed == [first])
    assert ended(studio, submit(studio, **seeds(2)))["state"] == "done"
    assert studio.groups.get(owner(studio), first)["state"] == "drawing"
