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
from webui.nets.tokenizer import Tokenizer
from webui.pipeline import noise
from webui.pipeline.guidance import guided, plain_row
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.patches import NO_PATCHES, Patches
from webui.pipeline.prompt import pad_windows, windows
from webui.pipeline.protocol import Ask, Conditioning, Decode, Denoise, Encode, Interrupted, TokenChunk
from webui.pipeline.samplers import SAMPLERS, SamplerInfo, resolve
from webui.pipeline.schedules import SCHEDULES, Schedule
from webui.request import Request


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a generation knows of its model: the description and the tokenizers, but never the weights."""

    name: str
    spec: ModelSpec
    tokenizers: tuple[Tokenizer, ...]


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The samplers and schedules a job may name: a snapshot, so that loading an extension never touches running jobs."""

    samplers: Mapping[str, SamplerInfo] = field(default_factory=lambda: SAMPLERS)
    schedules: Mapping[str, Schedule] = field(default_factory=lambda: SCHEDULES)


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """The result: `pixels` float32 [3, H, W] in [0, 1] and the latent [C, h, w] they were decoded from."""

    pixels: Tensor
    latent: Tensor


Generation = Generator[Ask, Any, Picture]


def generate(
    request: Request, model: Model, registry: Registry = Registry(), patches: Patches = NO_PATCHES, device: str = "cpu"
) -> Generation:
    """Make the one picture of `request`; raises `Stopped` where it is interrupted before its first step has ended.

    `device` is where the answers come from and the state is kept; noise is drawn on the CPU all the same.
    """
    cond, uncond = yield from conditionings(request, model, patches)
    denoise = guided(cond, uncond, request.scale, plain_row(model.name, patches))
    try:
        latent = yield from sample(request, model, registry, denoise, device)
    except Interrupted as early:
        if early.latent is None:
            raise Stopped("The picture was interrupted before its first step had ended, so there is nothing to keep.") from None
        latent = early.latent
    pixels = yield Decode(latent, network=model.name)
    return Picture(pixels=pixels, latent=latent)


def conditionings(
    request: Request, model: Model, patches: Patches
) -> Generator[Ask, Any, tuple[Conditioning, Conditioning]]:
    """What prompt and negative prompt mean to the network; guidance never asks for rows of the one it does not need."""
    towers = tuple(zip(model.tokenizers, model.spec.text, strict=True))
    prompt, negative, empty = (
        tuple(windows(text, tokenizer, tower) for tokenizer, tower in towers) for text in (request.prompt, request.negative, "")
    )
    count = max(len(own) for text in (prompt, negative) for own in text)
    answers = []
    for text in (prompt, negative):
        chunks = tuple(pad_windows(own, count, nothing[0]) for own, nothing in zip(text, empty, strict=True))
        answers.append((yield encode(chunks, request, model, patches)))
    return answers[0], answers[1]


def encode(chunks: tuple[tuple[TokenChunk, ...], ...], request: Request, model: Model, patches: Patches) -> Encode:
    """Ask for the conditioning of a text's windows."""
    return Encode(chunks, network=model.name, clip_skip=request.clip_skip, patches=patches)


def sample(
    request: Request, model: Model, registry: Registry, denoise: Denoise, device: str = "cpu"
) -> Generator[Ask, Any, Tensor]:
    """From noise to a clean latent [C, h, w], by the request's sampler along its schedule."""
    info, schedule = resolve(request.sampler, request.schedule, samplers=registry.samplers, schedules=registry.schedules)
    sigmas = registry.schedules[schedule](request.steps, NoiseTable.from_betas(*model.spec.betas, model.spec.train_steps))
    shape = latent_shape(request, model.spec)
    start = info.start(noise.initial(request.seed, shape, device=device), sigmas[0])
    fresh = noise.per_step(request.seed, shape, device=device)
    options = {name: value for name, value in request.sampler_options.items() if name in info.options}
    latent: Tensor = yield from info.function(denoise, start, sigmas, fresh, **options)
    return latent


def latent_shape(request: Request, spec: ModelSpec) -> tuple[int, int, int]:
    """Channels, height and width of the request's latent."""
    return spec.vae.latent_channels, request.height // spec.vae.factor, request.width // spec.vae.factor


