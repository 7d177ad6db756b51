"""Wildcards: drawn by the seed alone, nested, weighted, several at once; lists are looked up and never a path."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.extension import PromptContext
from webui.request import Request
from webui.service.expansion import expanded
from webui.service.extensions import Extensions, bundled

ROOT = Path(__file__).resolve().parents[2]
Draw = Callable[..., str]
ODD = st.text(st.sampled_from("{}|_$:0123.[]\\#<>ab \n"), max_size=60)


@pytest.fixture(scope="module")
def extensions() -> Extensions:
    found = bundled()
    assert "wildcards" in found.versions and "wildcards" not in found.problems
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    root = tmp_path_factory.mktemp("root")
    lists = {
        "models/wildcards/colour.txt": "red\n\n# not this\nblue # nor this\r\n",
        "wildcards/colour.txt": "from the root",
        "wildcards/animals/cat.txt": "__colour__ cat",
        "wildcards/animals/dog.txt": "{big|small} dog",
        "wildcards/self.txt": "x __self__",
        "wildcards/one.txt": "\ufeff0::never\n3::often",
        "wildcards/twice.txt": "__twin__ __twin__",
        "wildcards/twin.txt": "__colour__ __colour__",
        "wildcards/empty.txt": "# nothing\n",
        "wildcards/two words.txt": "y",
        "secret.txt": "secret",
    }
    for name, text in lists.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return root / "models", root


@pytest.fixture(scope="module")
def draw(extensions: Extensions, folders: tuple[Path, ...]) -> Draw:
    return lambda text, seed=1, role="prompt": extensions.transform_prompt(
        text, PromptContext(seed=seed, role=role, folders=folders)
    )


def all_of(draw: Draw, text: str, count: int = 80) -> set[str]:
    return {draw(text, seed) for seed in range(count)}


@pytest.mark.parametrize(("text", "expected"), [
    ("a {red|blue} ball", {"a red ball", "a blue ball"}),
    ("{a|{b|c}d|}", {"a", "bd", "cd", ""}),
    ("{only}", {"only"}),
    ("__colour__", {"red", "blue"}),  # the first folder's list holds
    ("__COLOUR__ x", {"red x", "blue x"}),
    ("__animals/cat__", {"red cat", "blue cat"}),
    ("__animals/*__", {"red cat", "blue cat", "big dog", "small dog"}),
    ("{2$$a|b|c}", {"a, b", "a, c", "b, a", "b, c", "c, a", "c, b"}),
    ("{2$$ and $$ a | b }", {"a and b", "b and a"}),
    ("{1-2$$a|b}", {"a", "b", "a, b", "b, a"}),
    ("{-2$$a|b}", {"a", "b", "a, b", "b, a"}),
    ("{2-$$a|b}", {"a, b", "b, a"}),
    ("{0$$a|b}", {""}),
    ("{9$$a|b}", {"a, b", "b, a"}),
    ("{2$$/$$__colour__}", {"red/blue", "blue/red"}),
    ("{0::a|b}", {"b"}), ("{0::a|0::b}", {"a", "b"}), ("{.5::a|0.0::b}", {"a"}),
    ("__one__", {"often"}),
    ("{[a|b]|c}", {"[a|b]", "c"}),  # what changes from step to step stays whole
    ("{[a|b}", {"[a", "b"}),
    ("<lora:{x|y}:1>", {"<lora:x:1>", "<lora:y:1>"}),
])
def test_what_may_be_drawn_is_drawn_and_nothing_else(draw: Draw, text: str, expected: set[str]) -> None:
    assert all_of(draw, text) == expected


@pytest.mark.parametrize("text", [
    "a cat", "", "[a|b]", "a | b", "{a|b", "a}", "__none__", "__empty__", "__../secret__", "__/etc/passwd__", "__two words__",
    "____", "__ x __", "a__b", "# {a|b} __colour__", "__secret__", "\\\\", "a\\|b", "[from:to:0.5] (x:1.2)",
])
def test_what_means_nothing_stays_as_it_is(draw: Draw, text: str) -> None:
    assert all_of(draw, text, 5) == {text}


def test_escaped_signs_stand_for_themselves(draw: Draw) -> None:
    assert draw("\\{a|b\\} \\__colour__") == "{a|b} __colour__"
    assert all_of(draw, "{a\\|b}") == {"a\\|b"} and all_of(draw, "{\\}|\\{}") == {"}", "{"}
    assert draw("\\\\{a}") == "\\\\a"  # the backslash is escaped, the brace is not


def test_the_seed_alone_decides(draw: Draw) -> None:
    text = " ".join(["{a|b|c|d} __colour__"] * 10)
    assert [draw(text, seed) for seed in range(5)] == [draw(text, seed) for seed in range(5)]
    assert len(all_of(draw, text, 20)) == 20
    assert draw(text, 3, "negative") != draw(text, 3)
    # What random.random() gives for a text is the same in every version of Python; another draw would change old pictures.
    assert draw("{a|b|c|d} {a|b|c|d} {a|b|c|d} {a|b|c|d}", 42) == "b c a d"


def test_weights_are_how_often(draw: Draw) -> None:
    found = Counter(draw("{3::a|b}", seed) for seed in range(2000))
    assert 1400 < found["a"] < 1600  # 1500 and five standard deviations
    first = Counter(draw("{2$$2::a|b|b}", seed)[0] for seed in range(2000))
    assert 880 < first["a"] < 1120


def test_a_list_that_names_itself_comes_to_an_end(draw: Draw) -> None:
    assert draw("__self__") == "x __self__"
    assert draw("{2$$__self__}") == "x __self__"
    assert len(draw("__twice__").split()) == 4
    assert draw("{__self__|__self__}") == "x __self__"


def test_there_is_an_end_to_drawing(draw: Draw) -> None:
    found = draw("{a|a}" * 1500)
    assert found.startswith("a" * 1000 + "{a|a}") and found.endswith("{a|a}")


def test_pictures_of_a_job_draw_for_themselves(extensions: Extensions, folders: tuple[Path, ...]) -> None:
    request = Request(
        model="m", prompt="{a|b|c|d|e|f} __colour__", negative="__colour__", steps=1, sampler="Euler", schedule="Uniform",
        scale=1.0, seed=5, width=64, height=64, count=4,
    )  # fmt: skip
    made = expanded(request, extensions, folders)
    assert made.template == request.prompt and made.negative_template == "__colour__" and len(set(made.prompts)) > 1
    for at in range(4):
        alone = expanded(Request.from_dict(request.to_dict() | {"seed": 5 + at, "count": 1}), extensions, folders)
        assert made.picture(at).prompt == alone.picture(0).prompt


def test_problems_are_told_where_they_are(extensions: Extensions, folders: tuple[Path, ...]) -> None:
    text = "{a __none__ <lora:x__y__z:1> \n# __none__ {\n __empty__ } __colour__ } {b"
    found = [(text[start:end], sentence) for start, end, sentence in extensions.prompt_problems(text, folders)]
    assert [place for place, _ in found] == ["__none__", "__empty__", "}", "{"]
    assert "There is no list 'none'" in found[0][1] and "models/wildcards" in found[0][1] and "no entries" in found[1][1]
    assert extensions.prompt_problems("{a|b} __colour__ __animals/*__", folders) == []


def test_names_that_can_be_written_are_offered(extensions: Extensions, folders: tuple[Path, ...]) -> None:
    names = extensions.prompt_words(folders)["wildcard"]
    assert "colour" in names and "animals/cat" in names and names.count("colour") == 1
    assert "two words" not in names and not any("secret" in name for name in names)
    assert extensions.prompt_words((Path("/nowhere"),)).get("wildcard", []) == []


def test_a_list_that_changes_is_read_again(extensions: Extensions, tmp_path: Path) -> None:
    path = tmp_path / "wildcards" / "a.txt"
    path.parent.mkdir()
    context = PromptContext(seed=1, folders=(tmp_path,))
    for text in ("first", "second one"):
        path.write_text(text)
        assert extensions.transform_prompt("__a__", context) == text
    path.write_bytes(b"\xff\xfe\x00bad\n" + b"x" * 30_000)  # no text, and a line that no prompt could hold
    assert extensions.transform_prompt("__a__", context).endswith("bad")


@settings(max_examples=300, deadline=None)
@given(text=ODD | st.text(max_size=40), seed=st.integers(0, 2**64 - 1))
def test_any_text_comes_to_something(extensions: Extensions, draw: Draw, folders: tuple[Path, ...], text: str, seed: int) -> None:
    found = draw(text, seed)
    assert draw(text, seed) == found
    if not {"{", "}"} & set(text) and "__" not in text:
        assert found == text
    assert all(0 <= start < end <= len(text) for start, end, _ in extensions.prompt_problems(text, folders))


@pytest.mark.parametrize("piece", ["{", "}", "{a|", "{}", "[", "__", "_a", "__a__", "{[", "|", "\\", "{2$$", "__a", "#", "{a|b}"])
def test_time_grows_no_faster_than_the_text(draw: Draw, extensions: Extensions, folders: tuple[Path, ...], piece: str) -> None:
    text = piece * (20_000 // len(piece)) + "}" * 3000
    begun = time.process_time()
    draw(text)
    extensions.prompt_problems(text, folders)
    assert time.process_time() - begun < 2


def test_nothing_of_it_imports_torch() -> None:
    code = "import sys; from webui.service.extensions import bundled; bundled(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_what_a_pattern_stands_for_is_looked_up_once_a_text(
    extensions: Extensions, folders: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pattern may stand for every list there is, and a prompt has room for thousands of patterns."""
    lists = importlib.import_module("webui_extensions_wildcards.lists")
    asked: list[str] = []
    own = lists.Lists._looked_up
    monkeypatch.setattr(lists.Lists, "_looked_up", lambda self, name: asked.append(name) or own(self, name))
    context = PromptContext(seed=1, index=0, role="prompt", folders=folders)
    extensions.transform_prompt("__*__ " * 30, context)
    assert asked.count("*") == 1
