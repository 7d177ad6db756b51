"""Freed memory is kept for the next step, and given back when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from webui.engine import allocator

PROGRAM = """
import resource, sys, torch
from webui.engine.allocator import keep_freed_memory, give_back
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(48 << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
faults()
print(faults(), resident())
give_back()
print(resident())
"""


@pytest.mark.skipif(allocator.glibc() is None, reason="this machine's C library is not glibc")
def test_freed_memory_is_used_again_and_given_back_on_request() -> None:
    def run(mode: str) -> list[int]:
        told = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
        return [int(word) for word in told.stdout.split()]

    plain, kept = run("plain"), run("keep")
    assert kept[0] * 5 < plain[0]
    assert kept[2] < kept[1] - (16 << 20)


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert allocator.glibc() is None and not allocator.keep_freed_memory()
    allocator.give_back()
