"""How the server is reached: under which names, from where, and who must sign in."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """What the command line opened; the tunnel's name comes and goes with the tunnel.

    `hosts` are the names besides loopback's under which the server may be asked for; `everyone_signs_in` ends the rule that a
    request from this machine is the owner's; `port` names the cookie, so that two programs on one machine do not share it.
    """

    hosts: frozenset[str] = frozenset()
    everyone_signs_in: bool = False
    any_address: bool = False  # listening on all: the address a connection came to is a name too
    port: int = 0
