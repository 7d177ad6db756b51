"""The doctor: what it finds wrong on made-up machines, and that looking at this one never fails."""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui import doctor, facts
from webui.doctor import diagnose, report
from webui.facts import Facts, ModelFile

TORCH: dict[str, Any] = {"version": "2.13.0+cpu", "cuda": None, "hip": None, "devices": [], "threads": 2, "capability": "AVX512"}
CUDA: dict[str, Any] = {
    **TORCH,
    "version": "2.13.0+cu130",
    "cuda": "13.0",
    "devices": [{"kind": "cuda", "name": "A card", "memory": 24_000_000_000, "capability": [8, 9]}],
}
HEALTHY = Facts(
    root="/project",
    python=(3, 12, 4),
    executable="/project/.venv/bin/python",
    system="Linux 6.1 x86_64",
    in_venv=True,
    stamp={"torch": "cpu", "source": "index"},
    torch=TORCH,
    torch_pinned="2.13.0",
    cpu="A processor",
    cores=8,
    cpu_flags=frozenset({"avx512_bf16", "amx_bf16", "sse"}),
    memory=32.0,
    memory_free=20.0,
    disk_free=100.0,
    models={"builtin": tuple(ModelFile(path=name, size=9_000_000) for name in doctor.SHIPPED), "vae": ()},
)
DRIVER = ((580, 65), (8, 9))
EMPTY_FILE = ModelFile(path="vae/x.safetensors", size=0, problem="is empty")
IMAGE_TOWER = HEALTHY.models["builtin"][1]
EMPTY_MODEL = replace(EMPTY_FILE, path=doctor.SHIPPED[0])
OTHER = ModelFile(path="builtin/somebody-elses.safetensors", size=9_000_000)


def test_a_healthy_installation_has_nothing_wrong() -> None:
    assert diagnose(HEALTHY) == []
    text = report(HEALTHY)
    for words in ("3.12.4", "2.13.0+cpu", "A processor, 8 cores, AVX512", "bfloat16 (AMX)", "32.0 GB", "model.safetensors"):
        assert words in text
    assert text.endswith("Nothing is wrong.\n")
    assert diagnose(replace(HEALTHY, torch=CUDA, nvidia=DRIVER)) == []


@pytest.mark.parametrize(
    ("changes", "problem", "remedy"),
    [
        ({"python": (3, 10, 1)}, "Python 3.10.1", "3.11, 3.12 or 3.13"),
        ({"venv_problem": "", "torch": None}, "not installed yet", "launch.py"),
        ({"venv_problem": "this folder was moved or copied"}, "moved", "launch.py"),
        ({"stamp": {}}, "not finished", "launch.py"),
        ({"pins_changed": ("requirements.txt",)}, "requirements.txt changed", "launch.py"),
        ({"wrong_versions": ("numpy 1.0 instead of 2.4.6",)}, "numpy 1.0", "puts them right"),
        ({"torch": None, "torch_error": "ModuleNotFoundError: No module named 'torch'"}, "not installed", ".venv"),
        ({"torch": None, "torch_error": "OSError: libcudart.so.13 is missing"}, "libcudart.so.13", ".venv"),
        ({"torch": {**TORCH, "version": "2.9.0"}}, "2.9.0", ".venv"),
        ({"nvidia": DRIVER}, "cannot use it", "--torch cuda"),
        ({"nvidia": ((550, 1), (8, 9)), "torch": {**CUDA, "devices": []}}, "550.1 is too old", "580"),
        ({"nvidia": DRIVER, "torch": {**CUDA, "devices": []}}, "does not see", "nvidia-smi"),
        ({"memory": 2.0}, "2.0 GB of memory", "another machine"),
        ({"memory_free": 0.3}, "0.3 GB of memory are free", "Close"),
        ({"disk_free": 0.2}, "0.2 GB free", "Delete"),
        ({"writable": False}, "/project", "--output"),
        ({"models": {}}, "model.safetensors and models/builtin/clip_image.safetensors are missing", "git checkout"),
        ({"models": {"builtin": (IMAGE_TOWER,)}}, "models/builtin/model.safetensors is missing", "git checkout"),
        ({"models": {"builtin": (IMAGE_TOWER, OTHER)}}, "models/builtin/model.safetensors is missing", "git checkout"),
        ({"models": {"builtin": (IMAGE_TOWER, EMPTY_MODEL)}}, "model.safetensors is empty", "git checkout"),
        ({"models": {**HEALTHY.models, "vae": (EMPTY_FILE,)}}, "x.safetensors is empty", "again"),
    ],
)
def test_each_thing_wrong_comes_with_a_remedy(changes: dict[str, Any], problem: str, remedy: str) -> None:
    (finding,) = diagnose(replace(HEALTHY, **changes))
    assert problem in finding.problem
    assert remedy in finding.remedy
    assert finding.problem.endswith(".")
    text = report(replace(HEALTHY, **changes))
    assert finding.problem in text and finding.remedy in text and "Nothing is wrong" not in text


def test_fast_formats_follow_the_devices() -> None:
    assert doctor.fast_formats(HEALTHY) == ["bfloat16 (AVX-512)", "bfloat16 (AMX)"]
    plain = replace(HEALTHY, cpu_flags=frozenset())
    assert doctor.fast_formats(plain) == []
    assert doctor.fast_formats(replace(plain, torch=CUDA)) == ["float16 (cuda)", "bfloat16 (cuda)"]
    turing = {**CUDA, "devices": [{"kind": "cuda", "name": "x", "capability": [7, 5]}]}
    assert doctor.fast_formats(replace(plain, torch=turing)) == ["float16 (cuda)"]
    assert doctor.fast_formats(replace(plain, torch={**TORCH, "devices": [{"kind": "mps", "name": "x"}]})) == ["float16 (mps)"]


def safetensors(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


WHOLE = safetensors({"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}, "__metadata__": {"x": "y"}}, b"1234")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("whole.safetensors", WHOLE, ""),
        ("short.safetensors", WHOLE[:-1], "cut short"),
        ("long.safetensors", WHOLE + b"x", "bytes too many"),
        ("start.safetensors", WHOLE[:20], "cut short"),
        ("tiny.safetensors", b"123", "not a safetensors file"),
        ("header.safetensors", struct.pack("<Q", 4) + b"nope", "broken header"),
        ("list.safetensors", struct.pack("<Q", 2) + b"[]", "broken header"),
        ("deep.safetensors", struct.pack("<Q", 500_000) + b'{"a":' * 100_000, "broken header"),
        ("text.safetensors", safetensors({"a": {"data_offsets": [0, "4"]}}, b"1234"), "broken header"),
        ("both.safetensors", safetensors({"a": {"data_offsets": [0, 2]}, "b": {"data_offsets": [0, "4"]}}, b""), "broken header"),
        ("none.safetensors", safetensors({"a": {"data_offsets": [0, None]}}, b"1234"), "broken header"),
        ("part.safetensors", safetensors({"a": {"data_offsets": [0, 3.5]}}, b"1234"), "broken header"),
        ("empty.ckpt", b"", "is empty"),
        ("pointer.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS"),
        ("page.safetensors", b"<!DOCTYPE html><html>", "web page"),
        ("model.ckpt", b"PK\x03\x04", ""),
        ("model.safetensors.part", WHOLE, "unfinished"),
    ],
)
def test_broken_weight_files_are_noticed(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / name).write_bytes(content)
    (tmp_path / "vae" / "notes.txt").write_text("not a weight file")
    found = facts.model_files(tmp_path)
    assert list(found) == ["vae"]
    (file,) = found["vae"]
    assert file.path == f"vae/{name}" and file.size == len(content)
    assert problem in file.problem and bool(problem) == bool(file.problem)


JSON = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", "data_offsets", "__metadata__"]), inner),
)


@settings(deadline=None, max_examples=60)
@given(JSON)
def test_no_header_whatsoever_makes_it_fail(header: Any) -> None:
    end = facts.last_byte(json.dumps(header).encode())
    assert end is None or type(end) is int


def test_what_ships_is_what_the_recipe_packs() -> None:
    from models.builtin.recipe import pack

    assert [f"builtin/{name}" for name in (pack.CHECKPOINT, pack.IMAGE_TOWER)] == list(doctor.SHIPPED)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_what_is_no_file_is_not_waited_for_and_names_cannot_steer_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "two\nlines \x1b[2J.safetensors").symlink_to("/dev/null")
    found = facts.model_files(tmp_path)
    assert [file.problem for file in found["vae"]] == ["is no ordinary file"]
    text = report(replace(HEALTHY, models={**HEALTHY.models, **found}))
    assert r"vae/two\nlines \x1b[2J.safetensors is no ordinary file." in text and "\x1b" not in text


def test_the_state_of_a_training_run_is_no_model(tmp_path: Path) -> None:
    for name in ("builtin/model.safetensors", "builtin/training/vae/step-1/000.safetensors", "builtin/training/data/a.part"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(WHOLE)
    assert [file.path for file in facts.model_files(tmp_path)["builtin"]] == ["builtin/model.safetensors"]


def test_no_models_folder_is_no_failure(tmp_path: Path) -> None:
    assert facts.model_files(tmp_path / "absent") == {}
    (tmp_path / "file").write_text("")
    assert facts.model_files(tmp_path / "file") == {}


def test_an_empty_folder_is_looked_at_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "ask_torch", lambda: (None, "no torch"))
    found = facts.gather(tmp_path / "gone")
    assert found.disk_free is None and found.wrong_versions == () and found.torch_pinned == ""
    problems = " ".join(finding.problem for finding in diagnose(found))
    assert "not installed" in problems and "built-in model" in problems


def test_a_name_that_is_no_unicode_does_not_cost_the_report(tmp_path: Path) -> None:
    doctor.write(tmp_path / "report.txt", "models/\udcff.safetensors")
    assert (tmp_path / "report.txt").read_text(encoding="utf-8") == "models/\\udcff.safetensors"


def test_wrong_versions_are_named() -> None:
    import pytest as installed

    assert facts.wrong_versions([f"pytest=={installed.__version__}"]) == ()
    assert facts.wrong_versions(["pytest==1.0"]) == (f"pytest {installed.__version__} instead of 1.0",)
    assert facts.wrong_versions(["no-such-package-here==1.0"]) == ("no-such-package-here 1.0 is missing",)


def test_a_torch_that_crashes_or_is_missing_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    found, why = facts.ask_torch()
    assert found is None and why
    crashing = tmp_path / "crashing"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crashing))
    found, why = facts.ask_torch()
    assert found is None and "exit code" in why


def test_looking_at_this_machine_never_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.txt"
    code = doctor.main(["--report", str(path)])
    printed = capsys.readouterr().out
    assert path.read_text(encoding="utf-8") == printed
    assert code == (0 if "Nothing is wrong." in printed else 1)
    for word in ("Python", "PyTorch", "Device", "Fast formats", "Memory", "Disk"):
        assert word in printed


def test_a_report_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "gather", lambda root: HEALTHY)
    assert doctor.main(["--report", str(tmp_path / "absent" / "report.txt")]) == 2
    assert "could not be written" in capsys.readouterr().err
