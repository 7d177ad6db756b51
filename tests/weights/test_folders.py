"""diffusers folders: what diffusers writes gives its results here; every folder that cannot be used is named with a reason."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.nets.families import assert_same
from tests.weights.diffusers_folders import PIPELINES, write_folder
from webui.errors import ModelFileError
from webui.nets.spec import VAESpec
from webui.weights import folders
from webui.weights.families import MERGES_KEY, Override, detect
from webui.weights.files import save
from webui.weights.headers import is_pickle, read_header
from webui.weights.model import LoadedModel, load
from webui.weights.source import open_model, open_vae
from webui.weights.vocabulary import clip_tokenizer

pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Path, Mapping[str, Any]]]:
    """Each family's folder and the networks it was written from."""
    root = tmp_path_factory.mktemp("diffusers")
    return {name: (root / name, write_folder(root / name, name)) for name in PIPELINES}


@pytest.fixture(scope="module")
def smallest(written: Mapping[str, tuple[Path, Any]]) -> Path:
    return written["sd15"][0]


@pytest.fixture
def folder(smallest: Path, tmp_path: Path) -> Path:
    """A copy of the smallest folder, to be broken."""
    shutil.copytree(smallest, tmp_path / "model")
    return tmp_path / "model"


def outputs(model: LoadedModel, theirs: Mapping[str, Any]) -> list[tuple[Tensor, Tensor]]:
    """Ours and theirs of every network on the same input."""
    torch.manual_seed(1)
    unet, large = theirs["unet"], model.spec.unet.label_width is not None
    x, t, context = torch.randn(2, 4, 8, 8), torch.tensor([500.5, 3.0]), torch.randn(2, 5, unet.config.cross_attention_dim)
    pooled, sizes = torch.randn(2, 64), torch.rand(2, 5 if model.spec.family == "sdxl-refiner" else 6) * 1000
    extra = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}} if large else {}
    vector = None
    if large:
        embedded = unet.add_time_proj(sizes.flatten()).reshape(2, -1)
        vector = torch.cat([pooled, embedded], dim=-1)
    latent, picture = torch.randn(1, 4, 4, 4), torch.randn(1, 3, 16, 16)
    found = [
        (model.unet(x, t, context, vector), unet(x, t, context, **extra).sample),
        (model.vae.decode(latent), theirs["vae"].decode(latent).sample),
        (model.vae.encode(picture).mean, theirs["vae"].encode(picture).latent_dist.mean),
    ]
    ids = torch.tensor([[49406, 320, 1125, 49407, *[0] * 73]])
    for ours, name in zip(model.text, (name for name in folders.TOWERS if name in theirs), strict=True):
        out = theirs[name](ids, output_hidden_states=True)
        found.append((ours(ids).tokens, out.hidden_states[-2] if large else out.last_hidden_state))
        if "text_embeds" in out:
            found.append((ours(ids).pooled, out.text_embeds))
    return found


@pytest.mark.parametrize("name", PIPELINES)
def test_what_diffusers_writes_gives_its_results(name: str, written: Mapping[str, tuple[Path, Mapping[str, Any]]]) -> None:
    path, theirs = written[name]
    model = load(path)
    assert model.spec.family == name and model.path == path
    v = name.endswith("-v")
    assert (model.spec.prediction, model.spec.zero_terminal_snr) == (("v", True) if v else ("eps", False))
    assert model.spec.native_size == theirs["unet"].config.sample_size * 2  # one halving in this small autoencoder
    assert model.spec.vae.scale == theirs["vae"].config.scaling_factor
    assert model.tokenizers == (clip_tokenizer(),) * len(model.spec.text)
    with torch.no_grad():
        for ours, wanted in outputs(model, theirs):
            assert_same(ours, wanted)


def test_a_folder_is_told_from_headers_alone_and_a_person_counts_more(
    written: Mapping[str, tuple[Path, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written["sd21-v"][0]
    monkeypatch.setattr("webui.weights.files._read", None)
    source = open_model(path)
    assert detect(read_header(path)) == source.spec and not source.undecided and not is_pickle(path)
    other = open_model(path, Override(family="sd21-base", native_size=512)).spec
    assert (other.prediction, other.native_size) == ("eps", 512)
    assert (other.unet, other.text) == (source.spec.unet, source.spec.text)


@pytest.mark.parametrize("how", ["sharded", "fp16", "bin", "sharded bin"])
def test_variants_shards_and_pickles_hold_the_same(how: str, written: Mapping[str, tuple[Path, Any]], tmp_path: Path) -> None:
    options: dict[str, dict[str, Any]] = {"fp16": {"variant": "fp16"}, "sharded": {"max_shard_size": "300KB"}}
    write_folder(tmp_path / "m", "sd15", **options.get(how, {}))
    if how.endswith("bin"):
        pickled(tmp_path / "m", sharded="sharded" in how)
    names = {path.name for path in (tmp_path / "m").rglob("*.*")}
    assert not names & {"diffusion_pytorch_model.safetensors", "model.safetensors"}
    assert is_pickle(tmp_path / "m") == how.endswith("bin")
    one, two = open_model(written["sd15"][0]), open_model(tmp_path / "m")
    assert one.spec == two.spec
    for part in one.parts:
        expected, found = dict(one.read(part)), dict(two.read(part))
        assert expected.keys() == found.keys() and all(torch.equal(value, found[key]) for key, value in expected.items())
        some = list(expected)[::7]
        assert sorted(key for key, _ in two.read(part, some)) == sorted(some)


def pickled(path: Path, sharded: bool) -> None:
    """Turn a folder's safetensors into pickles, of two parts each if `sharded`, named as diffusers and transformers do."""
    from webui.weights.files import read_tensors

    for file in list(path.rglob("*.safetensors")):
        stem = "pytorch_model" if file.stem == "model" else "diffusion_pytorch_model"
        tensors = dict(read_tensors(file))
        file.unlink()
        cut = len(tensors) // 2 if sharded else len(tensors)
        parts = [dict(list(tensors.items())[:cut]), dict(list(tensors.items())[cut:])]
        if not sharded:
            torch.save(parts[0], file.with_name(f"{stem}.bin"))
            continue
        names = [f"{stem}-0000{at}-of-00002.bin" for at in (1, 2)]
        for name, part in zip(names, parts, strict=True):
            torch.save(part, file.with_name(name))
        index = {key: name for name, part in zip(names, parts, strict=True) for key in part}
        file.with_name(f"{stem}.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def test_the_fullest_variant_is_taken_and_safetensors_before_pickles(tmp_path: Path) -> None:
    stem = "diffusion_pytorch_model"
    order = [
        f"{stem}.safetensors", f"{stem}.safetensors.index.json", f"{stem}.fp16.safetensors", f"{stem}.bf16.safetensors",
        f"{stem}.ema.safetensors", f"{stem}.non_ema.safetensors", f"{stem}.bin", f"{stem}.fp16.bin",
    ]  # fmt: skip
    for name in ("config.json", f"{stem}-00001-of-00002.safetensors", "model.onnx", f"{stem}.safetensors.part", *order):
        (tmp_path / name).write_text('{"weight_map": {"a": "x.safetensors"}}')
    for name in order:
        taken = folders.weight_files(tmp_path, tmp_path)
        assert taken == (tmp_path / ("x.safetensors" if name.endswith("json") else name),)
        (tmp_path / name).unlink()
    with pytest.raises(ModelFileError, match="holds no weights"):
        folders.weight_files(tmp_path, tmp_path)


def test_another_tokenizer_is_used(folder: Path) -> None:
    small = clip_tokenizer().cut(["a cat"])
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n" + "\n".join(small.merges) + "\n", "utf-8")
    with pytest.raises(ModelFileError, match=f"knows 49408 tokens, its tokenizer {small.size}"):
        open_model(folder)
    (folder / "tokenizer" / "merges.txt").unlink()
    merges = [merge.split(" ") for merge in small.merges]
    (folder / "tokenizer" / "tokenizer.json").write_text(json.dumps({"model": {"merges": merges}}))
    assert json.loads(read_header(folder).metadata[MERGES_KEY]) == list(small.merges)
    shutil.rmtree(folder / "tokenizer")
    assert open_model(folder).tokenizers == (clip_tokenizer(),)


def edit(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        plain = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps({**plain, **changes}))

    return change


def indexed(*names: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        (path / "unet/diffusion_pytorch_model.safetensors").rename(path / "unet/part.safetensors")
        index = {f"key{at}": name for at, name in enumerate(names)}
        (path / "unet/diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))

    return change


def cut_short(path: Path) -> None:
    file = path / "vae/diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-5])


def twice(path: Path) -> None:
    indexed("part.safetensors", "second.safetensors")(path)
    save(path / "unet/second.safetensors", {"conv_in.bias": torch.zeros(32)})


def holding(*keys: str) -> Callable[[Path], None]:
    return lambda path: save(path / UNET_FILE, dict.fromkeys(keys, torch.zeros(2)))


def pipe(path: Path) -> None:
    (path / "vae" / "config.json").unlink()
    os.mkfifo(path / "vae" / "config.json")


def loop(path: Path) -> None:
    (path / "unet/diffusion_pytorch_model.safetensors").unlink()
    (path / "unet/diffusion_pytorch_model.safetensors").symlink_to(path)


INDEX, UNET_FILE = "model_index.json", "unet/diffusion_pytorch_model.safetensors"
WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no unet folder": (lambda path: shutil.rmtree(path / "unet"), r"'StableDiffusionPipeline' that lacks unet/; download"),
    "no text tower": (edit(INDEX, text_encoder=[None, None]), r"lacks text_encoder/"),
    "no weights": (lambda path: (path / UNET_FILE).unlink(), "unet/ holds no weights; expected"),
    "cut short": (cut_short, r"vae/: diffusion_pytorch_model\.safetensors is cut short"),
    "flux": (edit(INDEX, transformer=["x", "FluxNetwork"], _class_name="FluxPipeline"), "a 'FluxPipeline', with a 'FluxN"),
    "another class": (edit(INDEX, vae=["diffusers", "AutoencoderTiny"]), "vae is a 'AutoencoderTiny'; supported is Auto"),
    "no json": (lambda path: (path / INDEX).write_text("[" * 100_000), r"model_index\.json is broken"),
    "a list": (lambda path: (path / "unet/config.json").write_text("[]"), r"unet/config\.json is broken: it is not a table"),
    "another network": (edit("unet/config.json", act_fn="gelu"), "act_fn in unet/ is 'gelu'; only models with 'silu'"),
    "endless blocks": (holding("down_blocks.0.resnets.999.norm1.bias"), "it has 1 levels of 1000 blocks"),
    "a number without end": (holding(f"down_blocks.{'9' * 5000}.resnets.0.norm1.bias"), "unet/ does not hold the network"),
    "a pipe": (pipe, r"vae/config\.json is missing, or is no ordinary file"),
    "no text": (lambda path: (path / "tokenizer/merges.txt").write_bytes(b"\xff"), r"tokenizer/merges\.txt cannot be read"),
    "heads for other levels": (edit("unet/config.json", attention_head_dim=[2]), "heads for 1 levels; its weights have 3"),
    "odd heads": (edit("unet/config.json", attention_head_dim=[2, 3, 8]), "neither equally many nor equally wide"),
    "heads of nothing": (edit("unet/config.json", attention_head_dim="many"), "configuration cannot be used"),
    "no number": (edit("vae/config.json", scaling_factor="a lot"), "configuration cannot be used: vae.scale is"),
    "another noise": (edit("scheduler/scheduler_config.json", beta_schedule="linear"), "beta_schedule in scheduler/ is 'linear'"),
    "edm": (edit("scheduler/scheduler_config.json", _class_name="EDMEulerScheduler"), "'EDMEulerScheduler', belongs to models"),
    "sample": (edit("scheduler/scheduler_config.json", prediction_type="sample"), "predicts 'sample'; known: epsilon"),
    "another activation": (edit("text_encoder/config.json", hidden_act="relu"), r"text\.activation is 'relu'"),
    "above": (indexed("../part.safetensors"), r"index\.json names '\.\./part\.safetensors', which is not a file beside it"),
    "absolute": (indexed("/etc/passwd"), "names '/etc/passwd', which is not a file beside it"),
    "a drive": (indexed("C:x"), "names 'C:x', which is not"),
    "dots": (indexed(".."), r"names '\.\.', which is not"),
    "a number": (indexed(3), "names '3', which is not"),
    "no names": (indexed(), "does not say which files"),
    "a missing shard": (indexed("part.safetensors", "other.safetensors"), r"unet/: There is no file .*other\.safetensors"),
    "twice": (twice, r"has 1 weights twice: input_blocks\.0\.0\.bias"),
    "a folder for a file": (loop, r"unet/: .* is a folder"),
    "another model's network": (holding("a.weight"), "unet/ does not hold the network"),
    "a strange key": (holding("down_blocks.0.resnets.0.norm1.bias", "odd"), "key 'odd' is not part of unet/ of a diffusers"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_folder_that_cannot_be_used_is_named_with_the_reason(name: str, folder: Path) -> None:
    change, said = WRONG[name]
    change(folder)
    with pytest.raises(ModelFileError, match=rf"^model: (?s:.*){said}"):
        open_model(folder)


def test_a_shard_that_changes_after_opening_is_refused(folder: Path) -> None:
    source = open_model(folder)
    save(folder / "vae/diffusion_pytorch_model.safetensors", {"a": torch.zeros(1)})
    with pytest.raises(ModelFileError, match="changed since it was opened"):
        list(source.read("vae"))


def test_the_autoencoder_of_a_folder_can_be_used_alone(written: Mapping[str, tuple[Path, Any]]) -> None:
    path, theirs = written["sdxl-base"]
    like: VAESpec = open_model(written["sd15"][0]).spec.vae
    for place in (path, path / "vae", path / "vae" / "diffusion_pytorch_model.safetensors"):
        source = open_vae(place, like)
        assert source.spec == like
        assert torch.equal(dict(source.read("vae"))["quant_conv.bias"], theirs["vae"].quant_conv.bias)


ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from([10**300, -1, 0, 4, 8, 32])
VALUES = ANY | st.lists(ANY, max_size=4) | st.dictionaries(st.text(max_size=2), ANY, max_size=2)
FIELDS = {
    "unet/config.json": ["attention_head_dim", "num_attention_heads", "norm_num_groups", "sample_size", "act_fn"],
    "vae/config.json": ["scaling_factor", "shift_factor", "norm_num_groups", "latents_mean"],
    "text_encoder/config.json": ["hidden_act", "num_attention_heads", "layer_norm_eps"],
    "scheduler/scheduler_config.json": ["prediction_type", "beta_start", "num_train_timesteps", "_class_name"],
    INDEX: ["unet", "vae", "text_encoder", "transformer", "_class_name"],
}


@settings(max_examples=60, deadline=None)
@given(place=st.sampled_from([(file, field) for file, fields in FIELDS.items() for field in fields]), value=VALUES)
def test_any_value_in_a_configuration_is_used_or_a_sentence(
    smallest: Path, tmp_path_factory: pytest.TempPathFactory, place: tuple[str, str], value: Any
) -> None:
    folder = tmp_path_factory.mktemp("any") / "m"
    shutil.copytree(smallest, folder, copy_function=os.link)
    content = json.loads((folder / place[0]).read_text())
    (folder / place[0]).unlink()  # a link to the one that was written
    (folder / place[0]).write_text(json.dumps({**content, place[1]: value}))
    try:
        detect(read_header(folder))
    except ModelFileError as error:
        assert str(error).startswith("m: ") and str(error).endswith(".")


def test_what_weights_do_not_tell_is_taken_from_the_configurations(folder: Path) -> None:
    edit("vae/config.json", scaling_factor=0.5, shift_factor=0.25)(folder)
    edit("unet/config.json", sample_size=96, attention_head_dim=[4, 8, 8])(folder)
    edit("scheduler/scheduler_config.json", beta_start=0.001, num_train_timesteps=500, rescale_betas_zero_snr=True)(folder)
    spec = open_model(folder).spec
    assert (spec.vae.scale, spec.vae.shift, spec.native_size, spec.unet.head_width) == (0.5, 0.25, 192, 8)
    assert (spec.betas, spec.train_steps, spec.zero_terminal_snr) == ((0.001, 0.012), 500, True)
