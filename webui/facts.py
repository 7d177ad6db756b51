"""What is true of this machine and this folder, gathered for the doctor without judging any of it.

Nothing here may fail or need a package: torch is asked in a process of its own, because a broken one can crash its host.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webui.install.environment import RUN_PINS, TEST_PINS, digest, read_stamp, venv_folder, venv_problem
from webui.install.machine import nvidia_devices, output_of
from webui.install.packages import pinned

TORCH_SECONDS = 120
GIGABYTE = 1e9
WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
PARTIAL_SUFFIXES = (".part", ".crdownload", ".download", ".tmp")
TRAINING = "training"  # folder beside a model that its training keeps state and data in: thousands of files, and no models
LARGEST_HEADER = 100_000_000  # bytes; the safetensors format's own limit
# Processor flags (Linux names) that make a number format fast, and what they make fast.
FAST_FLAGS: Mapping[str, str] = {
    "avx512_bf16": "bfloat16 (AVX-512)",
    "amx_bf16": "bfloat16 (AMX)",
    "bf16": "bfloat16 (ARM)",
    "avx512_fp16": "float16 (AVX-512)",
    "amx_int8": "int8 (AMX)",
    "asimdhp": "float16 (ARM)",
}


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """One file under models/, and what is wrong with it ("" if nothing seems to be)."""

    path: str
    size: int  # bytes
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything the doctor looks at; None means it could not be found out."""

    root: str
    python: tuple[int, int, int]
    executable: str
    system: str
    in_venv: bool
    venv_problem: str | None = None
    stamp: Mapping[str, str] = field(default_factory=dict)
    pins_changed: tuple[str, ...] = ()
    wrong_versions: tuple[str, ...] = ()
    torch: Mapping[str, Any] | None = None  # what `probe_torch` prints
    torch_error: str = ""
    torch_pinned: str = ""
    nvidia: tuple[tuple[int, ...], tuple[int, int] | None] | None = None
    cpu: str = ""
    cores: int | None = None
    cpu_flags: frozenset[str] = frozenset()
    memory: float | None = None  # gigabytes
    memory_free: float | None = None
    disk_free: float | None = None
    writable: bool = True
    models: Mapping[str, tuple[ModelFile, ...]] = field(default_factory=dict)  # folder under models/ -> its files


def gather(root: Path) -> Facts:
    """Look at everything; takes as long as importing torch."""
    stamp = read_stamp(str(root))
    torch, error = ask_torch()
    memory, free = memory_sizes()
    pins = run_pins(root)
    return Facts(
        root=str(root),
        python=sys.version_info[:3],
        executable=sys.executable,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        in_venv=os.path.realpath(sys.prefix) == os.path.realpath(venv_folder(str(root))),
        venv_problem=venv_problem(str(root)),
        stamp=stamp,
        pins_changed=tuple(name for name in (RUN_PINS, TEST_PINS) if name in stamp and stamp[name] != pins_digest(root / name)),
        wrong_versions=wrong_versions(pins),
        torch=torch,
        torch_error=error,
        torch_pinned=next((pin.partition("==")[2] for pin in pins if pin.startswith("torch==")), ""),
        nvidia=nvidia_devices(),
        cpu=cpu_name(),
        cores=os.cpu_count(),
        cpu_flags=cpu_flags(),
        memory=memory,
        memory_free=free,
        disk_free=disk_free(root),
        writable=os.access(root, os.W_OK),
        models=model_files(root / "models"),
    )


def run_pins(root: Path) -> list[str]:
    """Return the pins of what is needed to run; none where their file is gone."""
    try:
        return pinned(str(root), [RUN_PINS])
    except (OSError, ValueError):
        return []


def pins_digest(path: Path) -> str:
    """Return the content hash of a file of pins, "" where it is gone."""
    try:
        return digest(str(path))
    except OSError:
        return ""


def disk_free(root: Path) -> float | None:
    """Return the gigabytes free on the disk of a folder."""
    try:
        return shutil.disk_usage(root).free / GIGABYTE
    except OSError:
        return None


def wrong_versions(pins: Iterable[str]) -> tuple[str, ...]:
    """Return the pins that this Python does not have, as sentences' parts: "numpy 2.0 instead of 2.4.6"."""
    from importlib import metadata

    found = []
    for pin in pins:
        name, _, version = pin.partition("==")
        try:
            have = metadata.version(name)
        except metadata.PackageNotFoundError:
            found.append(f"{name} {version} is missing")
            continue
        if have.partition("+")[0] != version:
            found.append(f"{name} {have} instead of {version}")
    return tuple(found)


def probe_torch() -> dict[str, Any]:
    """Import torch and describe it; runs in a process of its own."""
    import torch

    facts: dict[str, Any] = {"version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip, "devices": []}
    facts["threads"] = torch.get_num_threads()
    facts["capability"] = torch.backends.cpu.get_cpu_capability()
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            device = {"kind": "cuda", "name": properties.name, "memory": properties.total_memory}
            facts["devices"].append({**device, "capability": (properties.major, properties.minor)})
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        facts["devices"] += [{"kind": "xpu", "name": torch.xpu.get_device_name(i)} for i in range(torch.xpu.device_count())]
    if torch.backends.mps.is_available():
        facts["devices"].append({"kind": "mps", "name": "Apple silicon"})
    total = torch.ones(8, 8).matmul(torch.ones(8, 8)).sum().item()
    if total != 512:
        raise ArithmeticError(f"a product of two small matrices came out as {total} instead of 512")
    return facts


def ask_torch() -> tuple[dict[str, Any] | None, str]:
    """Return what `probe_torch` says, or None and the last line of why not."""
    command = [sys.executable, "-c", "import json; from webui.facts import probe_torch; print(json.dumps(probe_torch()))"]
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TORCH_SECONDS, errors="replace", env=variables)
    except subprocess.TimeoutExpired:
        return None, f"importing it took more than {TORCH_SECONDS} s"
    except OSError as error:
        return None, str(error)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return None, lines[-1] if lines else f"it ended with exit code {done.returncode}"
    try:
        return json.loads(done.stdout.strip().splitlines()[-1]), ""
    except (ValueError, IndexError):
        return None, "it printed something unexpected"


def cpu_name() -> str:
    """Return the processor's name."""
    if sys.platform == "linux":
        match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", read("/proc/cpuinfo"), re.MULTILINE)
        return match[1] if match else platform.machine()
    if sys.platform == "darwin":
        return (output_of("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()).strip()
    return platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """Return the processor's features by their Linux names; empty where the system does not tell."""
    if sys.platform == "linux":
        match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", read("/proc/cpuinfo"), re.MULTILINE)
        return frozenset(match[1].split()) if match else frozenset()
    if sys.platform == "darwin" and (output_of("sysctl", "-n", "hw.optional.arm.FEAT_BF16") or "").strip() == "1":
        return frozenset({"bf16", "asimdhp"})
    return frozenset()


def read(path: str) -> str:
    """Return a text file of the system's, empty if it is not there."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def memory_sizes() -> tuple[float | None, float | None]:
    """Return the machine's memory and what is free of it, in gigabytes."""
    found = dict(re.findall(r"^(MemTotal|MemAvailable):\s+(\d+) kB", read("/proc/meminfo"), re.MULTILINE))
    if found:
        total, free = (int(found[name]) * 1024 / GIGABYTE if name in found else None for name in ("MemTotal", "MemAvailable"))
        return total, free
    if sys.platform == "darwin":
        text = (output_of("sysctl", "-n", "hw.memsize") or "").strip()
        return (int(text) / GIGABYTE if text.isdigit() else None), None
    if sys.platform == "win32":
        return windows_memory()
    return None, None


def windows_memory() -> tuple[float | None, float | None]:
    """Return total and free memory as Windows counts them."""
    command = "Get-CimInstance Win32_OperatingSystem | ForEach-Object { $_.TotalVisibleMemorySize, $_.FreePhysicalMemory }"
    numbers = [int(word) * 1024 / GIGABYTE for word in (output_of("powershell", "-NoProfile", "-Command", command) or "").split()]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (None, None)


def model_files(folder: Path) -> dict[str, tuple[ModelFile, ...]]:
    """Return the weight files under each folder of models/, broken and half downloaded ones included.

    What a folder that cannot be looked into holds is left out.
    """
    found: dict[str, tuple[ModelFile, ...]] = {}
    for kind in folders_in(folder):
        found[kind.name] = tuple(model_file(path, folder) for path in sorted(weight_files(kind)))
    return found


def folders_in(folder: Path) -> list[Path]:
    """Return the folders of models/ that hold models."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))
    except OSError:
        return []


def weight_files(folder: Path) -> Iterator[Path]:
    """Return the files below a folder that look like weights by their names, but for those of training runs."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != TRAINING]
        yield from (Path(place) / name for name in names if Path(name).suffix.lower() in WEIGHT_SUFFIXES + PARTIAL_SUFFIXES)


def model_file(path: Path, folder: Path) -> ModelFile:
    """Return one weight file, with what its first bytes and its length say is wrong."""
    try:
        found = path.stat()
        size, ordinary = found.st_size, stat.S_ISREG(found.st_mode)
        problem = file_problem(path, size) if ordinary else "is no ordinary file"  # to open a pipe is to wait for a writer
    except OSError as error:
        return ModelFile(path=path.relative_to(folder).as_posix(), size=0, problem=f"cannot be read ({error.strerror})")
    return ModelFile(path=path.relative_to(folder).as_posix(), size=size, problem=problem)


def file_problem(path: Path, size: int) -> str:
    """Return what is wrong with a weight file, judged by its start and its length only."""
    if path.suffix.lower() in PARTIAL_SUFFIXES:
        return "is an unfinished download"
    with path.open("rb") as file:
        start = file.read(64)
        if not start:
            return "is empty"
        if start.startswith(b"version https://git-lfs"):
            return "is a Git LFS pointer instead of the weights"
        if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
            return "is a web page instead of the weights"
        if path.suffix.lower() != ".safetensors":
            return ""
        (length,) = struct.unpack("<Q", start[:8]) if len(start) >= 8 else (0,)
        if not 2 <= length <= min(size - 8, LARGEST_HEADER):
            return "is not a safetensors file, or cut short"
        file.seek(8)
        end = last_byte(file.read(length))
    if end is None:
        return "has a broken header"
    return "" if 8 + length + end == size else "is cut short, or has bytes too many"


def last_byte(text: bytes) -> int | None:
    """Return where the last tensor of a safetensors header ends, counted from the header's end; None where it makes no sense."""
    try:
        header = json.loads(text)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return None
    return max(ends, default=0) if all(type(end) is int for end in ends) else None
