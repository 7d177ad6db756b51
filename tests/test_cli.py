"""The command line: pictures, exit codes, one sentence for each thing that can be wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import webui
from tests import tiny_checkpoint
from tests.random_weights import checkpoint
from webui import infotext
from webui.cli import main
from webui.commands import making, terminal
from webui.drawing import Txt2Img
from webui.errors import StorageError
from webui.service import gallery
from webui.service.gallery import Saved, read_text
from webui.service.opening import Service
from webui.weights.families import SPEC_KEY
from webui.weights.files import save

ROOT = Path(webui.__file__).parents[1]
Run = Callable[..., int]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    tiny_checkpoint.write(folder / "models" / "builtin" / "model.safetensors")
    return folder


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """Runs `txt2img` with the tiny model into `tmp_path`/out."""

    def call(*arguments: str) -> int:
        return main(["txt2img", *arguments, "--exact", "--output", str(tmp_path / "out")], root)

    return call


def test_pictures_are_made_and_their_paths_printed(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a red", "ball", "--seed", "7", "--count", "2", "--steps", "2", "--size", "64x72", "--scale", "3") == 0
    shown = capsys.readouterr()
    paths = [Path(line) for line in shown.out.splitlines()]
    assert sorted(path.name for path in paths) == ["00000-7.png", "00001-8.png"]
    assert "2 pictures in" in shown.err
    for path in paths:
        with Image.open(path) as picture:
            assert picture.size == (64, 72) and picture.mode == "RGB"
    raw, rest = infotext.raw_parameters(infotext.parse(read_text(paths[0])))
    params = Txt2Img.read(raw)
    assert (params.prompt, params.steps, params.scale, params.schedule, params.model) == ("a red ball", 2, 3, "Karras", "builtin")
    assert rest["Shared calls"] == "True"


def test_a_pictures_text_makes_it_again(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ball", "--steps", "2", "--sampler", "euler a karras", "--seed", "9", "--eta", "0.5") == 0
    path = Path(capsys.readouterr().out.strip())
    raw, _ = infotext.raw_parameters(infotext.parse(read_text(path)))
    known = {key: value for key, value in raw.items() if key not in ("prompt", "negative")}
    flags = [word for key, value in known.items() for word in (f"--{key.replace('_', '-')}", value)]
    assert run(raw["prompt"], *flags) == 0
    again = Path(capsys.readouterr().out.strip())
    assert path != again and read_text(path) == read_text(again)
    with Image.open(path) as first, Image.open(again) as second:
        assert np.array_equal(np.asarray(first), np.asarray(second))


def test_json_is_one_object(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ball", "--steps", "2", "--seed", "4", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["seed"] for each in told["pictures"]] == [4] and Path(told["pictures"][0]["path"]).is_file()
    assert told["parameters"]["prompt"] == "ball" and told["parameters"]["schedule"] == "Karras"
    assert told["seconds"] > 0 and told["notices"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["x", "--size", "0x0"], "Width was 0; it must be a multiple of 8"),
        (["x", "--size", "32000x32000"], "Width was 32000"),
        (["x", "--size", "8192x8192"], "67,108,864 pixels"),
        (["x", "--size", "12"], "it must be WIDTHxHEIGHT"),
        (["x", "--size", "64x64", "--width", "64"], "Give either --size or"),
        (["x", "--steps", "-1"], "Steps was -1"),
        (["x", "--steps", "1e3"], "Steps was '1e3'"),
        (["x", "--scale", "nan"], "CFG scale was nan"),
        (["x", "--scale", "-inf"], "--scale"),
        (["x", "--seed", "1.5"], "Seed was '1.5'"),
        (["x" * 100_000], "Prompt was 100,000 characters long"),
        (["x", "--sampler", "Eular"], "Unknown sampler 'Eular'; did you mean Euler"),
        (["x", "--schedule", "Karas"], "Unknown schedule 'Karas'; did you mean Karras"),
        (["x", "--model", "bultin"], "Unknown model 'bultin'; did you mean builtin"),
        (["x", "--step", "3"], "Unknown option '--step'; did you mean --steps"),
        (["x", "--steps", "3", "y"], "'y' was not expected here"),
        (["x", "--steps"], "Argument --steps: expected one argument"),
        ([], "The following arguments are required: prompt"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(
    arguments: list[str], sentence: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    shown = capsys.readouterr()
    assert sentence in shown.err and shown.err.count("\n") == 1 and shown.out == ""
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_folder_that_cannot_be_written_is_said_before_the_work(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["txt2img", "x", "--output", str(tmp_path / "file" / "out")], root) == 2
    assert "cannot be written to" in capsys.readouterr().err


def test_a_missing_model_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["txt2img", "x", "--output", str(tmp_path)], tmp_path) == 2
    assert "built-in model" in capsys.readouterr().err


def test_a_picture_kept_elsewhere_is_a_failure_that_names_the_place(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def elsewhere(folder: Path, *rest: object, **more: object) -> Saved:
        return Saved(path=tmp_path / "kept.png", notice=f"It is in {tmp_path / 'kept.png'} instead.")

    monkeypatch.setattr(making, "save", elsewhere)
    assert run("x", "--steps", "1") == 1
    assert "kept.png instead." in capsys.readouterr().err


def test_a_picture_that_can_be_kept_nowhere_is_a_failure(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*given: object) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(gallery, "publish", full)
    assert run("x", "--steps", "1") == 1
    shown = capsys.readouterr().err
    assert "disk full" in shown and "make room" in shown and "Traceback" not in shown


def test_pictures_saved_before_the_disk_was_full_are_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved: list[Saved] = []

    def filling(*given: object, **more: object) -> Saved:
        if saved:
            raise StorageError("There is no room; make some.")
        saved.append(save_picture(*given, **more))  # type: ignore[arg-type]
        return saved[0]

    save_picture = making.save
    monkeypatch.setattr(making, "save", filling)
    assert run("x", "--steps", "1", "--count", "2", "--json") == 1
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert [each["path"] for each in told["pictures"]] == [str(saved[0].path)] and saved[0].path.is_file()
    assert told["notices"] == ["There is no room; make some."] and "no room" in shown.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_keeps_what_there_is(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def press() -> None:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "out").glob("*.png")) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    before = signal.getsignal(signal.SIGINT)
    code = run("x", "--steps", "20", "--count", "100", "--size", "64x64")
    presser.join()
    shown = capsys.readouterr()
    assert code == 130 and signal.getsignal(signal.SIGINT) is before
    kept = [Path(line) for line in shown.out.splitlines()]
    assert 0 < len(kept) < 100 and all(path.is_file() for path in kept)
    assert f"Stopped; {len(kept)} of 100 pictures were kept." in shown.err


def test_ctrl_c_twice_ends_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), making.stopping() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.pressed
        signal.raise_signal(signal.SIGINT)


def test_a_second_ctrl_c_waits_for_no_call_of_the_engine(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own end would wait for the engine's thread, so the program leaves without it."""
    closed: list[str] = []

    def pressed(service: Service, *_given: object, **_more: object) -> None:
        engine = SimpleNamespace(close=lambda: closed.append("close"), join=lambda: pytest.fail("waited"))
        service.close()
        service.engine = engine  # type: ignore[assignment]
        raise KeyboardInterrupt

    def left(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(making, "follow", pressed)
    monkeypatch.setattr(terminal.os, "_exit", left)
    with pytest.raises(SystemExit) as ended:
        main(["txt2img", "x", "--exact"], root)
    assert ended.value.code == 130 and closed == ["close"]


def test_models_are_listed_and_described(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"], root) == 0
    assert capsys.readouterr().out.split()[:1] == ["builtin"]
    for name in ("builtin", str(root / "models" / "builtin" / "model.safetensors")):
        assert main(["models", "info", name], root) == 0
        assert "64x64 pixels" in capsys.readouterr().out
    assert main(["models", "info", "nothing"], root) == 2
    assert main(["models", "info"], root) == 2
    assert "needs a name" in capsys.readouterr().err


def test_a_broken_model_does_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "models" / "checkpoints"
    tiny_checkpoint.write(folder / "good.safetensors")
    (folder / "bad.safetensors").write_bytes(b"x" * 100)
    (folder / "gone.safetensors").symlink_to(folder / "nowhere")
    (folder / "itself.safetensors").symlink_to(folder / "itself.safetensors")
    (folder / "none.safetensors").symlink_to(os.devnull)
    assert main(["models"], tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["Tiny" in line for line in lines] == ["good" in line for line in lines] and len(lines) == 5
    assert ["cannot be used" in line for line in lines] == ["good" not in line for line in lines]
    for name, why in (("itself", "symbolic links"), ("none", "no ordinary file")):
        assert main(["txt2img", "x", "--model", name, "--output", str(tmp_path)], tmp_path) == 2
        assert why in capsys.readouterr().err


def test_a_description_nobody_knows_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "odd.safetensors"
    odd = {**tiny_checkpoint.SPEC.to_json(), "prediction": "x0"}
    save(path, {"a": torch.zeros(1)}, {SPEC_KEY: json.dumps(odd)})
    assert main(["models", "info", str(path)], tmp_path) == 2
    assert "prediction is 'x0'; it must be one of: eps, v." in capsys.readouterr().err
    assert main(["models", "info", "x" * 5000], tmp_path) == 2
    assert "Unknown model" in capsys.readouterr().err


def test_a_model_that_may_be_of_either_size_is_asked_only_by_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = dict(checkpoint("sd21-v-tiny"))
    last = "model.diffusion_model.out.2."
    tensors |= {last + "weight": torch.zeros_like(tensors[last + "weight"]), last + "bias": torch.full((4,), -3.0)}
    save(tmp_path / "models" / "checkpoints" / "two.safetensors", tensors)
    assert main(["models"], tmp_path) == 0
    assert "512x512 or 768x768" in capsys.readouterr().out
    assert main(["models", "info", "two"], tmp_path) == 0
    shown = capsys.readouterr().out
    assert "768x768" in shown and "velocity" in shown


def test_commands_and_their_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0 and "txt2img" in capsys.readouterr().out
    assert main([]) == 2
    assert main(["txt2imge"]) == 2 and "did you mean txt2img" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main(["txt2img", "--help"])
    assert left.value.code == 0
    assert "--s-churn" in capsys.readouterr().out


def test_errors_that_are_not_the_users_have_another_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> int:
        raise StorageError("Disk full.")

    monkeypatch.setattr("webui.commands.parameters.main", fail)
    assert main(["parameters"]) == 1
    assert capsys.readouterr().err == "Disk full.\n"


def test_what_the_system_refuses_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied", "a folder")

    monkeypatch.setattr("webui.commands.parameters.main", fail)
    assert main(["parameters"]) == 1
    shown = capsys.readouterr().err
    assert "Permission denied (a folder)" in shown and "doctor" in shown and shown.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_output_that_finds_no_room_is_a_sentence() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "webui", "parameters"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1 and done.stderr.startswith("That failed: No space left on device")
    assert done.stderr.count("\n") == 1


def test_output_that_nobody_reads_is_no_error() -> None:
    command = [sys.executable, "-m", "webui", "parameters"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (7380, "2 h 3 min"), (-1, "0 s")]
)
def test_times_are_written_as_people_say_them(seconds: float, text: str) -> None:
    assert terminal.duration(seconds) == text


def test_the_line_of_progress() -> None:
    assert terminal.progress_line(10, 20, 3.2) == f"[{'#' * 15}{'.' * 15}] 10/20 steps, 3 s left"
    assert terminal.progress_line(0, 0, None).endswith("0/0 steps")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """No engine's thread may outlive its command."""
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "engine"]
