"""The noise levels that a sampler's steps would visit, for a plot beside the control. Imports no torch."""

from __future__ import annotations

import sys
from typing import Any, cast

from webui.drawing import ZERO_TERMINAL, Txt2Img
from webui.pipeline.levels import Levels
from webui.pipeline.plan import planned
from webui.service.catalogue import described
from webui.service.checkpoints import Checkpoint, choose
from webui.service.overrides import FileOptions
from webui.service.requests import Resolver
from webui.weights.headers import is_pickle

LONGEST_LEVELS = 1000  # noise levels told: no schedule of as many steps as can be set has more


def plot(params: Txt2Img, resolver: Resolver) -> dict[str, Any]:
    """The `sigmas` that would be visited at full strength, by which `sampler` and `schedule`; `UserError` where none would be.

    They are None where the schedule wants more of a noise table than its numbers, and while torch is not there and the model's
    file cannot be read without it.
    """
    if "torch" not in sys.modules:
        chosen = choose(resolver.checkpoints(), params.model, params.model_hash, resolver.known_hash)
        if is_pickle(chosen.path):
            return {"sigmas": None}
    request = resolver.outline(params)
    checkpoint = Checkpoint(name=request.model, path=resolver.path_of(request.model))
    spec = described(checkpoint, FileOptions.read(request.override)).spec
    levels = Levels.of(spec, zero_terminal=request.noise_schedule == ZERO_TERMINAL)
    extensions = resolver.extensions
    plan = planned(request, extensions.samplers[request.sampler], extensions.schedules[request.schedule])
    about = {"sampler": request.sampler, "schedule": request.schedule}
    try:  # schedules are functions of a table's numbers, and the plain ones are the same numbers
        sigmas = plan(request.steps, cast("Any", levels))
    except (AttributeError, TypeError):
        return {"sigmas": None, **about}
    return {"sigmas": list(sigmas[:LONGEST_LEVELS]), **about}
