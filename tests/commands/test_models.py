"""A folder of broken files: each is named with its reason, by every way to ask, and nothing in one is ever run."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import ParameterDict

from tests import tiny_checkpoint
from tests.published import lora, small_vae
from tests.random_weights import checkpoint
from webui.cli import main
from webui.service.folders import DATA
from webui.weights import verifying
from webui.weights.files import Header, TensorInfo, read_header, read_tensors, save
from webui.weights.verifying import verified

Run = Callable[..., tuple[int, str]]
OUT = "model.diffusion_model.out.2.weight"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint."""
    return tiny_checkpoint.write(tmp_path_factory.mktemp("good") / "good.safetensors")


class Payload:
    """What a hostile pickle holds: loading it writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.marker)!r}, 'w').close()",)


class Behind:
    """The same in the state of a type that may be loaded."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload

    def __reduce__(self) -> tuple[Any, ...]:
        return ParameterDict, (), {"_parameters": {"x": self.payload}}


def raw(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file."""
    header, data, end = {"__metadata__": metadata}, [], 0  # type: dict[str, Any], list[bytes], int
    for key, value in tensors.items():
        data.append(value.contiguous().numpy().tobytes())
        name = {"torch.float16": "F16", "torch.float32": "F32", "torch.int64": "I64"}[str(value.dtype)]
        header[key] = {"dtype": name, "shape": list(value.shape), "data_offsets": [end, end + len(data[-1])]}
        end += len(data[-1])
    text = json.dumps(header).encode()
    return b"".join([len(text).to_bytes(8, "little"), text, *data])


def pickled(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path, good: Path) -> Path:
    """A program folder whose checkpoints are nearly all broken."""
    marker, models = tmp_path / "marker", tmp_path / "models" / "checkpoints"
    models.mkdir(parents=True)
    weights, told = dict(read_tensors(good)), read_header(good).metadata
    last = weights[OUT].shape

    def spoiled(value: float) -> bytes:
        changed = weights[OUT].clone()
        changed.view(-1)[3:5] = value
        return raw({**weights, OUT: changed}, told)

    files = {
        "good.safetensors": good.read_bytes(),
        "cut.safetensors": good.read_bytes()[:-100],
        "cut in the header.safetensors": good.read_bytes()[:1000],
        "shapes.safetensors": raw({**weights, OUT: torch.zeros(*last[:3], 1).half()}, told),
        "lacking.safetensors": raw({key: value for key, value in weights.items() if "middle_block.1.norm" not in key}, told),
        "text.safetensors": b"This is a text, and not a model at all.",
        "huge.safetensors": (10**12).to_bytes(8, "little") + b"{" + b" " * 100,
        "code.ckpt": pickled({"state_dict": {**weights, "x": Payload(marker)}}),
        "behind.ckpt": pickled({"state_dict": weights, "more": Behind(Payload(marker))}),
        "nan.safetensors": spoiled(float("nan")),
        "infinite.safetensors": spoiled(float("inf")),
        "lora.safetensors": raw({key: torch.zeros(shape) for key, shape in lora("lora_unet_{}").items()}, {}),
        "empty.safetensors": b"",
        "red \x1b[31m.safetensors": b"",
    }
    for name, content in files.items():
        (models / name).write_bytes(content)
    (models / "directory.safetensors").mkdir()
    return tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Carries out a command; returns its exit code and all that it said."""

    def run(*arguments: str) -> tuple[int, str]:
        code = main(["models", *arguments], folder)
        captured = capsys.readouterr()
        said = captured.out + captured.err
        assert "\x1b" not in said
        return code, said

    return run


REASONS = {  # what verify says of each
    "cut": "cut short",
    "cut in the header": "cut short",
    "shapes": f"1 weights have a wrong shape: {OUT} has [4, 16, 3, 1], expected [4, 16, 3, 3]",
    "lacking": "weights: middle_block.1.norm.weight, middle_block.1.norm.bias.",
    "text": "is not a weight file: it is neither safetensors nor a PyTorch checkpoint. It looks like a text that begins",
    "huge": "its header would have 1000000000000 bytes",
    "code": "exec, which could run code",
    "behind": "exec, which could run code",
    "nan": f"1 tensors hold values that are not numbers: {OUT} (2 NaN).",
    "infinite": f"1 tensors hold values that are not numbers: {OUT} (2 infinite).",
    "lora": "a LoRA",
    "empty": "is empty",
    "red ": "is empty",
    "directory": "is a folder",
}
ONLY_WHEN_READ = ("nan", "infinite")  # no header shows that


def test_every_broken_file_is_named_with_its_reason(folder: Path, run: Run) -> None:
    for name, reason in REASONS.items():
        code, said = run("verify", name)
        assert reason in said and code == (0 if name == "lora" else 1), (name, said)
    for name, reason in REASONS.items():
        code, said = run("info", name)
        assert reason in said and code == (0 if name in ("lora", *ONLY_WHEN_READ) else 2), (name, said)
    code, said = run("list")
    lines = said.splitlines()
    assert code == 0 and len(lines) == len(REASONS) + 1
    for name, reason in REASONS.items():
        told = next(line for line in lines if line.startswith(f"{name} " if name != "red " else "red"))
        assert "cannot be used" in told and reason in told, name
    assert "Tiny, 64x64" in next(line for line in lines if line.startswith("good"))
    assert not (folder / "marker").exists()


def test_the_payloads_of_these_tests_would_write_their_marker(folder: Path) -> None:
    for name in ("code.ckpt", "behind.ckpt"):
        torch.load(folder / "models" / "checkpoints" / name, weights_only=False)
        (folder / "marker").unlink()


def test_a_good_file_is_good_and_what_is_known_of_it_is_told(folder: Path, run: Run) -> None:
    assert "not yet; models verify" in run("info", "good")[1]
    code, said = run("verify", "good")
    assert code == 0 and "Result:       good" in said and "Tiny (tiny)" in said
    code, said = run("info", "good")
    assert code == 0
    digest = next(line.split()[-1] for line in said.splitlines() if line.startswith("SHA-256"))
    for line in (f"Short hash:   {digest[:10]}", "Family:       Tiny (tiny)", "Predicts:     velocity", "whole, every number"):
        assert line in said
    (folder / DATA).mkdir()
    (folder / DATA / "models.json").write_text(json.dumps({digest: {"zero_terminal_snr": True, "native_size": 640}}))
    said = run("info", "good")[1]
    assert "640x640" in said and "zero terminal SNR" in said and "Set for it:" in said


def test_what_verify_found_holds_until_the_file_changes(folder: Path, good: Path, run: Run) -> None:
    run("verify", "nan")
    path = folder / "models" / "checkpoints" / "nan.safetensors"
    path.write_bytes(good.read_bytes() + b" ")
    assert "cannot be used" not in next(line for line in run("list")[1].splitlines() if line.startswith("nan"))
    code, said = run("verify", "nan")
    assert code == 0 and "1 bytes belong to no tensor" in said


def test_other_kinds_of_files_are_told_by_info(folder: Path, run: Run) -> None:
    files = {
        "vae.safetensors": ({key: torch.zeros(shape) for key, shape in small_vae().items()}, "a VAE, 8 pixels a side, 4 "),
        "word.safetensors": ({"emb_params": torch.zeros(2, 768)}, "a textual inversion of 2 vectors for Stable Diffusion 1"),
    }
    for name, (tensors, words) in files.items():
        save(folder / name, tensors)
        code, said = run("info", str(folder / name))
        assert code == 0 and f"Kind:         {words}" in said and "It is no checkpoint. Put it into models/" in said
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": torch.zeros(3, 1024)}}, folder / "word.pt")
    assert "a textual inversion of 3 vectors for Stable Diffusion 2" in run("info", str(folder / "word.pt"))[1]
    layers = {"linear.0.weight": torch.zeros(4, 4)}
    torch.save({768: (layers, dict(layers)), "step": 3}, folder / "hyper.pt")
    code, said = run("verify", str(folder / "hyper.pt"))
    assert code == 0 and "a hypernetwork for the widths 768" in said
    torch.save({768: ({"linear.0.weight": torch.full((4, 4), torch.nan)}, layers)}, folder / "hyper.pt")
    code, said = run("verify", str(folder / "hyper.pt"))
    assert code == 1 and "768.0.linear.0.weight (16 NaN)" in said
    code, said = run("info", str(folder / "models" / "checkpoints" / "lora.safetensors"))
    assert code == 0 and "a LoRA with 2 modules of rank 8 for Stable Diffusion 1" in said


def test_infinity_in_a_mask_that_nobody_reads_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    mask = torch.full((77, 77), -torch.inf)
    save(path, {**dict(checkpoint("sd21-base-tiny")), "cond_stage_model.model.attn_mask": mask})
    assert verified(path).faults == ()


def test_tensors_that_lie_over_others_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    at = {"a": (100, 200), "b": (200, 300), "c": (250, 350), "d": (400, 410), "e": (500, 500)}
    tensors = {key: TensorInfo(shape=(end - begin,), dtype="U8", begin=begin, end=end) for key, (begin, end) in at.items()}
    faults, notes = verifying._order(Header(tensors=tensors, metadata={}, stamp=(415, 0)))
    assert faults == ("1 tensors lie over others: c.",) and notes == ("55 bytes belong to no tensor.",)


@pytest.mark.parametrize("action", ["list", "info"])
def test_safetensors_are_described_without_torch(action: str, good: Path, tmp_path: Path) -> None:
    models = tmp_path / "models" / "checkpoints"
    models.mkdir(parents=True)
    (models / "good.safetensors").write_bytes(good.read_bytes())
    (models / "lora.safetensors").write_bytes(raw({key: torch.zeros(shape) for key, shape in lora("lora_unet_{}").items()}, {}))
    code = (
        "import sys; from pathlib import Path; from webui.commands.models import main\n"
        f"main({[action] + (['good'] if action == 'info' else [])!r}, Path({str(tmp_path)!r}))\n"
        "sys.exit(', '.join({'torch', 'numpy', 'gradio'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Tiny" in done.stdout


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn])
def test_large_numbers_are_finite_and_others_are_counted(dtype: torch.dtype) -> None:
    large = torch.full((300, 300), torch.finfo(dtype).max, dtype=dtype)
    assert verifying._not_finite(large) == "" and verifying._not_finite(torch.arange(4)) == ""
    large[3, 4] = torch.nan
    assert verifying._not_finite(large) == "1 NaN"
    if dtype != torch.float8_e4m3fn:  # which has no infinity
        large[5, :2] = torch.tensor([torch.inf, -torch.inf])
        assert verifying._not_finite(large) == "1 NaN and 2 infinite"
        opposite = torch.tensor([torch.inf, -torch.inf], dtype=dtype)
        assert verifying._not_finite(opposite) == "2 infinite"
