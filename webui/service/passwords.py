"""Passwords as salted scrypt hashes (RFC 7914); few are computed at a time: a flood of tries takes neither CPU nor memory."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import threading
from dataclasses import dataclass

from webui.errors import UserError

AT_ONCE = 2  # hashes computed at the same time; each takes `Cost.memory` and a processor
WAITING = 16  # that may wait for their turn; whoever comes then is told to come again
SALT_BYTES, HASH_BYTES = 16, 32
METHOD = "scrypt"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one hash costs: scrypt's parameters; 2^15, 8, 1 take 32 MiB and about a tenth of a second."""

    n: int = 2**15
    r: int = 8
    p: int = 1

    @property
    def memory(self) -> int:
        """Bytes that one hash needs, with some to spare."""
        return 128 * self.r * (self.n + self.p + 2) + 2**20


class Hasher:
    """Makes and checks hashes, which carry their own cost and salt: `scrypt$n$r$p$salt$hash`."""

    def __init__(self, cost: Cost | None = None, *, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._cost = cost or Cost()
        self._turns = threading.BoundedSemaphore(at_once)
        self._places = threading.BoundedSemaphore(at_once + waiting)
        # Compared with where there is no account, so that it takes as long; no password has a hash of zeros.
        self._nobody = _written(self._cost, os.urandom(SALT_BYTES), bytes(HASH_BYTES))

    def hash(self, password: str) -> str:
        """The hash of a password with a new salt."""
        salt = os.urandom(SALT_BYTES)
        return _written(self._cost, salt, self._compute(password, salt, self._cost))

    def fits(self, password: str, hashed: str | None) -> bool:
        """Whether that is the password; None, for whoever has none, never fits and takes as long."""
        method, n, r, p, salt, digest = (self._nobody if hashed is None else hashed).split("$")
        if method != METHOD:
            raise UserError("That account's password was kept by a newer version of this program; give it a new one.")
        cost = Cost(n=int(n), r=int(r), p=int(p))
        same = hmac.compare_digest(self._compute(password, _bytes(salt), cost), _bytes(digest))
        return same and hashed is not None

    def _compute(self, password: str, salt: bytes, cost: Cost) -> bytes:
        if not self._places.acquire(blocking=False):
            raise UserError("Too many people sign in at this moment; try again in a few seconds.")
        try:
            with self._turns:
                return hashlib.scrypt(
                    password.encode("utf-8", "surrogatepass"), salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=cost.memory,
                    dklen=HASH_BYTES,
                )  # fmt: skip
        finally:
            self._places.release()


def _written(cost: Cost, salt: bytes, digest: bytes) -> str:
    return "$".join([METHOD, str(cost.n), str(cost.r), str(cost.p), _text(salt), _text(digest)])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
