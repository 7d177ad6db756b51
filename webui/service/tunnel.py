"""The tunnel that gives this machine's page an address on the internet: another program, watched from a thread of its own.

Whatever that program does (works, dies, is silent, talks nonsense), nobody here waits for it; a sentence says what became of it.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO
from urllib.parse import urlsplit

from webui.errors import WebUIError

LOG = logging.getLogger(__name__)
PATIENCE = 30.0  # seconds the program may take to say the address
LONGEST_LINE = 2000  # characters of its output read at once
KEPT_LINES = 10  # of its output, for the log
POLITE_SECONDS = 3.0  # from asking the program to end to ending it
OPENED = re.compile(r"start proxy success: *(https?://[a-z0-9][a-z0-9.-]{0,250}(?::\d{1,5})?)/?\s*$", re.IGNORECASE)
REFUSED = re.compile(r"login to server failed|start error|connect to server error", re.IGNORECASE)
STAYS = "The page works on this machine as before."
OFF, STARTING, OPEN, FAILED, ENDED = "off", "starting", "open", "failed", "ended"
Prepare = Callable[[int], Sequence[str]]  # port -> the program and its arguments; WebUIError says why there is none


@dataclass(frozen=True, kw_only=True)
class TunnelState:
    """What became of the tunnel: `address` while it is open, and a sentence for whoever asked for it."""

    kind: str
    address: str = ""
    sentence: str = ""


class Tunnel:
    """One tunnel, started once. Every method may be called from any thread, and only `end` waits, for seconds at most."""

    def __init__(
        self, prepare: Prepare, *, tell: Callable[[TunnelState], None] | None = None, patience: float = PATIENCE
    ) -> None:
        self._prepare = prepare
        self._tell = tell
        self._patience = patience
        self._state = TunnelState(kind=OFF, sentence="This page is not shared.")
        self._turn = threading.Lock()
        self._wanted = True
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(self, port: int) -> None:
        """Open the tunnel to a port of this machine; returns at once. A tunnel that was started or ended stays as it is."""
        with self._turn:
            if self._thread is not None or not self._wanted:
                return
            self._state = TunnelState(kind=STARTING, sentence="The shared address is being made ...")
            self._thread = threading.Thread(target=self._run, args=(port,), name="tunnel", daemon=True)
            self._thread.start()

    def state(self) -> TunnelState:
        """What became of it so far."""
        return self._state

    def host(self) -> str | None:
        """The name the tunnel is reached under, in lower case and without port; None while it is not open."""
        state = self._state
        return urlsplit(state.address).hostname if state.kind == OPEN else None

    def end(self) -> None:
        """Close the tunnel; its address is refused from this moment on."""
        with self._turn:
            self._wanted = False
            process, thread = self._process, self._thread
            if self._state.kind in (OFF, STARTING, OPEN):
                self._state = TunnelState(kind=ENDED, sentence="Sharing was ended; the shared address does not work any more.")
        if process is not None:
            _stop(process)
        if thread is not None and thread is not threading.current_thread():
            thread.join(POLITE_SECONDS)

    def _run(self, port: int) -> None:
        try:
            command = self._prepare(port)
        except WebUIError as error:
            self._become(FAILED, f"The page could not be shared: {error} {STAYS}")
            return
        try:
            with self._turn:
                if not self._wanted:
                    return
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
                )
        except OSError as error:
            self._become(FAILED, f"The page could not be shared: the tunnel program did not start ({error.strerror}). {STAYS}")
            return
        try:
            self._watch(self._process)
        finally:
            _stop(self._process)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Read what the program says until it ends; one that says no address gets no longer than patience."""
        lines: queue.Queue[str | None] = queue.Queue(maxsize=1000)
        assert process.stdout is not None
        threading.Thread(target=_read, args=(process.stdout, lines), name="tunnel-output", daemon=True).start()
        last: deque[str] = deque(maxlen=KEPT_LINES)
        deadline = time.monotonic() + self._patience
        while True:
            is_open = self._state.kind == OPEN
            left = deadline - time.monotonic()
            try:
                line = lines.get(timeout=None if is_open else max(left, 0.0))
            except queue.Empty:
                line = ""
            if not is_open and left <= 0 and line is not None and not OPENED.search(line):
                self._fail(f"its program said no address within {self._patience:.0f} seconds.", last)
                return
            if line is None:
                why = "its program ended" if is_open else "its program ended without an address"
                self._fail(f"{why}{_last_words(last)}.", last)
                return
            if line:
                last.append(line)
            if match := OPENED.search(line):
                self._become(OPEN, "Everyone with the address can reach the page, and needs to sign in.", match[1].lower())
            elif not is_open and REFUSED.search(line):
                self._fail(f"the server that makes the address refused{_last_words(last)}.", last)
                return

    def _fail(self, why: str, last: Sequence[str]) -> None:
        if not self._wanted:
            return
        LOG.warning("The tunnel failed: %s Its last lines: %r", why, list(last))
        was_open = self._state.kind == OPEN
        begin = "The shared address does not work any more: " if was_open else "The page could not be shared: "
        self._become(FAILED, f"{begin}{why} {STAYS}")

    def _become(self, kind: str, sentence: str, address: str = "") -> None:
        with self._turn:
            if not self._wanted:
                return
            state = TunnelState(kind=kind, address=address, sentence=sentence)
            if state == self._state:
                return
            self._state = state
        if self._tell is not None:
            self._tell(state)


def _read(output: IO[bytes], lines: queue.Queue[str | None]) -> None:
    """Pass on the output in pieces of bounded size, the newest where there are too many; None is its end."""
    with output:
        while piece := output.readline(LONGEST_LINE):
            text = piece.decode("utf-8", errors="replace").strip()
            _put(lines, "".join(letter for letter in text if letter.isprintable()))
    _put(lines, None)


def _put(lines: queue.Queue[str | None], line: str | None) -> None:
    while True:
        try:
            lines.put_nowait(line)
            return
        except queue.Full:
            with contextlib.suppress(queue.Empty):
                lines.get_nowait()


def _last_words(last: Sequence[str]) -> str:
    return f" ({last[-1][:120]})" if last else ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(POLITE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
