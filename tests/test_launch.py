"""The one door, tried on copies of it with made-up machines, made-up environments and a made-up pip; nothing is installed."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from webui.errors import UserError
from webui.install import environment, machine, packages, pins, preparing, progress
from webui.install.environment import RUN_PINS, TEST_PINS, SetupError
from webui.install.torch_build import BACKENDS, CUDA_BUILDS, TORCH_VERSION, Machine, TorchBuild, choose_torch

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sys.version_info[:2]


def load_launch() -> ModuleType:
    spec = importlib.util.spec_from_file_location("launch", ROOT / "launch.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def linux(**changes: Any) -> Machine:
    return Machine(**{"platform": "linux", "arch": "x86_64", **changes})


def windows(**changes: Any) -> Machine:
    return Machine(**{"platform": "win32", "arch": "amd64", **changes})


MAC = Machine(platform="darwin", arch="arm64", macos=15)


# --- which torch build -----------------------------------------------------------------------------------------------

BUILDS: list[tuple[Machine, str | None, str]] = [
    (linux(), None, "cpu"),
    (linux(arch="aarch64"), None, "cpu"),
    (windows(), None, "cpu"),
    (MAC, None, "mps"),
    (MAC, "cpu", "cpu"),
    (linux(nvidia_driver=(580, 65, 6), nvidia_capability=(8, 6)), None, "cu130"),
    (linux(nvidia_driver=(595, 10), nvidia_capability=(12, 0)), None, "cu130"),  # Blackwell
    (linux(nvidia_driver=(595, 10)), None, "cu130"),  # capability unknown
    (linux(nvidia_driver=(580, 0), nvidia_capability=(6, 1)), None, "cu126"),  # Pascal left CUDA 13
    (linux(nvidia_driver=(550, 54), nvidia_capability=(8, 9)), None, "cu126"),  # driver before CUDA 13
    (linux(nvidia_driver=(525, 60), nvidia_capability=(8, 9)), None, "cu126"),
    (linux(nvidia_driver=(525, 59), nvidia_capability=(8, 9)), None, "cpu"),
    (linux(nvidia_driver=(570, 0), nvidia_capability=(12, 0)), None, "cpu"),  # CUDA 12.6 has no kernels for Blackwell
    (linux(nvidia_driver=(470, 0), nvidia_capability=(3, 7)), None, "cpu"),
    (windows(nvidia_driver=(528, 33), nvidia_capability=(7, 5)), None, "cu126"),
    (windows(nvidia_driver=(528, 32), nvidia_capability=(7, 5)), None, "cpu"),
    (windows(nvidia_driver=(581, 15), nvidia_capability=(12, 0)), None, "cu130"),
    (linux(rocm_target="gfx1100"), None, "rocm7.2"),
    (linux(rocm_target="gfx90c"), None, "cpu"),
    (windows(rocm_target="gfx1100"), None, "cpu"),
    (linux(xpu=True), None, "xpu"),
    (windows(xpu=True), None, "xpu"),
    (linux(nvidia_driver=(580, 0), rocm_target="gfx1100", xpu=True), None, "cu130"),
    (linux(nvidia_driver=(580, 0)), "cpu", "cpu"),
    (linux(nvidia_driver=(580, 0)), "auto", "cu130"),
    (linux(), "cuda", "cu130"),
    (linux(), "rocm", "rocm7.2"),
    (linux(rocm_target="gfx90c"), "rocm", "rocm7.2"),
    (linux(), "xpu", "xpu"),
]


@pytest.mark.parametrize(("machine", "override", "name"), BUILDS)
def test_the_torch_build_fits_the_machine(machine: Machine, override: str | None, name: str) -> None:
    build = choose_torch(machine, override)
    assert build.name == name
    assert build.requirement.startswith(f"torch=={TORCH_VERSION}")
    assert build.reason
    # A build from its own index is asked for by its full name, so that no other index can answer with another build.
    if build.index_url is not None:
        assert build.index_url.endswith(f"/{name}")
        assert build.requirement.endswith(f"+{name}")
    assert build.plain().requirement == f"torch=={TORCH_VERSION}"
    assert build.plain().index_url is None
    assert build.backend in BACKENDS


@pytest.mark.parametrize(
    ("machine", "override", "words"),
    [
        (linux(), "Cuda", "did you mean cuda"),
        (Machine(platform="darwin", arch="x86_64", macos=14), None, "Intel"),
        (Machine(platform="darwin", arch="arm64", macos=13), None, "macOS 14"),
        (linux(musl=True), None, "Alpine"),
        (linux(arch="32-bit"), None, "64-bit"),
        (MAC, "cuda", "macOS"),
        (MAC, "xpu", "Linux and Windows"),
        (windows(), "rocm", "Linux"),
        (linux(), "mps", "Macs only"),
        (linux(nvidia_driver=(470, 0), nvidia_capability=(8, 6)), "cuda", "update it to 525.60"),
        (linux(nvidia_driver=(570, 0), nvidia_capability=(12, 0)), "cuda", "update it to 580"),
        (linux(nvidia_driver=(580, 0), nvidia_capability=(3, 7)), "cuda", "compute capability 3.7"),
    ],
)
def test_a_build_that_does_not_exist_is_explained(machine: Machine, override: str | None, words: str) -> None:
    with pytest.raises(UserError, match=words.replace(".", r"\.")):
        choose_torch(machine, override)


def test_an_old_driver_gets_the_cpu_build_and_the_remedy() -> None:
    build = choose_torch(linux(nvidia_driver=(470, 82), nvidia_capability=(8, 6)))
    assert build.name == "cpu"
    assert "470.82" in build.reason and "525.60" in build.reason


def test_cuda_builds_are_tried_newest_first() -> None:
    assert [build.linux for build in CUDA_BUILDS] == sorted((build.linux for build in CUDA_BUILDS), reverse=True)


def test_nvidia_smi_is_read() -> None:
    assert machine.parse_nvidia("580.65.06, 8.6\n580.65.06, 12.0\n") == ((580, 65, 6), (12, 0))
    assert machine.parse_nvidia("470.82.01\n") == ((470, 82, 1), None)
    assert machine.parse_nvidia("581.15, [N/A]\n") == ((581, 15), None)
    assert machine.parse_nvidia("NVIDIA-SMI has failed\n") is None


def test_amd_and_intel_devices_are_recognised() -> None:
    assert machine.rocm_target(["cpu_cores_count 16\ngfx_target_version 0", "gfx_target_version 90010\n"]) == "gfx90a"
    assert machine.rocm_target(["gfx_target_version 100300"]) == "gfx1030"
    assert machine.rocm_target([]) is None
    assert machine.is_intel_device(0xE20B) and machine.is_intel_device(0x56A0)
    assert not machine.is_intel_device(0x9A49)  # the graphics inside many laptop processors


def test_looking_at_this_machine_works() -> None:
    assert choose_torch(machine.look()).requirement


# --- the environment -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def bare_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of this Python that holds nothing, made once."""
    folder = tmp_path_factory.mktemp("bare") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


@pytest.fixture
def project(tmp_path: Path, bare_venv: Path) -> Path:
    """A copy of what launch.py needs, with an environment of this Python that holds nothing, stamped as finished."""
    root = tmp_path / "project with spaces"
    root.mkdir()
    for name in ("launch.py", RUN_PINS, TEST_PINS):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "webui" / "install", root / "webui" / "install", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("errors.py", "cli.py"):
        shutil.copy(ROOT / "webui" / name, root / "webui" / name)
    (root / "webui" / "__init__.py").write_text('"""A copy."""\n')
    (root / "webui" / "__main__.py").write_text("import sys, os\nprint(sys.argv[1:], sys.prefix)\nsys.exit(7)\n")
    shutil.copytree(bare_venv, root / ".venv", symlinks=True)
    finish(root)
    return root


def site_packages(root: Path) -> Path:
    return next((root / ".venv").glob("lib/python*/site-packages"), root / ".venv" / "Lib" / "site-packages")


def give_pip(root: Path) -> None:
    """Make an environment look as if pip were in it."""
    (site_packages(root) / "pip").mkdir()
    (site_packages(root) / "pip" / "__main__.py").touch()


def finish(root: Path, **changes: str) -> None:
    stamp = {"torch": "cpu", "backend": "cpu", "source": "plain", RUN_PINS: environment.digest(str(root / RUN_PINS)), **changes}
    environment.write_stamp(str(root), stamp)


def launch(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run launch.py from another folder, with an index that does not answer."""
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_CONFIG_FILE": os.devnull}
    # This Python's own interpreter, not the environment's that runs the tests: as a user would start it.
    python = getattr(sys, "_base_executable", sys.executable)
    return subprocess.run(
        [python, str(root / "launch.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=root.parent,
        env={**os.environ, **offline, **variables},
        timeout=120,
    )


def test_a_finished_environment_starts_at_once(project: Path) -> None:
    done = launch(project, "txt2img", "a red ball", "--steps", "20")
    assert done.returncode == 7, done.stderr
    assert done.stdout.strip() == f"{['txt2img', 'a red ball', '--steps', '20']} {project / '.venv'}"
    assert done.stderr == ""


def test_asking_whether_all_is_ready_takes_milliseconds(project: Path) -> None:
    def seconds() -> float:
        began = time.perf_counter()
        assert environment.is_ready(str(project), [RUN_PINS, RUN_PINS])
        return time.perf_counter() - began

    assert min(seconds() for _ in range(10)) < 0.02


@pytest.mark.parametrize("options", [[], ["--share", "--port", "9000"]])
def test_without_a_command_it_starts_the_page(project: Path, options: list[str]) -> None:
    done = launch(project, *options)
    assert done.returncode == 7 and done.stdout.startswith(str(["serve", *options]))
    assert "page" in done.stderr and "--help" in done.stderr and done.stderr.count("\n") == 1


def test_the_doctor_comes_without_anything_being_installed(project: Path) -> None:
    shutil.rmtree(project / ".venv")
    done = launch(project, "doctor", "--report", "a file")
    assert done.returncode == 7 and done.stdout.startswith(str(["doctor", "--report", "a file"]))
    assert not (project / ".venv").exists()


def test_help_and_unknown_commands_install_nothing(project: Path) -> None:
    shutil.rmtree(project / ".venv")
    assert "txt2img" in launch(project, "--help").stdout
    wrong = launch(project, "txt2image", "x")
    assert wrong.returncode == 2 and "txt2img" in wrong.stderr and wrong.stderr.count("\n") == 1
    wrong = launch(project, "--torch", "gpu", "models")
    assert wrong.returncode == 2 and "gpu" in wrong.stderr
    wrong = launch(project, "models", "--torch")
    assert wrong.returncode == 2 and "--torch needs a value" in wrong.stderr


@pytest.mark.slow  # makes an environment with pip, and pip tries its index three times
def test_offline_the_first_start_says_so(project: Path) -> None:
    shutil.rmtree(project / ".venv")
    done = launch(project, "models")
    assert done.returncode == 1
    assert "needs the internet" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_python_without_venv_gets_the_line_that_installs_it(project: Path) -> None:
    shutil.rmtree(project / ".venv")
    hidden = project.parent / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util, sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'ensurepip': raise ModuleNotFoundError(name)\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'ensurepip' else real(name, *rest)\n"
    )
    done = launch(project, "models", PYTHONPATH=str(hidden))
    assert done.returncode == 1
    assert "venv" in done.stderr and done.stderr.count("\n") == 2
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(
    ("release", "line"),
    [
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, "sudo apt install python3.12-venv"),
        ({"ID": "debian"}, "sudo apt install python3.12-venv"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "sudo apt install python3.12-venv"),
        ({"ID": "fedora"}, "sudo dnf install python3.12 python3-pip"),
        ({"ID": "opensuse-tumbleweed", "ID_LIKE": "opensuse suse"}, "sudo zypper install python312 python312-pip"),
        ({"ID": "manjaro", "ID_LIKE": "arch"}, "sudo pacman -S python"),
        ({}, "https://www.python.org/downloads/"),
    ],
)
def test_the_venv_module_of_each_distribution(release: dict[str, str], line: str) -> None:
    assert line in packages.venv_remedy(release, (3, 12))


def test_ready_means_pins_and_build_and_place_fit(project: Path) -> None:
    root = str(project)
    assert environment.venv_problem(root) is None
    assert environment.is_ready(root, [RUN_PINS])
    assert not environment.is_ready(root, [RUN_PINS], "cpu")  # the plain package stands in for it
    finish(project, source="index")
    assert environment.is_ready(root, [RUN_PINS], "cpu")
    assert not environment.is_ready(root, [RUN_PINS], "cuda")
    assert not environment.is_ready(root, [RUN_PINS], "auto")
    assert not environment.is_ready(root, [RUN_PINS, TEST_PINS])
    finish(project, **{TEST_PINS: environment.digest(str(project / TEST_PINS))})
    assert environment.is_ready(root, [RUN_PINS, TEST_PINS])
    with (project / RUN_PINS).open("a") as file:
        file.write("another==1.0\n")
    assert not environment.is_ready(root, [RUN_PINS])
    assert environment.venv_problem(root) is None  # a changed pin needs pip, not a new environment


def test_line_ends_do_not_count_as_a_change(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x==1\ny==2\n")
    (tmp_path / "b").write_bytes(b"x==1\r\ny==2\r\n")
    assert environment.digest(str(tmp_path / "a")) == environment.digest(str(tmp_path / "b"))


def test_an_environment_that_cannot_be_used_is_noticed(project: Path) -> None:
    moved = project.parent / "moved"
    shutil.copytree(project, moved, symlinks=True)
    assert "moved" in str(environment.venv_problem(str(moved)))
    config = project / ".venv" / "pyvenv.cfg"
    text = config.read_text()

    config.write_text(text.replace(f"version = {PYTHON[0]}.{PYTHON[1]}", "version = 3.9"))
    assert "3.9" in str(environment.venv_problem(str(project)))

    config.write_text(text.replace("home = ", "home = /nowhere"))
    assert "is gone" in str(environment.venv_problem(str(project)))

    config.write_text(text)
    (project / ".venv" / environment.STAMP).unlink()
    assert "no pip" in str(environment.venv_problem(str(project)))
    give_pip(project)
    assert environment.venv_problem(str(project)) is None
    other = (3, 13) if PYTHON != (3, 13) else (3, 12)
    assert "never finished" in str(environment.venv_problem(str(project), other))

    shutil.rmtree(project / ".venv")
    assert environment.venv_problem(str(project)) == ""


def test_a_finished_environment_keeps_its_own_python(project: Path) -> None:
    other = (3, 13) if PYTHON != (3, 13) else (3, 12)
    assert environment.venv_problem(str(project), other) is None


@pytest.mark.parametrize("stamp", ["", "{", "[]", "null"])
def test_a_broken_stamp_means_unfinished(project: Path, stamp: str) -> None:
    (project / ".venv" / environment.STAMP).write_text(stamp)
    assert environment.read_stamp(str(project)) == {}
    assert not environment.is_ready(str(project), [RUN_PINS])


def test_an_environment_made_anew_follows_no_link(project: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    shutil.rmtree(project / ".venv")
    (project / ".venv").symlink_to(precious, target_is_directory=True)
    packages.remove(str(project / ".venv"))
    assert not (project / ".venv").exists() and (precious / "file").exists()


# --- installing, with a made-up pip ----------------------------------------------------------------------------------


class Pip:
    """Stands for pip: notes what it is asked, and may fail."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.failing: str | None = None

    def __call__(self, command: Sequence[str], variables: dict[str, str], total: int, say: Any) -> tuple[int, str]:
        self.asked.append(list(command))
        return (0, "") if self.failing is None else (1, self.failing)


@pytest.fixture
def fake_pip(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pip]:
    pip = Pip()
    monkeypatch.setattr(packages, "follow", pip)
    monkeypatch.setattr(packages, "look", linux)
    monkeypatch.setattr(packages, "reachable", lambda build, say: build)
    return pip


def prepare(root: Path, *names: str, torch: str | None = None) -> list[str]:
    said: list[str] = []
    preparing.prepare(str(root), names or (RUN_PINS,), torch, said.append)
    return said


def test_what_is_installed_is_not_installed_again(project: Path, fake_pip: Pip) -> None:
    assert prepare(project) == []
    assert fake_pip.asked == []
    give_pip(project)
    (project / ".venv" / environment.STAMP).unlink()
    assert prepare(project)
    assert any(f"torch=={TORCH_VERSION}+cpu" in command for command in fake_pip.asked)
    assert any("https://download.pytorch.org/whl/cpu" in command for command in fake_pip.asked)
    asked = len(fake_pip.asked)
    assert prepare(project) == []
    assert len(fake_pip.asked) == asked


def test_the_tests_packages_keep_the_torch_build(project: Path, fake_pip: Pip) -> None:
    finish(project, torch="cu130", backend="cuda", source="index")
    prepare(project, RUN_PINS, TEST_PINS)
    assert f"torch=={TORCH_VERSION}+cu130" in fake_pip.asked[-1]
    stamp = environment.read_stamp(str(project))
    assert stamp["torch"] == "cu130" and stamp["source"] == "index"
    assert environment.is_ready(str(project), [RUN_PINS]) and environment.is_ready(str(project), [RUN_PINS, TEST_PINS])


def test_the_plain_package_is_kept_as_such(project: Path, fake_pip: Pip) -> None:
    prepare(project, RUN_PINS, TEST_PINS)  # the fixture's stamp says that torch is the plain package
    assert f"torch=={TORCH_VERSION}" in fake_pip.asked[-1]
    assert environment.read_stamp(str(project))["source"] == "plain"


@pytest.mark.parametrize("wanted", ["cpu", "auto"])
def test_a_build_that_the_plain_package_stands_in_for_is_looked_for_again_when_asked_for(
    wanted: str, project: Path, fake_pip: Pip, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(project, torch=wanted)  # the fixture's stamp says that torch is the plain package; now the index answers
    assert f"torch=={TORCH_VERSION}+cpu" in fake_pip.asked[-1]
    assert environment.read_stamp(str(project))["source"] == "index"
    asked = len(fake_pip.asked)
    assert prepare(project, torch="cpu") == [] and len(fake_pip.asked) == asked
    finish(project)
    monkeypatch.setattr(packages, "reachable", lambda build, say: build.plain())
    prepare(project, torch=wanted)
    assert f"torch=={TORCH_VERSION}" in fake_pip.asked[-1] and environment.read_stamp(str(project))["source"] == "plain"


def test_another_build_is_installed_when_asked_for(project: Path, fake_pip: Pip) -> None:
    said = prepare(project, torch="cuda")
    assert any("cu130" in line for line in said)
    assert environment.read_stamp(str(project))["backend"] == "cuda"
    assert prepare(project) == []


def test_a_failed_installation_is_not_taken_for_finished(project: Path, fake_pip: Pip) -> None:
    (project / ".venv" / environment.STAMP).unlink()
    give_pip(project)
    fake_pip.failing = "ERROR: [Errno 28] No space left on device"
    with pytest.raises(SetupError, match="disk is full"):
        prepare(project)
    assert not environment.is_ready(str(project), [RUN_PINS])
    fake_pip.failing = None
    assert any("interrupted" in line for line in prepare(project))
    assert prepare(project) == []


def test_a_half_written_package_is_forgotten(project: Path) -> None:
    site = site_packages(project)

    def add(name: str, record: str | None) -> Path:
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (site / name).write_text("12345")
        if record is not None:
            (info / "RECORD").write_text(record)
        return info

    whole = add("whole", 'whole,sha256=x,5\n"../../bin/tool",,\nwhole.pyc,,\n')
    short = add("short", "short,sha256=x,6\n")
    missing = add("missing", "missing,sha256=x,5\nother.py,sha256=x,1\n")
    unrecorded = add("unrecorded", None)
    (site / "~orch").mkdir()
    packages.repair(project / ".venv")
    assert whole.exists()
    assert not any(path.exists() for path in (short, missing, unrecorded, site / "~orch"))


def test_two_launches_do_not_install_at_once(tmp_path: Path) -> None:
    order: list[str] = []
    said: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait(5)
        with environment.locked(str(tmp_path), said.append, patience=0.01):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with environment.locked(str(tmp_path), said.append):
        inside.set()
        time.sleep(0.1)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    assert len(said) == 1 and "waiting" in said[0]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks files by other means")
def test_a_disk_without_locks_is_said_and_does_not_wait_for_ever(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refuse(*given: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(environment.time, "sleep", lambda seconds: pytest.fail("it waits"))
    said: list[str] = []
    with environment.locked(str(tmp_path), said.append):
        said.append("inside")
    assert len(said) == 2 and "cannot lock files" in said[0] and said[1] == "inside"
    with pytest.raises(RuntimeError, match="of the work"), environment.locked(str(tmp_path), said.append):
        raise RuntimeError("of the work")


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    code = (
        "import sys, time; from webui.install.environment import locked\n"
        f"with locked({str(tmp_path)!r}, print):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdout is not None and holder.stdout.readline().strip() == "held"
        with (tmp_path / environment.LOCK).open("a+") as file:
            assert not environment.try_lock(file)
        holder.kill()
    with (tmp_path / environment.LOCK).open("a+") as file:
        assert environment.try_lock(file)


def test_an_index_that_does_not_answer_gives_the_plain_package() -> None:
    said: list[str] = []
    build = TorchBuild(name="cpu", index_url="http://127.0.0.1:9/whl/cpu", requirement="torch==1+cpu", reason="")
    assert packages.reachable(build, said.append, seconds=1).index_url is None
    assert "cannot be reached" in said[0] and "plain" in said[0]
    assert packages.reachable(build.plain(), said.append).index_url is None
    assert len(said) == 1


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("NewConnectionError: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution", "internet"),
        ("ReadTimeoutError: Read timed out.", "internet"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("SSLError(SSLCertVerificationError(1, 'CERTIFICATE_VERIFY_FAILED'))", "proxy"),
        ("ERROR: No matching distribution found for numpy==2.4.6", "numpy==2.4.6"),
        ("PermissionError: [Errno 13] Permission denied: 'x'", "could not be written"),
        ("WARNING: x\nsomething unheard of", "something unheard of"),
        ("", "nothing"),
    ],
)
def test_what_went_wrong_is_a_sentence(output: str, words: str) -> None:
    assert words in packages.explain(output)


def test_a_full_disk_is_seen_before_downloading(tmp_path: Path) -> None:
    packages.require_disk(str(tmp_path), 0.0)
    with pytest.raises(SetupError, match="free"):
        packages.require_disk(str(tmp_path), 1e9)


# --- progress --------------------------------------------------------------------------------------------------------


def test_pips_output_becomes_few_lines() -> None:
    state = progress.Progress(total=3)
    assert state.read("Looking in indexes: https://pypi.org/simple") is None
    assert state.read("Collecting numpy==2.4.6 (from -r requirements.txt (line 6))") is None
    line = state.read("  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl (16.9 MB)")
    assert line == "  [1/3] numpy 2.4.6 (16.9 MB)"
    state.read("Progress 4000000 of 16000000")
    state.read("Progress 8000000 of 16000000")
    assert state.doing == "numpy 2.4.6: 50 % of 16.0 MB"
    state.read("Collecting torch==2.13.0")
    assert state.read("  Downloading torch-2.13.0.whl.metadata (30 kB)") is None
    line = state.read("  Using cached torch-2.13.0-cp311-none-any.whl (100 MB)")
    assert line == "  [2/3] torch 2.13.0 (100 MB), kept from before"
    assert state.read("Processing /wheels/pillow-12.3.0-cp311-x.whl (from -r x)") == "  [3/3] pillow 12.3.0, from this machine"
    assert state.read("Collecting nvidia-cublas") is None
    assert "[4/4]" in str(state.read("  Downloading nvidia_cublas-13.1-x.whl (400 MB)"))
    assert "4 packages" in str(state.read("Installing collected packages: a, b, c, d"))


def test_pip_is_followed_to_its_end() -> None:
    code = "print('Collecting a==1'); print('  Downloading a-1-py3-none-any.whl (1 kB)'); print('ERROR: no'); raise SystemExit(3)"
    said: list[str] = []
    result = progress.follow([sys.executable, "-c", code], os.environ, 1, said.append)
    assert result[0] == 3 and "ERROR: no" in result[1]
    assert said == ["  [1/1] a 1 (1 kB)"]


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["models"], (None, ["models"])),
        (["--torch", "cpu", "models"], ("cpu", ["models"])),
        (["txt2img", "x", "--torch=xpu"], ("xpu", ["txt2img", "x"])),
        (["txt2img", "--", "--torch", "cpu"], (None, ["txt2img", "--", "--torch", "cpu"])),
    ],
)
def test_the_torch_option_is_taken_out(arguments: list[str], expected: tuple[str | None, list[str]]) -> None:
    assert environment.take_option(arguments, "--torch") == expected


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
def test_what_the_system_refuses_is_a_sentence(project: Path) -> None:
    (project / RUN_PINS).unlink()
    gone = launch(project, "models")
    assert gone.returncode == 1 and gone.stderr.count("\n") == 1
    assert "No such file" in gone.stderr and RUN_PINS in gone.stderr and "launch.py doctor" in gone.stderr
    shutil.copy(ROOT / RUN_PINS, project / RUN_PINS)
    python = project / ".venv" / "bin" / "python"
    target = python.resolve()
    python.unlink()
    python.write_text("no program")
    finish(project)
    refused = launch(project, "models")
    assert refused.returncode == 1 and "Permission denied" in refused.stderr and "Traceback" not in refused.stderr
    assert target.exists()


@pytest.mark.parametrize("version", [(3, 9, 1), (3, 10, 13), (3, 14, 0), (4, 0, 0)])
def test_another_python_gets_one_sentence(version: tuple[int, int, int]) -> None:
    sentence = load_launch().wrong_python(version)
    assert f"{version[0]}.{version[1]}" in sentence and "3.11, 3.12 or 3.13" in sentence and "\n" not in sentence


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 9), (3, 13, 1)])
def test_supported_pythons_pass(version: tuple[int, int, int]) -> None:
    assert load_launch().wrong_python(version) is None


def test_launch_and_the_environment_support_the_same_pythons() -> None:
    assert load_launch().SUPPORTED == environment.SUPPORTED


def test_variables_of_the_user_do_not_reach_the_packages() -> None:
    given = {"PYTHONHOME": "/x", "PYTHONPATH": "/y", "PIP_USER": "1", "PATH": "/bin", "HTTPS_PROXY": "http://proxy"}
    made = environment.child_environment("/project", given)
    assert made["PYTHONPATH"] == "/project" and "PYTHONHOME" not in made and "PIP_USER" not in made
    assert made["PATH"] == "/bin" and made["HTTPS_PROXY"] == "http://proxy"
    assert "PYTHONDONTWRITEBYTECODE" not in environment.child_environment("/project", {"PYTHONDONTWRITEBYTECODE": "1"})


# --- pins ------------------------------------------------------------------------------------------------------------


def test_every_requirement_is_pinned_once() -> None:
    names = []
    for name in (RUN_PINS, TEST_PINS):
        for platform in pins.PLATFORMS:
            lines = (ROOT / name).read_text().splitlines()
            assert all(pin.count("==") == 1 for pin in pins.pins_for(lines, platform, "3.12"))
        names += [pins.normal(pin.partition("==")[0]) for pin in pins.pins_for(lines, "windows", "3.12")]
    assert len(names) == len(set(names))
    assert f"torch=={TORCH_VERSION}" in (ROOT / RUN_PINS).read_text().splitlines()


def test_nothing_at_run_time_needs_torchvision_or_diffusers() -> None:
    text = (ROOT / RUN_PINS).read_text()
    assert "torchvision" not in text and "diffusers" not in text


def test_pins_follow_their_markers() -> None:
    lines = ["# comment", "", 'colorama==0.4.6; sys_platform == "win32"', "numpy==2.4.6  # why"]
    assert pins.pins_for(lines, "windows", "3.11") == ["colorama==0.4.6", "numpy==2.4.6"]
    assert pins.pins_for(lines, "linux", "3.11") == ["numpy==2.4.6"]


def test_missing_and_contradictory_pins_are_found() -> None:
    def package(name: str, version: str, *needs: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "version": version, "requires_dist": list(needs)}}

    report = [
        package("torch", "2.13.0", "NumPy>=2", 'nvidia-cudnn==9; platform_system == "Linux"', "absent"),
        package("numpy", "1.26"),
        package("click", "8", 'colorama; platform_system == "Windows"', 'pytest; extra == "test"'),
    ]
    expected = ["torch needs NumPy>=2, pinned is 1.26", "torch needs absent, which is not pinned"]
    assert pins.problems(report, "linux", "3.12") == expected
    assert any("colorama" in problem for problem in pins.problems(report, "windows", "3.12"))


def test_the_stamp_is_plain_json(project: Path) -> None:
    stamp = json.loads((project / ".venv" / environment.STAMP).read_text())
    assert stamp["location"] == str(project / ".venv")
    assert not (project / ".venv" / (environment.STAMP + ".new")).exists()
