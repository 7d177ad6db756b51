"""Lists of extensions are read, searched, and believed in nothing that could reach this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webui.errors import UnknownName, UserError
from webui.service import extension_index
from webui.service.extension_index import read_index

URL = "https://example.org/mine.git"
GOOD = {"name": "mine", "url": URL, "description": "What it does.", "tags": ["prompt", 3], "commit": "a" * 40}


def listed(folder: Path, *entries: Any) -> Path:
    path = folder / "index.json"
    path.write_text(json.dumps(entries))
    return path


def test_a_list_is_read_with_what_makes_sense(tmp_path: Path) -> None:
    path = listed(tmp_path, GOOD, {"name": "two", "url": "https://example.org/two.zip", "sha256": "b" * 64, "more": {}})
    for address in (str(path), path.as_uri()):
        index = read_index(address)
        assert [entry.name for entry in index.entries] == ["mine", "two"] and index.left_out == 0
        assert index.named("mine").tags == ("prompt",) and index.named("mine").commit == "a" * 40
        assert index.named("two").sha256 == "b" * 64
    path.write_text(json.dumps({"extensions": [GOOD]}))
    assert read_index(str(path)).named("mine").url == GOOD["url"]
    with pytest.raises(UnknownName, match="did you mean mine"):
        read_index(str(path)).named("mime")


@pytest.mark.parametrize(
    "bad",
    [3, None, [], {}, {"name": "x"}, {"name": 3, "url": "https://a"}, GOOD | {"name": "../x"}, GOOD | {"name": "Mine"},
     GOOD | {"url": ""}, GOOD | {"url": "--upload-pack=x"}, GOOD | {"url": "a://b"}, GOOD | {"url": "javascript://x"},
     GOOD | {"commit": "main"}, GOOD | {"sha256": "x"}, GOOD | {"url": "https://a\nb"},
     GOOD | {"url": "https://[a"}],
)  # fmt: skip
def test_an_entry_that_makes_no_sense_is_left_out(tmp_path: Path, bad: Any) -> None:
    index = read_index(str(listed(tmp_path, bad, GOOD | {"name": "good"})))
    assert [entry.name for entry in index.entries] == ["good"] and index.left_out == 1


@pytest.mark.parametrize("text", ["", "{", "3", '{"a": []}', "[" * 100_000])
def test_what_is_no_list_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(UserError, match="list of extensions"):
        read_index(str(tmp_path / "index.json"))


@pytest.mark.parametrize("address", ["", "ftp://example.org/x", "/nowhere/index.json", "file:///nowhere", "a\0b",
                                     "file:///%00", "http://[x", "file://[", "~nobody_at_all/x", "a" * 5000])  # fmt: skip
def test_what_is_nowhere_says_so(address: str) -> None:
    with pytest.raises(UserError, match="list of extensions"):
        read_index(address)


def test_a_list_of_the_web_names_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = {
        "local": "file:///etc", "short": "file:/etc", "broken": "//[", "absolute": "/etc", "relative": "mine.zip",
        "up": "../x.git", "ssh": "git@example.org:a/b",
    }  # fmt: skip
    entries = [GOOD | {"name": name, "url": url} for name, url in urls.items()]

    def download(_: str, target: Path, largest: int) -> None:
        assert largest == extension_index.LARGEST_INDEX
        target.write_text(json.dumps(entries))

    monkeypatch.setattr(extension_index, "download", download)
    index = read_index("https://example.org/lists/index.json")
    assert {entry.name: entry.url for entry in index.entries} == {
        "absolute": "https://example.org/etc", "relative": "https://example.org/lists/mine.zip", "up": "https://example.org/x.git",
        "ssh": "git@example.org:a/b",
    }  # fmt: skip
    local = read_index(str(listed(tmp_path, *entries)))
    assert local.named("relative").url == str(tmp_path / "mine.zip") and local.named("local").url == "file:///etc"


def test_the_best_come_first_and_all_words_count(tmp_path: Path) -> None:
    index = read_index(str(listed(
        tmp_path,
        {"name": "aaa", "url": "https://a", "description": "Changes a prompt and more"},
        {"name": "bbb", "url": "https://b", "tags": ["Prompt"]},
        {"name": "prompt_c", "url": "https://c", "description": "more"},
        {"name": "ddd", "url": "https://d"},
    )))  # fmt: skip
    assert [entry.name for entry in index.search("PROMPT")] == ["prompt_c", "bbb", "aaa"]
    assert [entry.name for entry in index.search("more prompt")] == ["aaa", "prompt_c"]
    assert len(index.search(" ")) == 4 and index.search("nothing") == []
