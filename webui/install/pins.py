"""Check that every pin has a wheel for each platform and Python, and that the pins are complete there.

`python3 launch.py check-pins [--platform windows] [--python 3.12]` asks pip for each target without installing anything.
It needs the network and downloads some hundred megabytes per target, so it is no part of the tests.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from webui.install.environment import RUN_PINS, SUPPORTED, TEST_PINS

PYTHONS = tuple(f"{major}.{minor}" for major, minor in SUPPORTED)
# What pip calls each platform (newest first, as pip tries them), and what a marker sees there.
PLATFORMS: Mapping[str, Sequence[str]] = {
    "windows": ("win_amd64",),
    "macos": ("macosx_14_0_arm64", "macosx_13_0_arm64", "macosx_12_0_arm64", "macosx_11_0_arm64", "macosx_11_0_universal2",
              "macosx_10_13_universal2", "macosx_10_9_universal2"),
    "linux": ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64",
              "manylinux_2_12_x86_64", "manylinux2010_x86_64", "manylinux_2_5_x86_64", "manylinux1_x86_64"),
}  # fmt: skip
MARKERS: Mapping[str, Mapping[str, str]] = {
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
}
# torch pins these itself, differently for each build, and launch.py chooses the build.
BROUGHT_BY_TORCH = re.compile(r"nvidia-|cuda-|triton|pytorch-triton|intel-")


def normal(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def target_environment(platform: str, python: str) -> dict[str, str]:
    """Return what a requirement's marker sees on a target."""
    return {**MARKERS[platform], "python_version": python, "python_full_version": f"{python}.0", "extra": ""} | {
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def pins_for(lines: Iterable[str], platform: str, python: str) -> list[str]:
    """Return the pins among a requirement file's lines that apply to a target, without their markers."""
    from packaging.requirements import Requirement

    found = []
    for line in lines:
        text = line.partition("#")[0].strip()
        if not text:
            continue
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(target_environment(platform, python)):
            found.append(f"{requirement.name}{requirement.specifier}")
    return found


def problems(reported: Sequence[Mapping[str, Any]], platform: str, python: str) -> list[str]:
    """Return what is missing or contradictory among the packages that pip's report lists for a target."""
    from packaging.requirements import Requirement

    versions = {normal(item["metadata"]["name"]): item["metadata"]["version"] for item in reported}
    found = []
    for item in reported:
        name = item["metadata"]["name"]
        for text in item["metadata"].get("requires_dist", []):
            need = Requirement(text)
            if need.marker is not None and not need.marker.evaluate(target_environment(platform, python)):
                continue
            if BROUGHT_BY_TORCH.match(normal(need.name)) and normal(name) == "torch":
                continue
            version = versions.get(normal(need.name))
            if version is None:
                found.append(f"{name} needs {need.name}{need.specifier}, which is not pinned")
            elif not need.specifier.contains(version, prereleases=True):
                found.append(f"{name} needs {need.name}{need.specifier}, pinned is {version}")
    return found


def check(root: Path, platform: str, python: str) -> list[str]:
    """Ask pip for every pin on one target; returns the problems found."""
    lines = [line for name in (RUN_PINS, TEST_PINS) for line in (root / name).read_text(encoding="utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        pins, report = Path(folder, "pins.txt"), Path(folder, "report.json")
        pins.write_text("\n".join(pins_for(lines, platform, python)), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--only-binary=:all:"]
        command += ["--quiet", "--disable-pip-version-check", "--no-input", "--target", folder]
        command += ["--report", str(report), "-r", str(pins)]
        command += ["--implementation", "cp", "--python-version", python]
        for tag in PLATFORMS[platform]:
            command += ["--platform", tag]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            return errors or done.stderr.strip().splitlines()[-3:]
        return problems(json.loads(report.read_text(encoding="utf-8"))["install"], platform, python)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per target; returns 1 if any pin is missing somewhere."""
    parser = argparse.ArgumentParser(prog="launch.py check-pins", description="Check that the pins exist and fit everywhere.")
    parser.add_argument("--platform", choices=[*PLATFORMS], action="append", help="only this platform (default: all)")
    parser.add_argument("--python", choices=PYTHONS, action="append", help="only this Python (default: all)")
    options = parser.parse_args(arguments)
    root = Path(__file__).resolve().parents[2]
    failed = False
    for platform in options.platform or PLATFORMS:
        for python in options.python or PYTHONS:
            found = check(root, platform, python)
            failed = failed or bool(found)
            print(f"{platform:<8} Python {python:<5} {'ok' if not found else f'{len(found)} problems'}", flush=True)
            for problem in found:
                print(f"    {problem}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
