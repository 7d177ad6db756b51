"""Every error the product raises on purpose: one hierarchy, whose messages are sentences for the person who sees them.

A message says what was given, what was expected and what to do. Anything that is not a `WebUIError` is a fault of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_QUOTE = 80  # characters of the user's own text repeated in a message
LONGEST_LIST = 20  # known names listed in a message


class WebUIError(Exception):
    """Base of all errors with a message for the user, which can be sent and kept whatever a file in it is called."""

    def __init__(self, message: str = "") -> None:
        super().__init__(sendable(message))


class UserError(WebUIError):
    """The request or command cannot be carried out as given (exit code 2)."""


class NotFound(UserError):
    """There is no such thing, or it is somebody else's (HTTP 404)."""


class NotAllowed(UserError):
    """Only an owner may do that (HTTP 403)."""


class TooMany(UserError):
    """More than one person may ask for at once (HTTP 429)."""


class UnknownName(UserError):
    """A name that nothing is registered under; `near` holds the known names most like it."""

    def __init__(self, message: str, near: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.near = near


class ModelFileError(UserError):
    """A weight file is missing, broken, or not of a kind that can be used."""


class StorageError(WebUIError):
    """A result could not be written: disk full, folder gone, no permission."""


class JobError(WebUIError):
    """A job failed while it ran; other jobs are not affected."""


class OutOfMemory(JobError):
    """The device's memory does not suffice even for the smallest call."""


class NotANumber(JobError):
    """A network returned values that are not finite."""


class Stopped(JobError):
    """The job was stopped by a person before it had a result."""


class ExtensionError(WebUIError):
    """An extension could not be loaded, or one of its hooks raised."""


def sendable(text: str) -> str:
    """The text with what is no Unicode, such as parts of a file's name in another encoding, written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def quoted(text: str, longest: int = LONGEST_QUOTE) -> str:
    """Return `text` in quotes on one line, shortened to `longest` characters, fit for a message."""
    shown = text if len(text) <= longest else text[: longest - 1] + "…"
    return repr(shown)


def unknown(kind: str, given: str, known: Iterable[str]) -> UnknownName:
    """Return the error for a name that is not among `known`; names like the one given come first and are kept in `.near`.

    >>> raise unknown("sampler", "Eular", ["Euler", "Heun"])
    UnknownName: Unknown sampler 'Eular'; did you mean Euler? Known: Euler, Heun.
    """
    names = list(dict.fromkeys(known))
    folded = {name.casefold(): name for name in reversed(names)}
    close = difflib.get_close_matches(given[:LONGEST_QUOTE].casefold(), list(folded), n=3, cutoff=0.6)
    near = tuple(folded[name] for name in close)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    if not names:
        return UnknownName(f"Unknown {kind} {quoted(given)}: there is none yet.")
    listed = ", ".join(names[:LONGEST_LIST]) + (f" and {len(names) - LONGEST_LIST} more" if len(names) > LONGEST_LIST else "")
    return UnknownName(f"Unknown {kind} {quoted(given)}{hint} Known: {listed}.", near)


def one_line(text: str) -> str:
    """The text with what a terminal would obey, such as line ends and colours in a file's name, written out."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode() for each in text)
