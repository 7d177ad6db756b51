"""Extensions are installed whole or not at all, updated or left as they were, and removed without a trace."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service.published_extensions import commit, extension, manifest, wheel, write, zipped
from webui.errors import ExtensionError, StorageError, UserError
from webui.service import extension_lock, installing
from webui.service.extension_shelf import Shelf
from webui.service.installing import Installer

NOW = 5_000_000.0


def everything(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    kept = {name: path for name, path in found.items() if path.name != installing.BUSY}
    return {name: path.read_bytes() if path.is_file() else b"" for name, path in kept.items()}


def made(root: Path, **more: Any) -> Installer:
    bundled = root / "bundled"
    bundled.mkdir(parents=True, exist_ok=True)
    return Installer(root, **{"bundled": bundled, "clock": lambda: NOW, "check": lambda _: None, **more})


@pytest.fixture
def installer(tmp_path: Path) -> Installer:
    return made(tmp_path / "root")


def staged(installer: Installer) -> list[Path]:
    return list((installer.folder / installing.STAGED).glob("*"))


def test_what_is_looked_at_is_told_and_nothing_of_it_is_run(installer: Installer, tmp_path: Path) -> None:
    more = 'authors = ["Anna"]\nlicence = "MIT"\npermissions = ["routes", "network"]\nrequires.packages = ["torch>=2"]\n'
    place = write(extension(tmp_path / "mine", more=more), {"__init__.py": "raise RuntimeError", "docs/a.md": ""})
    made_at = commit(place)
    found = installer.examine(place.as_uri())
    told = found.told()
    assert told["name"] == "mine" and told["authors"] == ["Anna"] and told["licence"] == "MIT"
    assert told["packages"] == ["torch>=2"] and told["permissions"] == ["network", "routes"]
    assert told["commit"] == made_at and told["kind"] == "git"
    assert told["files"] == ["__init__.py", "docs/a.md", "extension.toml"] and told["fetches"] == {} and told["replaces"] == ""
    assert "runs with your rights" in told["rights"] and told["content"] == extension_lock.digest(extension_lock.contents(place))
    assert not (installer.folder / "mine").exists() and len(staged(installer)) == 1
    installer.discard(found)
    assert not staged(installer)


@pytest.mark.parametrize("kind", ["git", "zip", "folder"])
def test_installed_is_what_was_looked_at(installer: Installer, tmp_path: Path, kind: str) -> None:
    place = extension(tmp_path / "mine-main")
    made_at = commit(place) if kind == "git" else ""
    source = zipped(place, tmp_path / "mine.zip", "mine-main/") if kind == "zip" else place
    state = installer.install(installer.examine(str(source)))
    assert state.enabled and not state.bundled and not state.changes and state.manifest and state.manifest.version == "1.0"
    assert state.entry is not None and state.entry.source.kind == kind and state.entry.source.commit == made_at
    assert state.entry.installed == NOW and state.entry.content == extension_lock.digest(extension_lock.contents(place))
    assert everything(installer.folder / "mine") == {name: text for name, text in everything(place).items() if ".git" not in name}
    assert not staged(installer) and extension_lock.locked(installer.data)["mine"] == state.entry


def test_changed_files_are_shown(installer: Installer, tmp_path: Path) -> None:
    installer.install(installer.examine(str(extension(tmp_path / "mine"))))
    (installer.folder / "mine" / "__init__.py").write_text("evil")
    (installer.folder / "mine" / "more.py").write_text("")
    state = installer.state("mine")
    assert state.changes == ("changed __init__.py", "added more.py") and state.told()["changes"] == list(state.changes)
    assert installer.examine_update("mine").lost == state.changes


def test_an_update_takes_the_place_of_the_old(installer: Installer, tmp_path: Path) -> None:
    place = write(extension(tmp_path / "mine"), {"old.py": ""})
    first = commit(place)
    installer.install(installer.examine(str(place)))
    installer.disable("mine")
    same = installer.examine_update("mine")
    assert same.same and same.replaces == "1.0"
    installer.discard(same)
    (place / "old.py").unlink()
    second = commit(extension(place, version="2.0"))
    found = installer.examine_update("mine")
    assert not found.same and found.manifest.version == "2.0" and found.source.commit == second
    state = installer.install(found)
    assert state.entry and state.entry.version == "2.0" and not state.enabled
    assert not (installer.folder / "mine" / "old.py").exists()
    back = installer.install(installer.examine_update("mine", commit=first))
    assert back.entry and back.entry.version == "1.0" and back.entry.source.commit == first


def refuse(_: object) -> None:
    raise ExtensionError("No.")


def test_what_fails_to_install_leaves_nothing(tmp_path: Path) -> None:
    installer = made(tmp_path / "root", check=refuse)
    place = extension(tmp_path / "mine")
    installer.folder.mkdir(parents=True)
    before = everything(tmp_path / "root")
    with pytest.raises(ExtensionError, match="No"):
        installer.install(installer.examine(str(place)))
    assert everything(tmp_path / "root") == before and [state.name for state in installer.states()] == []


FAILURES: dict[str, Callable[[pytest.MonkeyPatch, dict[str, Any]], None]] = {
    "the check": lambda _, given: given.update(check=refuse),
    "loading": lambda _, given: given.update(load=refuse),
    "the lock": lambda patch, _: patch.setattr(extension_lock, "lock", once_broken(extension_lock.lock)),
    "moving": lambda patch, _: patch.setattr(Path, "rename", third_broken(Path.rename)),
}


def once_broken(lock: Callable[..., None]) -> Callable[..., None]:
    left = [1]

    def broken(*given: Any) -> None:
        if left.pop() if left else 0:
            raise StorageError("No room.")
        lock(*given)

    return broken


def third_broken(rename: Callable[..., Any]) -> Callable[..., Any]:
    """The renaming of what is looked at, and of what is old, works; that of what is new does not; then all works again."""
    calls: list[Path] = []

    def broken(self: Path, target: Path) -> Any:
        calls.append(self)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    return broken


@pytest.mark.parametrize("name", FAILURES)
def test_an_update_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    place = extension(tmp_path / "mine")
    first = made(tmp_path / "root")
    first.install(first.examine(str(place)))
    before = everything(tmp_path / "root")
    extension(place, version="2.0", mark="?")
    said: list[str] = []
    given: dict[str, Any] = {act: lambda each, act=act: said.append(f"{act} {each}") for act in ("load", "unload")}
    FAILURES[name](monkeypatch, given)
    installer = made(tmp_path / "root", **given)
    with pytest.raises((ExtensionError, StorageError)):
        installer.install(installer.examine_update("mine"))
    monkeypatch.undo()
    assert everything(tmp_path / "root") == before
    if name == "loading":
        assert said == ["unload mine"]  # and loading the old one was tried too, by the same function that raises
    elif name != "the check":
        assert said == ["unload mine", "load mine"], said
    assert first.install(first.examine_update("mine")).entry.version == "2.0"  # type: ignore[union-attr]


def test_a_server_ends_the_use_of_the_old_before_it_loads_the_new(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    def note(what: str) -> Callable[[str], None]:
        def act(name: str) -> None:
            text = (tmp_path / "root" / "extensions" / name / "extension.toml").read_text()
            seen.append((what, "2.0" if "2.0" in text else "1.0"))

        return act

    plain = made(tmp_path / "root")
    place = extension(tmp_path / "mine")
    plain.install(plain.examine(str(place)))
    extension(place, version="2.0")
    installer = made(tmp_path / "root", load=note("load"), unload=note("unload"))
    installer.install(installer.examine_update("mine"))
    installer.disable("mine")
    installer.enable("mine")
    installer.remove("mine")
    assert seen == [("unload", "1.0"), ("load", "2.0"), ("unload", "2.0"), ("load", "2.0"), ("unload", "2.0")]


def test_removed_is_gone_without_a_trace(installer: Installer, tmp_path: Path) -> None:
    place = extension(tmp_path / "mine")
    for storage in (False, True):
        installer.install(installer.examine(str(place)))
        installer.disable("mine")
        kept = installer.data / "extensions" / "mine" / "kept.txt"
        write(kept.parent, {"kept.txt": "x"})
        write(installer.data, {"extension_settings.json": '{"mine": {"a": 1}, "other": {"b": 2}}'})
        installer.remove("mine", storage=storage)
        settings = json.loads((installer.data / "extension_settings.json").read_text())
        assert settings == {"other": {"b": 2}} | ({} if storage else {"mine": {"a": 1}})
        assert list(installer.folder.iterdir()) == [] and kept.exists() != storage
        assert not extension_lock.locked(installer.data) and not extension_lock.disabled(installer.data)
        assert not installer.states()


def test_what_comes_with_the_program_stays(tmp_path: Path) -> None:
    installer = made(tmp_path / "root")
    extension(tmp_path / "root" / "bundled" / "own", "own")
    assert installer.state("own").bundled
    with pytest.raises(UserError, match="cannot be removed; disable it instead"):
        installer.remove("own")
    for name in ("own", "lora"):
        with pytest.raises(UserError, match=f"An extension {name} comes with the program"):
            installer.examine(str(extension(tmp_path / name, name)))
    installer.disable("own")
    assert not installer.state("own").enabled
    assert not staged(installer)


def test_what_was_put_there_by_hand_is_not_lost_by_accident(installer: Installer, tmp_path: Path) -> None:
    extension(installer.folder / "mine")
    with pytest.raises(UserError, match="was put there by hand; move it away"):
        installer.examine(str(extension(tmp_path / "mine")))
    with pytest.raises(UserError, match="say that you mean it"):
        installer.remove("mine")
    with pytest.raises(UserError, match="not installed from anywhere"):
        installer.examine_update("mine")
    installer.remove("mine", by_hand=True)
    assert not installer.states()


def test_others_that_are_required_come_first_and_go_last(installer: Installer, tmp_path: Path) -> None:
    needs = extension(tmp_path / "needs", "needs", more='requires.extensions = ["mine"]')
    with pytest.raises(UserError, match="needs requires mine; install that first"):
        installer.examine(str(needs))
    installer.install(installer.examine(str(extension(tmp_path / "mine"))))
    installer.install(installer.examine(str(needs)))
    with pytest.raises(UserError, match="is required by needs"):
        installer.remove("mine")
    installer.remove("needs")
    installer.remove("mine")


def test_packages_come_into_the_extensions_own_folder_and_go_with_it(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheel(wheels, "webui_small", "1.0")
    checked: list[str] = []
    installer = made(
        tmp_path / "root", pip_options=("--no-index", "--find-links", str(wheels)),
        check=lambda place: checked.append((place / ".packages" / "webui_small.py").read_text()),
    )  # fmt: skip
    found = installer.examine(str(extension(tmp_path / "mine", more='requires.packages = ["webui-small"]')))
    assert found.told()["fetches"] == {"webui-small": "1.0"} and not (found.manifest.folder / ".packages").exists()
    state = installer.install(found)
    assert checked == ["VERSION = '1.0'\n"] and state.entry and state.entry.packages == {"webui-small": "1.0"}
    assert state.entry.content == found.content and not state.changes
    (state.folder / ".packages" / "webui_small.py").write_text("evil")
    assert installer.state("mine").changes == ("changed .packages/webui_small.py",)
    other = extension(tmp_path / "other", "other", more='requires.packages = ["webui-small>1"]')
    with pytest.raises(UserError, match=r"other requires webui-small>1, but mine uses webui-small 1\.0"):
        installer.examine(str(other))
    installer.remove("mine")
    assert not (installer.folder / "mine").exists()


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "no manifest": ({"extension.toml": "", "a/b": ""}, "calls itself nothing"),
    "brackets without end": ({"extension.toml": manifest("mine", more=f"x = {'[' * 5000}{']' * 5000}\n")}, "cannot be read"),
    "a name that leads out": ({"extension.toml": manifest("../evil")}, r"calls itself '\.\./evil'"),
    "no code": ({"extension.toml": manifest("mine"), "__init__.py": ""}, ""),
    "for another program": ({"extension.toml": manifest("mine").replace('"1"', '"9"')}, "is made for api '9'"),
    "an old torch": ({"extension.toml": manifest("mine", more='requires.packages = ["torch<2"]')}, "mine requires torch<2, but"),
    "an unknown permission": ({"extension.toml": manifest("mine", more='permissions = ["all"]')}, "the permission 'all'"),
    "no toml": ({"extension.toml": "=", "__init__.py": ""}, "cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_told_why_and_leaves_nothing(installer: Installer, tmp_path: Path, name: str) -> None:
    files, why = REFUSED[name]
    place = write(extension(tmp_path / "mine"), files)
    if name == "no code":
        (place / "__init__.py").unlink()
        why = "has no file __init__.py"
    with pytest.raises(UserError, match=why):
        installer.examine(str(place))
    assert not staged(installer) and not installer.states()


def test_files_that_change_between_looking_and_installing_are_not_installed(installer: Installer, tmp_path: Path) -> None:
    found = installer.examine(str(extension(tmp_path / "mine")))
    (found.manifest.folder / "__init__.py").write_text("evil")
    with pytest.raises(UserError, match="not those that were looked at"):
        installer.install(found)
    assert not installer.states() and not staged(installer)


def test_an_update_may_not_become_something_else(installer: Installer, tmp_path: Path) -> None:
    place = extension(tmp_path / "mine")
    installer.install(installer.examine(str(place)))
    extension(place, "other")
    with pytest.raises(UserError, match="now calls itself 'other'; mine stays"):
        installer.examine_update("mine")
    assert not staged(installer)


def test_a_file_that_was_brought_by_a_browser_has_no_update(installer: Installer, tmp_path: Path) -> None:
    archive = zipped(extension(tmp_path / "mine"), tmp_path / "uploaded.tmp")
    state = installer.install(installer.examine(str(archive), called="../mine.zip"))
    assert state.entry and state.entry.source.address == "mine.zip"
    with pytest.raises(UserError, match=r"brought as the file 'mine\.zip'; install the newer file"):
        installer.examine_update("mine")


def test_a_list_is_remembered_and_its_pins_are_kept(installer: Installer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no list of extensions to look it up in"):
        installer.examine("mine")
    place = extension(tmp_path / "kept" / "mine")
    first = commit(place)
    commit(extension(place, version="2.0"))
    wrong = ({"name": "wrong", "url": "kept/mine"}, {"name": "no", "url": "no"})
    listed = [{"name": "mine", "url": "kept/mine", "commit": first}, *wrong]
    write(tmp_path, {"index.json": json.dumps(listed)})
    assert [entry.name for entry in installer.index(str(tmp_path / "index.json")).entries] == ["mine", "wrong", "no"]
    found = installer.examine("mine")
    assert found.source.commit == first and found.manifest.version == "1.0"
    with pytest.raises(UserError, match="The list calls it wrong, but it calls itself 'mine'"):
        installer.examine("wrong")
    with pytest.raises(UserError, match="where nothing is"):
        installer.examine("no")


def test_a_program_that_was_killed_while_it_moved_files_mends_it(installer: Installer, tmp_path: Path) -> None:
    installer.install(installer.examine(str(extension(tmp_path / "mine"))))
    before = everything(installer.folder / "mine")
    aside = installer.folder / installing.STAGED / "killed" / installing.OLD
    aside.mkdir(parents=True)
    (installer.folder / "mine").rename(aside / "mine")
    fresh, forgotten = installer.examine(str(extension(tmp_path / "two", "two"))), installer.examine(str(tmp_path / "two"))
    for found, age in ((fresh, 10.0), (forgotten, 2 * installing.FORGOTTEN)):
        os.utime(found.staged, (NOW - age, NOW - age))
    installer.recover()
    assert everything(installer.folder / "mine") == before and staged(installer) == [fresh.staged]
    installer.install(fresh)


def test_two_at_once_wait_for_each_other(tmp_path: Path) -> None:
    inside, go, seen = threading.Event(), threading.Event(), []

    def slowly(_: Path) -> None:
        inside.set()
        assert go.wait(30)
        seen.append("first")

    slow, quick = made(tmp_path / "root", check=slowly), made(tmp_path / "root", check=lambda _: seen.append("second"))
    one, two = (slow.examine(str(extension(tmp_path / name, name))) for name in ("one", "two"))
    threads = [threading.Thread(target=slow.install, args=(one,)), threading.Thread(target=quick.install, args=(two,))]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join()
    assert seen == ["first", "second"] and [state.name for state in quick.states()] == ["one", "two"]


def test_new_code_is_first_imported_in_another_process(tmp_path: Path) -> None:
    bundled = tmp_path / "bundled"
    bundled.mkdir()
    installer = Installer(tmp_path / "root", bundled=bundled)
    ran = tmp_path / "ran"
    code = f"import os\nopen({str(ran)!r}, 'w').write(str(os.getpid()))\n"
    place = write(extension(tmp_path / "mine"), {"__init__.py": code + "os._exit(3)\n"})
    found = installer.examine(str(place))
    assert not ran.exists()
    with pytest.raises(ExtensionError, match="mine ended the process that imported it"):
        installer.install(found)
    assert ran.read_text() != str(os.getpid()) and not installer.states() and not staged(installer)
    write(place, {"__init__.py": code})
    assert installer.install(installer.examine(str(place))).enabled


ADDS = """from webui.extension import SamplerInfo, hook

@hook
def samplers():
    return [SamplerInfo(name={name!r}, function=len)]
"""


def test_what_a_server_cannot_load_does_not_take_the_place_of_what_it_has(tmp_path: Path) -> None:
    bundled = tmp_path / "bundled"
    bundled.mkdir()
    shelf = Shelf(tmp_path / "root", folders=(bundled, tmp_path / "root" / "extensions"))
    shelf.open()
    installer = Installer(tmp_path / "root", bundled=bundled, check=shelf.check, load=shelf.load, unload=shelf.unload)
    place = write(extension(tmp_path / "mine"), {"__init__.py": ADDS.format(name="Mine")})
    installer.install(installer.examine(str(place)))
    assert "Mine" in shelf.now.samplers
    before = everything(installer.folder)
    write(extension(place, version="2.0"), {"__init__.py": ADDS.format(name="Euler")})  # which only a server knows to be taken
    with pytest.raises(ExtensionError, match="'Euler' of mine is there already"):
        installer.install(installer.examine_update("mine"))
    assert "Mine" in shelf.now.samplers and shelf.now.versions["mine"] == "1.0" and everything(installer.folder) == before
    with pytest.raises(ExtensionError, match="'Euler' of new_one is there already"):
        installer.install(installer.examine(str(write(extension(place, "new_one"), {"__init__.py": ADDS.format(name="Euler")}))))
    assert everything(installer.folder) == before and "new_one" not in shelf.now.versions
    installer.remove("mine")
    assert "Mine" not in shelf.now.samplers and "mine" not in shelf.now.versions
    shelf.close()
