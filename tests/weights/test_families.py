"""Every recorded header is recognised; what is no checkpoint is told what it is."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nets.families import FULL, TINY
from tests.random_weights import header as recorded_header
from webui.errors import ModelFileError
from webui.weights.bounds import checked
from webui.weights.families import (
    FAMILIES,
    SPEC_KEY,
    Override,
    as_velocity,
    detect,
    is_undecided,
)
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
        (("emb_params",), "a textual inversion"),
        (("model.diffusion_model.double_blocks.0.img_attn.qkv.weight",), "a Flux model"),
        (("something.else",), "1 keys begin with 'something.else'"),
        ((), "it holds no weights"),
    ],
)
def test_other_files_are_told_what_they_are(found: tuple[str, ...], said: str) -> None:
    with pytest.raises(ModelFileError, match=f"{said}.*not a checkpoint|not a checkpoint, nor .*{said}"):
        detect(keys(*found))


BLOCK_2 = [f"input_blocks.2.0.{layer}.weight" for layer in ("out_layers.3", "out_layers.0", "in_layers.2")]
CROSS = [key.removeprefix(UNET) for key in recorded_header("sd15-tiny") if key.endswith("attn2.to_k.weight")]


def changed(name: str, drop: str = "nothing", **shapes: tuple[int, ...]) -> Header:
    tensors = {key: info for key, info in header(name).tensors.items() if not key.startswith(drop)}
    tensors |= {UNET + key: TensorInfo(shape=shape, dtype="F16") for key, shape in shapes.items()}
    return Header(tensors=tensors, metadata={})


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (changed("sd15-tiny", "cond_stage_model."), "Stable Diffusion 1: it has a CLIP text tower, this file none;"),
        (changed("sd15-tiny", "first_stage_model."), "no autoencoder"),
        (changed("sd15-tiny", **{"input_blocks.0.0.weight": (32, 7, 3, 3)}), "Diffusion 1: it takes 4 input channels, .* 7;"),
        (changed("sd15-tiny", UNET + "out.2"), r"noise predictor is incomplete: out\.2\.weight is missing"),
        (changed("sd15-tiny", UNET + "input_blocks.4.0."), "input_blocks.4.0.out_layers.3.weight is missing"),
        (changed("sd15-tiny", **dict.fromkeys(BLOCK_2, (48, 32, 3, 3))), "widths that differ"),
        (changed("sd15-tiny", **dict.fromkeys(CROSS, (32, 99))), "width 48; .* needs 99"),
    ],
)
def test_a_checkpoint_that_fits_no_family_or_is_incomplete_says_why(file: Header, said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        detect(file)


def test_every_known_family_is_within_bounds() -> None:
    assert all(checked(spec) is spec for spec in FAMILIES.values())


def with_spec(path: str, value: Any) -> Header:
    """The header of a file whose own description has `value` at a place such as "unet.groups" or "text.0.skip"."""
    plain = FAMILIES["sd15"].to_json()
    *way, last = path.split(".")
    place: Any = plain
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    place[last] = value
    return header("sd15-tiny", **{SPEC_KEY: json.dumps(plain)})


ODD = [
    ("prediction", "x0"), ("prediction", ["v"]), ("native_size", 0), ("native_size", 500), ("native_size", 8192),
    ("native_size", 1e300), ("native_size", 512.0), ("native_size", True), ("train_steps", 10**9), ("betas", [0.5, 0.5]),
    ("betas", [0.1]), ("betas", [float("nan"), 0.1]), ("betas", [0.02, 0.01]), ("betas", "ab"), ("title", "\x1b[2Jgone"),
    ("title", ""), ("title", "\ud800"), ("family", 3), ("family", "x" * 101), ("text", []), ("text", None), ("unet", None),
    ("unet.heads", 7), ("unet.heads", 0), ("unet.groups", 7), ("unet.in_channels", 3), ("unet.out_channels", 5),
    ("unet.model_channels", 2**40), ("unet.channel_mult", [1] * 4000), ("unet.channel_mult", [1, 2, 4, "4"]),
    ("unet.channel_mult", 4), ("unet.transformer_depth", [1, 1]), ("unet.linear_projection", 1), ("unet.guidance_width", 5),
    ("unet.context_width", 770), ("vae.scale", float("nan")), ("vae.scale", 0), ("vae.scale", 10**400), ("vae.shift", "0"),
    ("vae.groups", 31), ("vae.channel_mult", [1] * 5), ("vae.picture_channels", 4), ("vae.latent_channels", 8),
    ("text.0.kind", "t5"), ("text.0.heads", 11), ("text.0.skip", 13), ("text.0.padding", 49408), ("text.0.positions", 2),
    ("text.0.activation", None), ("text.0.final_norm", "yes"),
]  # fmt: skip


SAID_ELSEWHERE = {
    "unet": "UNetSpec", "unet.channel_mult": "UNetSpec", "unet.context_width": "give tokens of width",
    "unet.in_channels": "latents have", "unet.out_channels": "latents have", "vae.latent_channels": "latents have",
}  # fmt: skip


@pytest.mark.parametrize(("place", "value"), ODD)
def test_a_description_that_no_model_can_have_is_refused_by_its_field(place: str, value: Any) -> None:
    with pytest.raises(ModelFileError) as refused:
        detect(with_spec(place, value))
    sentence = str(refused.value)
    assert sentence.startswith("Its own description, webui.spec") and sentence.endswith(".") and len(sentence) < 500
    assert sentence.isprintable()
    words = (place.split(".")[-1], SAID_ELSEWHERE.get(place, place))
    assert any(word in sentence for word in words), sentence


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["v", "clip", 10**300])
SCRAPS = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ["unet", "vae", "text", "family", "title", "prediction", "betas", "train_steps", "native_size", "unet.heads",
          "unet.channel_mult", "unet.transformer_depth", "unet.groups", "vae.scale", "vae.channel_mult", "text.0", "text.0.heads",
          "text.0.padding", "text.0.kind"]  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(SCRAPS | st.text(), st.sampled_from(FIELDS), SCRAPS)
def test_any_json_as_a_description_gives_a_spec_or_a_sentence_and_quickly(whole: Any, place: str, part: Any) -> None:
    files = [header_of(SPEC_KEY, json.dumps(whole)), header_of(SPEC_KEY, str(whole))]
    if place != "text.0":
        files.append(with_spec(place, part))
    else:
        files.append(with_spec("text", [part]))
    for file in files:
        began = time.process_time()
        try:
            spec = detect(file)
        except ModelFileError as error:
            assert str(error).endswith(".")
        else:
            assert checked(spec) == spec and {spec: 1}[spec] == 1  # usable as a key
        assert time.process_time() - began < 1


def header_of(key: str, text: str) -> Header:
    return Header(tensors={}, metadata={key: text})


def test_json_as_deep_as_can_be_is_a_sentence() -> None:
    for deep in ("[" * 100_000, '{"unet":' * 50_000, '{"unet": ' + "[" * 900 + "]" * 900 + "}"):
        with pytest.raises(ModelFileError, match=r"webui\."):
            detect(header_of(SPEC_KEY, deep))


VAE_WIDTH = ("encoder.conv_in.weight", "encoder.conv_in.bias", "encoder.down.0.block.0.norm1.weight")
COLOURS = ("encoder.conv_in.weight", "decoder.conv_out.weight", "decoder.conv_out.bias")
LATENT = ("post_quant_conv.weight", "post_quant_conv.bias")


@pytest.mark.parametrize(
    ("names", "shape", "said"),
    [
        (VAE_WIDTH, (100, 3, 3, 3), r"vae\.channel_mult"),
        (VAE_WIDTH, (31, 3, 3, 3), r"vae\.channels has 31 channels, which 32 groups cannot share"),
        (COLOURS, (4, 4, 3, 3), r"vae\.picture_channels is 4"),
        (LATENT, (8, 8, 1, 1), "latents have 8"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused_too(names: tuple[str, ...], shape: tuple[int, ...], said: str) -> None:
    plain = header("sd15-tiny")
    tensors = plain.tensors | {"first_stage_model." + name: TensorInfo(shape=shape, dtype="F16") for name in names}
    with pytest.raises(ModelFileError, match=rf"shapes that no known model has \(.*{said}.*may be damaged"):
        detect(Header(tensors=tensors, metadata={}))


def test_very_many_blocks_are_refused_at_once() -> None:
    many = {f"input_blocks.{block}.0.out_layers.3.weight": (32, 32, 3, 3) for block in range(1, 20_000)}
    began = time.process_time()
    with pytest.raises(ModelFileError, match="input blocks"):
        detect(changed("sd15-tiny", **many))
    assert time.process_time() - began < 2


def test_what_a_person_says_counts_more_than_what_the_file_says() -> None:
    plain, marked = header("sd21-base-tiny"), header("sd21-base-tiny", **{"modelspec.prediction_type": "v"})
    for said, (family, prediction, size) in {
        Override(prediction="v"): ("sd21-v", "v", 768),
        Override(prediction="eps"): ("sd21-base", "eps", 512),
        Override(family="sd21-v"): ("sd21-v", "v", 768),
        Override(family="sd21-base"): ("sd21-base", "eps", 512),
        Override(family="sd21-base", prediction="v", native_size=640): ("sd21-v", "v", 640),
    }.items():
        for file in (plain, marked):
            spec = detect(file, said)
            assert (spec.family, spec.prediction, spec.native_size) == (family, prediction, size)
            assert not is_undecided(file, spec, said)
    assert is_undecided(plain, detect(plain, Override(native_size=640)), Override(native_size=640))
    changed_by_hand = detect(header("sdxl-tiny"), Override(prediction="v", zero_terminal_snr=True, native_size=768))
    assert changed_by_hand == dataclasses.replace(
        detect(header("sdxl-tiny")), prediction="v", zero_terminal_snr=True, native_size=768
    )


def test_a_description_in_the_file_gives_way_to_a_person_too() -> None:
    own = dataclasses.replace(FAMILIES["sd15"], family="mine", native_size=64)
    file = header("sd15-tiny", **{SPEC_KEY: json.dumps(own.to_json())})
    assert detect(file, Override()) == own
    assert detect(file, Override(prediction="v", native_size=128)) == dataclasses.replace(own, prediction="v", native_size=128)
    assert detect(file, Override(family="sd15")) == detect(header("sd15-tiny"))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Override(family="sdxl-base"), "Stable Diffusion XL, but it has CLIP and OpenCLIP .* a CLIP .*; possible: sd15\\.$"),
        (Override(family="sd16"), "family 'sd16'; known: sd15"),
        (Override(native_size=7), "What was set for it cannot be used: native_size"),
        (Override(prediction="x0"), "What was set for it cannot be used: prediction"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_is_refused_as_a_persons_word(said: Override, why: str) -> None:
    with pytest.raises(ModelFileError, match=why):
        detect(header("sd15-tiny"), said)


def test_zero_terminal_snr_is_read_from_key_or_metadata() -> None:
    plain = header("sdxl-tiny")
    marked = Header(tensors={**plain.tensors, "ztsnr": TensorInfo(shape=(0,), dtype="F32")}, metadata={})
    trained = header("sdxl-tiny", ss_zero_terminal_snr="True")
    assert [detect(file).zero_terminal_snr for file in (plain, marked, trained)] == [False, True, True]
    assert not detect(marked, Override(zero_terminal_snr=False)).zero_terminal_snr


def test_a_vector_belongs_to_towers_in_the_conditioner() -> None:
    plain = header("sdxl-refiner-tiny").tensors
    tensors = {key.replace("conditioner.embedders.0.", "cond_stage_model."): info for key, info in plain.items()}
    with pytest.raises(ModelFileError, match="of no family known here"):
        detect(Header(tensors=tensors, metadata={}))


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, ("sd21-v", "v", 768)),
        ({"modelspec.architecture": "stable-diffusion-v2-512"}, ("sd21-base", "eps", 512)),
        ({"modelspec.predict_key": "v"}, ("sd21-v", "v", 768)),
        ({"modelspec.prediction_type": "epsilon", "modelspec.resolution": "768x768"}, ("sd21-base", "eps", 768)),
        ({"modelspec.prediction_type": "v", "modelspec.resolution": "640x640"}, ("sd21-v", "v", 640)),
        ({"modelspec.prediction_type": "v", "modelspec.resolution": "640x512"}, ("sd21-v", "v", 768)),
        ({"modelspec.prediction_type": "v", "modelspec.resolution": "1x1"}, ("sd21-v", "v", 768)),
    ],
)
def test_what_training_programs_note_decides_what_weights_leave_open(
    metadata: dict[str, str], expected: tuple[str, str, int]
) -> None:
    file = header("sd21-base-tiny", **metadata)
    spec = detect(file)
    assert (spec.family, spec.prediction, spec.native_size) == expected and not is_undecided(file, spec)


def test_a_size_that_was_noted_outlives_the_question_what_is_predicted() -> None:
    file = header("sd21-base-tiny", **{"modelspec.resolution": "640x640"})
    spec = detect(file)
    assert is_undecided(file, spec) and spec.native_size == as_velocity(spec).native_size == 640
    assert as_velocity(detect(header("sd21-base-tiny"))).native_size == 768
