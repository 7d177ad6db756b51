"""What a LoRA's tag says, which file it names, what is known of the file, and what goes into a picture's text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from extensions import lora
from extensions.lora import blocks, finding
from extensions.lora.strengths import Strength, Wish, wished
from tests.extensions.lora_making import Folder, home, named, noted, parts, saved, submission
from webui.errors import UnknownName, UserError

TENSORS = named("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", parts("lora", (320, 768), 1))
NUMBERS = st.floats(-9, 9).map(lambda value: round(value, 3))
PLACES = st.integers(0, 1000).map(lambda value: value / 1000)


def wish(text: str, **more: Any) -> Wish:
    return wished(text.split(":") if text else (), {}, **more)


# --- strengths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "unet", "te"), [
    ("", 1, 1), ("0.8", 0.8, 0.8), ("0.8:0.5", 0.8, 0.5), ("-1", -1, -1), ("te=0.3", 1, 0.3), ("0.8:te=0", 0.8, 0), ("0", 0, 0),
    ("unet=0.2:te=0.4", 0.2, 0.4), (" 0.7 : TE = 2 ", 0.7, 2), (":", 1, 1),
])  # fmt: skip
def test_one_number_is_both_strengths_and_two_are_the_noise_predictor_s_and_the_text_s(text: str, unet: float, te: float) -> None:
    found = wish(text)
    assert (found.unet.constant, found.te) == (unet, te)


@pytest.mark.parametrize(("text", "unet", "te"), [
    ("0.8:0.5", 0.5, 0.8), ("0.8", 0.8, 0.8), ("te=0.3", 0.3, 0.3), ("0.8:unet=2", 2, 0.8), ("0@0,1@1", None, 1),
])  # fmt: skip
def test_an_owner_may_have_the_text_s_first_as_a1111_has_it(text: str, unet: float, te: float) -> None:
    found = wish(text, text_first=True)
    assert (found.unet.constant, found.te) == (unet, te)


def test_a_strength_may_change_along_the_steps() -> None:
    """Places up to 1 are parts of all steps; beyond it they are steps, from 1."""
    parts_of_all = wish("0@0,1@0.5,0.5@1")
    assert [parts_of_all.unet.at(9, part) for part in (0, 0.25, 0.5, 0.75, 1)] == [0, 0.5, 1, 0.75, 0.5]
    assert parts_of_all.unet.constant is None and parts_of_all.te == 1
    steps = wish("1@5;0@1:te=0.2")
    assert [steps.unet.at(step, 0.9) for step in (1, 2, 3, 5, 50)] == [0, 0.25, 0.5, 1, 1] and steps.te == 0.2


@pytest.mark.parametrize("text", ["1:start=5:stop=20", "1:step=5-20", "step=5-20"])
def test_a_strength_may_begin_and_end(text: str) -> None:
    found = wish(text).unet
    assert [found.at(step, 0.5) for step in (1, 4, 5, 20, 21)] == [0, 0, 1, 1, 0]
    half = wish("0.5:stop=0.5").unet
    assert [half.at(99, part) for part in (0, 0.5, 0.51, 1)] == [0.5, 0.5, 0, 0]


@given(st.lists(st.tuples(NUMBERS, PLACES), min_size=1, max_size=6, unique_by=lambda pair: pair[1]), PLACES)
def test_between_two_points_a_strength_lies_between_their_values(points: list[tuple[float, float]], part: float) -> None:
    found = wish(",".join(f"{value}@{place}" for value, place in points)).unet
    below = [point for point in sorted(points, key=lambda point: point[1]) if point[1] <= part][-1:]
    above = [point for point in sorted(points, key=lambda point: point[1]) if point[1] >= part][:1]
    near = [value for value, _ in (below or above) + (above or below)]
    assert min(near) - 1e-9 <= found.at(1, part) <= max(near) + 1e-9
    assert all(found.at(1, place) == pytest.approx(value) for value, place in points)


@given(NUMBERS, NUMBERS, st.one_of(st.none(), st.integers(1, 64)), st.sampled_from(["", "INS", ",".join("1" * 17)]))
def test_what_a_job_keeps_is_what_was_said(unet: float, te: float, ranks: int | None, own: str) -> None:
    found = wish(f"{unet}:{te}" + (f":dyn={ranks}" if ranks else "") + (f":lbw={own}" if own else ""))
    assert Wish.of(json.loads(json.dumps(found.plain()))) == found


@pytest.mark.parametrize(("text", "sentence"), [
    ("much", "strength of a LoRA was 'much'"), ("1e9", "strength of a LoRA was '1e9'"), ("nan", "'nan'"),
    ("1:2:3:4", "4 numbers"), ("weight=1", "has 'weight=1'"), ("1@x", "step in a LoRA's tag was 'x'"),
    ("1:lbw=1,2", "have 2 numbers"),
    ("1:dyn=0", "rank"), (f"1:dyn={'9' * 5000}", "rank"),
    ("1:lbw=NOSE", "one of NONE"), ("start=-1", "step"), (",".join(f"1@{n / 1000}" for n in range(200)), "200 points"),
])  # fmt: skip
def test_what_means_nothing_is_said(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        wish(text)


# --- blocks -----------------------------------------------------------------------------------------------------------


def test_a_list_names_the_blocks_that_its_length_is_known_for() -> None:
    for count in (12, 17, 20, 26):
        found = wish("1:lbw=" + ",".join(map(str, range(count))))
        factors = blocks.factors_of(found.blocks, 12)
        assert factors is not None and list(factors.values()) == list(range(count)) and factors["BASE"] == 0
        assert wish("1:1:" + ",".join(map(str, range(count)))).blocks == found.blocks  # without its name too
    assert blocks.factors_of(wish("1").blocks, 12) is None


@pytest.mark.parametrize(("key", "block"), [
    ("model.diffusion_model.input_blocks.1.1.proj_in.weight", "IN01"),
    ("model.diffusion_model.middle_block.1.norm.weight", "M00"),
    ("model.diffusion_model.output_blocks.11.0.in_layers.2.bias", "OUT11"), ("model.diffusion_model.time_embed.0.weight", ""),
    ("cond_stage_model.transformer.text_model.final_layer_norm.weight", ""),
])  # fmt: skip
def test_the_block_of_a_weight(key: str, block: str) -> None:
    assert blocks.block_of(key) == block


@pytest.mark.parametrize("count", [12, 9, 4])
def test_presets_part_the_way_in_and_out(count: int) -> None:
    found = {name: blocks.preset(name, count) for name in blocks.PRESETS}
    everything = found["ALL"].keys()
    assert len(everything) == 2 * count + 2 and not found["NONE"] and set(found["ALL0.5"].values()) == {0.5}
    assert found["INS"].keys() | found["IND"].keys() == found["INALL"].keys()
    assert found["OUTS"].keys() | found["OUTD"].keys() == found["OUTALL"].keys()
    assert found["INS"].keys() & found["IND"].keys() == {"BASE"} == found["OUTS"].keys() & found["OUTD"].keys()
    assert found["INALL"].keys() | found["OUTALL"].keys() | {"M00"} == everything
    assert found["MIDD"].keys() == found["IND"].keys() | found["OUTD"].keys() | {"M00"}


def test_a_person_s_own_presets_have_names(tmp_path: Path) -> None:
    saved(tmp_path / "a.safetensors", TENSORS)
    face = "FACE:" + ",".join("1" * 12) + " | FEET: " + ",".join("0" * 17)
    found = noted(Folder(tmp_path), "a:1:lbw=feet", presets=face)
    assert found["tags"]["lora:a:1:lbw=feet"]["wish"]["blocks"] == [0.0] * 17
    assert noted(Folder(tmp_path), "a:1:face", presets=face)["tags"]["lora:a:1:face"]["wish"]["blocks"] == [1.0] * 12


@pytest.mark.parametrize("presets", ["FACE:1,2", "FACE:NOSE", "FACE:" + ",".join(["nan"] * 12)])
def test_presets_that_mean_nothing_are_refused_when_they_are_set(presets: str) -> None:
    with pytest.raises(UserError, match="blocks of a LoRA"):
        lora.Settings.read({"presets": presets})
    assert lora.Settings.read({"presets": "FACE:" + ",".join(["1"] * 12)}).presets


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_found_by_its_name_and_by_the_one_it_was_trained_under(tmp_path: Path) -> None:
    saved(tmp_path / "a.safetensors", TENSORS, ss_output_name="My Style", sshs_model_hash="0x" + "ab" * 32)
    saved(tmp_path / "b.safetensors", TENSORS | {"x": torch.ones(1)}, ss_output_name="a")
    files = Folder(tmp_path)
    found = noted(files, "a", "my style:0.5", "b")["tags"]
    assert [each["name"] for each in found.values()] == ["a", "a", "b"]
    assert found["lora:a"]["sha256"] == files.sha256(str(tmp_path / "a.safetensors"))
    assert found["lora:a"]["hash"] == "ab" * 6
    assert found["lora:b"]["hash"] == files.weights_sha256(str(tmp_path / "b.safetensors"))[:12]
    for name in ("nothing", ""):
        with pytest.raises(UnknownName):
            noted(files, name)


def test_pictures_name_the_files_with_the_hashes_that_sites_know(tmp_path: Path) -> None:
    saved(tmp_path / "a.safetensors", TENSORS, sshs_model_hash="1234567890abcdef")
    saved(tmp_path / "b.safetensors", TENSORS, sshs_model_hash="0" * 64)  # says nothing
    told = noted(Folder(tmp_path), "a:0.5", "b", "a:te=1")
    assert lora.metadata(None, {}, told) == {"Lora hashes": f"a: 1234567890ab, b: {told['tags']['lora:b']['hash']}"}
    assert told["tags"]["lora:b"]["hash"] != "0" * 12 and lora.metadata(None, {}, {}) == {}


def test_settings_that_peft_wrote_beside_a_file_are_kept_with_the_job(tmp_path: Path) -> None:
    saved(tmp_path / "mine" / "adapter_model.safetensors", TENSORS)
    (tmp_path / "mine" / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 2}')
    found = noted(Folder(tmp_path), "adapter_model")["tags"]["lora:adapter_model"]
    assert found["adapter"]["lora_alpha"] == 2


@pytest.mark.parametrize("told", ['{"lora_alpha": NaN}', '{"lora_alpha": 1e999}', '{"a": "\\ud800"}', "[" * 5000, "3", ""])
def test_settings_that_no_job_can_keep_are_passed_over(tmp_path: Path, told: str) -> None:
    saved(tmp_path / "a.safetensors", TENSORS)
    (tmp_path / "adapter_config.json").write_text(told, encoding="utf-8")
    assert noted(Folder(tmp_path), "a")["tags"]["lora:a"]["adapter"] == {}


def test_both_tags_mean_the_same(tmp_path: Path) -> None:
    saved(tmp_path / "a.safetensors", TENSORS)
    one, other = (kind.resolve(("a", "0.5"), submission(Folder(tmp_path))) for kind in lora.tags())
    assert one == other and {kind.name for kind in lora.tags()} == {"lora", "lyco"}


# --- cards ------------------------------------------------------------------------------------------------------------


def test_a_card_has_a_picture_words_and_the_models_it_is_for(tmp_path: Path) -> None:
    frequency = {"1_x": {"common": 9, "rare": 1}, "2_y": {"common": 3, "middle": 5}}
    saved(tmp_path / "A.safetensors", TENSORS, ss_base_model_version="sdxl_base_v1-0", ss_tag_frequency=json.dumps(frequency),
          ss_network_dim="16", ss_network_alpha="8", ss_output_name="other", **{"modelspec.title": "A title"})  # fmt: skip
    (tmp_path / "A.preview.png").write_bytes(b"")
    saved(tmp_path / "b.safetensors", TENSORS)
    (tmp_path / "b.json").write_text('{"activation text": "blue, ball", "preferred weight": 0.7, "notes": "mine"}')
    saved(tmp_path / "c.safetensors", TENSORS, **{"modelspec.trigger_phrase": "trig"})
    (tmp_path / "d.safetensors").write_bytes(b"broken")
    (tmp_path / "c.json").write_text("[broken")
    first, second, third, broken = lora.cards(home(), Folder(tmp_path))
    assert (first.name, first.title, first.base, first.insert) == ("A", "A title", "SDXL", "<lora:A:1>")
    assert list(first.words) == ["common", "middle", "rare"] and first.preview == str(tmp_path / "A.preview.png")
    assert first.facts["Rank"] == "16, alpha 8" and first.facts["Trained as"] == "other"
    assert (second.insert, second.base, list(second.words)) == ("<lora:b:0.7> blue, ball", "SD 1", ["blue", "ball"])
    assert second.facts["Notes"] == "mine" and second.preview == ""
    assert list(third.words) == ["trig"] and broken.name == "d" and broken.base == ""


@pytest.mark.parametrize(("said", "base"), [
    ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "SDXL"), ({"ss_base_model_version": "sd_v1"}, "SD 1"),
    ({"ss_base_model_version": "sd_2.1_768_v"}, "SD 2"), ({"modelspec.architecture": "flux-1-dev/lora"}, "Flux"),
    ({"modelspec.architecture": "stable-diffusion-v1/lora"}, "SD 1"), ({"ss_v2": "True"}, "SD 2"), ({}, ""),
    ({"modelspec.architecture": "stable-diffusion-3-medium"}, "SD 3"), ({"ss_base_model_version": "sd3"}, "SD 3"),
    ({"ss_base_model_version": "sdxl_base_v1-0"}, "SDXL"),
])  # fmt: skip
def test_metadata_say_for_which_models_a_file_is(said: dict[str, str], base: str) -> None:
    from extensions.lora.bases import base_of

    assert base_of({}, said) == base


def test_nothing_here_needs_torch() -> None:
    import subprocess
    import sys

    heavy = "{'torch', 'numpy', 'PIL'} & set(sys.modules)"
    code = f"import sys; from extensions import lora, embeddings; lora.tags(); assert not {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_strength_of_one_value_is_constant() -> None:
    assert Strength(points=((0.5, 0.0), (0.5, 1.0))).constant == 0.5 and finding.FOLDERS[0] == "Lora"
