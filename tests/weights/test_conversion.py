"""Models written anew: there and back bit for bit, as diffusers itself reads them, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests import random_weights
from tests.nets.families import TINY, assert_same
from tests.weights.diffusers_folders import PIPELINES, write_folder
from tests.weights.test_model import builtin_spec
from webui.errors import ModelFileError, StorageError, UserError
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.text import TextTower
from webui.nets.unet import UNetModel
from webui.weights import files
from webui.weights.conversion import as_pipelines_read, to_folder, to_single
from webui.weights.files import save
from webui.weights.headers import read_header
from webui.weights.model import load, save_checkpoint, settled_source
from webui.weights.source import ModelSource, open_model
from webui.weights.vocabulary import clip_tokenizer

checkpoint = cache(random_weights.checkpoint)


def weights(source: ModelSource) -> dict[str, Tensor]:
    return {f"{part}.{key}": value for part in source.parts for key, value in source.read(part)}


def same(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    alike = all(torch.equal(value, two[key]) and value.dtype == two[key].dtype for key, value in one.items() if key in two)
    return one.keys() == two.keys() and alike


@pytest.mark.parametrize("name", TINY)
def test_there_and_back_every_family_is_bit_for_bit_the_same(name: str, tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", {key: value.half() for key, value in checkpoint(name).items()}, {"licence": "x"})
    source = settled_source(tmp_path / "a.safetensors")
    to_folder(source, tmp_path / "folder", torch.float16, {"licence": "x"})
    folder = open_model(tmp_path / "folder")
    assert folder.spec == as_pipelines_read(source.spec) and not folder.undecided
    assert read_header(tmp_path / "folder").metadata["licence"] == "x"
    first, second = weights(source), weights(folder)
    left_out = first.keys() - second.keys()
    assert same({key: value for key, value in first.items() if key not in left_out}, second)
    last = f"layers.{source.spec.text[0].layers - 1}."  # which Stable Diffusion 2 does not read
    assert all("text_projection" in key or last in key for key in left_out)
    assert bool(left_out) == name.startswith("sd2")
    to_single(folder, tmp_path / "b.safetensors", torch.float16, read_header(tmp_path / "folder").metadata)
    again = open_model(tmp_path / "b.safetensors")
    assert again.spec == folder.spec and same(second, weights(again))
    assert set(read_header(tmp_path / "b.safetensors").tensors) <= set(checkpoint(name))


@pytest.mark.parametrize("name", PIPELINES)
def test_a_folder_of_diffusers_as_one_file_gives_its_weights(name: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "m", name)
    source = open_model(tmp_path / "m")
    to_single(source, tmp_path / "one.safetensors", torch.float32, read_header(tmp_path / "m").metadata)
    single = open_model(tmp_path / "one.safetensors")
    assert single.spec == source.spec and same(weights(source), weights(single))


@pytest.mark.parametrize("name", ["sd15-tiny", "sd21-v-tiny", "sdxl-tiny", "sdxl-refiner-tiny"])
def test_diffusers_reads_the_folder_and_gives_our_results(name: str, tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    save(tmp_path / "a.safetensors", checkpoint(name))
    model = load(tmp_path / "a.safetensors")
    to_folder(settled_source(tmp_path / "a.safetensors"), tmp_path / "m", torch.float32, {})
    index = json.loads((tmp_path / "m" / "model_index.json").read_text())
    pipeline = getattr(diffusers, index["_class_name"]).from_pretrained(tmp_path / "m", local_files_only=True)
    torch.manual_seed(0)
    spec = model.spec
    x, t, context = torch.randn(1, 4, 8, 8), torch.tensor([77.0]), torch.randn(1, 4, spec.unet.context_width)
    vector, extra = None, {}
    if spec.unet.label_width is not None:
        width = spec.unet.label_width - 256 * (6 if len(spec.text) == 2 else 5)
        pooled, sizes = torch.randn(1, width), torch.rand(1, (spec.unet.label_width - width) // 256)
        vector = torch.cat([pooled, pipeline.unet.add_time_proj(sizes.flatten()).reshape(1, -1)], dim=-1)
        extra = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}}
    with torch.no_grad():
        assert_same(model.unet(x, t, context, vector), pipeline.unet(x, t, context, **extra).sample)
        assert_same(model.vae.decode(x), pipeline.vae.decode(x).sample)
        towers = [each for each in (pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)) if each is not None]
        tokenizers = [each for each in (pipeline.tokenizer, getattr(pipeline, "tokenizer_2", None)) if each is not None]
        for ours, theirs, tokenizer in zip(model.text, towers, tokenizers, strict=True):
            ids = tokenizer("a red cat", padding="max_length", max_length=77, return_tensors="pt").input_ids
            expected = [ours.spec.start, *clip_tokenizer().encode("a red cat"), ours.spec.end]
            assert ids[0].tolist() == expected + [ours.spec.padding] * (77 - len(expected))
            out = theirs(ids, output_hidden_states=True)
            assert_same(ours(ids).tokens, out.hidden_states[-2] if vector is not None else out.last_hidden_state)
    assert pipeline.vae.config.scaling_factor == spec.vae.scale
    assert pipeline.scheduler.config.prediction_type == {"v": "v_prediction", "eps": "epsilon"}[spec.prediction]


def test_a_model_of_its_own_kind_keeps_spec_tokenizer_and_metadata(tmp_path: Path) -> None:
    cut = clip_tokenizer().cut(["a red ball"])
    spec = builtin_spec(cut.size)
    networks = UNetModel(spec.unet), AutoencoderKL(spec.vae), TextTower(spec.text[0])
    path = tmp_path / "own.safetensors"
    save_checkpoint(path, spec, *networks[:2], [networks[2]], merges=cut.merges, metadata={"webui.defaults": '{"scale": 5}'})
    to_folder(open_model(path), tmp_path / "m", torch.float16, read_header(path).metadata)
    to_single(open_model(tmp_path / "m"), tmp_path / "b.safetensors", torch.float16, read_header(tmp_path / "m").metadata)
    one, two = open_model(path), open_model(tmp_path / "b.safetensors")
    assert one.spec == two.spec and one.tokenizers[0].merges == two.tokenizers[0].merges and same(weights(one), weights(two))
    assert read_header(path).metadata == read_header(tmp_path / "b.safetensors").metadata


def test_numbers_are_written_in_the_type_asked_for(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", checkpoint("sd21-base-tiny"))
    source = settled_source(tmp_path / "a.safetensors")
    to_single(source, tmp_path / "b.safetensors", torch.bfloat16, {})
    found = weights(open_model(tmp_path / "b.safetensors"))
    assert same({key: value.bfloat16() for key, value in weights(source).items()}, found)


def test_what_fails_half_way_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save(path, checkpoint("sd15-tiny"))
    source = open_model(path)
    to_folder(source, tmp_path / "m", torch.float16, {})
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    with pytest.raises(UserError, match="is there already"):
        to_folder(source, tmp_path / "m", torch.float16, {})
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="is there already"):  # not a model's folder: never removed
        to_folder(source, tmp_path / "other", torch.float16, {}, overwrite=True)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        to_folder(source, tmp_path / "m", torch.float16, {}, overwrite=True)
    with pytest.raises(StorageError, match="No space left"):
        to_single(source, tmp_path / "b", torch.float16, {})
    monkeypatch.undo()
    path.touch()
    with pytest.raises(ModelFileError, match="changed since it was opened"):
        to_folder(source, tmp_path / "n", torch.float16, {})
    assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == before
    to_folder(open_model(path), tmp_path / "m", torch.bfloat16, {}, overwrite=True)
    assert {value.dtype for value in weights(open_model(tmp_path / "m")).values()} == {torch.bfloat16}
    assert {each.name for each in tmp_path.iterdir()} == {"a.safetensors", "m", "other"}
