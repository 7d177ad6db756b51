"""What people give as a source is recognised or refused; a repository gives a commit's files and runs nothing."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.service.published_extensions import commit, extension, git, write, zipped
from webui.errors import UserError
from webui.service import installing_sources
from webui.service.extension_lock import Source
from webui.service.installing_git import fetched
from webui.service.installing_sources import brought, recognised

SHA = "a" * 40


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("https://example.org/mine.git", "git"), ("https://example.org/mine", "git"), ("git+https://example.org/mine", "git"),
        ("http://example.org/a/mine.ZIP?x=1", "zip"), ("ssh://git@example.org/mine", "git"), ("git@example.org:me/mine", "git"),
        ("git://example.org/mine", "git"),
    ],
)  # fmt: skip
def test_addresses_are_recognised(text: str, kind: str) -> None:
    found = recognised(f" {text} ")
    assert found == Source(kind=kind, address=text.removeprefix("git+"))


def test_what_is_on_this_machine_is_recognised(tmp_path: Path) -> None:
    folder = extension(tmp_path / "plain")
    archive = zipped(folder, tmp_path / "a.zip")
    repository = extension(tmp_path / "kept")
    commit(repository)
    for path, kind in ((folder, "folder"), (archive, "zip"), (repository, "git")):
        for text in (str(path), path.as_uri()):
            assert recognised(text) == Source(kind=kind, address=str(path))
    assert recognised("mine") is None  # it may be a name in a list


@pytest.mark.parametrize(
    "text", ["", "  ", "-u", "--upload-pack=touch x", "ext::sh -c touch% x", "ftp://example.org/a", "/nowhere/at/all", "a/b",
             "a\0b", "file:///nowhere/at/all", "javascript://x", "http://[x", "file://[", "~nobody_at_all/x", "a" * 5000,
             "file:///" + "a" * 5000, "file:///%00"],
)  # fmt: skip
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="The source was"):
        recognised(text)


@pytest.mark.parametrize(("pin", "ref"), [("main", ""), ("--help", ""), ("a" * 6, ""), ("A" * 40, ""), ("", "-x"), ("", "a:b")])
def test_what_is_no_commit_and_no_branch_is_refused(tmp_path: Path, pin: str, ref: str) -> None:
    with pytest.raises(UserError, match="it must be"):
        fetched("https://example.org/x", pin, ref, tmp_path)


def test_a_commit_is_for_repositories_only(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder, not a git repository"):
        recognised(str(extension(tmp_path / "plain")), commit=SHA)


def test_the_commit_that_is_asked_for_comes_and_no_other(tmp_path: Path) -> None:
    place = extension(tmp_path / "mine", version="1.0")
    first = commit(place)
    git(place, "tag", "v1")
    second = commit(extension(place, version="2.0"))
    git(place, "checkout", "--quiet", "-b", "other")
    third = commit(extension(place, version="3.0"))
    git(place, "checkout", "--quiet", "main")
    write(place, {"extension.toml": "not committed"})
    wanted = [("", "", second), (first, "", first), (first[:10], "", first), ("", "v1", first), ("", "other", third)]
    for number, (pin, ref, expected) in enumerate(wanted):
        for address in (str(place), place.as_uri()):
            stage = tmp_path / f"{number}{address[:1]}"
            stage.mkdir()
            found, came = brought(Source(kind="git", address=address, commit=pin, ref=ref), stage)
            assert came.commit == expected and came.ref == ref
            assert f'version = "{ {first: 1, second: 2, third: 3}[expected] }.0"' in (found / "extension.toml").read_text()
            assert not (found / ".git").exists()


def test_what_is_not_in_a_repository_is_a_sentence(tmp_path: Path) -> None:
    place = extension(tmp_path / "mine")
    commit(place)
    for pin, ref, why in ((SHA, "", "There is no commit aaaaaaa"), ("", "nowhere", "git could not fetch")):
        stage = tmp_path / (pin + ref)
        stage.mkdir()
        with pytest.raises(UserError, match=why):
            fetched(str(place), pin, ref, stage)
    with pytest.raises(UserError, match="git could not fetch"):
        fetched(str(tmp_path / "nothing"), "", "", tmp_path / SHA)


def test_nothing_of_a_repository_is_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    place = extension(tmp_path / "mine")
    runs = f"open({str(ran)!r}, 'w')"
    write(place, {".gitattributes": "*.py filter=evil\n", "setup.py": runs, "install.py": runs})
    commit(place)
    for hook in ("post-checkout", "post-merge", "reference-transaction", "post-index-change"):
        script = place / ".git" / "hooks" / hook
        script.write_text(f"#!/bin/sh\ntouch {ran}\n")
        script.chmod(0o755)
    git(place, "config", "filter.evil.smudge", f"touch {ran}")
    git(place, "config", "uploadpack.packObjectsHook", f"touch {ran}")
    git(place, "config", "core.fsmonitor", f"touch {ran}")
    stage = tmp_path / "stage"
    stage.mkdir()
    found, _ = brought(Source(kind="git", address=str(place)), stage)
    assert (found / "setup.py").exists() and not ran.exists()


def test_links_and_submodules_in_a_repository_are_refused(tmp_path: Path) -> None:
    place = extension(tmp_path / "mine")
    (place / "link").symlink_to("../../secret")
    commit(place)
    with pytest.raises(UserError, match=r"'link' in it is a link to '\.\./\.\./secret'"):
        fetched(str(place), "", "", tmp_path)
    (place / "link").unlink()
    inner = commit(place)
    git(place, "update-index", "--add", "--cacheinfo", f"160000,{inner},inner")
    git(place, "commit", "--quiet", "--message", "Another repository")
    stage = tmp_path / "stage"
    stage.mkdir()
    with pytest.raises(UserError, match="'inner' in it is a repository of its own"):
        fetched(str(place), "", "", stage)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_zip_of_the_web_comes_if_it_is_the_right_one(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    archive = zipped(extension(tmp_path / "mine"), folder / "mine.zip", "mine-main/")
    right = hashlib.sha256(archive.read_bytes()).hexdigest()
    source = Source(kind="zip", address=f"{address}/mine.zip")
    for number, digest in enumerate(("", right)):
        stage = tmp_path / str(number)
        stage.mkdir()
        found, came = brought(source, stage, digest)
        assert (found / "extension.toml").exists() and came == source and not (stage / "download.zip").exists()
    stage = tmp_path / "wrong"
    stage.mkdir()
    with pytest.raises(UserError, match="its SHA-256 is another"):
        brought(source, stage, "0" * 64)
    with pytest.raises(UserError, match="answered 404"):
        brought(Source(kind="zip", address=f"{address}/none.zip"), stage)
    monkeypatch.setattr(installing_sources.download, "__defaults__", (100,))
    with pytest.raises(UserError, match="is larger than"):
        brought(source, stage)


def test_a_server_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be fetched"):
        brought(Source(kind="zip", address="http://127.0.0.1:9/a.zip"), tmp_path)
