"""Making `.venv` and putting the pinned packages into it, with progress and with sentences for what can go wrong."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from webui.errors import unknown
from webui.install import environment as env
from webui.install.environment import RUN_PINS, Say, SetupError
from webui.install.machine import look
from webui.install.progress import follow
from webui.install.torch_build import BACKENDS, DOWNLOAD_GB, TorchBuild, choose_torch

NOT_ENOUGH_DISK = 3.5  # gigabytes needed while installing, per gigabyte downloaded
OTHERS_GB = 0.1  # to download, besides torch
KEPT = "What was downloaded is kept; run the same command again to go on."
# What pip's output holds, and what to tell the person then.
FAILURES = (
    (r"No space left on device|Errno 28|not enough space", "The disk is full. Free some space, then run the same command again."),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError",
        "The package index's certificate was not accepted, which usually means a proxy in between. "
        "Give pip the proxy's certificate (`pip config set global.cert FILE`), then run the same command again.",
    ),
    (
        r"name resolution|getaddrinfo failed|nodename nor servname|Network is unreachable|Failed to establish a new connection|"
        r"NewConnectionError|Connection refused|ProxyError|Max retries|[Tt]imed out|ConnectionResetError|IncompleteRead",
        f"The packages could not be downloaded: the package index did not answer. The first start needs the internet. {KEPT}",
    ),
    (
        r"Permission denied|Errno 13|WinError 5",
        "A file in .venv could not be written. Close the program that uses it, then run the same command again.",
    ),
)


def require_known_backend(torch: str | None) -> None:
    """Raise UserError if `--torch` was given something that is no build."""
    if torch is not None and torch not in BACKENDS:
        raise unknown("PyTorch build", torch, BACKENDS)


def choose(root: str, torch: str | None) -> TorchBuild:
    """Return the torch build to install: the one asked for, else the one there is, else what fits the machine.

    The one there is comes before a new look at the machine, so that adding the tests' packages never changes it.
    """
    return choose_torch(look(), torch or env.read_stamp(root).get("backend"))


def require_venv_module() -> None:
    """Raise SetupError with the line that installs what is missing, if Python came without `venv`."""
    if all(importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip")):
        return
    raise SetupError(f"This Python came without its venv module. Install it with:\n    {remedy_here()}")


def remedy_here() -> str:
    """Return the one line that installs the venv module on this machine."""
    return venv_remedy(os_release(), sys.version_info[:2])


def os_release() -> dict[str, str]:
    """Return Linux's description of itself, empty elsewhere."""
    for path in (Path("/etc/os-release"), Path("/usr/lib/os-release")):
        if path.is_file():
            pairs = (line.partition("=") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
            return {key: value.strip("\"' ") for key, _, value in pairs}
    return {}


def venv_remedy(release: Mapping[str, str], python: tuple[int, int]) -> str:
    """Return the one line that installs Python's venv module on a system with this os-release."""
    names = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    dotted, packed = f"{python[0]}.{python[1]}", f"{python[0]}{python[1]}"
    if names & {"debian", "ubuntu"}:
        return f"sudo apt install python{dotted}-venv"
    if names & {"fedora", "rhel", "centos"}:
        return f"sudo dnf install python{dotted} python3-pip"
    if any("suse" in name for name in names):
        return f"sudo zypper install python{packed} python{packed}-pip"
    if "arch" in names:
        return "sudo pacman -S python"
    return f"a complete Python {dotted} from https://www.python.org/downloads/"


def make_venv(root: str, problem: str | None, say: Say) -> None:
    """Make the environment if `problem` (see `venv_problem`) says so, after removing one that cannot be used."""
    if problem is None:
        return
    folder = env.venv_folder(root)
    if os.path.realpath(sys.prefix) == os.path.realpath(folder):
        why = f".venv has to be made anew ({problem}), but runs this program"
        raise SetupError(f"{why}. Start launch.py with your system's Python instead.")
    if problem:
        say(f"Making .venv anew: {problem}.")
    remove(folder)
    command = [sys.executable, "-m", "venv", folder]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=env.child_environment(root, os.environ))
    if done.returncode != 0:
        remove(folder)
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise SetupError(f"Python could not make {folder}: {last}. If it came without ensurepip: {remedy_here()}")


def remove(folder: str) -> None:
    """Delete an environment, following no link out of it."""
    if os.path.islink(folder):
        os.unlink(folder)
    elif os.path.lexists(folder):
        shutil.rmtree(folder)


def install(root: str, pins: Sequence[str], build: TorchBuild, say: Say, *, again: bool = False) -> None:
    """Install what the files `pins` list and stamp the environment; an interrupted run is repaired first.

    With `again` a plain torch that stands in for `build` is kept only if the build's own index still does not answer.
    """
    stamp = env.read_stamp(root)
    folder = env.venv_folder(root)
    before = {name for name in stamp if name.endswith(".txt") and os.path.exists(os.path.join(root, name))}
    files = sorted({RUN_PINS, *pins, *before})
    wanted = pinned(root, files)
    say(f"Installing {len(wanted)} packages into {folder}; this happens once.")
    download = DOWNLOAD_GB.get(build.name, 1.0) + OTHERS_GB
    have_torch = stamp.get("torch") == build.name and not (again and stamp.get("source") == env.PLAIN)
    if not have_torch:
        say(f"PyTorch: the {build.name} build, because {build.reason}.")
        say(f"About {download:.1f} GB to download, unless pip has it already.")
        require_disk(root, download * NOT_ENOUGH_DISK)
    unfinished = Path(folder, env.UNFINISHED)
    if unfinished.exists():
        say("The last installation was interrupted; going on from there.")
        repair(Path(folder))
    unfinished.touch()
    Path(folder, env.STAMP).unlink(missing_ok=True)
    if have_torch and "source" in stamp:
        source = build if stamp["source"] == "index" else build.plain()
    else:
        source = reachable(build, say)
    pip(root, [f"pip=={env.PIP_VERSION}"], say)
    listed = [part for name in files for part in ("-r", os.path.join(root, name))]
    pip(root, [*listed, source.requirement, *index_options(source)], say, len(wanted))
    hashes = {name: env.digest(os.path.join(root, name)) for name in files}
    origin = "index" if source == build else env.PLAIN
    env.write_stamp(root, {"torch": build.name, "backend": build.backend, "source": origin, **hashes})
    unfinished.unlink()
    say("Installed.")


def pinned(root: str, files: Sequence[str]) -> list[str]:
    """Return the pins in requirement files that apply to this platform."""
    found = []
    for name in files:
        for line in Path(root, name).read_text(encoding="utf-8").splitlines():
            pin, _, marker = line.partition("#")[0].partition(";")
            if pin.strip() and ("win32" not in marker or sys.platform == "win32"):
                found.append(pin.strip())
    return found


def index_options(build: TorchBuild) -> list[str]:
    """Return pip's options for a build's own index, besides the ordinary one."""
    return [] if build.index_url is None else ["--extra-index-url", build.index_url]


def require_disk(root: str, gigabytes: float) -> None:
    """Raise SetupError if the disk has not enough room to install."""
    free = shutil.disk_usage(root).free / 1e9
    if free < gigabytes:
        have = f"the disk of {root} has {free:.1f} GB free"
        raise SetupError(f"Installing needs about {gigabytes:.1f} GB, but {have}. Free some space first.")


def reachable(build: TorchBuild, say: Say, seconds: float = env.INDEX_SECONDS) -> TorchBuild:
    """Return `build`, or the plain package of the same version if its own index does not answer in time."""
    if build.index_url is None:
        return build
    try:
        with urllib.request.urlopen(build.index_url + "/torch/", timeout=seconds):
            return build
    except urllib.error.HTTPError as error:
        why = f"answered {error.code}"
    except (OSError, ValueError):
        why = "cannot be reached"
    say(f"{build.index_url} {why}; taking the plain torch package instead, which may be larger than needed or lack your device.")
    return build.plain()


def repair(folder: Path) -> None:
    """Forget packages that an interrupted installation left half written, so that pip installs them again."""
    for site in [*folder.glob("lib/python*/site-packages"), *folder.glob("Lib/site-packages")]:
        for record in site.glob("*.dist-info"):
            if not is_whole(site, record):
                shutil.rmtree(record)
        for leftover in site.glob("~*"):
            shutil.rmtree(leftover, ignore_errors=True)


def is_whole(site: Path, info: Path) -> bool:
    """Tell whether every file that a package's RECORD lists is there with its size."""
    try:
        lines = (info / "RECORD").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    for line in lines:
        name, _, size = (line.rsplit(",", 2) + ["", ""])[:3]
        path = name.strip('"')
        file = site / path
        if path.endswith(".pyc") or path.startswith(".."):
            continue
        if not file.is_file() or (size.isdigit() and file.stat().st_size != int(size)):
            return False
    return bool(lines)


def pip(root: str, arguments: Sequence[str], say: Say, total: int = 0) -> None:
    """Run `pip install`; `total` packages are counted in the progress shown (0: stay silent). Raises SetupError."""
    python = env.venv_python(root)
    options = ["--disable-pip-version-check", "--no-input", "--only-binary=:all:", "--no-warn-script-location"]
    options += ["--no-compile"]  # most modules are never imported; Python compiles the others when they are
    options += ["--progress-bar", "raw"] if total else ["--quiet", "--retries", "2"]
    variables = env.child_environment(root, os.environ) | {"PYTHONUNBUFFERED": "1"}
    code, output = follow([python, "-m", "pip", "install", *options, *arguments], variables, total, say)
    if code != 0:
        raise SetupError(explain(output))


def explain(output: str) -> str:
    """Return a sentence for pip's failure."""
    for pattern, sentence in FAILURES:
        if re.search(pattern, output):
            return sentence
    missing = re.search(r"No matching distribution found for (\S+)", output)
    if missing is not None:
        python = f"Python {sys.version_info[0]}.{sys.version_info[1]} on {sys.platform}"
        return f"The package index has no {missing[1]} for {python}. Use Python 3.11, 3.12 or 3.13 from https://www.python.org."
    lines = [line for line in output.strip().splitlines() if line.strip() and not line.startswith("WARNING")]
    return "pip could not install the packages; it said:\n    " + "\n    ".join(lines[-6:] or ["nothing"])
