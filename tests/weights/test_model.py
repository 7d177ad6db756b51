"""Whole models: every key used once, recorded results after loading, round trips, and what is said of files that do not fit."""

from __future__ import annotations

import collections
import json
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from tests.nets.families import TINY, assert_same, recorded
from tests.random_weights import checkpoint
from tests.random_weights import header as recorded_header
from webui.errors import ModelFileError
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import ModelSpec, TextSpec, UNetSpec, VAESpec
from webui.nets.text import TextTower
from webui.nets.unet import UNetModel
from webui.weights.families import MERGES_KEY, detect
from webui.weights.files import Header, TensorInfo, read_header, save
from webui.weights.model import LoadedModel, load, save_checkpoint
from webui.weights.plans import plan_of, tokenizers_of
from webui.weights.source import build
from webui.weights.vocabulary import clip_tokenizer

UNET = "model.diffusion_model."
TEXT = "cond_stage_model.transformer.text_model."


@cache
def weights(name: str) -> Mapping[str, Tensor]:
    return checkpoint(name)


def header(name: str) -> Header:
    tensors = {key: TensorInfo(shape=tuple(shape), dtype=dtype) for key, (shape, dtype) in recorded_header(name).items()}
    return Header(tensors=tensors, metadata={})


@pytest.mark.parametrize("name", TINY)
def test_every_key_has_one_place_and_every_weight_one_key(name: str) -> None:
    given = header(name)
    spec = detect(given)
    plan = plan_of(spec, given)
    assert plan.keys() == given.tensors.keys()
    places = collections.Counter((network, piece.key) for uses in plan.values() for network, piece in uses)
    wanted = {(network, key) for network, module in build(spec).items() for key in module.state_dict()}
    assert set(places) == wanted and set(places.values()) == {1}


@pytest.mark.parametrize("name", ["sd15-tiny", "sdxl-tiny"])
def test_a_loaded_file_gives_the_recorded_results(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save(path, weights(name))
    model, given = load(path), recorded(name)
    assert model.spec.unet == TINY[name] and model.sha256 is None
    y = given.get("unet.a.y")
    with torch.no_grad():
        assert_same(model.unet(given["unet.a.x"], given["unet.a.t"], given["unet.a.ctx"], y), given["unet.a.out"])
        case = sorted(key for key in given if key.startswith("vae.") and key.endswith(".z"))[0].removesuffix(".z")
        assert_same(model.vae.decode(given[f"{case}.z"]), given[f"{case}.dec"])
        first = "text.0.last" if name == "sd15-tiny" else "text.0.hs-2"
        assert_same(model.text[0](given["text.ids_padEOT"]).tokens, given[first])
        if name == "sdxl-tiny":
            second = model.text[1](given["text.ids_pad0"])
            assert_same(second.tokens, given["text.1.penultimate"])
            assert_same(second.pooled, given["text.1.pooled"])


def test_a_loaded_model_owns_its_weights_and_no_file_stays_mapped(tmp_path: Path) -> None:
    path = tmp_path / "mapped-model.safetensors"
    save(path, weights("sd15-tiny"))
    model = load(path, dtype=torch.bfloat16, hash_cache=tmp_path / "hashes.json")
    if sys.platform == "linux":
        assert "mapped-model" not in Path("/proc/self/maps").read_text()
    before = {key: value.clone() for key, value in model.unet.state_dict().items()}
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert all(torch.equal(before[key], value) for key, value in model.unet.state_dict().items())
    assert {value.dtype for value in before.values()} == {torch.bfloat16}
    assert model.sha256 is not None and len(model.sha256) == 64
    assert not any(value.requires_grad or value.is_meta for value in model.unet.parameters()) and not model.unet.training


def test_pieces_of_a_fused_matrix_do_not_keep_the_whole_of_it(tmp_path: Path) -> None:
    save(tmp_path / "a", weights("sd21-base-tiny"))
    model = load(tmp_path / "a")
    weights_ = stored(model).values()
    storages = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in weights_}
    assert sum(storages.values()) <= 1.02 * sum(value.nbytes for value in weights_)


def test_a_pickled_checkpoint_loads_like_a_safetensors_one(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": dict(weights("sd15-tiny")), "global_step": 1}, path)
    model = load(path)
    assert torch.equal(model.unet.state_dict()["out.2.bias"], weights("sd15-tiny")[UNET + "out.2.bias"])


def stored(model: LoadedModel) -> dict[str, Tensor]:
    networks = {"unet": model.unet, "vae": model.vae} | {f"text{index}": tower for index, tower in enumerate(model.text)}
    return {f"{name}.{key}": value for name, network in networks.items() for key, value in network.state_dict().items()}


@pytest.mark.parametrize("name", ["sd15-tiny", "sd21-base-tiny", "sdxl-tiny", "sdxl-refiner-tiny"])
def test_a_saved_checkpoint_has_the_published_keys_and_loads_to_the_same(name: str, tmp_path: Path) -> None:
    save(tmp_path / "a", weights(name))
    first = load(tmp_path / "a")
    save_checkpoint(tmp_path / "b", first.spec, first.unet, first.vae, first.text, dtype=torch.float32)
    own = read_header(tmp_path / "b").tensors
    left_out = {key for key in weights(name) if key not in own}
    assert all(key.endswith(("position_ids", "logit_scale", "betas", "alphas_cumprod")) for key in left_out)
    assert set(own) <= set(weights(name))
    second = load(tmp_path / "b")
    assert second.spec == first.spec
    again = stored(second)
    assert all(torch.equal(value, again[key]) for key, value in stored(first).items())


def builtin_spec(vocabulary: int) -> ModelSpec:
    return ModelSpec(
        family="builtin",
        title="Test",
        unet=UNetSpec(
            in_channels=8, out_channels=8, model_channels=32, channel_mult=(1, 2), res_blocks=1, transformer_depth=(1, 0),
            context_width=32, head_width=16,
        ),
        vae=VAESpec(channels=8, channel_mult=(1, 2), res_blocks=1, latent_channels=8, scale=1.5, shift=0.25, groups=4),
        text=(TextSpec(width=32, layers=2, heads=2, hidden=64, vocabulary=vocabulary, padding=vocabulary - 1),),
        prediction="v",
        betas=(0.001, 0.02),
        native_size=64,
    )  # fmt: skip


def test_a_model_with_its_own_spec_and_tokenizer_round_trips(tmp_path: Path) -> None:
    cut = clip_tokenizer().cut(["a red ball", "“é”"])
    spec = builtin_spec(cut.size)
    networks = UNetModel(spec.unet), AutoencoderKL(spec.vae), TextTower(spec.text[0])
    path = tmp_path / "builtin.safetensors"
    save_checkpoint(path, spec, networks[0], networks[1], [networks[2]], merges=cut.merges, metadata={"licence": "Apache-2.0"})
    model = load(path)
    assert model.spec == spec and model.tokenizers[0].merges == cut.merges
    assert read_header(path).metadata["licence"] == "Apache-2.0"
    assert all(key.startswith((UNET, "first_stage_model.", TEXT)) for key in read_header(path).tensors)
    for ours, theirs in zip(networks, (model.unet, model.vae, *model.text), strict=True):
        again = theirs.state_dict()
        assert all(torch.equal(value.half().float(), again[key]) for key, value in ours.state_dict().items())
    save_checkpoint(path, spec, networks[0], networks[1], [networks[2]])
    with pytest.raises(ModelFileError, match=f"knows {cut.size} tokens, its tokenizer 49408"):
        load(path)
    for merges in ("{", "[1]", "3", '["x"]'):
        save_checkpoint(path, spec, *networks[:2], [networks[2]], metadata={MERGES_KEY: merges})
        with pytest.raises(ModelFileError, match=r"[Mm]erge"):
            load(path)


def test_variants_in_naming_and_left_over_keys_do_not_matter(tmp_path: Path) -> None:
    plain = dict(weights("sd15-tiny"))
    varied = {key.replace("transformer.text_model.", "transformer."): value for key, value in plain.items()}
    attention = "first_stage_model.decoder.mid.attn_1.q.weight"
    varied[attention] = varied[attention].reshape(varied[attention].shape[:2])
    extra = ("model_ema.decay", "model_ema.diffusion_modelout2bias", "first_stage_model.loss.logvar", "scale_factor")
    varied |= dict.fromkeys(extra, torch.zeros(1))
    for name, tensors in (("a", plain), ("b", varied)):
        save(tmp_path / name, tensors)
    one, two = stored(load(tmp_path / "a")), stored(load(tmp_path / "b"))
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("drop", "add", "said"),
    [
        (UNET + "out.0", {}, r"m\.safetensors: The noise predictor lacks 2 of 686 weights: out\.0\.weight, out\.0\.bias\."),
        (TEXT + "encoder.layers.1.", {}, "The text tower lacks 16 of"),
        ("nothing", {UNET + "extra.weight": (1,)}, r"1 weights that a model of its kind does not have: extra\.weight"),
        ("nothing", {"strange.key": (1,)}, "'strange.key' belongs to no part of a Stable Diffusion 1 checkpoint"),
        ("nothing", {UNET + "out.0.bias": (31,)}, r"out\.0\.bias of the noise predictor has the shape \[31\], expected \[32\]"),
        ("nothing", {TEXT.replace("text_model.", "") + "final_layer_norm.bias": (48,)}, "1 weights twice: final_layer_norm.bias"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_names(
    tmp_path: Path, drop: str, add: dict[str, tuple[int, ...]], said: str
) -> None:
    tensors = {key: value for key, value in weights("sd15-tiny").items() if not key.startswith(drop)}
    path = tmp_path / "m.safetensors"
    save(path, tensors | {key: torch.zeros(shape) for key, shape in add.items()})
    with pytest.raises(ModelFileError, match=said):
        load(path)


@pytest.mark.parametrize(("bias", "family"), [(0.5, "sd21-base"), (-3.0, "sd21-v")])
def test_plain_sd2_files_are_settled_by_one_call(tmp_path: Path, bias: float, family: str) -> None:
    tensors = dict(weights("sd21-v-tiny"))
    tensors[UNET + "out.2.weight"] = torch.zeros_like(tensors[UNET + "out.2.weight"])
    tensors[UNET + "out.2.bias"] = torch.full((4,), bias)
    save(tmp_path / "a", tensors)
    spec = load(tmp_path / "a").spec
    assert (spec.family, spec.prediction) == (family, "v" if family.endswith("v") else "eps")


MERGES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["a b", "a b</w>", "ab c", " ", "a", "a b"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@drawn(MERGES.map(json.dumps) | st.text(max_size=20) | st.just("[" * 100_000))
def test_any_json_as_merges_gives_a_tokenizer_or_a_sentence(text: str) -> None:
    given = Header(tensors={}, metadata={MERGES_KEY: text})
    try:
        (tokenizer,) = tokenizers_of(builtin_spec(515), given)
    except ModelFileError as error:
        assert str(error).endswith(".")
    else:
        assert tokenizer.size == 515
