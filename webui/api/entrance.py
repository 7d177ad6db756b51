"""How the server is reached: under which names, over which tunnel, and who must sign in."""

from __future__ import annotations

from dataclasses import dataclass

from webui.service.tunnel import Tunnel

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """What the command line opened.

    `hosts` are the names besides loopback's under which the server may be asked for, lower-case and without port; with
    `any_address`, the address a connection came to is one too. `everyone_signs_in` ends the rule that a request from this machine
    is the owner's. `installing` says whether an owner may install extensions. `port` is part of the cookie's name, so that two
    programs on one machine do not sign each other's people out.
    """

    hosts: frozenset[str] = frozenset()
    any_address: bool = False
    everyone_signs_in: bool = False
    installing: bool = True
    port: int = 0
    tunnel: Tunnel | None = None

    def tunnel_host(self) -> str | None:
        """The name under which the tunnel is reached, while it is open."""
        return self.tunnel.host() if self.tunnel is not None else None

    def allows(self, name: str, arrived_at: str | None) -> bool:
        """Whether the server goes by that name; `arrived_at` is the address the connection came to."""
        if name in LOOPBACK or name in self.hosts or name == self.tunnel_host():
            return True
        return self.any_address and name == arrived_at
