"""Every recorded header is recognised; what is no checkpoint is told what it is."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.nets.families import FULL, TINY
from tests.random_weights import header as recorded_header
from webui.errors import ModelFileError
from webui.weights.families import FAMILIES, SPEC_KEY, detect, is_undecided
from webui.weights.files import Header, TensorInfo

UNET = "model.diffusion_model."
FAMILY_OF = {
    "sd15": "sd15", "sd15-inpaint": "sd15-inpaint", "sd15-ip2p": "sd15-ip2p", "sd21-base": "sd21-base", "sd21-v": "sd21-base",
    "sd2-inpaint": "sd2-inpaint", "sd2-depth": "sd2-depth", "sdxl": "sdxl-base", "sdxl-inpaint": "sdxl-inpaint",
    "sdxl-refiner": "sdxl-refiner",
}  # fmt: skip


def header(name: str, **metadata: str) -> Header:
    tensors = {key: TensorInfo(shape=tuple(shape), dtype=dtype) for key, (shape, dtype) in recorded_header(name).items()}
    return Header(tensors=tensors, metadata=metadata)


def keys(*names: str, shape: tuple[int, ...] = (4, 4)) -> Header:
    return Header(tensors={name: TensorInfo(shape=shape, dtype="F16") for name in names}, metadata={})


@pytest.mark.parametrize("name", TINY)
def test_small_headers_are_recognised_with_their_own_sizes(name: str) -> None:
    spec = detect(header(name))
    family = FAMILIES[FAMILY_OF[name.removesuffix("-tiny")]]
    assert spec.family == family.family
    assert spec.unet == TINY[name] and spec.vae.channels == 32 and spec.vae.scale == family.vae.scale
    assert [(tower.kind, tower.skip, tower.padding) for tower in spec.text] == [
        (tower.kind, tower.skip, tower.padding) for tower in family.text
    ]


@pytest.mark.parametrize("name", FULL)
def test_full_headers_are_exactly_their_family(name: str) -> None:
    spec = detect(header(name))
    assert spec == FAMILIES[FAMILY_OF[name.removesuffix("-full")]]
    assert spec.unet == FULL[name]


@pytest.mark.parametrize("name", ["sd15-tiny", "sdxl-tiny", "sd21-base-tiny"])
def test_what_the_header_says_about_velocity_counts(name: str) -> None:
    plain = header(name)
    assert is_undecided(plain, detect(plain)) == (name == "sd21-base-tiny")
    marked = Header(tensors={**plain.tensors, "v_pred": TensorInfo(shape=(0,), dtype="F32")}, metadata={})
    told = header(name, **{"modelspec.prediction_type": "v"})
    for one in (marked, told):
        assert detect(one).prediction == "v" and not is_undecided(one, detect(one))


def test_a_file_with_its_own_spec_is_taken_at_its_word_and_a_broken_one_is_refused() -> None:
    spec = dataclasses.replace(FAMILIES["sd15"], family="mine", prediction="v")
    told = header("sd15-tiny", **{SPEC_KEY: json.dumps(spec.to_json())})
    assert detect(told) == spec and not is_undecided(told, spec)
    for text in ("", "[]", "{}", '{"family": 1}', json.dumps(spec.to_json() | {"colour": "red"}), "null", "[" * 100000):
        with pytest.raises(ModelFileError, match=r"webui\.spec"):
            detect(header("sd15-tiny", **{SPEC_KEY: text}))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (("lora_unet_mid_block_attentions_0.lora_up.weight",), "a LoRA"),
        (("encoder.conv_in.weight", "decoder.conv_in.weight"), "a VAE"),
        (("control_model.time_embed.0.weight",), "a ControlNet"),
        (("down_blocks.0.resnets.0.norm1.weight",), "diffusers folder"),
        (("emb_params",), "a textual inversion"),
        (("model.diffusion_model.double_blocks.0.img_attn.qkv.weight",), "Flux"),
        (("something.else",), "1 keys begin with something.else"),
        ((), "begin with nothing"),
    ],
)
def test_other_files_are_told_what_they_are(found: tuple[str, ...], said: str) -> None:
    with pytest.raises(ModelFileError, match=f"no noise predictor.*{said}"):
        detect(keys(*found))


def changed(name: str, drop: str = "nothing", **shapes: tuple[int, ...]) -> Header:
    tensors = {key: info for key, info in header(name).tensors.items() if not key.startswith(drop)}
    tensors |= {UNET + key: TensorInfo(shape=shape, dtype="F16") for key, shape in shapes.items()}
    return Header(tensors=tensors, metadata={})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (changed("sd15-tiny", "cond_stage_model."), "no text towers .* 4 input channels"),
        (changed("sd15-tiny", "first_stage_model."), "no autoencoder"),
        (changed("sd15-tiny", **{"input_blocks.0.0.weight": (32, 7, 3, 3)}), "7 input channels, without a size vector"),
        (changed("sd15-tiny", UNET + "out.2"), r"noise predictor is incomplete: out\.2\.weight is missing"),
        (changed("sd15-tiny", UNET + "input_blocks.4.0.out_layers"), "input_blocks.4.0.out_layers.3.weight is missing"),
        (changed("sd15-tiny", **{"input_blocks.2.0.out_layers.3.weight": (48, 32, 3, 3)}), "widths that differ"),
        (changed("sd15-tiny", **{"input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (32, 99)}), "width 48; .* needs 99"),
    ],
)
def test_a_checkpoint_that_fits_no_family_or_is_incomplete_says_why(given: Header, said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        detect(given)
