"""Pictures from pictures on the command line: files and folders, what fails and why, and what is printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import tiny_checkpoint
from webui.cli import main
from webui.commands import from_pictures, making
from webui.infotext import parse
from webui.service.gallery import read_text

Run = Callable[..., int]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    tiny_checkpoint.write(folder / "models" / "builtin" / "model.safetensors")
    tiny_checkpoint.write(folder / "models" / "checkpoints" / "deep.safetensors", spec=tiny_checkpoint.DEPTH)
    return folder


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """Runs a command with the tiny model into `tmp_path`/out."""

    def call(*arguments: str) -> int:
        return main([*arguments, "--exact", "--output", str(tmp_path / "out")], root)

    return call


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (90, 70)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def mask(path: Path) -> Path:
    values = np.zeros((70, 90), np.uint8)
    values[20:40, 30:60] = 255
    Image.fromarray(values).save(path)
    return path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def out(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out").glob("*.png"))


def test_a_folder_is_made_file_by_file_and_one_that_fails_does_not_keep_the_rest(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        picture(tmp_path / "in" / f"{number}.png", number)
    (tmp_path / "in" / "1a.png").write_bytes(b"hello")
    (tmp_path / "in" / "1b.jpg").write_bytes((tmp_path / "in" / "0.png").read_bytes()[:400])
    (tmp_path / "in" / "notes.txt").write_text("not looked at")
    assert run("img2img", "--picture", str(tmp_path / "in"), "--steps", "1", "--seed", "3", "--strength", "0.5", "--json") == 1
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert [Path(each["source"]).name for each in told["pictures"]] == ["0.png", "1.png", "2.png"]
    assert [Path(each["path"]) for each in told["pictures"]] == out(tmp_path)
    assert {Path(each["file"]).name: each["why"] for each in told["failed"]} == {
        "1a.png": "1a.png: That is text, which is no picture that is taken here; save it as PNG, JPEG, WebP or AVIF.",
        "1b.jpg": "1b.jpg: The picture is broken: it cannot be read to its end; save it again with another program.",
    }
    assert "3 pictures of 5 files in" in shown.err and "2 failed" in shown.err and "1a.png: That is text" in shown.err
    assert parse(read_text(out(tmp_path)[0])).values["Denoising strength"] == "0.5"


def test_a_single_file_that_fails_ends_the_command_with_its_sentence(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"GIF89a")
    assert run("img2img", "x", "--picture", str(path)) == 2
    assert capsys.readouterr().err.strip().endswith("x.png: That is a GIF, which is no picture that is taken here; "
                                                    "save it as PNG, JPEG, WebP or AVIF.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("img2img", "x"), "img2img needs a picture: name its file, such as photo.png after --picture."),
        (("extras",), "extras needs a picture: name its file, such as photo.png."),
        (("img2img", "--picture", "there is none.png"), "There is no picture file 'there is none.png'"),
        (("img2img", "--picture", "a\0b"), "There is no picture file"),
        (("inpaint", "x", "--picture", "{}"), "inpaint needs a mask"),
        (("inpaint", "x", "--picture", "{}", "--mask", "gone.png"), "'gone.png' cannot be read"),
        (("depth", "x", "--picture", "{}"), "The model builtin takes no depth map; these do: deep."),
        (("img2img", "x", "--picture", "{}", "--mask", "{}"), "Unknown option '--mask'"),
        (("img2img", "x", "--picture", "{}", "--resize-mode", "bend"), "one of Just resize, Crop and resize"),
        (("img2img", "--picture", "{}/.."), "holds no pictures"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_missing_or_wrong_is_one_sentence(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "empty" / "in").mkdir(parents=True)
    path = picture(tmp_path / "one" / "x.png") if "{}/.." not in arguments else tmp_path / "empty" / "in"
    assert run(*(each.replace("{}", str(path)) for each in arguments)) == 2
    shown = capsys.readouterr().err
    assert sentence in shown and "Traceback" not in shown and not out(tmp_path)


def test_pixels_beside_the_mask_are_the_pictures_own(run: Run, tmp_path: Path) -> None:
    path = picture(tmp_path / "x.png")
    told = ("--picture", str(path), "--mask", str(mask(tmp_path / "m.png")), "--mask-blur", "0", "--size", "90x70")
    assert run("inpaint", "ab", *told, "--steps", "2", "--seed", "1") == 0
    made, before = pixels(out(tmp_path)[0]), pixels(path)
    inside = np.zeros((70, 90), bool)
    inside[20:40, 30:60] = True
    assert np.array_equal(made[~inside], before[~inside]) and not np.array_equal(made[inside], before[inside])
    values = parse(read_text(out(tmp_path)[0])).values
    assert len(values["Mask hash"]) == len(values["Init image hash"]) == 10 and values["Mask blur"] == "0"


def test_a_depth_map_is_followed_and_saved_when_wanted(run: Run, tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    Image.fromarray(values).save(tmp_path / "map.png")
    told = ("--depth-map", str(tmp_path / "map.png"), "--depth-invert", "--save-map")
    assert run("depth", "ab", "--model", "deep", *told, "--steps", "1", "--seed", "1") == 0
    saved, made = out(tmp_path)
    assert saved.name == f"{made.stem}-depth.png"
    with Image.open(saved) as opened:
        assert np.array_equal(np.asarray(opened), 65535 - values)
    assert len(parse(read_text(made)).values["Depth map"]) == 10


def test_a_larger_picture_keeps_the_words_of_the_one_it_is_made_of(run: Run, tmp_path: Path) -> None:
    path = picture(tmp_path / "x.png")
    assert run("img2img", "a ball", "--picture", str(path), "--steps", "1", "--seed", "7", "--strength", "0") == 0
    assert run("extras", str(out(tmp_path)[0]), str(path), "--scale-by", "1.5", "--upscaler", "nearest") == 0
    first, large, plain = out(tmp_path)
    with Image.open(first) as small, Image.open(large) as opened:
        assert opened.size == tuple(round(1.5 * side) for side in small.size)
    info = parse(read_text(large))
    assert info.prompt == "a ball" and large.name.endswith("-7.png")
    assert {**parse(read_text(first)).values, "Postprocess upscaler": "Nearest", "Postprocess upscale by": "1.5"} == info.values
    assert "Seed" not in parse(read_text(plain)).values and plain.name.endswith("-0.png")


def test_no_picture_is_begun_after_ctrl_c(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        picture(tmp_path / "in" / f"{number}.png", number)
    follow = making.follow

    def pressed(*given: object, stop: making.Stop, **more: object) -> None:
        follow(*given, stop=stop, **more)  # type: ignore[arg-type]
        stop.pressed = True

    monkeypatch.setattr(making, "follow", pressed)
    run("img2img", "--picture", str(tmp_path / "in"), "--steps", "1")
    assert len(out(tmp_path)) == 1 and from_pictures.SUFFIXES
    assert "1 pictures of 3 files" in capsys.readouterr().err
