"""Connections that nobody gets anything from: who says too slowly what they want, and who opens too many, is let go."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from webui.api.entrance import LOOPBACK

HEADER_SECONDS = 20.0  # for a request's first line and headers, however steadily they trickle in; longer than idle ones are kept
MOST_OF_ONE = 200  # connections of one address; not of this machine, from which everybody's come through a tunnel or proxy


class Connection(H11Protocol):
    """One connection; between two answers its next request has to be whole within `header_seconds`."""

    header_seconds = HEADER_SECONDS
    most_of_one = MOST_OF_ONE
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Somebody has come."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        own = sum(each.client is not None and each.client[0] == address for each in self._others())
        if address not in LOOPBACK and own >= self.most_of_one:
            transport.abort()
            return
        self._look()

    def data_received(self, data: bytes) -> None:
        """They have said something."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """They have got their answer."""
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """They have gone."""
        self._rest()
        super().connection_lost(exc)

    def _others(self) -> list[Connection]:
        return [each for each in self.connections if isinstance(each, Connection) and each is not self]

    def _look(self) -> None:
        """Count the time while a request is waited for; what comes in piece by piece does not begin it anew."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._rest()
        elif self._waiting is None and not self.transport.is_closing():
            self._waiting = self.loop.call_later(self.header_seconds, self.transport.abort)

    def _rest(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
