"""How much of a picture is made anew: from a strength to the noise levels a sampler visits, and the one it begins at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.plan import planned
from webui.pipeline.samplers import SamplerInfo
from webui.pipeline.schedules import Schedule
from webui.request import Request
from webui.tasks import DIFFUSERS

NEARLY_ALL = 0.999  # strength that A1111 counts with where it is 1
LEAST = 0.01  # strength that is counted with where all steps are run with less: the schedule would grow without bound


@dataclass(frozen=True, kw_only=True)
class Way:
    """The falling `sigmas` of a sampler and the level `noised` to which a picture is noised before it begins.

    `highest` is the first level of the whole schedule, of which `sigmas` are the last. `fresh` says that nothing of a picture is
    left: it begins with noise alone.
    """

    sigmas: tuple[float, ...]
    noised: float
    highest: float
    fresh: bool = False


def way(request: Request, info: SamplerInfo, schedule: Schedule, table: NoiseTable) -> Way:
    """The way that a request's strength means, with its steps and by its convention.

    A1111 noises to the step t_enc = strength x steps, counted from the end. Samplers in sigma go on from there, by t_enc + 1
    steps; those that begin as DDPM does (DDIM) take the picture to be one step further on, as latent diffusion had it: t_enc
    steps. diffusers goes on from where it noised to, by strength x steps. Where all steps are run, the schedule is longer.
    """
    strength, steps, sigmas_of = request.strength, request.steps, planned(request, info, schedule)
    if strength >= 1:
        sigmas = sigmas_of(steps, table)
        return Way(sigmas=sigmas, noised=sigmas[0], highest=sigmas[0], fresh=True)
    if request.convention == DIFFUSERS:
        count = steps if request.all_steps else max(int(steps * strength), 1)
        sigmas = sigmas_of(int(steps / max(strength, LEAST)) if request.all_steps else steps, table)
        return _last(sigmas, count)
    asked = int(steps / min(max(strength, LEAST), NEARLY_ALL)) if request.all_steps else steps
    encoded = steps - 1 if request.all_steps else min(int(strength * steps), steps - 1)
    sigmas = sigmas_of(asked, table)
    taken = len(sigmas) - 1  # a few more than asked for, where the schedule divides the training steps evenly; never above them
    if info.unit_start:
        return _last(sigmas, steps if request.all_steps else max(encoded, 1), ahead=1)
    return _last(sigmas, encoded + 1 + max(taken - asked, 0))


def _last(sigmas: tuple[float, ...], count: int, ahead: int = 0) -> Way:
    """The last `count` steps, for a picture noised to the level that lies so many steps `ahead` of them."""
    first = max(len(sigmas) - 1 - count, 0)
    return Way(sigmas=sigmas[first:], noised=sigmas[max(first - ahead, 0)], highest=sigmas[0])


def begun(clean: Tensor, noise: Tensor, way: Way) -> Tensor:
    """The state of a sampler in which a `clean` latent is noised for its way.

    Where the sampler takes it to be less noisy than it is, the scale is the one at which its network expects it.
    """
    scale = 1.0 if way.noised == way.sigmas[0] else math.sqrt((1 + way.sigmas[0] ** 2) / (1 + way.noised**2))
    return torch.add(clean, noise, alpha=way.noised) * scale
