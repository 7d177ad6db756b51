"""The commands: which there are, and what their errors mean to a shell. Nothing heavy is imported to get here."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from webui.errors import UserError, WebUIError, one_line, unknown

ROOT = Path(__file__).resolve().parents[1]
OWN = {  # commands of webui/commands, and what they do
    "serve": "serve the page in the browser; what launch.py does without a command",
    "txt2img": "make pictures from a description",
    "img2img": "make pictures from pictures",
    "inpaint": "make a part of a picture anew, or add to its sides",
    "depth": "make pictures that follow the depth of another one",
    "extras": "make pictures larger",
    "plot": "make a grid of pictures over some parameters",
    "replay": "make pictures again from their own files, and say whether they are the same",
    "models": "list the models found, say what one is, or whether it is whole",
    "extensions": "list, install, update, remove, make and test extensions",
    "parameters": "print what can be set (for docs/parameters.md)",
}
OTHERS = {  # commands whose module is elsewhere: main(arguments)
    "train": ("webui.training.command", "train or evaluate the built-in model"),
    "doctor": ("webui.doctor", "say what is wrong with this installation, and how to mend it"),
}
DONE, FAILED, WRONG, STOPPED = 0, 1, 2, 130


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Carry out one command line. Returns 0: done, 1: it failed, 2: the command was wrong, 130: stopped by Ctrl+C."""
    try:
        return dispatch(list(arguments), root)
    except WebUIError as error:
        lines = str(error).split("\n")
        sys.stderr.write("".join(f"{one_line(line)}\n" for line in lines))
        return WRONG if isinstance(error, UserError) else FAILED
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        return STOPPED
    except BrokenPipeError:  # whoever read our output has gone
        be_silent()
        return FAILED
    except OSError as error:  # a full disk behind our output, a folder nobody may enter: nothing that a traceback would explain
        where = f" ({error.filename})" if error.filename else ""
        sys.stderr.write(f"That failed: {error.strerror or error}{where}. To see what may be wrong: python3 launch.py doctor\n")
        be_silent()
        return FAILED


def be_silent() -> None:
    """Let go of what could not be printed, so that Python does not complain about it at its end."""
    with contextlib.suppress(OSError, ValueError):  # where there is no such file descriptor
        output = sys.stdout.fileno()
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)


def dispatch(arguments: list[str], root: Path) -> int:
    """Import the command and run it."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return DONE if arguments else WRONG
    command, *rest = arguments
    if command in OWN:
        return int(importlib.import_module(f"webui.commands.{command}").main(rest, root))
    if command in OTHERS:
        return int(importlib.import_module(OTHERS[command][0]).main(rest))
    raise unknown("command", command, [*OWN, *OTHERS])


def usage() -> str:
    """The help text."""
    texts = OWN | {name: text for name, (_, text) in OTHERS.items()}
    lines = [f"  {name:<11} {text}" for name, text in texts.items()]
    return "\n".join(["Usage: launch.py COMMAND ...", "", "Commands:", *lines, "", "launch.py COMMAND --help explains one.", ""])
