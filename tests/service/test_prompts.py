"""What the page is told of a prompt: tokens and chunks by the model's own tokenizer, problems, words; without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.pretend import place_model
from tests.service.shelf import ANNA, BOB, shelf
from tests.tiny_checkpoint import SPEC, write
from webui.errors import UserError
from webui.params import LONGEST_PROMPT
from webui.service.prompts import Prompts
from webui.service.requests import Resolver
from webui.service.styles import Style, Styles

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Prompts:
    root = tmp_path_factory.mktemp("root")
    place_model(root)
    write(root / "models" / "checkpoints" / "tiny.safetensors")
    short = replace(SPEC, text=(replace(SPEC.text[0], positions=12),))
    write(root / "models" / "checkpoints" / "short.safetensors", spec=short)
    networks = ("Lora/one.safetensors", "Lora/a one.pt", "Lora/sub/two.pt", "embeddings/bad hands.pt", "hypernetworks/h.pt")
    for name in (*networks, "Lora/notes.txt"):
        path = root / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    styles = Styles(shelf(root).database)
    styles.put(ANNA, Style(name="Oil painting", prompt="oil"))
    return Prompts(Resolver(models_folder=root / "models", cache=root / "cache"), styles)


def test_tokens_are_counted_as_the_model_counts_them(prompts: Prompts) -> None:
    assert prompts.look("ab ab", "tiny")["tokens"] == 2
    assert prompts.look("photograph", "tiny")["tokens"] == 10  # its vocabulary has one merge
    assert prompts.look("photograph", "no such model")["tokens"] == 1  # CLIP's
    assert prompts.look("", "tiny") == {"tokens": 0, "of": 75, "chunks": [], "problems": []}


def test_chunks_are_told_where_they_are_in_what_was_written(prompts: Prompts) -> None:
    text = "# a comment ab\n" + "ab " * 76 + "BREAK <lora:x:1> b"
    found = prompts.look(text, "tiny")
    assert (found["tokens"], found["of"]) == (151, 225)
    (first, second, third) = found["chunks"]
    assert text[slice(*first)] == ("ab " * 75).strip() and text[slice(*second)] == "ab" and text[slice(*third)] == "b"


def test_a_chunk_has_as_many_tokens_as_the_model_reads_at_once(prompts: Prompts) -> None:
    found = prompts.look("ab " * 11, "short")
    assert (found["tokens"], found["of"], found["chunks"]) == (11, 20, [[0, 29], [30, 32]])


def test_the_longest_text_along_the_steps_counts(prompts: Prompts) -> None:
    text = "[ab:" + "b " * 80 + ":0.5] a AND b"
    found = prompts.look(text, "tiny")
    assert found["tokens"] == 81 and found["of"] == 150 and len(found["chunks"]) == 3
    assert [text[slice(*chunk)][-1] for chunk in found["chunks"]] == ["b", "a", "b"]


def test_emphasis_decides_what_a_bracket_is(prompts: Prompts) -> None:
    assert prompts.look("(ab", "tiny")["problems"][0]["start"] == 0
    found = prompts.look("(ab", "tiny", "None")
    assert found["problems"] == [] and found["tokens"] == 2


def test_a_negative_prompt_is_read_as_one(prompts: Prompts) -> None:
    assert prompts.look("a AND b", "tiny")["tokens"] == 1
    assert prompts.look("a AND b", "tiny", negative=True)["tokens"] == 5




@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=80) | st.text(st.sampled_from("()[]:|\\<>ab _{}$#🐱\n"), max_size=200))
def test_any_text_is_answered(prompts: Prompts, text: str) -> None:
    found = prompts.look(text, "tiny")
    assert found["tokens"] <= found["of"] and all(0 <= start < end <= len(text) for start, end in found["chunks"])
    assert all(0 <= each["start"] <= each["end"] <= len(text) and each["sentence"] for each in found["problems"])


def test_a_text_that_is_too_long_is_refused(prompts: Prompts) -> None:
    with pytest.raises(UserError, match="20,001 characters"):
        prompts.look("a" * (LONGEST_PROMPT + 1))


def test_words_that_begin_so_come_before_those_that_hold_it(prompts: Prompts) -> None:
    def names(kind: str, start: str) -> list[str]:
        return [each["name"] for each in prompts.words(ANNA, kind, start)]

    assert names("lora", "") == ["a one", "one", "sub/two"] and names("lora", "T") == ["sub/two"]
    assert names("lora", "one") == ["one", "a one"]
    assert names("embedding", "HAND") == ["bad hands"] and names("hypernet", "h") == ["h"]
    assert names("style", "pain") == ["Oil painting"] and prompts.words(BOB, "style", "") == []
    assert {"name": "one", "kind": "lora"} in prompts.words(ANNA, "", "o")
    assert names("", "o")[:2] == ["Oil painting", "one"] and names("nonsense", "") == []


def test_nothing_of_it_imports_torch(tmp_path: Path) -> None:
    write(tmp_path / "models" / "checkpoints" / "tiny.safetensors")
    code = (
        "import sys, pathlib, webui.api.prompts, webui.service.prompts as p, webui.service.requests as r\n"
        f"root = pathlib.Path({str(tmp_path)!r})\n"
        "found = p.Prompts(r.Resolver(models_folder=root / 'models', cache=root / 'cache'), None).look('ab (b', 'tiny')\n"
        "assert found['tokens'] == 2 and found['problems'], found\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
