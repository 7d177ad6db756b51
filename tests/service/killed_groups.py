"""A program that is killed again and again while it makes plots; run by test_groups_killed.py, for it must not import torch.

It forks children that open everything, submit a group, report its id on a pipe, and go on with whatever there is, until they are
killed at a random moment. What they leave is finished at the end.
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
from tests.service.making import until
from tests.service.pretend import PretendEngine, place_model
from webui.drawing import Txt2Img
from webui.service.studio import Studio, open_studio
from webui.service.turns import Slots
from webui.service.users import OWNER_ID

SLOTS = Slots(attempts=10**6)  # so many kills are nobody's fault
KILLS = 30
CELLS = 5
STEP = 0.01  # seconds, so that a kill has something to hit
LONGEST = 1.0  # seconds before a kill, where the machine is so busy that a group takes as long


def submit(studio: Studio, number: int) -> str:
    """A plot over seeds that no other plot has."""
    values = {"x_type": "Seed", "x_values": f"{1000 * number + 1}-{1000 * number + CELLS}"}
    params = Txt2Img(prompt="a cat", steps=2, width=64, height=64)
    return studio.groups.submit(studio.users.get(OWNER_ID), "xyz_plot", values, "txt2img", params, {})[0]


def child(root: Path, pipe: int, number: int) -> None:
    """Submit one group, say so, and work until somebody ends it."""
    studio = open_studio(root, engine=PretendEngine(STEP), slots=SLOTS)
    os.write(pipe, f"{submit(studio, number)}\n".encode())
    signal.pause()


def whole(root: Path) -> float:
    """Make what there is and one group more without being killed; returns how long that takes."""
    began = time.monotonic()
    with open_studio(root, engine=PretendEngine(STEP), slots=SLOTS) as studio:
        submit(studio, 999)
        finish(studio)
    return time.monotonic() - began


def finish(studio: Studio) -> None:
    """Wait until nothing is open."""
    owner = studio.users.get(OWNER_ID)
    until(lambda: studio.queue.is_idle(owner))


def main(root: Path, seed: int) -> None:
    """Kill children, finish what is left, and print the ids of all groups that were reported."""
    moments = random.Random(seed)
    place_model(root)
    longest = min(1.2 * whole(root), LONGEST)
    queued = killed(partial(child, root), KILLS, moments, longest)
    with open_studio(root, engine=PretendEngine(), slots=SLOTS) as studio:
        finish(studio)
    assert "torch" not in sys.modules
    print(json.dumps(queued))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
