"""Depth estimators' files and folders: every way to have one gives the same network; what is none, or broken, is told."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.nets.midas_reference import midas as midas_by_paper
from tests.nets.test_depth import ANYTHING, HYBRID, METRIC, PLAIN, close, filled, normal, pictures
from tests.networks_beside import midas, midas_shapes
from tests.random_weights import checkpoint
from tests.weights import diffusers_folders
from webui.errors import ModelFileError
from webui.nets.depth import DepthEstimator, depth_anything, dpt
from webui.nets.depth_small import DEPTH_KEY, SmallDepth, SmallDepthSpec
from webui.nets.depth_spec import DepthSpec, SightSpec
from webui.weights.conversion import to_single
from webui.weights.depth_configs import described
from webui.weights.depth_expected import depth_weights
from webui.weights.depth_files import EstimatorSource, open_estimator
from webui.weights.families import FAMILIES
from webui.weights.files import read_tensors, save
from webui.weights.hashes import sha256
from webui.weights.headers import read_header
from webui.weights.midas import midas_rules, midas_spec
from webui.weights.rules import restored, translate
from webui.weights.source import open_model
from webui.weights.verifying import examined, verified

FOLDERS = {"hybrid": HYBRID, "plain": PLAIN, "anything": ANYTHING, "metric": METRIC}
SMALL = SmallDepthSpec(widths=(4, 8), groups=2, side=16)
PREFIX = "depth_model.model."


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders as transformers itself writes them."""
    root = tmp_path_factory.mktemp("depth")
    for name, spec in FOLDERS.items():
        model: Any = dpt(spec) if spec.family == "dpt" else depth_anything(spec)
        model.load_state_dict(filled(spec).state_dict(), strict=False)
        model.save_pretrained(root / name)
        sight = {"size": {"height": spec.sight.side, "width": spec.sight.side}, "image_mean": list(spec.sight.mean)}
        text = json.dumps(sight | {"image_std": list(spec.sight.std), "ensure_multiple_of": 1, "keep_aspect_ratio": False})
        (root / name / "preprocessor_config.json").write_text(text)
    return root


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A folder that a test may change."""
    return Path(shutil.copytree(written / "anything", tmp_path / "anything"))


def network(source: Any) -> Any:
    module = source.build("depth")
    module.load_state_dict(dict(source.read("depth")), strict=True, assign=True)
    return module.eval()


def changed(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def midas_weights(spec: DepthSpec, extra: bool = True) -> dict[str, Tensor]:
    """The weights of `filled(spec)` with MiDaS' names, and those that its files have and nobody reads."""
    theirs = restored(midas_rules(hybrid=spec.bit is not None), filled(spec).state_dict(), "MiDaS")
    more = {
        "norm.weight": torch.ones(spec.width),
        "norm.bias": torch.zeros(spec.width),
        "head.weight": torch.zeros(10, spec.width),
    }
    return theirs | ({f"pretrained.model.{key}": value for key, value in more.items()} if extra else {})


# --- what there is -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_transformers_is_opened(name: str, written: Path) -> None:
    source, spec = open_estimator(written / name), FOLDERS[name]
    assert isinstance(source, EstimatorSource) and source.parts == ("depth",) and source.spec == spec
    assert (
        source.kind == spec.family
        and source.title.startswith("a depth estimator (")
        and ("metres" in source.title) == (spec.metres is not None)
    )
    assert set(source.stamps) == {written / name / "model.safetensors"}
    picture = pictures(1, 3, 80, 70)
    assert torch.equal(network(source)(picture), filled(spec)(picture))


def test_weights_in_parts_and_pickles_are_read_too(folder: Path) -> None:
    tensors = dict(read_tensors(folder / "model.safetensors"))
    expected = network(open_estimator(folder)).state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    assert all(torch.equal(value, expected[key]) for key, value in open_estimator(folder).read("depth"))
    (folder / "pytorch_model.bin").unlink()
    names = sorted(tensors)
    for at in (0, 1):
        save(folder / f"model-{at}.safetensors", {key: tensors[key] for key in names[at::2]})
    index = {"weight_map": {key: f"model-{at % 2}.safetensors" for at, key in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    source = open_estimator(folder)
    assert len(source.stamps) == 2 and all(torch.equal(value, expected[key]) for key, value in source.read("depth"))


def test_the_small_one_is_told_by_its_metadata(tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = SmallDepth(SMALL).requires_grad_(False)
    path = tmp_path / "a.safetensors"
    save(path, own.state_dict(), {DEPTH_KEY: json.dumps(SMALL.to_json())})
    source = open_estimator(path)
    assert source.spec == SMALL and source.kind == "small" and "small" in source.title
    picture = pictures(1, 3, 16, 16)
    assert torch.equal(network(source)(picture), own.eval()(picture))


@pytest.mark.parametrize("spec", [HYBRID, PLAIN], ids=["hybrid", "plain"])
@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
def test_midas_own_file_is_opened(spec: DepthSpec, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    tensors = midas_weights(spec)
    save(path, tensors) if ending == ".safetensors" else torch.save(tensors, path)
    source = open_estimator(path)
    assert source.spec == replace(spec, heads=spec.width // 64) and source.kind == "dpt"
    x = normal(1, 3, 64, 96)
    with torch.no_grad():
        assert close(network(source).estimated(x), midas_by_paper(tensors, x))


# --- the map of MiDaS' names ---------------------------------------------------------------------------------------------


def test_every_name_of_midas_becomes_the_one_of_transformers() -> None:
    rules, found = midas_rules(hybrid=True), dict[str, str]()
    for theirs, ours in midas()["rename"].items():
        pieces = translate(rules, theirs, "MiDaS")
        if ours is None or ours.startswith("dpt.layernorm."):
            assert pieces == (), theirs
        elif ".attn.qkv." in theirs:
            stem, end = ours.replace(".attn.qkv.", ".attention.attention.|").split("|")
            assert [piece.key for piece in pieces] == [f"{stem}{name}.{end}" for name in ("query", "key", "value")]
            assert [(piece.part, piece.parts) for piece in pieces] == [(0, 3), (1, 3), (2, 3)]
        else:
            assert [piece.key for piece in pieces] == [ours]
        found |= {piece.key: theirs for piece in pieces}
    assert len(rules) < 40 and found.keys() == dict(depth_weights(midas_spec(midas_shapes()))).keys()


def test_the_shapes_of_midas_tell_its_configuration() -> None:
    spec, known = midas_spec(midas_shapes()), midas()["hf_config"]
    expected = described({"model_type": "dpt", **known}, {})
    # Weights tell no epsilon; that of MiDaS is the one of the transformers it was made of.
    assert spec == replace(expected, eps=1e-6) and spec.sight == SightSpec(side=384, multiple=32) and spec.heads == 12
    shapes = {piece.key: piece.shape(shape) for key, shape in midas_shapes().items()
              for piece in translate(midas_rules(hybrid=True), key, "MiDaS")}  # fmt: skip
    assert shapes == dict(depth_weights(spec))


@pytest.mark.parametrize(
    "spec",
    [*FOLDERS.values(), midas_spec(midas_shapes()), replace(PLAIN, readout="add"), replace(PLAIN, readout="ignore", bias=False),
     replace(PLAIN, width=1024, heads=16, layers=24, inner=4096, taps=(6, 12, 18, 24), neck=(256, 512, 1024, 1024), fusion=256),
     replace(ANYTHING, gated=True, width=96, inner=384, head=16)],
)  # fmt: skip
def test_the_table_of_weights_is_the_networks_own(spec: DepthSpec) -> None:
    with torch.device("meta"):
        own = {key: tuple(value.shape) for key, value in DepthEstimator(spec).state_dict().items()}
    assert dict(depth_weights(spec)) == own


def test_networks_hold_nothing_that_is_in_no_file() -> None:
    with torch.device("meta"):
        assert not any(list(DepthEstimator(spec).buffers()) for spec in FOLDERS.values())


# --- within a model ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "depth.safetensors"
    own = {PREFIX + key: value for key, value in midas_weights(HYBRID).items()}
    save(path, checkpoint("sd2-depth-tiny") | own)
    return path


def test_a_depth_checkpoint_brings_its_estimator(model_file: Path) -> None:
    source = open_model(model_file)
    assert source.parts == ("unet", "vae", "text0", "depth") and source.spec.beside == "depth"
    assert source.specs["depth"] == HYBRID and source.spec.no_map is None
    picture = pictures(1, 3, 64, 96)
    assert torch.equal(network(source)(picture), filled(HYBRID)(picture))
    assert torch.equal(network(open_estimator(model_file))(picture), filled(HYBRID)(picture))
    found = examined(model_file)[1]
    assert found.spec is not None and not found.faults


def test_one_without_an_estimator_and_other_models_bring_none(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", checkpoint("sd2-depth-tiny"))
    assert "depth" not in open_model(tmp_path / "a.safetensors").parts
    # What another model has under that name is nobody's business.
    save(tmp_path / "b.safetensors", checkpoint("sd15-tiny") | {PREFIX + "anything": torch.zeros(1)})
    assert "depth" not in open_model(tmp_path / "b.safetensors").parts


@pytest.mark.parametrize(
    "key", ["pretrained.model.blocks.3.attn.qkv.bias", "scratch.output_conv.4.weight", "pretrained.model.pos_embed"]
)
def test_a_weight_that_its_estimator_lacks_is_named(key: str, model_file: Path, tmp_path: Path) -> None:
    tensors = {name: value for name, value in read_tensors(model_file) if name != PREFIX + key}
    save(tmp_path / "a.safetensors", tensors)
    with pytest.raises(ModelFileError, match=r"^a.safetensors: .*(depth estimator)"):
        open_model(tmp_path / "a.safetensors")
    (fault, *_) = examined(tmp_path / "a.safetensors")[1].faults
    assert "depth estimator" in fault and key in fault


def test_a_diffusers_folder_of_such_a_model_brings_it_too(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, path = "sd2-depth", tmp_path / "m"
    monkeypatch.setitem(diffusers_folders.UNETS, name, {**diffusers_folders.UNETS["sd21-v"], "in_channels": 5})
    monkeypatch.setitem(diffusers_folders.TOWERS, name, diffusers_folders.TOWERS["sd21-v"])
    monkeypatch.setitem(diffusers_folders.PIPELINES, name, "StableDiffusionDepth2ImgPipeline")
    diffusers_folders.write_folder(path, name)
    assert "depth" not in open_model(path).parts
    shutil.copytree(written / "hybrid", path / "depth_estimator")
    (path / "feature_extractor").mkdir()
    (path / "depth_estimator" / "preprocessor_config.json").rename(path / "feature_extractor" / "preprocessor_config.json")
    source = open_model(path)
    assert source.specs["depth"] == HYBRID and path / "depth_estimator" / "model.safetensors" in source.stamps
    picture = pictures(1, 3, 64, 96)
    assert torch.equal(network(source)(picture), filled(HYBRID)(picture))
    to_single(source, tmp_path / "b.safetensors", torch.float32, {})
    assert open_model(tmp_path / "b.safetensors").specs["depth"] == HYBRID
    (path / "depth_estimator" / "model.safetensors").unlink()  # many download a folder without what seems of no use
    assert "depth" not in open_model(path).parts


def test_written_anew_it_is_still_there(model_file: Path, tmp_path: Path) -> None:
    source = open_model(model_file)
    to_single(source, tmp_path / "b.safetensors", torch.float32, {})
    again = open_model(tmp_path / "b.safetensors")
    assert again.specs["depth"] == HYBRID
    first = dict(source.read("depth"))
    assert all(torch.equal(value, first[key]) for key, value in again.read("depth"))


def test_every_family_says_what_it_takes_beside_the_latent() -> None:
    beside = {name: spec.beside for name, spec in FAMILIES.items()}
    assert {name for name, each in beside.items() if each == "depth"} == {"sd2-depth"}
    assert {name for name, each in beside.items() if each == "inpaint"} == {"sd15-inpaint", "sd2-inpaint", "sdxl-inpaint"}
    assert {name for name, each in beside.items() if each == "edit"} == {"sd15-ip2p", "sdxl-ip2p"}
    assert set(beside.values()) == {"nothing", "depth", "inpaint", "edit"}
    for name, spec in FAMILIES.items():
        seven = replace(spec, unet=replace(spec.unet, in_channels=7))
        assert seven.beside == "unknown", name


# --- checked like other files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_are_examined_verified_and_hashed(name: str, written: Path, tmp_path: Path) -> None:
    path = written / name
    header, found = examined(path)
    assert found.what == open_estimator(path).title and not found.faults and len(header.tensors) > 50
    assert verified(path).faults == () and sha256(path) == sha256(path / "model.safetensors")
    assert len(sha256(path, tmp_path / "hashes.json")) == 64 and read_header(path).tensors == header.tensors


def test_values_that_are_not_numbers_are_found_in_folders_too(folder: Path) -> None:
    tensors = dict(read_tensors(folder / "model.safetensors"))
    tensors["backbone.encoder.layer.0.attention.attention.query.weight"][0, 0] = torch.nan
    save(folder / "model.safetensors", tensors)
    assert "backbone.encoder.layer.0.attention.q_proj.weight (1 NaN)" in " ".join(verified(folder).faults)


def test_a_small_one_is_examined_too(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weights = SmallDepth(SMALL).state_dict()
    save(path, weights, {DEPTH_KEY: json.dumps(SMALL.to_json())})
    assert verified(path).what == open_estimator(path).title and verified(path).faults == ()
    weights.pop("out.bias")
    save(path, weights, {DEPTH_KEY: json.dumps(SMALL.to_json())})
    assert "the depth estimator lacks 1 of" in verified(path).faults[0]
    save(path, weights)
    assert "does not describe it" in verified(path).faults[0]


# --- what is wrong -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "zoedepth"}, "says it is a 'zoedepth'"),
        ({"model_type": None}, "says it is a 'None'"),
        ({"architectures": ["DPTForSemanticSegmentation"]}, "says it is a 'DPTForSemanticSegmentation'"),
        ({"backbone_config": {"model_type": "swinv2"}}, "'swinv2' as backbone"),
        ({"backbone_config": 3}, "'3' as backbone"),
        ({"backbone_config": {"model_type": "dinov2", "num_hidden_layers": 10**9}}, "num_hidden_layers 1000000000"),
        ({"backbone_config": {"model_type": "dinov2", "hidden_size": "64"}}, "hidden_size '64'"),
        ({"backbone_config": {"model_type": "dinov2", "num_attention_heads": 7}}, "7 heads"),
        ({"backbone_config": {"model_type": "dinov2", "out_indices": [4, 3, 2, 1]}}, r"layers \[4, 3, 2, 1\]"),
        ({"backbone_config": {"model_type": "dinov2", "out_features": ["a"] * 4}}, "not names such as stage9"),
        ({"backbone_config": {"model_type": "dinov2", "num_hidden_layers": 2}}, "of 2"),
        ({"patch_size": 16}, "another patch_size"),
        ({"neck_hidden_sizes": [1, 2, 3]}, "neck_hidden_sizes that are not 4"),
        ({"neck_hidden_sizes": [1, 2, 3, True]}, "neck_hidden_sizes that are not 4"),
        ({"reassemble_factors": [4, 2, 1, 0]}, "reassemble_factors"),
        ({"reassemble_factors": "4210"}, "reassemble_factors"),
        ({"depth_estimation_type": "both"}, "'both'; known: relative, metric"),
        ({"head_in_index": 2}, "head_in_index 2"),
        ({"fusion_hidden_size": 48}, r"head.conv1.weight|shape"),
        ({"depth_estimation_type": "metric", "max_depth": -1}, "max_depth -1"),
    ],
)
def test_a_description_that_makes_no_sense_is_told(change: dict[str, Any], said: str, folder: Path) -> None:
    changed(folder, **change)
    with pytest.raises(ModelFileError, match=said) as raised:
        open_estimator(folder)
    assert str(raised.value).startswith("anything: ") and str(raised.value).endswith(".")
    found = verified(folder)
    assert found.faults or "depth" not in found.what


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"is_hybrid": "yes", "backbone_config": {"model_type": "beit"}}, "'beit' as backbone"),
        ({"is_hybrid": True, "backbone_config": {"num_groups": 7}}, "7 groups cannot share"),
        ({"is_hybrid": True, "readout_type": "add"}, "readout_type 'add'"),
        ({"is_hybrid": True, "neck_hidden_sizes": [1, 2, 3, 4]}, "do not begin with the backbone's widths"),
        ({"readout_type": ["project"]}, "readout_type"),
        ({"backbone_out_indices": [2, 5, 8, 12]}, "of 12"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps"),
        ({"patch_size": [16, 16]}, "patch_size"),
        ({"use_batch_norm_in_fusion_residual": True}, "use_batch_norm"),
    ],
)
def test_a_dpt_that_makes_no_sense_is_told(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        described({"model_type": "dpt", **change}, {})


@pytest.mark.parametrize(
    ("sight", "said"),
    [
        ({"size": 10**9}, "a size that no estimator has"), ({"size": {"height": "384"}}, "a size that no estimator has"),
        ({"size": 8}, "a size that no estimator has"), ({"image_mean": [1, 2]}, "image_mean"),
        ({"image_mean": [0.5, 0.5, "0.5"]}, "image_mean"), ({"image_std": [0, 0, 0]}, "image_std"),
        ({"ensure_multiple_of": 500}, "must be a multiple of"),
    ],
)  # fmt: skip
def test_a_way_of_seeing_that_makes_no_sense_is_told(sight: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        described({"model_type": "dpt"}, sight)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": ' * 100000, "null", "\x00"])
def test_a_broken_description_is_told(text: str, folder: Path) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelFileError, match=r"config\.json"):
        open_estimator(folder)
    assert verified(folder).faults


def test_a_folder_without_description_or_weights_is_told(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match="holds no weights"):
        open_estimator(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelFileError, match=r"without config\.json"):
        open_estimator(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"head.conv3.bias": None}, "lacks 1 of .* head.conv3.bias"),
        ({"backbone.encoder.layer.2.attention.attention.key.weight": None}, "lacks 1 of .*k_proj"),
        ({"neck.convs.0.weight": torch.zeros(2, 2)}, r"shape \[2, 2\]"),
        ({"foreign.weight": torch.zeros(2)}, "does not have: foreign.weight"),
    ],
)
def test_a_folder_whose_weights_do_not_fit_is_told(change: dict[str, Tensor | None], said: str, folder: Path) -> None:
    tensors = {**dict(read_tensors(folder / "model.safetensors")), **change}
    save(folder / "model.safetensors", {key: value for key, value in tensors.items() if value is not None})
    with pytest.raises(ModelFileError, match=said):
        open_estimator(folder)
    assert examined(folder)[1].faults


@pytest.mark.parametrize(
    ("tensors", "metadata", "said"),
    [
        ({"a": torch.zeros(1)}, {}, "It holds no depth estimator"),
        ({"pretrained.blocks.0.attn.qkv.weight": torch.zeros(1)}, {}, "Depth Anything as its authors publish it"),
        ({"pretrained.model.blocks.0.norm1.weight": torch.zeros(64)}, {}, "incomplete or broken"),
        ({"a": torch.zeros(1)}, {DEPTH_KEY: "{"}, "not valid JSON"),
        ({"a": torch.zeros(1)}, {DEPTH_KEY: "[]"}, "not a table"),
        ({"a": torch.zeros(1)}, {DEPTH_KEY: json.dumps({**SMALL.to_json(), "widths": [10**6]})}, "cannot be used"),
        ({"a": torch.zeros(1)}, {DEPTH_KEY: json.dumps(SMALL.to_json())}, "The depth estimator lacks"),
    ],
)
def test_a_file_that_is_none_is_told(tensors: dict[str, Tensor], metadata: dict[str, str], said: str, tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", tensors, metadata)
    with pytest.raises(ModelFileError, match=said) as raised:
        open_estimator(tmp_path / "a.safetensors")
    assert str(raised.value).startswith("a.safetensors: ")


@settings(max_examples=15, deadline=None)
@given(key=st.sampled_from(sorted(midas_shapes())), shape=st.lists(st.integers(0, 70), max_size=4))
def test_any_odd_shape_of_any_weight_is_told(key: str, shape: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("shape") / "a.safetensors"
    tiny = {name: torch.zeros((1,) * len(sides)) for name, sides in midas_shapes().items()}
    save(path, tiny | {key: torch.zeros(shape)})
    with pytest.raises(ModelFileError, match="MiDaS"):
        open_estimator(path)


@settings(max_examples=15, deadline=None)
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_told(part: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.safetensors"
    save(path, SmallDepth(SMALL).state_dict(), {DEPTH_KEY: json.dumps(SMALL.to_json())})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ModelFileError, match=r"a\.safetensors"):
        list(open_estimator(path).read("depth"))


class Attack:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch was-run",)


def test_code_in_pickles_is_refused_and_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    (folder / "model.safetensors").unlink()
    torch.save({"head.conv1.weight": Attack()}, folder / "pytorch_model.bin")
    torch.save({"pretrained.model.pos_embed": Attack()}, folder.parent / "a.pt")
    for path in (folder, folder.parent / "a.pt"):
        with pytest.raises(ModelFileError, match="could run code"):
            open_estimator(path)
        assert "could run code" in verified(path).faults[0]
    assert not (folder.parent / "was-run").exists()


def test_nothing_outside_its_folder_is_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(ModelFileError, match="is not a file beside it"):
        open_estimator(folder)
