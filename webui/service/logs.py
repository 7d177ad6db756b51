"""The log: a file that does not grow for ever, where the details of failures are, under the ids that people are shown."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path

from webui.errors import WebUIError, quoted

LOG = "log.txt"  # in the cache folder
LOG_BYTES = 1_000_000
LONGEST_ERROR = 300  # characters of an unexpected error that are repeated to the user
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An error that nobody foresaw: what to tell people, and the id that finds its details in the log ("" if there are none)."""

    sentence: str
    error: str


@contextmanager
def logging_to(file: Path, *others: str) -> Iterator[None]:
    """Send what the program logs, and `others`, to a file instead of the terminal; where it cannot be written, nowhere."""
    loggers = [logging.getLogger(name) for name in ("webui", *others)]
    handler: logging.Handler
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    except OSError:
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


def fault(error: BaseException, what: str) -> Fault:
    """What to tell of an error in `what` ("This job"): its own sentence if it is one of ours, else one that leads to the log."""
    if isinstance(error, WebUIError):
        return Fault(sentence=str(error), error="")
    name = uuid.uuid4().hex[:8]
    LOGGER.error("%s failed (error %s).", what, name, exc_info=error)
    shown = quoted(f"{type(error).__name__}: {error}", LONGEST_ERROR)
    return Fault(
        sentence=f"{what} failed through a fault in the program: {shown}. The log has the details under {name}.", error=name
    )
