"""What the PNG Info tab shows of any file, and in what two texts differ."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from tests.metadata.files import TEXT, all_kinds, png
from webui import infotext
from webui.drawing import Txt2Img
from webui.service.pnginfo import compared, info_of

KINDS = all_kinds()


@pytest.mark.parametrize("kind", KINDS)
def test_everything_a_file_says_is_shown_and_is_plain(kind: str) -> None:
    content, program = KINDS[kind]
    info = info_of(content)
    assert info.source == program and info.prompt and dict(map(tuple, info.values))["Seed"] and info.task == "txt2img"
    assert json.loads(json.dumps(asdict(info), ensure_ascii=False).encode()) == asdict(info)
    assert info.text in info.chunks.values() or program != "A1111" or info.format == "text"


def test_what_no_control_has_is_shown_apart_and_kept_in_the_text() -> None:
    text = "x\nSteps: 1, Sampler: Euler, Seed: 2, Face restoration: GFPGAN, Lora hashes: \"a: 1, b: 2\", Version: v1.9.0"
    info = info_of(png({"parameters": text, "extra": "y"}))
    assert info.unmapped == {"Face restoration": "GFPGAN", "Lora hashes": "a: 1, b: 2"}
    assert info.text == text and info.chunks == {"parameters": text, "extra": "y"} and info.source == "A1111"


def test_our_own_remarks_are_nothing_to_be_taken_over() -> None:
    text = infotext.write(Txt2Img(steps=2), {"Computed on": "cpu float32", "Torch": "2", "Extensions": "x 1", "Pixels": "0"})
    assert info_of(text.encode()).unmapped == {} and info_of(text.encode()).source == "Stable Diffusion web UI"


def test_nothing_is_nothing() -> None:
    for content in (b"", b"\0\1\2", png({})):
        info = info_of(content)
        assert (info.text, info.task, info.values, info.chunks, info.source) == ("", "", [], {}, "")


def test_differences_are_told_row_by_row() -> None:
    cat = "a cat\nNegative prompt: x\nSteps: 1, Sampler: Euler, Seed: 2"
    rows = compared(cat, "a dog\nOther: 3, Seed: 2, Steps: 1, Sampler: Heun")
    assert rows == [
        {"key": "Prompt", "a": "a cat", "b": "a dog", "differs": True},
        {"key": "Negative prompt", "a": "x", "b": "", "differs": True},
        {"key": "Steps", "a": "1", "b": "1", "differs": False},
        {"key": "Sampler", "a": "Euler", "b": "Heun", "differs": True},
        {"key": "Seed", "a": "2", "b": "2", "differs": False},
        {"key": "Other", "a": None, "b": "3", "differs": True},
    ]
    assert not any(row["differs"] for row in compared(TEXT, TEXT)) and compared("", "")[0]["a"] == ""
