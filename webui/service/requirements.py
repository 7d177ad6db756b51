"""The packages that an extension requires, found before anything is installed: the program's own stay as they are.

pip finds out which versions go together, of wheels only (no setup script is ever run), with the program's pinned packages and
those of other extensions given as constraints. What is missing then goes into a folder of the extension's own, by its hashes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from webui.errors import UserError, quoted

PINS = Path(__file__).resolve().parents[2] / "requirements.txt"
SECONDS = 600.0  # for all that pip does at once
WHEELS_ONLY = ("--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--progress-bar=off")
NOT_FOR_PIP = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_NO_BINARY", "PIP_REQUIREMENT", "PIP_CONSTRAINT")
OFFLINE = re.compile(r"NewConnectionError|name resolution|getaddrinfo|Network is unreachable|refused|ProxyError|[Tt]imed out")
Pip = Callable[[Sequence[str]], tuple[int, str]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be fetched for an extension: versions by name, and the lines for pip that say so with their hashes."""

    packages: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


NOTHING = Plan()


@cache
def core_pins(path: Path = PINS) -> Mapping[str, str]:
    """The program's own packages: the version of each by its name."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if text := line.partition("#")[0].strip():
            pin = Requirement(text)
            if pin.marker is None or pin.marker.evaluate():
                found[canonicalize_name(pin.name)] = next(iter(pin.specifier)).version
    return found


def resolve(
    extension: str, wanted: Sequence[str], others: Mapping[str, Mapping[str, str]], *, options: Sequence[str] = (),
    pip: Pip | None = None, core: Mapping[str, str] | None = None,
) -> Plan:  # fmt: skip
    """What has to be fetched so that an extension has what it requires; `UserError` names what stands against it.

    `others` are the packages that other extensions brought, by extension and name. `options` are pip's, such as where to look.
    """
    pins = core_pins() if core is None else core
    asked = [each for each in (_read(extension, text) for text in wanted) if _is_meant(extension, each)]
    for requirement in asked:
        _check_core(extension, requirement, pins)
        for other, packages in others.items():
            have = packages.get(canonicalize_name(requirement.name))
            if have is not None and not requirement.specifier.contains(have, prereleases=True):
                raise UserError(
                    f"The extension {extension} requires {requirement}, but {other} uses {requirement.name} {have}. Remove one "
                    "of the two extensions, or ask their authors."
                )
    if all(canonicalize_name(each.name) in pins and not each.extras for each in asked):
        return NOTHING
    held = {name: version for packages in others.values() for name, version in packages.items()}
    with tempfile.TemporaryDirectory() as folder:
        report, limits, asks = (Path(folder, name) for name in ("report.json", "limits.txt", "asked.txt"))
        limits.write_text("".join(f"{name}=={version}\n" for name, version in sorted({**held, **pins}.items())), "utf-8")
        asks.write_text("".join(f"{each}\n" for each in asked), "utf-8")
        found = ["install", "--dry-run", "--report", str(report), "--constraint", str(limits), "--requirement", str(asks)]
        code, said = (pip or run_pip)([*found, *WHEELS_ONLY, *options])
        if code != 0:
            raise UserError(explained(extension, said, pins, others))
        return _plan(extension, json.loads(report.read_text("utf-8"))["install"], pins)


def fetch(extension: str, plan: Plan, folder: Path, *, options: Sequence[str] = (), pip: Pip | None = None) -> None:
    """Put what was planned into a folder of the extension's own; `UserError` where that fails."""
    if not plan.lines:
        return
    with tempfile.TemporaryDirectory() as beside:
        listed = Path(beside, "planned.txt")
        listed.write_text("".join(f"{line}\n" for line in plan.lines), "utf-8")
        asked = ["install", "--no-deps", "--no-compile", "--require-hashes", "--target", str(folder)]
        code, said = (pip or run_pip)([*asked, "--requirement", str(listed), *WHEELS_ONLY, *options])
    if code != 0:
        raise UserError(explained(extension, said, {}, {}))


def run_pip(arguments: Sequence[str]) -> tuple[int, str]:
    """Run this environment's pip: its exit code, and what it said."""
    variables = {name: value for name, value in os.environ.items() if name not in NOT_FOR_PIP} | {"PYTHONUTF8": "1"}
    command = [sys.executable, "-m", "pip", *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=SECONDS, env=variables
        )
    except subprocess.TimeoutExpired:
        return 1, f"pip timed out after {SECONDS:.0f} seconds"
    return done.returncode, f"{done.stdout}\n{done.stderr}"


def explained(extension: str, said: str, pins: Mapping[str, str], others: Mapping[str, Mapping[str, str]]) -> str:
    """A sentence for what pip says when it fails."""
    begin = f"The extension {extension} cannot have what it requires"
    lines = [line.strip() for line in said.splitlines()]
    if any("conflict is caused by" in line for line in lines):
        start = next(at for at, line in enumerate(lines) if "conflict is caused by" in line) + 1
        causes = [_cause(line, pins, others) for line in _paragraph(lines[start:])]
        return f"{begin}, because {'; '.join(causes)}. What others need stays as it is; ask the extension's author."
    missing = re.search(r"No matching distribution found for ([^\n]+)", said)
    if OFFLINE.search(said):
        return f"{begin}: the package index did not answer. Check the connection, then try again."
    if missing is not None:
        python = f"Python {sys.version_info[0]}.{sys.version_info[1]} on {sys.platform}"
        wheel = f"there is no wheel of {missing[1].strip()} for {python}"
        return f"{begin}: {wheel}, and nothing else is installed, for only wheels run no script."
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return f"{begin}; pip said: {' '.join(errors[:3] or lines[-3:]).strip() or 'nothing'}"


def _read(extension: str, text: str) -> Requirement:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise UserError(
            f"The extension {extension} requires {quoted(text)}, which is no package with its versions, such as 'tifffile>=2024'."
        ) from error
    if requirement.url is not None:
        raise UserError(
            f"The extension {extension} requires {requirement.name} from an address of its own; packages come from the package "
            "index only, by name and version."
        )
    return requirement


def _is_meant(extension: str, requirement: Requirement) -> bool:
    """Whether a requirement is one of this machine and Python."""
    try:
        return requirement.marker is None or requirement.marker.evaluate()
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise UserError(
            f"The extension {extension} requires {quoted(str(requirement))}, whose condition means nothing: {error}."
        ) from error


def _check_core(extension: str, requirement: Requirement, pins: Mapping[str, str]) -> None:
    have = pins.get(canonicalize_name(requirement.name))
    if have is not None and not requirement.specifier.contains(have, prereleases=True):
        raise UserError(
            f"The extension {extension} requires {requirement}, but this program is tested with {requirement.name} {have}, "
            "which stays as it is. Ask the extension's author for a version that works with it."
        )


def _plan(extension: str, reported: Sequence[Mapping[str, Any]], pins: Mapping[str, str]) -> Plan:
    """What pip reports that it would install."""
    packages, lines = {}, []
    for item in reported:
        name, version = canonicalize_name(item["metadata"]["name"]), item["metadata"]["version"]
        digest = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if name in pins:
            raise UserError(f"The extension {extension} would install {name} {version}, which is the program's own; it may not.")
        if digest is None:
            raise UserError(f"The extension {extension} requires {name} {version}, whose SHA-256 nobody says; it is not fetched.")
        packages[name] = version
        lines.append(f"{name}=={version} --hash=sha256:{digest}")
    return Plan(packages=dict(sorted(packages.items())), lines=tuple(sorted(lines)))


def _paragraph(lines: Sequence[str]) -> list[str]:
    """The lines up to the first empty one."""
    return list(lines[: lines.index("")] if "" in lines else lines)


def _cause(line: str, pins: Mapping[str, str], others: Mapping[str, Mapping[str, str]]) -> str:
    """One of pip's reasons, in our words."""
    limit = re.fullmatch(r"The user requested \(constraint\) (\S+)==(\S+)", line)
    if limit is None:
        return line.replace("The user requested", "it requires")
    name = canonicalize_name(limit[1])
    owner = next((other for other, packages in others.items() if name in packages and name not in pins), "this program")
    return f"{owner} has {limit[1]} {limit[2]}"
