"""What a sampler begins with: noise, a picture under noise, or both side by side; and the denoiser to go on with."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from webui.nets.spec import ModelSpec
from webui.pipeline.canvas import Canvas
from webui.pipeline.inpaint import content, hard, kept, latent_content, soft
from webui.pipeline.masks import cells
from webui.pipeline.pictures import resized, rounded_up, whole_cells
from webui.pipeline.protocol import Ask, Denoise, EncodePicture, Moment
from webui.pipeline.samplers import SamplerInfo
from webui.pipeline.strength import Way, begun
from webui.request import Request


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """The `state` [C, h, w] to begin with, the denoiser to go on with, and what is done to the clean latent at the end."""

    state: Tensor
    denoise: Denoise
    settle: Callable[[Tensor], Tensor] = lambda latent: latent


def started(
    request: Request, spec: ModelSpec, canvas: Canvas, way: Way, info: SamplerInfo, noise: Tensor, denoise: Denoise,
    *, network: str, vae: str, refiner: ModelSpec | None = None,
) -> Generator[Ask, Any, Start]:
    """What to begin with, from unit `noise`.

    A network made for inpainting is told what is masked, and draws the rest again as it is; every other one is kept from touching
    it, and so is that one where the mask is a strength for each pixel, or where such a `refiner` takes over.
    """
    begin = info.start(noise, way.sigmas[0])
    told = all(each.beside == "inpaint" for each in (spec, refiner) if each is not None)
    keeps = canvas.mask is not None and (request.soft or not told)
    if canvas.latent is not None:
        return Start(state=begun(canvas.latent, noise, way), denoise=denoise)
    if canvas.picture is None or (way.fresh and not keeps):
        return Start(state=begin, denoise=denoise)
    if canvas.mask is None or canvas.free is None:
        clean = yield from latent_of(canvas, canvas.picture, spec.vae.factor, noise, network, vae)
        return Start(state=begun(clean, noise, way), denoise=denoise)
    mask = canvas.mask_part(canvas.free)
    picture = content(canvas.part(canvas.picture), mask, request.masked_content)
    clean = yield from latent_of(canvas, picture, spec.vae.factor, noise, network, vae)
    strengths = cells(mask, spec.vae.factor).to(noise.device)
    free = soft(strengths) if request.soft else hard(strengths)
    state = begun(latent_content(clean, strengths, noise, request.masked_content), noise, way)
    if way.fresh:
        first = Moment(way.sigmas[0], 0, len(way.sigmas) - 1)
        state = torch.where(free(first), begin, state)
    if not keeps:
        return Start(state=state, denoise=denoise)
    return Start(
        state=state, denoise=kept(denoise, clean, free), settle=lambda latent: torch.where(strengths > 0, latent, clean)
    )


def latent_of(
    canvas: Canvas, picture: Tensor, factor: int, like: Tensor, network: str, vae: str
) -> Generator[Ask, Any, Tensor]:
    """The latent of a picture [3, H, W] on a canvas, of as many cells as `like`; resized itself where that was asked for."""
    if canvas.unfitted is None:
        latent: Tensor = yield EncodePicture(whole_cells(picture, factor), network=network, vae=vae)
        return latent
    height, width = canvas.unfitted.shape[-2:]
    own = resized(canvas.unfitted, rounded_up(width, factor), rounded_up(height, factor))
    latent = yield EncodePicture(own, network=network, vae=vae)
    return interpolate(latent[None], size=like.shape[-2:], mode="bilinear", align_corners=False)[0]
