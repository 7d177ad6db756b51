"""Other names of weights: diffusers' and transformers', for every weight that files of theirs could be about."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from webui.weights.families import FAMILIES
from webui.weights.layouts import UNET
from webui.weights.other_names import OtherName, other_names

DATA = Path(__file__).parents[1] / "data"
MAPS = json.loads(gzip.decompress((DATA / "keys_diffusers_to_single_file.json.gz").read_bytes()))
MODELS = {"sd15": "sd15", "sd21-v": "sd21-v", "sdxl-base": "sdxl"}  # what the files call them


def names(family: str) -> list[OtherName]:
    spec = next(each for each in FAMILIES.values() if each.family == family)
    keys = json.loads(gzip.decompress((DATA / "headers" / f"{MODELS[family]}-full.json.gz").read_bytes()))
    return list(other_names(spec, keys))


@pytest.mark.parametrize("family", MODELS)
def test_every_weight_of_the_noise_predictor_has_the_name_that_diffusers_has_for_it(family: str) -> None:
    found = {each.name: each.key.removeprefix(UNET) for each in names(family) if each.network == "unet"}
    expected = MAPS[MODELS[family]]
    assert len(expected) > 600 and {name: found.get(name) for name in expected} == expected
    own = {each.name for each in names(family) if each.network == "unet" and each.name == each.key.removeprefix(UNET)}
    assert own == set(expected.values())


def test_parts_of_one_matrix_have_names_of_their_own() -> None:
    fused = [each for each in names("sdxl-base") if each.key.endswith("resblocks.3.attn.in_proj_weight")]
    found = {(each.name, each.part, each.parts) for each in fused if each.parts > 1}
    stem = "encoder.layers.3.self_attn"
    assert found == {(f"{before}{stem}.{letter}_proj.weight", place, 3) for place, letter in enumerate("qkv")
                     for before in ("", "text_model.")}  # fmt: skip
    assert {each.network for each in fused} == {"text1"}
    turned = [each for each in names("sdxl-base") if each.transposed]
    assert {each.key for each in turned} == {"conditioner.embedders.1.model.text_projection"}


def test_what_is_no_weight_of_the_model_has_no_other_name() -> None:
    spec = next(each for each in FAMILIES.values() if each.family == "sd15")
    keys = ("nothing", "first_stage_model.encoder.conv_in.weight", f"{UNET}nothing.weight")
    assert [(each.key, each.name) for each in other_names(spec, keys)] == [(f"{UNET}nothing.weight", "nothing.weight")]
