"""How often somebody may try to sign in: a few times, then after a wait; counted by name and by address."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from webui.errors import UserError

BY_NAME, BY_ADDRESS = 10, 20  # failures within WINDOW; then nobody gets an answer until the oldest is forgotten
WINDOW = 15 * 60.0  # seconds
MOST_KEYS = 20_000  # names and addresses remembered
HERE = "127.0.0.1"  # tries at this machine are counted apart: nobody elsewhere can lock out whoever sits here


class TooManyAttempts(UserError):
    """Somebody tried to sign in too often; `seconds` later they may again."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(seconds, 1.0)
        minutes = math.ceil(self.seconds / 60)
        when = "a minute" if minutes == 1 else f"{minutes} minutes"
        super().__init__(f"There were too many attempts to sign in; try again in {when}.")


class Attempt:
    """One try to sign in."""

    success = False

    def succeeded(self) -> None:
        """The password was right."""
        self.success = True


class Attempts:
    """The failures of the last minutes. Safe from any thread; a try counts from its beginning, so none are made in parallel."""

    def __init__(self, clock: Callable[[], float], *, by_name: int = BY_NAME, by_address: int = BY_ADDRESS) -> None:
        self._clock = clock
        self._most = {"name": by_name, "address": by_address}
        self._times: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._turn = threading.Lock()

    @contextmanager
    def trying(self, name: str, address: str) -> Iterator[Attempt]:
        """A try, which counts as failed unless `succeeded` is called; `TooManyAttempts` where it may not be made."""
        place = "here" if address == HERE else "elsewhere"
        keys = [("address", address), ("name", f"{place} {name}")]
        now = self._clock()
        with self._turn:
            seconds = max(self._wait(key, now) for key in keys)
            if seconds > 0:
                raise TooManyAttempts(seconds)
            for key in keys:
                self._times.setdefault(key, deque()).append(now)
                self._times.move_to_end(key)
            while len(self._times) > MOST_KEYS:
                self._times.popitem(last=False)
        attempt = Attempt()
        try:
            yield attempt
        finally:
            if attempt.success:
                self._forgive(keys, now)

    def _wait(self, key: tuple[str, str], now: float) -> float:
        times = self._times.get(key)
        if times is None:
            return 0.0
        while times and times[0] <= now - WINDOW:
            times.popleft()
        return times[0] + WINDOW - now if len(times) >= self._most[key[0]] else 0.0

    def _forgive(self, keys: list[tuple[str, str]], began: float) -> None:
        """Forget the failures with the name; of the address only this try, for other names may be tried from there."""
        address, name = keys
        with self._turn:
            self._times.pop(name, None)
            times = self._times.get(address)
            if times is not None and began in times:
                times.remove(began)
