"""Files' names: every word of the pattern is filled in, and nothing that is can leave the folder or trouble any system."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC
from hashlib import sha256
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.request import Request
from webui.service.filenames import DEEPEST, VALUES, Facts, name_of

PIXELS = np.zeros((48, 64, 3), np.uint8)
JOB = Request(
    model="sd/v1-5.safetensors", model_hash="0123456789abcdef", prompt="a (red:1.2) ball, on <a> table", negative="bad", steps=20,
    sampler="DPM++ 2M", schedule="Karras", scale=5.5, seed=7, width=64, height=48, count=3, clip_skip=2, vae="x.pt",
)  # fmt: skip
FACTS = Facts(
    picture=JOB.picture(1), job=JOB, place=1, seed=8, pixels=PIXELS, now=1_800_000_000.0, begun=1_799_999_000.0, user="anna",
    zone=UTC,
)  # fmt: skip
SAID = {
    "[seed]": "8", "[seed_first]": "7", "[seed_last]": "9", "[steps]": "20", "[cfg]": "5.5", "[width]x[height]": "64x48",
    "[styles]": "None", "[sampler]": "DPM++ 2M", "[scheduler]": "Karras", "[sampler_scheduler]": "DPM++ 2M Karras",
    "[model_hash]": "0123456789", "[model_name]": "v1-5", "[date]": "2027-01-15", "[datetime]": "20270115080000",
    "[datetime<%Y%m>]": "202701", "[datetime<%H:%M><Asia/Tokyo>]": "17_00", "[datetime<%H><no/where>]": "08",
    "[job_timestamp]": "20270115074320", "[prompt_hash]": sha256(JOB.prompt.encode()).hexdigest()[:8],
    "[prompt_hash<4>]": sha256(JOB.prompt.encode()).hexdigest()[:4], "[negative_prompt_hash]": sha256(b"bad").hexdigest()[:8],
    "[full_prompt_hash]": sha256(f"{JOB.prompt} bad".encode()).hexdigest()[:8], "[prompt]": "a_(red_1.2)_ball,_on__a__table",
    "[prompt_no_styles]": "a_(red_1.2)_ball,_on__a__table", "[prompt_spaces]": "a (red_1.2) ball, on _a_ table",
    "[prompt_words]": "a red 1 2 ball on a table", "[batch_number] of [batch_size]": "2 of 3", "[generation_number]": "2",
    "[hasprompt<ball|no><cat|dog>]": "balldog", "[clip_skip]": "2", "x-[denoising]": "", "[user]": "anna", "[vae_filename]": "x",
    "[none]": "", "[image_hash]": sha256(PIXELS.tobytes()).hexdigest(), "[image_hash<0>]": "",
    "[date]/x-[denoising]": "2027-01-15/",
    "[basename]": "", "[unknown] [seed": "[unknown] [seed", "[date]/[seed]": "2027-01-15/8", "a\\b": "a/b", "": "",
}  # fmt: skip
ODD = ["../", "..\\", "/etc/", "C:\\", "con", "NUL.txt", "aux.", "\0", "\n", "\u202e", "é", " ", ".", "..", "/", "~"]
WORDS = [*(f"[{name}]" for name in VALUES), "[datetime<%s%Q%>]", "[image_hash<999>]", *ODD]
TEXT = st.text(max_size=40) | st.lists(st.sampled_from(ODD)).map("".join)


@pytest.mark.parametrize(("pattern", "name"), SAID.items())
def test_each_word_says_what_it_should(pattern: str, name: str) -> None:
    assert name_of(pattern, FACTS) == name


def test_every_word_is_tested() -> None:
    assert {word for pattern in SAID for word in re.findall(r"\[([a-z_]+)", pattern)} - {"unknown"} == set(VALUES)


def test_what_is_filled_in_makes_no_folder() -> None:
    sly = replace(FACTS.picture, prompt="../a/b\\c", model="x/../y", sampler="s/t")
    assert name_of("[prompt]/[sampler]-[prompt_spaces]-[model_name]", replace(FACTS, picture=sly)) == "_a_b_c/s_t-.._a_b_c-y"


def test_a_word_that_says_nothing_takes_what_stands_before_it() -> None:
    alone = replace(FACTS, job=JOB.picture(1))
    assert name_of("[seed]-[batch_number]", alone) == "8" and name_of("[seed]-[batch_number]", FACTS) == "8-2"
    second: dict[str, Any] = {"strength": 0.55}
    assert name_of("[denoising]", replace(FACTS, picture=replace(FACTS.picture, hires=second))) == "0.55"


@settings(max_examples=300, deadline=None)
@given(pattern=st.lists(st.sampled_from(WORDS) | TEXT, max_size=10).map("".join), prompt=TEXT, model=TEXT, user=TEXT)
def test_no_name_leaves_its_folder_or_is_refused_by_a_system(pattern: str, prompt: str, model: str, user: str) -> None:
    request = replace(FACTS.picture, prompt=prompt, model=model, sampler=user)
    name = name_of(pattern, replace(FACTS, picture=request, job=request, user=user))
    *folders, last = name.split("/")
    assert len(folders) <= DEEPEST and len(name.encode()) <= 230
    assert not PurePosixPath(name).is_absolute() and not PureWindowsPath(name).is_absolute() and not PureWindowsPath(name).drive
    assert not re.search(r'[<>:"|?*\\\x00-\x1f\x7f\u202e]', name)
    for part in folders:
        assert part and part.strip(" .") == part
        assert not PureWindowsPath(part).is_reserved()
    assert f"00001-{last}.png".encode().decode() and last == last.strip(" .")
