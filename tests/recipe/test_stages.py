"""The whole recipe on a handful of pictures: every stage runs, goes on where it stopped, and the result is a model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.builtin.recipe import dataset
from models.builtin.recipe.batches import chances, choose, crops, encode_all, token_rows
from models.builtin.recipe.card import BEGIN, END, table, write_figures
from models.builtin.recipe.classifier import FILE as CLASSIFIER
from models.builtin.recipe.classifier import new_classifier, truth_of
from models.builtin.recipe.depth import FIRST, NO_MAP
from models.builtin.recipe.estimator import ESTIMATOR, shipped_estimator, trained_estimator
from models.builtin.recipe.fitting import (
    Run,
    new_depth_predictor,
    new_noise_predictor,
    spec,
    trained_clip,
    trained_vae,
    words,
)
from models.builtin.recipe.pack import CHECKPOINT, IMAGE_TOWER, shipped_clip
from models.builtin.recipe.samples import RECONSTRUCTIONS, SAMPLES
from models.builtin.recipe.scenes import sample_scene
from models.builtin.recipe.stages import EXTRA_STAGES, STAGES
from models.builtin.recipe.vocabulary import COLOURS, SHAPES
from webui.pipeline.prompt import segments_of, windows
from webui.service.previews import preview_of
from webui.training.state import load_average
from webui.weights.files import read_tensors
from webui.weights.model import load

FIRST_WEIGHT = f"unet.{FIRST}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("recipe")
    one = {"vae": 1, "clip": 1, "noise": 1, "depth": 1, "estimator": 1}
    made = Run(folder=folder, device=torch.device("cpu"), steps=one, pictures=12, output=folder)
    assert all(stage(made) for stage in STAGES.values())
    return made


def test_the_packed_files_hold_what_was_trained(run: Run) -> None:
    model = load(run.folder / CHECKPOINT)
    assert model.spec.prediction == "v" and model.tokenizers[0].size == model.spec.text[0].vocabulary
    vae = trained_vae(run)
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(model.vae(picture), vae(picture), atol=2e-2)
    pair, shipped = trained_clip(run), shipped_clip(model.text[0], dict(read_tensors(run.folder / IMAGE_TOWER)))
    ids = token_rows(["a red ball"], words(), 36)
    assert torch.allclose(shipped.place_texts(ids), pair.place_texts(ids), atol=1e-2)
    preview = preview_of(run.folder / CHECKPOINT)
    assert preview is not None and len(preview.matrix[0]) == 8


def test_what_is_packed_takes_depth_maps_and_is_what_the_lesson_with_them_made(run: Run) -> None:
    model = load(run.folder / CHECKPOINT)
    assert model.spec.beside == "depth" and model.spec.no_map == NO_MAP == 0
    trained = new_depth_predictor(run.device)
    assert load_average(run.folder / "depth", trained, "weight") == 1
    for name, weight in trained.unet.state_dict().items():
        assert torch.allclose(model.unet.state_dict()[name], weight, atol=1e-3), name


def test_the_lesson_with_maps_begins_where_the_one_with_words_ended(run: Run, tmp_path: Path) -> None:
    for name in ("data", "vae", "clip", "noise", "latents.pt"):
        (tmp_path / name).symlink_to(run.folder / name)
    assert STAGES["depth"](dataclasses.replace(run, folder=tmp_path, seconds=0)) is False  # no step is taken
    words_only, with_maps = new_noise_predictor(run.device), new_depth_predictor(run.device)
    assert load_average(run.folder / "noise", words_only, "weight") == 1
    assert load_average(tmp_path / "depth", with_maps, "weight") == 0
    before, after = words_only.state_dict(), with_maps.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {FIRST_WEIGHT}
    latent = before[FIRST_WEIGHT].shape[1]
    assert torch.equal(after[FIRST_WEIGHT][:, :latent], before[FIRST_WEIGHT]) and not after[FIRST_WEIGHT][:, latent:].any()


def test_unpacked_files_are_training_state_again(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.builtin.recipe.unpack.MODEL", run.output)
    other = dataclasses.replace(run, folder=tmp_path)
    assert EXTRA_STAGES["unpack"](other)
    packed = load(run.folder / CHECKPOINT)
    with_maps, words_only = new_depth_predictor(run.device), new_noise_predictor(run.device)
    assert load_average(tmp_path / "depth", with_maps) == 0 and load_average(tmp_path / "noise", words_only) == 0
    for name, weight in packed.unet.state_dict().items():
        assert torch.equal(with_maps.unet.state_dict()[name], weight)
        short = words_only.unet.state_dict()[name]
        assert torch.equal(short, weight[:, : short.shape[1]] if weight.ndim == 4 else weight)
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    again, shipped = trained_estimator(other), shipped_estimator(run.output / ESTIMATOR)
    assert torch.allclose(again(picture), shipped(picture), atol=1e-6)
    assert torch.allclose(trained_estimator(run)(picture), shipped(picture), atol=1e-3)


def test_the_classifier_of_the_guidance_extension_is_trained_on_scenes_of_one_thing(run: Run) -> None:
    assert EXTRA_STAGES["classifier"](dataclasses.replace(run, steps={"classifier": 1}))
    network = new_classifier()
    network.load_state_dict(dict(read_tensors(run.output / CLASSIFIER)))
    chances = network.log_chances(torch.randn(2, 8, 16, 16), torch.tensor([0.5, 8.0])).exp()
    assert torch.allclose(chances[:, :6].sum(1), torch.ones(2)) and torch.allclose(chances[:, 6:].sum(1), torch.ones(2))
    scenes = dataset.load(run.folder / "data").scenes
    for scene, (shape, colour) in zip(scenes, truth_of(scenes).tolist(), strict=True):
        if scene.things:
            assert (SHAPES[shape], COLOURS[colour]) == (scene.things[0].shape, scene.things[0].colour)


def test_a_finished_stage_has_nothing_left_to_do(run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*.npy")}
    assert STAGES["data"](run)
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*.npy")} == before


def test_latents_are_standard_and_mirrored_ones_are_of_the_mirrored_picture(run: Run) -> None:
    data = dataset.load(run.folder / "data")
    latents = encode_all(trained_vae(run), data, run.folder / "latents.pt", run.device)
    assert latents.plain.shape == latents.mirrored.shape == (12, 8, 16, 16)
    assert latents.plain.float().std(dim=(0, 2, 3)).mean() == pytest.approx(1, abs=0.1)
    taken = latents.take(np.array([3, 4]), np.array([True, False]))
    assert torch.equal(taken, torch.stack([latents.mirrored[3], latents.plain[4]]).float())
    assert not torch.allclose(latents.plain.float(), latents.mirrored.float(), atol=0.1)


def test_latents_of_another_network_set_or_time_are_made_anew(run: Run, tmp_path: Path) -> None:
    data, file = dataset.load(run.folder / "data"), tmp_path / "latents.pt"
    vae, few = trained_vae(run), dataclasses.replace(dataset.load(run.folder / "data"), scenes=data.scenes[:2])
    first = encode_all(vae, few, file, run.device)
    written = file.stat().st_mtime_ns
    again = encode_all(vae, few, file, run.device)
    assert file.stat().st_mtime_ns == written and torch.equal(first.plain, again.plain)
    vae.quant_conv.bias.data += 1e-7  # rounding of another machine, which is no reason
    encode_all(vae, few, file, run.device)
    assert file.stat().st_mtime_ns == written
    torch.save({"plain": first.plain, "mirrored": first.mirrored}, file)  # as earlier versions kept them
    assert torch.equal(encode_all(vae, few, file, run.device).plain, first.plain) and "origin" in torch.load(file)
    vae.encoder.conv_in.bias.data += 0.1
    assert not torch.equal(encode_all(vae, few, file, run.device).plain, first.plain)
    assert len(encode_all(vae, dataclasses.replace(data, scenes=data.scenes[:3]), file, run.device).plain) == 3
    file.write_bytes(file.read_bytes()[:1000])  # a crash while it was written by an earlier version
    assert len(encode_all(vae, few, file, run.device).plain) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["latents.pt"]


def test_some_pictures_may_be_drawn_more_often_than_others(run: Run) -> None:
    data = dataset.load(run.folder / "data")
    weights = (0.0, 1.0, 3.0, 0.5)
    likely = chances(data, weights)
    counts = [len(scene.things) for scene in data.scenes]
    assert likely.sum() == pytest.approx(1)
    total = sum(weights[count] for count in counts)
    assert likely == pytest.approx([weights[count] / total for count in counts])
    only = np.where(np.arange(12) == 5, 1.0, 0.0)
    assert [choose(data, 1, np.random.default_rng(seed), only)[0].tolist() for seed in range(3)] == [[5]] * 3


def test_batches_never_mirror_a_card(run: Run) -> None:
    data = dataset.load(run.folder / "data")
    rng = np.random.default_rng(0)
    data = dataclasses.replace(data, scenes=(sample_scene(rng, count=0), *data.scenes[1:]))
    cards = {index for index, scene in enumerate(data.scenes) if scene.card is not None}
    assert 0 in cards
    mirrored = set()
    for _ in range(30):
        indices, flips = choose(data, 50, rng)
        assert len(set(indices.tolist())) == len(indices) == 12
        mirrored |= set(indices[flips].tolist())
    assert mirrored == set(range(12)) - cards
    assert crops(data, 4, 32, rng, run.device).shape == (4, 3, 32, 32)


def test_token_rows_start_end_and_are_cut() -> None:
    coder = words()
    short, long = token_rows(["a red ball", "a red ball " * 20], coder, 12).tolist()
    assert short[0] == long[0] == coder.start
    assert short[1:4] == coder.encode("a red ball") and set(short[4:]) == {coder.end}
    assert long[-1] == coder.end and coder.end not in long[:-1]
    tower = dataclasses.replace(spec().text[0], positions=12)
    assert tuple(short) == windows(segments_of("a red ball"), coder, tower)[0].ids  # as a picture's prompt is read


def test_figures_go_between_the_cards_marks(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    found = {"count": 90.0, "digit": None}, {"count": 10.0, "digit": None}, {"floor": 99.5}, {"PSNR": 31.25}, {"IoU": 0.75}
    write_figures(card, table(*found))
    text = card.read_text()
    assert "| count | 90 | 10 |" in text and "| digit | none | none |" in text and "| PSNR | 31.25 |" in text
    assert "| IoU | 0.75 |" in text
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    card.write_text("no marks")
    with pytest.raises(ValueError, match="must have the lines"):
        write_figures(card, "x")


def test_samples_show_what_the_networks_can_do_so_far(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.builtin.recipe.samples.PROMPTS", ("a red ball",))
    assert EXTRA_STAGES["samples"](run)
    with Image.open(run.folder / SAMPLES) as drawn, Image.open(run.folder / RECONSTRUCTIONS) as again:
        assert drawn.size == (128, 256) and again.size == (8 * 128, 256)
        renders = np.asarray(again)[:128, :128].transpose(2, 0, 1)
    assert np.array_equal(renders, dataset.load(run.folder / "data").picture(np.array([0]))[0])
