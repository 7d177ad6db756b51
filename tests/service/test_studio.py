"""Everything behind the page, opened together: quickly, without torch, once, and from whatever folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.making import until
from tests.service.pretend import PretendEngine, place_model
from webui.drawing import Txt2Img
from webui.errors import StorageError, UserError
from webui.service.studio import open_studio
from webui.service.users import OWNER_ID
from webui.service.worker import Worker

ROOT = Path(__file__).parents[2]


def test_a_studio_makes_pictures_and_keeps_its_things_in_its_folder(tmp_path: Path) -> None:
    place_model(tmp_path)
    with open_studio(tmp_path, engine=PretendEngine()) as studio:
        owner = studio.users.get(OWNER_ID)
        job = studio.queue.submit(owner, "txt2img", Txt2Img(prompt="a cat", steps=2))
        until(lambda: not studio.queue.view(owner))
        assert [event["kind"] for event in studio.queue.events(owner, job)] == ["queued", "started", "picture", "finished"]
        (picture,) = studio.pictures.search(owner)
        assert picture.path.parent == tmp_path.absolute() / "outputs" / "txt2img"
        assert "Model: builtin" in picture.parameters and "Size: 128x128" in picture.parameters
    for folder in ("data", "cache"):
        assert (tmp_path / folder / ".gitignore").read_text() == "*\n"
    assert (tmp_path / "data" / "webui.sqlite3").is_file()
    if os.name == "posix":
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0, "others on the machine may look into the data folder"


def test_pictures_go_where_they_are_told_to(tmp_path: Path) -> None:
    place_model(tmp_path / "root")
    with open_studio(tmp_path / "root", output=tmp_path / "there", engine=PretendEngine()) as studio:
        owner = studio.users.get(OWNER_ID)
        studio.queue.submit(owner, "txt2img", Txt2Img(steps=1))
        until(lambda: not studio.queue.view(owner))
    assert len(list((tmp_path / "there").glob("*.png"))) == 1


def test_the_owners_limits_hold_from_the_moment_they_are_changed(tmp_path: Path) -> None:
    place_model(tmp_path)
    with open_studio(tmp_path, engine=PretendEngine()) as studio:
        owner = studio.users.get(OWNER_ID)
        studio.preferences.change(owner, {"most_steps": 5})
        with pytest.raises(UserError, match="at most 5"):
            studio.queue.submit(owner, "txt2img", Txt2Img(steps=6))
        studio.preferences.change(owner, {"most_steps": None})
        studio.queue.submit(owner, "txt2img", Txt2Img(steps=6))


def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_worker: Worker) -> None:
        raise StorageError("The disk is full.")

    engine = PretendEngine()
    with monkeypatch.context() as patch, pytest.raises(StorageError, match="full"):
        patch.setattr(Worker, "start", full)
        open_studio(tmp_path, engine=engine)
    assert engine.next() is None, "the engine was closed"
    open_studio(tmp_path, engine=PretendEngine()).close()


OPENS = """
import sys, threading
from pathlib import Path
from webui.service.studio import open_studio
before = threading.active_count()
with open_studio(Path(sys.argv[1])) as studio:
    assert studio.resolver.models()[0]["name"] == "builtin"
    assert studio.resolver.samplers() and studio.resolver.schedules()
    assert not {"torch", "gradio", "transformers"} & set(sys.modules), sorted(sys.modules)
assert threading.active_count() == before
"""


def test_opening_and_closing_imports_no_torch_and_leaves_no_thread(tmp_path: Path) -> None:
    place_model(tmp_path)
    done = subprocess.run([sys.executable, "-c", OPENS, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
