"""Extensions are loaded, unloaded and loaded again while jobs go on with what they began with; what fails costs itself only."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.service.extensions_written import SWITCH, known, shelf_of, write
from tests.service.making import until
from webui.errors import ExtensionError, UnknownName, UserError
from webui.extension import PromptContext
from webui.service.extension_lock import WITH_PROGRAM, set_disabled
from webui.service.extension_records import DISABLED, FAILED, LOADED, SAFE_MODE
from webui.service.extension_shelf import Shelf, open_shelf
from webui.service.extension_standing import BUNDLED
from webui.service.extensions import Current, Extensions

SAYS = """
from . import words

@hook
def transform_prompt(text):
    return text + words.WORD
"""
CONTEXT = PromptContext(seed=1)


def says(root: Path, word: str, name: str = "says", **more: Any) -> Path:
    return write(root, name, SAYS, words=f"WORD = {word!r}\n", **more)


def test_a_snapshot_outlives_what_is_loaded_after_it(tmp_path: Path) -> None:
    place = says(tmp_path, " one")
    shelf = shelf_of(tmp_path, place)
    before, told = shelf.now, []
    stop = shelf.changed(lambda: told.append(shelf.now))
    says(tmp_path, " and two", version="2.0")
    known(shelf, place)
    shelf.load("says")
    assert shelf.now.transform_prompt("x", CONTEXT) == "x and two" and shelf.now.versions["says"] == "2.0"
    assert before.transform_prompt("x", CONTEXT) == "x one" and before.versions["says"] == "1.0"
    assert before.packages["says"] != shelf.now.packages["says"], "each load is a namespace of its own"
    assert told == [shelf.now]
    stop()
    shelf.unload("says")
    assert "says" not in shelf.now.versions and shelf.now.transform_prompt("x", CONTEXT) == "x" and len(told) == 1
    assert not [name for name in sys.modules if name.startswith("webui_extensions_says")], "nothing of it is left"
    shelf.close()


def test_unloading_waits_for_the_jobs_that_hold_it(tmp_path: Path) -> None:
    place = says(tmp_path, "!")
    shelf = shelf_of(tmp_path, place)
    package = shelf.now.packages["says"]
    release = shelf.hold(["says"], lambda: None)
    assert shelf.record("says").jobs == 1
    done = threading.Event()
    thread = threading.Thread(target=lambda: (shelf.unload("says"), done.set()))
    thread.start()
    until(lambda: "says" not in shelf.now.versions)
    assert not done.wait(0.05) and package in sys.modules, "the job may still look for its modules"
    release()
    assert done.wait(5)
    thread.join()
    assert package not in sys.modules
    shelf.close()


def test_who_does_not_want_to_wait_has_the_jobs_cancelled(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, says(tmp_path, "!"), says(tmp_path, "?", name="other"))
    cancelled: list[str] = []
    held = {name: shelf.hold([name], lambda name=name: (cancelled.append(name), held[name]())) for name in ("says", "other")}  # type: ignore[misc]
    shelf.unload("says", cancel=True)
    assert cancelled == ["says"] and shelf.record("other").jobs == 1
    held["other"]()
    shelf.close()


def test_unloading_without_waiting_ends_when_the_last_job_does(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, says(tmp_path, "!"))
    package = shelf.now.packages["says"]
    with shelf.held(["says"], lambda: None):
        shelf.unload("says", wait=False)
        assert package in sys.modules and shelf.record("says").state == DISABLED
    until(lambda: package not in sys.modules)
    shelf.close()


def test_an_extension_is_told_that_it_is_unloaded_and_that_the_program_ends(tmp_path: Path) -> None:
    code = "\n@hook\ndef unloaded(home):\n    (home.folder / 'told').write_text(home.name)\n"
    places = [write(tmp_path, name, code) for name in ("one", "two")]
    shelf = shelf_of(tmp_path, *places)
    shelf.unload("one")
    told = [tmp_path / "data" / "extensions" / name / "told" for name in ("one", "two")]
    assert [each.exists() for each in told] == [True, False]
    shelf.close()
    assert told[1].read_text() == "two"


SCHEDULES = """
@hook
def schedules(home):
    names = [path.stem for path in home.folder.glob("*.sigmas")]
    return {name: (lambda n, table, **_: (1.0, 0.0)) for name in names}

@hook
def settings(home):
    return Settings

@dataclass(frozen=True, kw_only=True)
class Settings(Params):
    most: int = param(5, "Most", min=1, max=9, help="How many.")

@hook
def transform_prompt(text):
    return text

@hook
def tabs(home):
    SEEN.append(home)
    return []

SEEN = []
"""


def test_what_it_adds_is_asked_again_when_it_says_so(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, write(tmp_path, "mine", SCHEDULES))
    home, before = shelf.now.homes["mine"], shelf.now
    assert home.folder == tmp_path / "data" / "extensions" / "mine" and home.settings == {"most": 5}
    (home.folder / "Own.sigmas").write_text("")
    home.refresh()
    assert "Own" in shelf.now.schedules and "Own" not in before.schedules
    (home.folder / "Karras.sigmas").write_text("")
    home.refresh()
    assert shelf.record("mine").state == FAILED and "'Karras' of mine is there already" in shelf.record("mine").problem
    (home.folder / "Karras.sigmas").unlink()
    home.refresh()
    assert shelf.record("mine").state == LOADED and "Own" in shelf.now.schedules
    shelf.close()


def test_settings_are_checked_kept_and_told(tmp_path: Path) -> None:
    place = write(tmp_path, "mine", SCHEDULES)
    shelf = shelf_of(tmp_path, place)
    with pytest.raises(UserError, match="Most"):
        shelf.set_settings("mine", {"most": 99})
    shelf.set_settings("mine", {"most": 7})
    module = sys.modules[shelf.now.packages["mine"]]
    assert shelf.now.homes["mine"].settings == {"most": 7} == shelf.record("mine").settings
    assert module.SEEN[-1].settings == {"most": 7}
    shelf.close()
    again = open_shelf(tmp_path)
    assert again.now.homes["mine"].settings == {"most": 7}
    with pytest.raises(UnknownName):
        again.set_settings("samplers", {"most": 1})
    again.close()


def test_one_that_says_refresh_while_it_is_asked_is_not_asked_for_ever(tmp_path: Path) -> None:
    code = "\nCOUNT = []\n@hook\ndef tabs(home):\n    COUNT.append(1)\n    home.refresh()\n    return []\n"
    shelf = shelf_of(tmp_path, write(tmp_path, "mine", code))
    shelf.now.homes["mine"].refresh()
    assert len(sys.modules[shelf.now.packages["mine"]].COUNT) == 2
    shelf.close()


def test_new_code_that_fails_takes_the_old_out_of_use_and_says_why(tmp_path: Path) -> None:
    place = says(tmp_path, "!")
    shelf = shelf_of(tmp_path, place)
    (place / "words.py").write_text("WORD = 1 / 0\n")
    known(shelf, place)  # so that it fails here
    with pytest.raises(ExtensionError, match="says failed in its own import: 'ZeroDivisionError"):
        shelf.load("says")
    record = shelf.record("says")
    assert record.state == FAILED and "ZeroDivisionError" in record.problem and "words.py" in record.trace
    assert shelf.now.problems["says"] == record.problem and shelf.now.transform_prompt("x", CONTEXT) == "x"
    assert shelf.now.versions.keys() >= {"samplers", "lora"}, "the others are as they were"
    (place / "words.py").write_text("WORD = ' good again'\n")
    known(shelf, place)
    shelf.load("says")
    assert shelf.now.transform_prompt("x", CONTEXT) == "x good again" and not shelf.record("says").problem
    shelf.close()


def test_disabled_ones_stay_out_until_they_are_loaded(tmp_path: Path) -> None:
    place = says(tmp_path, "!")
    (tmp_path / "data").mkdir()
    set_disabled(tmp_path / "data", "says", True)
    set_disabled(tmp_path / "data", "wildcards", True)
    shelf = shelf_of(tmp_path, place)
    assert shelf.record("says").state == shelf.record("wildcards").state == DISABLED
    assert not {"says", "wildcards"} & shelf.now.versions.keys()
    shelf.load("wildcards")
    assert "wildcards" in shelf.now.versions
    shelf.close()


def test_a_folder_that_comes_while_the_program_runs_waits_to_be_enabled(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path)
    known(shelf, says(tmp_path, "!"))
    assert "says" in {record.name for record in shelf.records()} and shelf.record("says").state == DISABLED
    assert "says" not in shelf.now.versions, "to look runs nothing"
    shelf.load("says")
    assert shelf.record("says").state == LOADED and "says" in shelf.now.versions
    shelf.close()


def test_what_is_refused_is_logged_with_its_own_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "broken", "\n@hook\ndef patchs(job):\n    return None\n")
    shelf = shelf_of(tmp_path)
    assert shelf.record("broken").problem.startswith(
        "The extension broken cannot be loaded: Unknown hook 'patchs'; did you mean patches? Known: "
    )
    assert "hooks_of" in caplog.text and "self._trials" not in caplog.text
    shelf.close()


def test_safe_mode_is_without_what_somebody_added(tmp_path: Path) -> None:
    says(tmp_path, "!")
    shelf = open_shelf(tmp_path, safe_mode=True)
    assert shelf.record("says").state == SAFE_MODE and "safe mode" in shelf.record("says").problem
    assert "says" not in shelf.now.versions and "samplers" in shelf.now.versions
    shelf.close()


def test_what_is_required_is_there_or_it_is_said(tmp_path: Path) -> None:
    needs = '[requires]\nextensions = ["{}"]\n'
    says(tmp_path, "a", name="first", manifest=needs.format("second"))
    says(tmp_path, "b", name="second", manifest=needs.format("third"))
    places = [tmp_path / "extensions" / name for name in ("first", "second", "third")]
    says(tmp_path, "c", name="third")
    shelf = shelf_of(tmp_path, *places)
    assert shelf.now.transform_prompt("", CONTEXT) == "abc"
    shelf.unload("third")
    assert shelf.now.transform_prompt("", CONTEXT) == ""
    assert shelf.record("second").problem == "The extension second requires third, which is not loaded."
    assert shelf.record("first").problem == "The extension first requires second, which is not loaded."
    known(shelf, *places)
    shelf.load("third")
    assert shelf.now.transform_prompt("", CONTEXT) == "abc", "they come back with what they require"
    shelf.close()


def test_extensions_follow_each_other_by_what_their_manifests_say_then_by_name(tmp_path: Path) -> None:
    orders = {"c": 1, "b": 100, "a": 100, "d": 200}
    places = [says(tmp_path, name, name=f"{name}_says", manifest=f"order = {order}\n") for name, order in orders.items()]
    shelf = shelf_of(tmp_path, *places)
    assert shelf.now.transform_prompt("", CONTEXT) == "cabd"
    shelf.close()


def test_what_two_may_not_do_in_one_job_counts_whichever_says_it(tmp_path: Path) -> None:
    places = [says(tmp_path, "", name="one", manifest='excludes = ["two", "gone"]\n'), says(tmp_path, "", name="two")]
    shelf = shelf_of(tmp_path, *places)
    assert shelf.now.excludes["one"] == {"two"} and shelf.now.excludes["two"] == {"one"}
    shelf.close()


def test_parameters_that_clash_leave_out_the_later_one(tmp_path: Path) -> None:
    key = SWITCH.replace('"On", help', '"On", infotext="Own on", help')
    places = [write(tmp_path, name, key) for name in ("one", "two")]
    shelf = shelf_of(tmp_path, *places)
    assert "one" in shelf.now.sections and "two" not in shelf.now.versions and "Own on" in shelf.record("two").problem
    shelf.close()


def test_addresses_need_the_permission(tmp_path: Path) -> None:
    code = "\nfrom webui.extension import Route\n"
    code += "@hook\ndef routes():\n    return [Route(path='x', answer=lambda asked: {'a': 1})]\n"
    places = [write(tmp_path, "says_so", code, manifest='permissions = ["routes"]\n'), write(tmp_path, "silent", code)]
    shelf = shelf_of(tmp_path, *places)
    assert [route.answer(None) for route in shelf.now.routes["says_so"]] == [{"a": 1}]  # type: ignore[arg-type]
    assert "silent" not in shelf.now.versions and 'the permission "routes"' in shelf.record("silent").problem
    shelf.close()


def test_what_is_known_of_one_that_comes_with_the_program(tmp_path: Path) -> None:
    shelf = open_shelf(tmp_path)
    records = {record.name: record for record in shelf.records()}
    here = {place.parent.name for place in BUNDLED.glob("*/extension.toml")} & set(WITH_PROGRAM)
    assert here <= set(records) and all(records[name].bundled and records[name].state == LOADED for name in here)
    samplers = records["samplers"]
    assert {"samplers", "schedules"} <= set(samplers.hooks) and samplers.manifest is not None and samplers.source
    assert sum(records[name].milliseconds for name in here) < 500
    shelf.close()


def test_a_field_is_what_is_loaded_now_or_the_snapshot_it_was_given(tmp_path: Path) -> None:
    class Owner:
        extensions = Current()

    shelf = Shelf(tmp_path)
    owner, fixed = Owner(), Extensions()
    owner.extensions = shelf  # type: ignore[assignment]
    assert owner.extensions is shelf.now
    shelf.open()
    assert owner.extensions is shelf.now and owner.extensions.samplers
    owner.extensions = fixed  # type: ignore[assignment]
    assert owner.extensions is fixed
    shelf.close()
