"""What an extension requires is found before anything is installed; what would change the program is refused, with its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.service.published_extensions import wheel
from webui.errors import UserError
from webui.service import requirements
from webui.service.requirements import NOTHING, Plan, core_pins, explained, fetch, resolve


def no_pip(_: Sequence[str]) -> tuple[int, str]:
    raise AssertionError("pip was asked")


def offline(folder: Path) -> tuple[str, ...]:
    return ("--no-index", "--find-links", str(folder))


def test_the_core_is_what_is_pinned() -> None:
    pins = core_pins()
    assert pins["torch"].startswith("2.") and "pluggy" in pins and "markupsafe" in pins and len(pins) > 50


def test_what_the_program_has_needs_nothing() -> None:
    pins = core_pins()
    wanted = ["torch>=2", f"NumPy=={pins['numpy']}", "nowhere>=1; sys_platform == 'plan9'"]
    assert resolve("mine", wanted, {}, pip=no_pip) is NOTHING
    assert resolve("mine", [], {}, pip=no_pip) is NOTHING


def test_another_version_of_a_core_package_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"mine requires torch<2, but this program is tested with torch 2\."):
        resolve("mine", ["torch<2"], {}, pip=no_pip)


@pytest.mark.parametrize("text", ["--index-url http://127.0.0.1", "-r x", "./a", "a b", "", "http://127.0.0.1/a.whl", "a>>1"])
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no package with its versions"):
        resolve("mine", [text], {}, pip=no_pip)


def test_a_condition_that_means_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="whose condition means nothing"):
        resolve("mine", ['a; "x" == "y"'], {}, pip=no_pip)


@pytest.mark.parametrize("text", ["a @ http://127.0.0.1/a.whl", "a @ git+https://127.0.0.1/a.git", "torch @ file:///a.tar.gz"])
def test_packages_from_elsewhere_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="from an address of its own"):
        resolve("mine", [text], {}, pip=no_pip)


def test_what_another_extension_uses_stays_as_it_is() -> None:
    with pytest.raises(UserError, match=r"mine requires small>=2, but other uses small 1\.0"):
        resolve("mine", ["small>=2"], {"other": {"small": "1.0"}}, pip=no_pip)


def test_missing_packages_are_planned_and_fetched_into_a_folder_of_their_own(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheel(wheels, "webui_small", "1.0")
    wheel(wheels, "webui_small", "1.5")
    wheel(wheels, "webui_large", "3.0", ["webui-small<1.2", "numpy"])
    plan = resolve("mine", ["webui-large"], {}, options=offline(wheels))
    assert plan.packages == {"webui-large": "3.0", "webui-small": "1.0"}
    assert len(plan.lines) == 2 and all("--hash=sha256:" in line for line in plan.lines)
    target = tmp_path / "packages"
    fetch("mine", plan, target, options=offline(wheels))
    assert (target / "webui_small.py").read_text() == "VERSION = '1.0'\n" and (target / "webui_large.py").exists()
    assert not (target / "numpy").exists()
    (wheels / "webui_small-1.0-py3-none-any.whl").unlink()
    wheel(wheels, "webui_small", "1.0", ["nothing"])  # another file under the same name
    with pytest.raises(UserError, match="mine cannot have what it requires"):
        fetch("mine", plan, tmp_path / "again", options=offline(wheels))


def test_a_conflict_below_is_told_with_who_has_what(tmp_path: Path) -> None:
    wheel(tmp_path, "webui_old", "1.0", ["torch<2"])
    with pytest.raises(UserError) as caught:
        resolve("mine", ["webui-old"], {}, options=offline(tmp_path))
    said = str(caught.value)
    assert "webui-old 1.0 depends on torch<2" in said and f"this program has torch {core_pins()['torch']}" in said, said
    assert "stays as it is" in said and "\n" not in said


def test_without_a_wheel_nothing_is_built(tmp_path: Path) -> None:
    import io
    import tarfile

    ran = tmp_path / "ran"
    script = f"open({str(ran)!r}, 'w')\nimport setuptools\nsetuptools.setup(name='webui-source', version='1.0')\n".encode()
    with tarfile.open(tmp_path / "webui_source-1.0.tar.gz", "w:gz") as file:
        entry = tarfile.TarInfo("webui_source-1.0/setup.py")
        entry.size = len(script)
        file.addfile(entry, io.BytesIO(script))
    with pytest.raises(UserError, match="there is no wheel of webui-source"):
        resolve("mine", ["webui-source"], {}, options=offline(tmp_path))
    assert not ran.exists()


def report_of(name: str, digest: str | None) -> requirements.Pip:
    def pip(arguments: Sequence[str]) -> tuple[int, str]:
        info = {"archive_info": {"hashes": {"sha256": digest}} if digest else {}}
        text = f'{{"install": [{{"metadata": {{"name": "{name}", "version": "9"}}, "download_info": {info!r}}}]}}'
        Path(arguments[arguments.index("--report") + 1]).write_text(text.replace("'", '"'))
        return 0, ""

    return pip


def test_pip_is_not_believed_about_the_core() -> None:
    with pytest.raises(UserError, match="would install torch 9"):
        resolve("mine", ["other"], {}, pip=report_of("Torch", "a" * 64))
    with pytest.raises(UserError, match="whose SHA-256 nobody says"):
        resolve("mine", ["other"], {}, pip=report_of("other", None))
    assert resolve("mine", ["other"], {}, pip=report_of("other", "a" * 64)) == Plan(
        packages={"other": "9"}, lines=(f"other==9 --hash=sha256:{'a' * 64}",)
    )


def test_other_failures_are_sentences() -> None:
    offline_said = "WARNING: Retrying ... NewConnectionError('...')\nERROR: No matching distribution found for x"
    assert "the package index did not answer" in explained("mine", offline_said, {}, {})
    assert explained("mine", "ERROR: odd thing", {}, {}).endswith("pip said: odd thing")
    assert explained("mine", "", {}, {}).endswith("nothing")
    held = "The conflict is caused by:\n    The user requested small>=2\n    The user requested (constraint) small==1.0\n\nmore"
    assert "it requires small>=2; other has small 1.0." in explained("mine", held, {}, {"other": {"small": "1.0"}})
