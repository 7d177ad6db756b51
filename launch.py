"""The one door: prepares .venv beside this file, then runs the command line in it. Needs only Python 3.11, 3.12 or 3.13.

    python3 launch.py
    python3 launch.py txt2img "a red ball on a wooden table"
    python3 launch.py --help
"""

import os
import shutil
import subprocess
import sys

# Parsed by older Pythons too, so nothing newer than Python 3.6 may stand in this file before main() is called.
SUPPORTED = ((3, 11), (3, 12), (3, 13))
ROOT = os.path.dirname(os.path.abspath(__file__))
OWN = {  # besides the commands of webui/cli.py
    "test": "run the tests (--slow adds the full-size ones, --coverage shows what they reach)",
    "check-pins": "check that the pinned packages exist for Windows, macOS and Linux (for developers)",
}
PAGE = "serve"  # what is meant where no command is named
OTHERS_TOO = "Starting the page in the browser; for other commands see: python3 launch.py --help"
COVERED = ["--cov=webui/nets", "--cov=webui/pipeline", "--cov=webui/engine"]
WORKERS = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]  # two files of tests at a time; -n 0 for one after another
COVERAGE = [*COVERED, "--cov-report=term-missing:skip-covered", "--cov-fail-under=90"]


def wrong_python(version):  # type: (tuple) -> str | None
    """Return what to say if this Python is not one the packages exist for; None if it is."""
    if version[:2] in SUPPORTED:
        return None
    names = ["python{}.{}".format(*pair) for pair in SUPPORTED]
    found = next((name for name in reversed(names) if shutil.which(name)), None)
    remedy = "run: {} launch.py".format(found) if found else "install one from https://www.python.org/downloads/"
    return "This needs Python 3.11, 3.12 or 3.13, and was started with Python {}.{}; {}".format(version[0], version[1], remedy)


def commands():  # type: () -> dict
    """Return every command with what it does."""
    from webui import cli

    return {**cli.OWN, **{name: text for name, (_, text) in cli.OTHERS.items()}, **OWN}


def usage():  # type: () -> str
    """Return the help text."""
    lines = ["  {:<11} {}".format(name, text) for name, text in commands().items()]
    return "\n".join(
        ["Usage: python3 launch.py [--torch auto|cuda|rocm|xpu|mps|cpu] [COMMAND] ...", "", "Commands:", *lines]
        + ["", "python3 launch.py COMMAND --help explains a command. --torch changes the build of PyTorch that is installed."]
    )


def say(text):  # type: (str) -> None
    """Print progress where it cannot mix with a command's own output."""
    print(text, file=sys.stderr, flush=True)


def run(arguments, folder=None):  # type: (list, str | None) -> int
    """Become the environment's Python; on Windows, which cannot replace a process, wait for it and pass on its exit code."""
    from webui.install.environment import child_environment, venv_python

    python = venv_python(ROOT) if os.path.exists(venv_python(ROOT)) else sys.executable
    variables = child_environment(ROOT, os.environ)
    if folder is not None:
        os.chdir(folder)
    if os.name == "posix":
        sys.stdout.flush()
        os.execve(python, [python, *arguments], variables)
    process = subprocess.Popen([python, *arguments], env=variables)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the child got it too, and decides
            continue


def dispatch(arguments):  # type: (list) -> int
    """Carry out one command line."""
    from webui.errors import unknown
    from webui.install.environment import RUN_PINS, TEST_PINS, is_ready, take_option

    torch, rest = take_option(arguments, "--torch")
    if rest and rest[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if not rest or rest[0].startswith("-"):  # options of the page, such as --share
        say(OTHERS_TOO)
        rest = [PAGE, *rest]
    if rest[0] not in commands():
        raise unknown("command", rest[0], commands())
    if rest[0] == "doctor" and torch is None:  # must work when nothing else does, so it prepares nothing
        return run(["-m", "webui", *rest])
    pins = (RUN_PINS, TEST_PINS) if rest[0] == "test" else (RUN_PINS,)
    if not is_ready(ROOT, pins, torch):
        from webui.install.preparing import prepare

        prepare(ROOT, pins, torch, say)
    if rest[0] == "test":
        options = COVERAGE if "--coverage" in rest else []
        return run(["-m", "pytest", *WORKERS, *options, *[word for word in rest[1:] if word != "--coverage"]], ROOT)
    if rest[0] == "check-pins":
        return run(["-m", "webui.install.pins", *rest[1:]])
    return run(["-m", "webui", *rest])


def main(arguments):  # type: (list) -> int
    """Return the exit code: 0 done, 1 failed, 2 the command was wrong."""
    sys.path.insert(0, ROOT)
    from webui.errors import UserError, WebUIError

    try:
        return dispatch(arguments)
    except WebUIError as error:
        say(str(error))
        return 2 if isinstance(error, UserError) else 1
    except OSError as error:  # a full disk, a file of somebody else's, a broken .venv: nothing that a traceback would explain
        where = " ({})".format(error.filename) if error.filename else ""
        say("That failed: {}{}. To see what may be wrong: python3 launch.py doctor".format(error.strerror or error, where))
        return 1
    except KeyboardInterrupt:
        say("\nStopped. Run the same command again to go on.")
        return 130


if __name__ == "__main__":
    WRONG = wrong_python(sys.version_info)
    if WRONG is not None:
        sys.exit(WRONG)
    sys.exit(main(sys.argv[1:]))
