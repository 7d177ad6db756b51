"""Gradio's server of shared addresses, and the program that connects to it: asked and fetched only when somebody shares.

The program (frpc) is fetched once, and checked against the sum that this version of Gradio knows each time before it is run. A
server of one's own is named by GRADIO_SHARE_SERVER_ADDRESS, with its certificate in GRADIO_SHARE_SERVER_TLS_CERTIFICATE.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from webui.errors import WebUIError

SECONDS = 30.0  # to wait for an answer
CERTIFICATE = "share-certificate.pem"


class NotShared(WebUIError):
    """The page cannot be shared."""


def prepare(port: int, cache: Path, host: str = "127.0.0.1", environ: Mapping[str, str] = os.environ) -> Sequence[str]:
    """The command that opens a tunnel to a port; `NotShared` says why there is none. Takes as long as the network does."""
    server, certificate = _server(cache, environ)
    command = [str(_program()), "http", "-n", secrets.token_urlsafe(32), "-l", str(port), "-i", host]
    command += ["--uc", "--sd", "random", "--ue", "--server_addr", server, "--disable_log_color"]
    return command + (["--tls_enable", "--tls_trusted_ca_file", certificate] if certificate else [])


def _server(cache: Path, environ: Mapping[str, str]) -> tuple[str, str]:
    """The server's address, and the file with its certificate ("" for none)."""
    if own := environ.get("GRADIO_SHARE_SERVER_ADDRESS"):
        return own, environ.get("GRADIO_SHARE_SERVER_TLS_CERTIFICATE", "")
    from gradio.networking import GRADIO_API_SERVER

    told = _fetch(GRADIO_API_SERVER)
    try:
        first = told.json()[0]
        address, certificate = f"{first['host']}:{int(first['port'])}", str(first["root_ca"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise NotShared(f"{GRADIO_API_SERVER} answered something that was not expected; try again later.") from error
    file = cache / CERTIFICATE
    try:
        cache.mkdir(parents=True, exist_ok=True)
        file.write_text(certificate, encoding="utf-8")
    except OSError as error:
        raise NotShared(f"{file} cannot be written ({error.strerror}).") from error
    return address, str(file)


def _program() -> Path:
    """The program, fetched where it is not there yet or not what it should be."""
    from gradio import tunneling

    expected = tunneling.CHECKSUMS.get(tunneling.BINARY_URL)
    if expected is None:
        raise NotShared("there is no tunnel program for this kind of machine.")
    file = Path(tunneling.BINARY_PATH)
    try:
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != expected:
            content = _fetch(tunneling.BINARY_URL).content
            if hashlib.sha256(content).hexdigest() != expected:
                raise NotShared("the tunnel program that was fetched is not the one this version knows; nothing was run.")
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_name(f"{file.name}.{os.getpid()}.part")
            part.write_bytes(content)
            part.chmod(0o700)
            part.replace(file)
    except OSError as error:
        raise NotShared(f"{file} cannot be written or read ({error.strerror}).") from error
    return file


def _fetch(address: str) -> Any:
    import httpx

    try:
        answer = httpx.get(address, timeout=SECONDS, follow_redirects=True)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise NotShared(f"{address} cannot be reached; is this machine online? ({type(error).__name__})") from error
    return answer
