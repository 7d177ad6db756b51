"""pip's output as a few lines a person can read: which package of how many, how large, how far. Works without a terminal."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from webui.install.environment import Say

REDRAW_SECONDS = 0.2  # on a terminal, where the last line is written over
REPEAT_SECONDS = 10.0  # elsewhere, so that a log shows life without growing
LONGEST_TAIL = 400  # lines of pip's output kept to explain a failure
LINE_WIDTH = 78


@dataclass(kw_only=True)
class Progress:
    """What pip is doing now."""

    total: int
    count: int = 0
    doing: str = "resolving"

    def counted(self) -> str:
        """Return "  [3/42]"; packages that torch brings by itself raise the total."""
        return f"  [{self.count}/{max(self.total, self.count)}]"

    def read(self, line: str) -> str | None:
        """Take in one line of pip's output; return a line to print if a new thing begins."""
        if line.startswith("Collecting "):
            self.count += 1
            self.doing = name_of(line.split()[1])
            return None
        if match := re.match(r"Processing (\S+)", line):
            self.count += 1
            self.doing = name_of(match[1].replace("\\", "/"))
            return f"{self.counted()} {self.doing}, from this machine"
        if match := re.match(r"\s+(Downloading|Using cached) (\S+)(?: \((.+)\))?", line):
            if match[2].endswith(".metadata"):
                return None
            size = f" ({match[3]})" if match[3] else ""
            cached = ", kept from before" if match[1] != "Downloading" else ""
            self.doing = name_of(match[2])
            return f"{self.counted()} {self.doing}{size}{cached}"
        if match := re.match(r"Progress (\d+) of (\d+)", line):
            done, whole = int(match[1]), int(match[2])
            name = self.doing.partition(":")[0]
            self.doing = f"{name}: {100 * done // max(whole, 1)} % of {whole / 1e6:.1f} MB"
            return None
        if line.startswith("Installing collected packages:"):
            number = line.count(",") + 1
            self.doing = f"writing {number} packages"
            return f"  {self.doing} ..."
        return None


def name_of(text: str) -> str:
    """Return "numpy 2.4.6" for a wheel's file name or a pin."""
    file = text.rsplit("/", 1)[-1]
    parts = file.split("-")
    return f"{parts[0]} {parts[1]}" if file.endswith(".whl") and len(parts) > 1 else re.split(r"[=<>!~\[;]", file)[0]


def follow(command: Sequence[str], variables: Mapping[str, str], total: int, say: Say) -> tuple[int, str]:
    """Run pip and show how far it is; returns its exit code and the end of its output. `total` 0 shows nothing."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=dict(variables), bufsize=1
    ) as process:
        try:
            assert process.stdout is not None
            tail = show(process.stdout, Progress(total=total), say)
        except BaseException:  # Ctrl-C above all: leave no pip behind that goes on writing
            process.terminate()
            raise
        return process.wait(), "\n".join(tail)


def show(stream: IO[str], progress: Progress, say: Say) -> list[str]:
    """Print pip's progress as its lines come; returns the last lines."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in stream:
            lines.put(line.rstrip("\n"))
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    terminal = sys.stdout.isatty()
    every = REDRAW_SECONDS if terminal else REPEAT_SECONDS
    tail: list[str] = []
    began = shown = time.monotonic()
    while True:
        try:
            line = lines.get(timeout=every)
        except queue.Empty:
            line = ""
        if line is None:
            redraw("", terminal)
            return tail
        if line and not line.startswith("Progress "):
            tail = [*tail, line][-LONGEST_TAIL:]
        if (message := progress.read(line)) is not None and progress.total:
            redraw("", terminal)
            say(message)
            shown = time.monotonic()
        elif progress.total and time.monotonic() - shown >= every:
            shown = time.monotonic()
            redraw(f"      {progress.doing} ({shown - began:.0f} s)", terminal, say)


def redraw(text: str, terminal: bool, say: Say | None = None) -> None:
    """Write over the terminal's last line; without a terminal, print a line of its own."""
    if terminal:
        sys.stdout.write("\r" + text[:LINE_WIDTH].ljust(LINE_WIDTH) + "\r")
        sys.stdout.flush()
    elif say is not None:
        say(text)
