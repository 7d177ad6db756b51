"""What a command says: results on stdout for whoever calls it, everything else on stderr for whoever watches."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import NoReturn

from webui.errors import UserError, unknown

BAR = 30  # characters
MINUTE, HOUR = 60, 3600
STOPPED = 130  # the exit code of a program that was ended by Ctrl+C


class Parser(argparse.ArgumentParser):
    """argparse, but for errors: they are `UserError`s of one sentence, and misspelled options are shown the right ones."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"launch.py {command}", description=description, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip

    def read(self, arguments: list[str]) -> argparse.Namespace:
        """The options; `UserError` where there are others."""
        options, rest = self.parse_known_args(arguments)
        if not rest:
            return options
        given = rest[0].partition("=")[0]
        if given.startswith("-"):
            raise unknown("option", given, sorted(key for key in self._option_string_actions if key.startswith("--")))
        raise UserError(f"{given!r} was not expected here; put texts with spaces in quotes, or see: {self.prog} --help")

    def error(self, message: str) -> NoReturn:
        """Raise a `UserError` instead of printing the usage and leaving."""
        raise UserError(f"{message[:1].upper()}{message[1:]}; see: {self.prog} --help")


def say(text: str) -> None:
    """Tell whoever watches."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def show(text: str) -> None:
    """Give a result to whoever called."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def end_at_once() -> NoReturn:
    """Leave without waiting for any thread, as Python's own end would; the database is whole at every moment."""
    say("Ended.")
    os._exit(STOPPED)


class Bar:
    """A line on a terminal that shows how far a job is; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._shown = False

    def show(self, text: str) -> None:
        """Put `text` in place of what the line was."""
        if self._on:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write("\r" + text[:width].ljust(width))
            sys.stderr.flush()
            self._shown = True

    def clear(self) -> None:
        """Take the line away, so that other text can be printed."""
        if self._shown:
            sys.stderr.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            sys.stderr.flush()
            self._shown = False


def progress_line(done: int, total: int, seconds_left: float | None) -> str:
    """Such as `[##########..........] 10/20 steps, 3 s left`."""
    filled = BAR * min(done, total) // max(total, 1)
    left = "" if seconds_left is None else f", {duration(seconds_left)} left"
    return f"[{'#' * filled}{'.' * (BAR - filled)}] {done}/{total} steps{left}"


def duration(seconds: float) -> str:
    """A time as people say it: 9 s, 4 min 5 s, 2 h 3 min."""
    whole = max(round(seconds), 0)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
