"""The guard of conftest.py: no test reaches beyond this machine."""

from __future__ import annotations

import socket
import urllib.request

import pytest


def test_connections_beyond_this_machine_are_refused() -> None:
    with socket.socket() as unconnected, pytest.raises(AssertionError, match="beyond this machine"):
        unconnected.connect(("192.0.2.1", 80))
    with pytest.raises(AssertionError, match="beyond this machine"):
        urllib.request.urlopen("http://example.com", timeout=1)


def test_connections_to_this_machine_work() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
        client.sendall(b"hello")
        accepted, _ = server.accept()
        with accepted:
            assert accepted.recv(5) == b"hello"
