"""Parameters hold allowed values only, and each is defined once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import webui
from webui.commands.parameters import FILE, document
from webui.drawing import Txt2Img
from webui.errors import UnknownName, UserError
from webui.params import Params, param, parameters, size

ROOT = Path(webui.__file__).parents[1]
ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.lists(st.integers(), max_size=2)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"steps": -1}, "Steps was -1; it must be a whole number from 1 to 150."),
        ({"steps": 151}, "Steps was 151; it must be a whole number from 1 to 150."),
        ({"steps": 20.5}, "Steps was 20.5; it must be a whole number from 1 to 150."),
        ({"steps": True}, "Steps was True; it must be a whole number from 1 to 150."),
        ({"steps": "many"}, "Steps was 'many'; it must be a whole number from 1 to 150."),
        ({"seed": None}, "Seed was None; it must be a whole number from -1 to 18446744073709551615."),
        ({"steps": 10**5000}, "Steps was too large; it must be a whole number from 1 to 150."),
        ({"scale": float("nan")}, "CFG scale was nan; it must be a number from 0 to 30."),
        ({"scale": "inf"}, "CFG scale was inf; it must be a number from 0 to 30."),
        ({"width": 0}, "Width was 0; it must be a multiple of 8 from 64 to 8192."),
        ({"height": 100}, "Height was 100; it must be a multiple of 8 from 64 to 8192."),
        ({"width": 8192, "height": 8192}, "The size was 8192x8192, 67,108,864 pixels; it must be at most 16,777,216 pixels"),
        ({"prompt": "x" * 100_000}, "Prompt was 100,000 characters long; it must be text of at most 20,000 characters."),
        ({"prompt": 5}, "Prompt was 5; it must be text of at most 20,000 characters."),
        ({"prompt": "a\0b"}, "it must be Unicode text without NUL characters."),
        ({"negative": "\udcff"}, "it must be Unicode text without NUL characters."),
        ({"seed": -2}, "Seed was -2; it must be a whole number from -1 to 18446744073709551615."),
        ({"reproducible": "yes"}, "Reproducible was 'yes'; it must be true or false."),
        ({"stepz": 3}, "Unknown parameter 'stepz'; did you mean steps?"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_in_one_sentence(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        Txt2Img.read(given)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", list(parameters(Txt2Img)))
@settings(deadline=None, max_examples=25)
@given(value=ANY)
def test_any_value_is_taken_in_the_right_type_or_refused(name: str, value: Any) -> None:
    try:
        params = Txt2Img(**{name: value})
    except UserError:
        return
    parameter, taken = parameters(Txt2Img)[name], getattr(params, name)
    assert taken == value
    assert type(taken) is parameter.kind or (taken is None and parameter.optional)


def test_texts_stand_for_values() -> None:
    given = {"steps": " 30 ", "scale": "7.5", "seed": "-1", "reproducible": "True", **size("512x768")}
    assert Txt2Img.read(given) == Txt2Img(steps=30, scale=7.5, width=512, height=768, reproducible=True)


@pytest.mark.parametrize("text", ["512", "512x", "x", "axb", "1.5x2", "512x512x512", ""])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"The size was .*; it must be WIDTHxHEIGHT"):
        size(text)


def test_a_size_of_a_thousand_million_pixels_is_refused() -> None:
    with pytest.raises(UserError, match="Width was 100000; it must be a multiple of 8 from 64 to 8192"):
        Txt2Img.read(size("100000x10000"))


def test_every_default_is_allowed_and_whole_numbers_become_floats() -> None:
    Txt2Img()
    assert type(Txt2Img(scale=7).scale) is float and type(Txt2Img(steps=20.0).steps) is int


def test_an_extension_defines_its_own_in_the_same_way() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Own(Params):
        strength: float = param(0.5, "Strength", min=0, help="How much.")
        note: str | None = param(None, "Note", help="What for.")

    assert Own.read({"strength": "2"}).strength == 2
    with pytest.raises(UserError, match="Strength was -1; it must be a number, 0 or more"):
        Own(strength=-1)
    with pytest.raises(UnknownName):
        Own.read({"steps": 1})


def test_no_label_flag_or_key_is_used_twice() -> None:
    known = parameters(Txt2Img).values()
    keys = [key for each in known for key in {each.infotext, *each.infotext_by_sampler.values()} if key]
    for names in ([each.label for each in known], [each.flag for each in known], keys):
        assert len(set(names)) == len(names)


def test_the_page_of_parameters_is_fresh() -> None:
    assert (ROOT / FILE).read_text(encoding="utf-8") == document(), "run: python -m webui parameters --write"


def test_no_import_of_torch() -> None:
    modules = "webui.params, webui.request, webui.infotext, webui.cli, webui.commands.txt2img"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
