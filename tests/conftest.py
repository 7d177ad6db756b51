"""What holds for every test: no network beyond this machine, few threads, slow tests only when asked for."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

# Before any test module imports transformers or huggingface_hub: they must not even try.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2  # tiny networks get slower with more, and CI has two cores
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


class NetworkUsed(AssertionError):
    """A test reached for the network."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --slow."""
    parser.addoption("--slow", action="store_true", help="also run the full-size checks")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests marked slow unless --slow is given."""
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))


def refuse_network(address: Any) -> None:
    """Raise unless `address` is this machine: a local path, or a loopback host."""
    host = address[0] if isinstance(address, tuple) else None
    if isinstance(host, str) and not host.startswith(LOOPBACK):
        raise NetworkUsed(f"A test tried to connect to {address}; tests may open no socket beyond this machine.")


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Make every connection and name lookup beyond loopback raise."""
    real = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex", "sendto")}
    lookup = socket.getaddrinfo

    def guarded(name: str) -> Any:
        def call(self: socket.socket, *arguments: Any) -> Any:
            refuse_network(arguments[-1])
            return real[name](self, *arguments)

        return call

    def guarded_lookup(host: Any, *arguments: Any, **options: Any) -> Any:
        refuse_network((host.decode() if isinstance(host, bytes) else host,))
        return lookup(host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(socket.socket, name, guarded(name))
        patch.setattr(socket, "getaddrinfo", guarded_lookup)
        yield


@pytest.fixture(autouse=True)
def few_threads() -> None:
    """Limit torch's threads, if the test's module has imported torch."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() > THREADS:
        torch.set_num_threads(THREADS)
