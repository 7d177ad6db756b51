"""How often somebody may try to sign in: a few times, then after a wait of at most `WINDOW`.

What is limited by what:

- Tries for an account from a browser that has signed in to it before: by that browser. Nobody else can use those up, so whoever
  knows the password and was here before waits for nobody, whatever goes on elsewhere.
- All other tries: by the name at one address, by the name at all addresses together, and by the address under all names. Tries at
  this machine itself are counted apart from those that come from elsewhere, so that nobody can lock out whoever sits here.
- An address that stands for many people, such as the shared address, may be tried from more often, under each name no more often.

A try that is refused costs nothing and counts for nothing, so the wait ends although others go on trying. Somebody whose browser
is new may find the freed tries taken by whoever attacks the same name at the same address: for as long as that goes on, and
`WINDOW` more. The owner can end the sharing meanwhile.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from webui.errors import UserError

BY_NAME, BY_ADDRESS = 10, 20  # failures within WINDOW; then nobody gets an answer until the oldest is forgotten
BY_ACCOUNT = 30  # under one name, from all addresses but this machine's
BY_SHARED = 100  # from an address that stands for many people
BY_BROWSER = 10
WINDOW = 15 * 60.0  # seconds
MOST_KEYS = 20_000  # names and addresses remembered
HERE = "127.0.0.1"
TUNNEL, PROXY = "the shared address", "a proxy on this machine"  # where others come from whose own addresses nobody vouches for
Key = tuple[str, str]


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
        self._most = {
            "name": by_name, "address": by_address, "account": BY_ACCOUNT, "shared": BY_SHARED, "browser": BY_BROWSER,
        }  # fmt: skip
        self._times: OrderedDict[Key, deque[float]] = OrderedDict()
        self._turn = threading.Lock()

    @contextmanager
    def trying(self, name: str, address: str, browser: str = "") -> Iterator[Attempt]:
        """A try, which counts as failed unless `succeeded` is called; `TooManyAttempts` where it may not be made.

        `browser` names one that has signed in to the account before, "" one of which nothing is known.
        """
        keys = [("browser", browser)] if browser else keys_of(name, address)
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

    def _wait(self, key: Key, now: float) -> float:
        times = self._times.get(key)
        if times is None:
            return 0.0
        while times and times[0] <= now - WINDOW:
            times.popleft()
        return times[0] + WINDOW - now if len(times) >= self._most[key[0]] else 0.0

    def _forgive(self, keys: list[Key], began: float) -> None:
        """Forget who mistyped their password; of what others may share only this try, for they may have tried too."""
        with self._turn:
            for key in keys:
                if key[0] in ("name", "browser"):
                    self._times.pop(key, None)
                elif (times := self._times.get(key)) is not None and began in times:
                    times.remove(began)


def keys_of(name: str, address: str) -> list[Key]:
    """What a try under a name from an address is counted under."""
    found = [("shared" if address in (TUNNEL, PROXY) else "address", address), ("name", f"{address} {name}")]
    return found if address == HERE else [*found, ("account", name)]
