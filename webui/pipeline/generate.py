"""The straight line from a request to a picture. Read it top to bottom; every stage is a function of what it is given.

`generate` is a generator: it asks for network work (see `protocol.py`) and is sent the answers, so that one engine can serve
many generations with the same calls. Nothing here touches a device, a file, a setting or the clock.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from webui.errors import Stopped
from webui.nets.spec import ModelSpec
from webui.pipeline import noise
from webui.pipeline.conditioning import conditionings
from webui.pipeline.guidance import distilled, guided, plain_row
from webui.pipeline.model import Model
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.patches import NO_PATCHES, Patches
from webui.pipeline.protocol import Ask, Decode, Denoise, Interrupted
from webui.pipeline.refiner import check_pair, handed_over, is_over
from webui.pipeline.samplers import SAMPLERS, SamplerInfo, resolve
from webui.pipeline.schedules import SCHEDULES, Schedule
from webui.request import Request

__all__ = ["Generation", "Model", "Picture", "Registry", "generate"]


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The samplers and schedules a job may name: a snapshot, so that loading an extension never touches running jobs."""

    samplers: Mapping[str, SamplerInfo] = field(default_factory=lambda: SAMPLERS)
    schedules: Mapping[str, Schedule] = field(default_factory=lambda: SCHEDULES)


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """The result: `pixels` float32 [3, H, W] in [0, 1] and the latent [C, h, w] they were decoded from, None where there is none.

    `maps` are what the picture was made to, by the name of the input each could be given as: `depth` float32 [H, W] in [0, 1].
    """

    pixels: Tensor
    latent: Tensor | None = None
    maps: Mapping[str, Tensor] = field(default_factory=dict)


Generation = Generator[Ask, Any, Picture]


def generate(
    request: Request, model: Model, registry: Registry = Registry(), patches: Patches = NO_PATCHES, device: str = "cpu",
    *, refiner: Model | None = None, vae: str = "",
) -> Generation:
    """Make the one picture of `request`; raises `Stopped` where it is interrupted before its first step has ended.

    `device` is where the answers come from and the state is kept; noise is drawn on the CPU all the same. `refiner` is the model
    that takes over at the request's `refiner_switch_at`; `vae` names an autoencoder in place of the model's own.
    """
    table = NoiseTable.from_spec(model.spec)
    denoise = yield from denoiser(request, model, patches)
    if refiner is not None:
        check_pair(model, refiner)
        # Weights and token vectors are patched by name, and the refiner's names are others.
        second = denoiser(request, refiner, Patches(padding=patches.padding))
        denoise = handed_over(denoise, second, is_over(table, request.refiner_switch_at))
    try:
        latent = yield from sample(request, model.spec, table, registry, denoise, device)
    except Interrupted as early:
        if early.latent is None:
            raise Stopped("The picture was interrupted before its first step had ended, so there is nothing to keep.") from None
        latent = early.latent
    pixels = yield Decode(latent, network=model.name, vae=vae)
    return Picture(pixels=pixels, latent=latent)


def denoiser(request: Request, model: Model, patches: Patches) -> Generator[Ask, Any, Denoise]:
    """From a state to the clean latent that the request's texts see in it, by one model and with guidance."""
    cond, uncond = yield from conditionings(request, model, patches)
    row = plain_row(model.name, patches)
    if model.spec.unet.guidance_width is not None:
        return distilled(cond, request.scale, row)
    return guided(cond, uncond, request.scale, row)


def sample(
    request: Request, spec: ModelSpec, table: NoiseTable, registry: Registry, denoise: Denoise, device: str = "cpu"
) -> Generator[Ask, Any, Tensor]:
    """From noise to a clean latent [C, h, w], by the request's sampler along its schedule."""
    info, schedule = resolve(request.sampler, request.schedule, samplers=registry.samplers, schedules=registry.schedules)
    sigmas = registry.schedules[schedule](request.steps, table)
    shape = latent_shape(request, spec)
    start = info.start(noise.initial(request.seed, shape, device=device), sigmas[0])
    fresh = noise.per_step(request.seed, shape, device=device)
    options = {name: value for name, value in request.sampler_options.items() if name in info.options}
    latent: Tensor = yield from info.function(denoise, start, sigmas, fresh, **options)
    return latent


def latent_shape(request: Request, spec: ModelSpec) -> tuple[int, int, int]:
    """Channels, height and width of the request's latent."""
    return spec.vae.latent_channels, request.height // spec.vae.factor, request.width // spec.vae.factor
