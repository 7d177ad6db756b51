"""Children of this process that are killed at random moments, every second one after it has reported what it began."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable


def killed(child: Callable[[int, int], None], times: int, moments: random.Random, longest: float) -> list[str]:
    """Fork and kill `child(pipe, number)` so often, within `longest` seconds each; returns the words they reported."""
    reading, writing = os.pipe()
    reported = b""
    for number in range(times):
        process = os.fork()
        if process == 0:
            child(writing, number)
        if number % 2:
            reported += os.read(reading, 1000)
        time.sleep(moments.uniform(0, longest))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as rest:
        return (reported + rest.read()).decode().split()
