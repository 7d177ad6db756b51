"""Files as they are published are told what they are, quickly; what is broken about them is named."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.published import CHECKPOINTS, OTHERS, UNET, Shapes, built, header, lora, only, recorded, small_vae
from webui.errors import ModelFileError
from webui.weights import layouts
from webui.weights.completeness import faults
from webui.weights.families import FAMILIES, PLAIN_SD2, detect, is_undecided
from webui.weights.files import Header
from webui.weights.kind_details import details
from webui.weights.kinds import CHECKPOINT, KINDS, kind_of, refusal

SMALL = ("sd15-tiny", "sd21-base-tiny", "sdxl-tiny", "sdxl-refiner-tiny")
TOWERS = tuple(place + suffix for place in layouts.TEXT_PLACES for suffix in layouts.TEXT_KINDS.values())
PREFIXES = (UNET, "first_stage_model.", *TOWERS)
OPTIONAL = ("text_projection", "position_ids", "logit_scale")


def said(file: Header) -> str:
    """All that is wrong with a checkpoint, as its header shows."""
    try:
        return " ".join(faults(detect(file), file))
    except ModelFileError as error:
        return str(error)


def own(key: str) -> str:
    """A key without the prefix of its network."""
    return next((key.removeprefix(prefix) for prefix in PREFIXES if key.startswith(prefix)), key).removeprefix("text_model.")


def needed(name: str) -> list[str]:
    """The keys of a recorded file that no model can do without."""
    return [key for key in recorded(name) if not layouts.IGNORED.fullmatch(key) and not key.endswith(OPTIONAL)]


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_published_checkpoints_are_their_families(name: str) -> None:
    family, make = CHECKPOINTS[name]
    file = header(make())
    began = time.perf_counter()
    spec = detect(file)
    print(f"{name}: {len(file.tensors)} keys, {(time.perf_counter() - began) * 1e3:.1f} ms")
    assert kind_of(file.tensors) is CHECKPOINT and not list(faults(spec, file))
    assert spec.family == family and spec.unet == FAMILIES[family].unet and spec.vae == FAMILIES[family].vae
    assert is_undecided(file, spec) == (family in PLAIN_SD2)


@pytest.mark.parametrize("name", ["sd15-full", "sd21-v-full", "sdxl-full"])
def test_what_is_built_for_these_tests_has_the_keys_of_recorded_files(name: str) -> None:
    family = {"sd15-full": "sd15", "sd21-v-full": "sd21-v", "sdxl-full": "sdxl-base"}[name]
    assert {key: recorded(name)[key] for key in needed(name)} == {
        key: shape for key, shape in built(family).items() if not key.endswith(OPTIONAL)
    }


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_told_what_they_are_and_that_they_are_no_checkpoints(name: str) -> None:
    words, make = OTHERS[name]
    file = header(make())
    kind = kind_of(file.tensors)
    assert kind is not None and kind.name.startswith(words)
    with pytest.raises(ModelFileError, match=rf"^It is {words}.*, not a checkpoint\. .*\.$"):
        detect(file)
    assert not details(kind, file)[1] or name == "VAE, diffusers"  # which is only a few of its keys


def test_every_kind_is_met() -> None:
    met = {kind_of(make()) for _, make in (*CHECKPOINTS.values(), *OTHERS.values())}
    assert met == set(KINDS)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(SMALL))
def test_any_needed_key_that_is_missing_is_named(data: st.DataObject, name: str) -> None:
    key = data.draw(st.sampled_from(needed(name)))
    sentence = said(header({other: shape for other, shape in recorded(name).items() if other != key}))
    assert own(key) in sentence and ("lacks" in sentence or "missing" in sentence), sentence


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(SMALL))
def test_any_wrong_shape_is_named(data: st.DataObject, name: str) -> None:
    key = data.draw(st.sampled_from([key for key in needed(name) if not key.endswith((".out.2.weight", "blocks.0.0.weight"))]))
    axis = data.draw(st.integers(0, len(recorded(name)[key]) - 1))
    if key.endswith(("token_embedding.weight", "positional_embedding", "position_embedding.weight", "label_emb.0.0.weight")):
        axis = 0 if key.endswith("label_emb.0.0.weight") else 1  # the others are where a file says its sizes
    shape = tuple(side + (at == axis) for at, side in enumerate(recorded(name)[key]))
    sentence = said(header(recorded(name) | {key: shape}))
    assert key in sentence and "wrong shape" in sentence, sentence


@pytest.mark.parametrize(
    ("key", "axis"),
    [
        (UNET + "input_blocks.0.0.weight", 0), (UNET + "input_blocks.4.0.out_layers.3.weight", 0),
        (UNET + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", 1), ("first_stage_model.encoder.conv_in.weight", 0),
        ("first_stage_model.encoder.conv_in.weight", 1), ("first_stage_model.encoder.down.1.block.0.conv2.weight", 0),
        ("first_stage_model.post_quant_conv.weight", 0),
        ("cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight", 0),
        ("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", 1),
    ],
)  # fmt: skip
def test_a_wrong_shape_of_a_weight_that_tells_a_size_is_named_too(key: str, axis: int) -> None:
    shape = tuple(side + (at == axis) for at, side in enumerate(recorded("sd15-tiny")[key]))
    sentence = said(header(recorded("sd15-tiny") | {key: shape}))
    assert sentence.startswith(f"1 weights have a wrong shape: {key} has {list(shape)}"), sentence


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(SMALL), st.sampled_from(["model.", "extra", "cond_stage_model.other.", "first_stage_models.", "..", "\n"]))
def test_a_foreign_key_is_named(name: str, prefix: str) -> None:
    foreign = prefix + "layer.weight"
    sentence = said(header(recorded(name) | {foreign: (4, 4)}))
    assert repr(foreign) in sentence and "belongs to no part" in sentence
    inside = said(header(recorded(name) | {UNET + "layer.weight": (4, 4)}))
    assert "it has 1 weights that a model of its kind does not have: model.diffusion_model.layer.weight." in inside


def test_keys_that_differ_in_one_way_only_are_counted() -> None:
    without = {key: shape for key, shape in recorded("sd15-tiny").items() if ".attn2.to_out." not in key}
    assert "the noise predictor lacks 32 of " in said(header(without)) and ", ...." in said(header(without))
    twice = recorded("sd15-tiny") | {"cond_stage_model.transformer.final_layer_norm.bias": (48,)}
    assert "twice: final_layer_norm.bias of the text tower." in said(header(twice))


def test_a_fused_matrix_that_cannot_be_cut_in_three_is_named() -> None:
    key = "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_bias"
    assert f"{key} has [193], expected [64]" in said(header(recorded("sd21-base-tiny") | {key: (193,)}))


@pytest.mark.parametrize(
    ("shapes", "words", "wrong"),
    [
        (lora("lora_unet_{}"), "a LoRA with 2 modules of rank 8 for Stable Diffusion 1", ""),
        (lora("lora_unet_{}", width=2048), "a LoRA with 2 modules of rank 8 for Stable Diffusion XL", ""),
        (lora("lora_unet_{}") | only("lora_unet_x.lora_up.weight"), "a LoRA with 2", "1 modules lack their lower half: lora"),
        (lora("lora_unet_{}") | only("lora_unet_x.lora_down.weight"), "a LoRA with 3", "lack their upper half: lora_unet_x."),
        (lora("{}") | {"x.lora_down.weight": (8, 4), "x.lora_up.weight": (4, 7)}, "a LoRA with 3", "1 modules do not fit .* x"),
        (only("x.hada_w1_a", "x.hada_w1_b", "x.hada_w2_a"), "a LoRA with 1", "1 modules lack some of hada_w1_a"),
        (small_vae(), "a VAE, 8 pixels a side, 4 channels", ""),
        (only("emb_params", shape=(4, 768)), "a textual inversion of 4 vectors for Stable Diffusion 1", ""),
        ({"clip_l": (1, 768), "clip_g": (1, 1280)}, "a textual inversion of 1 vector for Stable Diffusion XL", ""),
        (only("emb_params", shape=(4, 99)), "a textual inversion", r"of the shape \[4, 99\] are for no model"),
        (OTHERS["hypernetwork"][1](), "a hypernetwork for the widths 320, 768", ""),
        (only("768.0.linear.0.weight"), "a hypernetwork for the widths 768", "the widths 768 those for keys or for values are"),
    ],
)  # fmt: skip
def test_other_files_say_how_large_they_are_and_what_is_broken(shapes: Shapes, words: str, wrong: str) -> None:
    kind = kind_of(shapes)
    assert kind is not None
    told, broken = details(kind, header(shapes))
    assert told.startswith(words)
    assert re.search(wrong, " ".join(broken)) if wrong else not broken


def test_a_vae_that_lacks_a_weight_is_broken_and_not_another_kind() -> None:
    for key in ("encoder.mid.attn_1.q.weight", "decoder.up.3.block.0.norm1.bias", "quant_conv.weight"):
        shapes = {other: shape for other, shape in small_vae().items() if other != key}
        kind = kind_of(shapes)
        assert kind is not None and kind.name == "a VAE" and key in " ".join(details(kind, header(shapes))[1])


def test_a_file_of_no_kind_is_told_what_the_nearest_would_hold() -> None:
    sentence = refusal(["encoder.conv_in.weight", "b"])
    assert "nor any other kind" in sentence and "a VAE would hold a decoder (decoder.conv_in)" in sentence
    assert "a checkpoint would hold a noise predictor" in sentence and sentence.count(" would hold ") == 3
    assert refusal([]).startswith("It is not a checkpoint, nor any other kind of file known here: it holds no weights;")
