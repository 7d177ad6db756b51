"""`launch.py doctor`: what this installation is, what is wrong with it, and what to do about each thing.

`diagnose` judges a description of the machine, so that it is tested on machines nobody has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from webui.errors import StorageError, WebUIError
from webui.facts import FAST_FLAGS, Facts, gather
from webui.install.environment import SUPPORTED
from webui.install.torch_build import CUDA_BUILDS, dotted

LITTLE_MEMORY = 3.0  # gigabytes in all; below it even the built-in model is tight
LITTLE_FREE_MEMORY = 1.0
LITTLE_DISK = 1.0
CUDA_WORD = "cuda"
SHIPPED = ("builtin/model.safetensors", "builtin/clip_image.safetensors")  # the built-in model, below models/
PREPARE = "Run: python3 launch.py doctor --torch auto"
RESTORE = "Restore it with: git checkout -- models/builtin (or download the project again)."
REINSTALL = "Delete the folder .venv and run: python3 launch.py doctor --torch auto"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, and what to do."""

    problem: str
    remedy: str


def diagnose(facts: Facts) -> list[Finding]:
    """Return everything that is wrong, the most basic first; nothing for a healthy installation."""
    return [*python_findings(facts), *torch_findings(facts), *machine_findings(facts), *model_findings(facts)]


def python_findings(facts: Facts) -> Iterator[Finding]:
    """Judge Python, the environment and its packages."""
    if facts.python[:2] not in SUPPORTED:
        problem = f"Python {dotted(facts.python)} is not supported."
        yield Finding(problem=problem, remedy="Install Python 3.11, 3.12 or 3.13 and start launch.py with it.")
    if facts.venv_problem == "":
        yield Finding(problem="The packages are not installed yet.", remedy=f"{PREPARE}, which installs them.")
        return
    if facts.venv_problem is not None:
        problem = f".venv cannot be used: {facts.venv_problem}."
        yield Finding(problem=problem, remedy=f"{PREPARE}, which makes it anew.")
    elif not facts.stamp:
        yield Finding(problem="The installation was not finished.", remedy=f"{PREPARE}, which goes on with it.")
    if facts.pins_changed:
        problem = f"{' and '.join(facts.pins_changed)} changed since the packages were installed."
        yield Finding(problem=problem, remedy=f"{PREPARE}, which installs what changed.")
    elif facts.wrong_versions and facts.in_venv:
        shown = "; ".join(facts.wrong_versions[:5]) + ("; ..." if len(facts.wrong_versions) > 5 else "")
        yield Finding(problem=f"Some packages are not the pinned ones: {shown}.", remedy=f"{PREPARE}, which puts them right.")


def torch_findings(facts: Facts) -> Iterator[Finding]:
    """Judge torch against the devices there are."""
    if facts.venv_problem is not None:
        return
    if facts.torch is None:
        missing = "No module named 'torch'" in facts.torch_error
        problem = "PyTorch is not installed." if missing else f"PyTorch cannot be used: {facts.torch_error}."
        yield Finding(problem=problem, remedy=REINSTALL)
        return
    version = str(facts.torch["version"])
    if version.partition("+")[0] != facts.torch_pinned:
        yield Finding(problem=f"PyTorch is {version}, but {facts.torch_pinned} is needed.", remedy=REINSTALL)
    kinds = {device["kind"] for device in facts.torch["devices"]}
    if facts.nvidia is None or CUDA_WORD in kinds:
        return
    driver, capability = facts.nvidia
    if facts.torch["cuda"] is None:
        problem = f"There is an NVIDIA device (driver {dotted(driver)}), but this build of PyTorch ({version}) cannot use it."
        yield Finding(problem=problem, remedy="Run: python3 launch.py doctor --torch cuda (downloads up to 3 GB).")
        return
    needed = [build for build in CUDA_BUILDS if build.name == f"cu{str(facts.torch['cuda']).replace('.', '')}"]
    oldest = needed[0].driver("win32" if facts.system.startswith("Windows") else "linux") if needed else None
    if oldest is not None and driver < oldest:
        problem = f"NVIDIA driver {dotted(driver)} is too old for PyTorch with CUDA {facts.torch['cuda']}."
        yield Finding(problem=problem, remedy=f"Update the driver to {dotted(oldest)} or newer. Or: {PREPARE[5:]}")
        return
    device = f" (compute capability {dotted(capability)})" if capability else ""
    problem = f"PyTorch with CUDA {facts.torch['cuda']} does not see the NVIDIA device{device}."
    remedy = "Check that `nvidia-smi` works and CUDA_VISIBLE_DEVICES does not hide the device; then restart the machine."
    yield Finding(problem=problem, remedy=remedy)


def machine_findings(facts: Facts) -> Iterator[Finding]:
    """Judge memory, disk and the right to write."""
    if facts.memory is not None and facts.memory < LITTLE_MEMORY:
        problem = f"The machine has {facts.memory:.1f} GB of memory; {LITTLE_MEMORY:.0f} GB are needed."
        yield Finding(problem=problem, remedy="Use the built-in model with small pictures, or another machine.")
    elif facts.memory_free is not None and facts.memory_free < LITTLE_FREE_MEMORY:
        problem = f"Only {facts.memory_free:.1f} GB of memory are free."
        yield Finding(problem=problem, remedy="Close other programs.")
    if facts.disk_free is not None and facts.disk_free < LITTLE_DISK:
        yield Finding(problem=f"The disk has only {facts.disk_free:.1f} GB free.", remedy="Delete or move what is not needed.")
    if not facts.writable:
        problem = f"Nothing can be written in {facts.root}."
        yield Finding(problem=problem, remedy="Move the project to a folder of your own, or pass --output with one.")


def model_findings(facts: Facts) -> Iterator[Finding]:
    """Judge the model folders and files."""
    present = {file.path for files in facts.models.values() for file in files}
    if missing := [f"models/{name}" for name in SHIPPED if name not in present]:
        problem = f"The built-in model is not complete: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
        yield Finding(problem=problem, remedy=RESTORE)
    for files in facts.models.values():
        for file in files:
            if file.problem:
                remedy = RESTORE if file.path in SHIPPED else "Delete it and download it again."
                yield Finding(problem=f"models/{file.path} {file.problem}.", remedy=remedy)


def describe(facts: Facts) -> list[tuple[str, str]]:
    """Return what there is as (name, value) lines, for people and for bug reports."""
    lines = [
        ("Python", f"{dotted(facts.python)} at {facts.executable}{'' if facts.in_venv else ' (not .venv)'}"),
        ("System", facts.system),
        ("PyTorch", torch_line(facts)),
        *[("Device", device) for device in devices(facts)],
        ("Fast formats", ", ".join(fast_formats(facts)) or "float32 only, or unknown"),
        ("Memory", f"{size(facts.memory)}, {size(facts.memory_free)} free"),
        ("Disk", f"{size(facts.disk_free)} free in {facts.root}"),
    ]
    for folder, files in facts.models.items():
        total = sum(file.size for file in files) / 1e6
        lines.append((f"models/{folder}", f"{len(files)} files, {total:.0f} MB" if files else "empty"))
        lines += [("", f"{file.path.partition('/')[2]} ({file.size / 1e6:.1f} MB)") for file in files]
    return lines


def torch_line(facts: Facts) -> str:
    """Return torch's version and build in words."""
    if facts.torch is None:
        return f"not usable ({facts.torch_error})"
    runtimes = [f"{name} {facts.torch[key]}" for name, key in (("CUDA", "cuda"), ("ROCm", "hip")) if facts.torch[key]]
    runtime = runtimes[0] if runtimes else "no CUDA or ROCm"
    chosen = facts.stamp.get("torch", "unknown")
    plain = ", the plain package" if facts.stamp.get("source") == "plain" else ""
    return f"{facts.torch['version']} ({runtime}; chosen build: {chosen}{plain})"


def devices(facts: Facts) -> list[str]:
    """Return each device torch sees, the CPU last."""
    found = []
    for device in facts.torch["devices"] if facts.torch else []:
        memory = f", {device['memory'] / 1e9:.1f} GB" if "memory" in device else ""
        found.append(f"{device['kind']}: {device['name']}{memory}")
    capability = f", {facts.torch['capability']}" if facts.torch else ""
    return [*found, f"cpu: {facts.cpu}, {facts.cores or '?'} cores{capability}"]


def fast_formats(facts: Facts) -> list[str]:
    """Return the number formats below float32 that are fast here, the devices' first."""
    found = []
    for device in facts.torch["devices"] if facts.torch else []:
        capability = tuple(device.get("capability", ()))
        if device["kind"] == "mps" or (device["kind"] == CUDA_WORD and capability >= (7, 0)):
            found.append(f"float16 ({device['kind']})")
        if device["kind"] == "xpu" or (device["kind"] == CUDA_WORD and capability >= (8, 0)):
            found.append(f"bfloat16 ({device['kind']})")
    return list(dict.fromkeys(found)) + [text for flag, text in FAST_FLAGS.items() if flag in facts.cpu_flags]


def size(gigabytes: float | None) -> str:
    """Return a size in words."""
    return "unknown" if gigabytes is None else f"{gigabytes:.1f} GB"


def report(facts: Facts) -> str:
    """Return the whole report as text."""
    lines = [f"{name:<16}{value}" for name, value in describe(facts)]
    findings = diagnose(facts)
    lines.append("")
    if not findings:
        lines.append("Nothing is wrong.")
    for number, finding in enumerate(findings, 1):
        lines += [f"{number}. {finding.problem}", f"   {finding.remedy}"]
    return "\n".join(map(printable, lines)) + "\n"


def printable(line: str) -> str:
    """Return a line that cannot steer a terminal, whatever files are called: unprintable characters are written out."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; returns 0 if nothing is wrong, 1 if something is, 2 if the report cannot be written."""
    parser = argparse.ArgumentParser(prog="launch.py doctor", description="Say what is wrong here, and the remedy.")
    parser.add_argument("--report", metavar="FILE", type=Path, help="also write the report to FILE")
    options = parser.parse_args(arguments)
    facts = gather(Path(__file__).resolve().parents[1])
    text = report(facts)
    print(text, end="")
    try:
        if options.report is not None:
            write(options.report, text)
    except WebUIError as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if diagnose(facts) else 0


def write(path: Path, text: str) -> None:
    """Write the report to a file; raises StorageError."""
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")  # a file's name may be no Unicode
    except OSError as error:
        why = f"The report could not be written to {path} ({error.strerror})"
        raise StorageError(f"{why}; name a file in a folder you can write.") from error


if __name__ == "__main__":
    sys.exit(main())
