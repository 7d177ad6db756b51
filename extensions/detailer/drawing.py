"""Parts of a picture drawn again, one after the other: each is inpainted by itself, at the size of a whole picture."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from webui.extension import Ask, Job, Picture, Request, Stopped, UserError, quoted

from .regions import WHITE

SEEDS = 2**64


def redrawn(job: Job, picture: Picture) -> Generator[Ask, Any, Picture]:
    """The picture with what its detector finds drawn again; what was drawn before an interruption is kept."""
    values = job.values
    detector = job.detectors.get(values["detector"])
    if detector is None:
        job.tell(f"The detailer finds nothing by {quoted(values['detector'])}: no extension that is loaded has such a detector.")
        return picture
    found = chosen((yield from detector(job, picture)), values, picture.pixels)
    if not found:
        job.tell("The detailer found nothing to draw again; lower its least confidence or its smallest part.")
        return picture
    pixels = picture.pixels
    for index, part in enumerate(found):
        try:
            made = yield from job.generate(request_of(job, index), {"picture": opaque_bytes(pixels), "mask": part})
        except Stopped:  # interrupted: what was drawn so far stays
            break
        pixels = made.pixels
    return replace(picture, pixels=pixels, latent=None)


def chosen(masks: object, values: Mapping[str, Any], pixels: Tensor) -> list[Tensor]:
    """The parts [H, W], 0 or 1, that count: sure and large enough, the first so many. `UserError` where they are no masks."""
    if not isinstance(masks, Tensor) or masks.dim() != 3 or masks.shape[1:] != pixels.shape[1:]:
        raise UserError(
            f"The detector {quoted(values['detector'])} answered with something else than masks of the picture's size; choose "
            "another one."
        )
    masks = masks.detach().cpu().float()
    least = values["smallest"] / 100 * masks[0].numel() if len(masks) else 0
    found = []
    for mask in masks:
        sure = float(mask.max())
        part = (mask > WHITE * sure).float()
        if sure > 0 and sure >= values["confidence"] and float(part.sum()) >= max(least, 1):
            found.append(part)
    return found[: values["most"]]


def request_of(job: Job, index: int) -> Request:
    """How a part is drawn: as the picture was, but as a part of one, and with what was set for it."""
    own, values = job.request, job.values
    side = values["size"]
    kept = {name: told for name, told in own.extensions.items() if not told.get("values")}
    return replace(
        own, task="inpaint", extensions=kept, hires={}, inputs={}, loops=1, count=1, tiling=False, soft=False,
        prompt=values["prompt"] or own.prompt, negative=values["negative"] or own.negative, prompts=(), negatives=(),
        strength=values["strength"], all_steps=False, steps=values["steps"] or own.steps, seed=(own.seed + index) % SEEDS,
        width=side or own.width, height=side or own.height, seed_width=None, seed_height=None, mask_mode="Inpaint masked",
        mask_grow=values["grow"], mask_blur=values["blur"], masked_content="original", area="Only masked",
        padding=values["padding"], resize_mode="Just resize", outpaint_left=0, outpaint_right=0, outpaint_top=0,
        outpaint_bottom=0, refiner="",
    )  # fmt: skip


def opaque_bytes(pixels: Tensor) -> Tensor:
    """A picture [3, H, W] in [0, 1] as one that was brought, uint8 RGBA [4, H, W]."""
    colours = (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    return torch.cat([colours, torch.full_like(colours[:1], 255)])
