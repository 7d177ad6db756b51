"""A program that is killed again and again while it makes pictures; run by test_kill.py, for it must not import torch.

It forks children that open everything, queue a job, report its id on a pipe, and go on with whatever is queued, until they are
killed at a random moment, every second one after it has reported. What they leave is finished at the end.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from functools import partial
from pathlib import Path

from tests.service.killing import killed
from tests.service.making import core, until
from tests.service.pretend import PretendEngine
from webui.service.turns import Slots

SLOTS = Slots(attempts=10**6)  # so many kills are nobody's fault
KILLS = 100
LONGEST = 0.5  # seconds before a kill, where the machine is so busy that a job takes as long


def child(root: Path, pipe: int, number: int) -> None:
    """Queue one job, say so, and work until somebody ends it."""
    made = core(root, PretendEngine(0.001), slots=SLOTS)
    job = made.submit(steps=3, count=1 + number % 3, seed=1000 * number)
    os.write(pipe, f"{job}\n".encode())
    signal.pause()


def whole(root: Path) -> float:
    """Queue and make one job without being killed; returns how long that takes."""
    began = time.monotonic()
    made = core(root, PretendEngine(0.001), slots=SLOTS)
    made.ended(made.submit(steps=3, count=2))
    made.close()
    return time.monotonic() - began


def finish(root: Path) -> None:
    """Make what is left."""
    made = core(root, PretendEngine(), slots=SLOTS)
    until(lambda: not made.jobs.in_order())
    made.close()


def main(root: Path, seed: int) -> None:
    """Kill a child a hundred times, finish what is left, and print the ids of all jobs that were queued."""
    moments = random.Random(seed)
    whole(root)
    longest = min(1.2 * whole(root), LONGEST)
    queued = killed(partial(child, root), KILLS, moments, longest)
    finish(root)
    assert "torch" not in sys.modules
    print(json.dumps(queued))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
