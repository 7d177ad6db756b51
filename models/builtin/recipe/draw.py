"""Pictures of many prompts by the shipped model, made as a user would: by the product's own engine, with default settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from webui.engine import events
from webui.errors import JobError
from webui.params import Txt2Img
from webui.service.opening import open_engine

ROOT = Path(__file__).parents[3]
NAME = "builtin"


def draw_pictures(texts: Sequence[str], root: Path = ROOT) -> np.ndarray:
    """uint8 [N, 3, H, W], the picture of each text with the seed that is its place in the list, by the model below `root`.

    Raises:
        JobError: a picture could not be made.
    """
    with open_engine(root) as service:
        requests = [service.request(Txt2Img(prompt=text, seed=place, model=NAME)) for place, text in enumerate(texts)]
        jobs = [service.engine.submit(request) for request in requests]
        drawn = []
        for job in jobs:
            made = [event for event in service.engine.events(job) if isinstance(event, events.Picture | events.Failed)]
            if len(made) != 1 or isinstance(made[0], events.Failed):
                raise JobError(f"A picture of the evaluation could not be made: {made}.")
            drawn.append(made[0].pixels.transpose(2, 0, 1))
            service.engine.forget(job)
    return np.stack(drawn)
