"""The second pass of a picture that is drawn small first (hires fix): what was set for it, with nothing left open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from webui.drawing import SAME_SCHEDULE, Txt2Img
from webui.errors import UserError
from webui.params import AUTOMATIC, LARGEST_SIDE, MOST_PIXELS, NONE, parameters
from webui.request import FileFacts, Request, SamplerFacts
from webui.service.sizes import MULTIPLE, Size

SCALE = 2.0  # where no size was said
STRENGTH = 0.7
TARGET = ("to_width", "to_height", "scale_by")


def is_wanted(params: Txt2Img) -> bool:
    """Whether a picture is drawn twice."""
    return said(params.hires_upscaler, NONE) != ""


def said(value: str, default: str) -> str:
    """What was chosen, "" where that is what is taken anyway."""
    stripped = value.strip()
    return "" if stripped.casefold() == default.casefold() else stripped


def resolved(params: Txt2Img, request: Request, upscaler: FileFacts, sampler: SamplerFacts, model: FileFacts) -> Request:
    """The request with its second pass, of which the files and the sampler are known; `UserError` where it would be too large.

    Its size is open where that of the first pass is.
    """
    named = (name for name, each in parameters(params).items() if each.option and name in sampler.options)
    options = {name: value for name in named if (value := getattr(params, name)) is not None}
    sides = params.hires_width is not None or params.hires_height is not None
    own = {
        "upscaler": upscaler.name, "upscaler_hash": upscaler.hash,
        "scale_by": None if sides else params.hires_scale or SCALE,
        "to_width": params.hires_width, "to_height": params.hires_height,
        "steps": params.hires_steps or request.steps,
        "strength": STRENGTH if params.hires_strength is None else params.hires_strength,
        "sampler": sampler.name, "schedule": sampler.schedule,
        "sampler_options": options,
        "scale": request.scale if params.hires_cfg is None else params.hires_cfg,
        "prompt": params.hires_prompt, "negative": params.hires_negative,
        "model": model.name, "model_hash": model.hash, "override": dict(model.override),
    }  # fmt: skip
    return sized(replace(request, hires=own))


def sized(request: Request) -> Request:
    """The request whose second pass has the size that follows from that of the first; `UserError` where it would be too large."""
    if not request.hires:
        return request
    first = request.width, request.height
    full, kept = sizes_of(request.hires, first) if all(first) else (first, first)
    return replace(request, hires={
        **request.hires, "width": kept[0], "height": kept[1], "full_width": full[0], "full_height": full[1],
    })  # fmt: skip


def sizes_of(target: Mapping[str, Any], first: Size) -> tuple[Size, Size]:
    """What a picture is enlarged to, and what of that is kept, as A1111 counts it: by a scale, one side, or both.

    Where both sides are given, the picture is made large enough for both and what is beyond is cut off. What is kept is counted
    in whole cells of the latent.
    """
    width, height = first
    to_width, to_height, scale = (target[name] for name in TARGET)
    if scale is not None:
        full = int(width * scale), int(height * scale)
    elif to_height is None or (to_width is not None and width * to_height < to_width * height):
        full = to_width, to_width * height // width
    else:
        full = to_height * width // height, to_height
    if max(full) > LARGEST_SIDE or full[0] * full[1] > MOST_PIXELS or min(full) < MULTIPLE:
        raise UserError(
            f"The picture of {width:,}x{height:,} would be enlarged to {full[0]:,}x{full[1]:,} for its second pass; a side must "
            f"have {MULTIPLE} to {LARGEST_SIDE:,} pixels, and all of it at most {MOST_PIXELS:,}: set another scale or size."
        )
    beyond = (0, 0) if to_width is None or to_height is None else (full[0] - to_width, full[1] - to_height)
    kept_width, kept_height = ((side // MULTIPLE - more // MULTIPLE) * MULTIPLE for side, more in zip(full, beyond, strict=True))
    return full, (kept_width, kept_height)


def same_schedule(params: Txt2Img, request: Request, automatic: str, *, own: bool) -> str:
    """Which schedule another sampler is given for "the same": that of the first pass, as far as somebody chose it.

    `automatic` is what the first pass's sampler takes where nobody did; then the other one takes its own, as it does where its
    name holds one (`own`).
    """
    if chosen := said(params.hires_schedule, SAME_SCHEDULE):
        return chosen
    if own:
        return AUTOMATIC
    left = said(params.schedule, AUTOMATIC) == "" and request.schedule == automatic
    return AUTOMATIC if left else request.schedule


def completed(request: Request, second: Request) -> Request:
    """The request whose `second` pass was completed by itself."""
    model = {"model_hash": second.model_hash, "override": dict(second.override)} if request.hires["model"] else {}
    return replace(request, hires={**request.hires, "upscaler_hash": second.upscaler_hash, **model})
