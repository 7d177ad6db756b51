"""What the headers of a request say, read without trust, and the headers every answer gets."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import MutableHeaders

Scope = Mapping[str, Any]

AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9](?:[a-z0-9_.-]{0,250}[a-z0-9])?))(?::(\d{1,5}))?")
PROXIES = (
    b"forwarded", b"via", b"x-real-ip", b"cf-", b"cdn-loop", b"true-client-ip", b"x-client-ip", b"client-ip",
    b"x-cluster-client-ip", b"x-forwarded", b"x-envoy-", b"x-azure-", b"fastly-", b"tailscale-",
)  # fmt: skip
# Headers by which a proxy or a framework would be told of another address, path or method than the request has.
UNTRUSTED = (*PROXIES, b"x-gradio-server", b"x-original-", b"x-rewrite-", b"x-http-method", b"x-method-override")
SAFE_METHODS = ("GET", "HEAD")

CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
PLAIN_POLICY = (  # of pages without any script
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # "no-referrer" would make browsers send "Origin: null" with forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "X-Robots-Tag": "noindex, nofollow",
}
HASHED_NAMES = "/assets/"  # Gradio's files whose names change with their content
FILES = ("/static/", "/favicon.ico", "/theme.css", "/gradio_api/theme.css")
NOT_OURS = ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Server")


@dataclass(frozen=True, kw_only=True)
class Authority:
    """What a Host header names: a name or address in lower case, and the port as written ("" for none)."""

    name: str
    port: str

    def __str__(self) -> str:
        bracketed = f"[{self.name}]" if ":" in self.name else self.name
        return f"{bracketed}:{self.port}" if self.port else bracketed


def values(scope: Scope, name: bytes) -> list[str]:
    """All values of a header, given in lower case."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def parse_authority(text: str) -> Authority | None:
    """The name and port of a Host header; None for anything that is not exactly that."""
    match = AUTHORITY.fullmatch(text.lower())
    if match is None or (match[3] and not 0 < int(match[3]) < 65536):
        return None
    name = match[1] or match[2]
    if match[1]:
        try:
            name = str(ipaddress.IPv6Address(name))
        except ValueError:
            return None
    return Authority(name=name, port=match[3] or "")


def asked_for(scope: Scope) -> Authority | None:
    """What the request's one Host header names; None without one, and with several."""
    hosts = values(scope, b"host")
    return parse_authority(hosts[0]) if len(hosts) == 1 else None


def forwarded(scope: Scope) -> bool:
    """Whether some proxy says that it passed the request on."""
    return any(key.lower().startswith(PROXIES) for key, _ in scope["headers"])


def trusted(scope: Scope, host: str) -> list[tuple[bytes, bytes]]:
    """The headers an application gets: nothing about proxies, nothing that renames the method or path, and one Host."""
    kept = [(key, value) for key, value in scope["headers"] if not key.lower().startswith((*UNTRUSTED, b"host"))]
    return [(b"host", host.encode("latin-1")), *kept]


def foreign(scope: Scope, method: str, host: str) -> bool:
    """Whether the request may come from another site's page, and is more than a link that somebody followed.

    Browsers say where a request comes from in Origin (on everything but reading, and on reading across sites) and in
    Sec-Fetch-Site (where the connection is safe). What changes something, or opens a socket (`method` "SOCKET"), must say it.
    """
    origins, sites = values(scope, b"origin"), values(scope, b"sec-fetch-site")
    if len(origins) > 1 or len(sites) > 1:
        return True
    if origins and origins[0].lower() not in (f"http://{host}", f"https://{host}"):
        return True
    if method not in SAFE_METHODS:
        return (not origins and sites != ["same-origin"]) or sites not in ([], ["same-origin"])
    return sites not in ([], ["same-origin"], ["none"]) and not followed_link(scope)


def followed_link(scope: Scope) -> bool:
    """Whether the browser's whole window goes to the address, which shows the other site nothing."""
    return values(scope, b"sec-fetch-mode") == ["navigate"] and values(scope, b"sec-fetch-dest") == ["document"]


def wants_page(scope: Scope) -> bool:
    """Whether a person would see the answer."""
    return any("text/html" in value for value in values(scope, b"accept"))


def cookies(scope: Scope, name: str) -> list[str]:
    """The values of the cookies with that name; there may be several, set for different paths or domains."""
    pairs = (pair.strip().partition("=") for line in values(scope, b"cookie") for pair in line.split(";"))
    return [value for key, _, value in pairs if key == name]


def secure(message: dict[str, Any], path: str, *, plain: bool) -> None:
    """Set the headers that keep an answer with whom it is for, on the message that starts it."""
    headers = MutableHeaders(scope=message)
    for name in NOT_OURS:
        if name in headers:
            del headers[name]
    for name, value in ALWAYS.items():
        headers[name] = value
    headers["Content-Security-Policy"] = PLAIN_POLICY if plain else CONTENT_POLICY
    if path.startswith(HASHED_NAMES) and message["status"] == 200:
        headers["Cache-Control"] = "private, max-age=604800, immutable"
    elif path.startswith(FILES) and message["status"] == 200:
        headers["Cache-Control"] = "private, max-age=3600"
    elif not {"private", "no-store"} & set(re.split(r"[,\s]+", headers.get("Cache-Control", ""))):
        headers["Cache-Control"] = "no-store"
