"""Between the two passes of a picture that is drawn small first (hires fix): it is enlarged, and steps are counted on."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, TypeVar

from torch import Tensor
from torch.nn.functional import interpolate

from webui.pipeline.canvas import Canvas
from webui.pipeline.loops import changed
from webui.pipeline.pictures import Fit, in_bytes
from webui.pipeline.protocol import Ask, Decode, EncodePicture, Interrupted, Read, Step
from webui.pipeline.seamless import fit_of_wrapped, wrapped
from webui.pipeline.upscale import OVERLAP, by_one, places
from webui.request import Request
from webui.tasks import LANCZOS, LATENT_UPSCALES, NEAREST, STRETCH

T = TypeVar("T")


class Stages:
    """The stages of one picture, whose steps are told to whoever watches as one row. One generation owns it.

    `expected` says how many steps each is expected to take.
    """

    def __init__(self, *expected: int) -> None:
        self._left = list(expected)
        self._before = 0
        self._here = 0

    def next(self, generation: Generator[Ask, Any, T], shown: Tensor | None = None) -> Generator[Ask, Any, T]:
        """The next stage: the same asks and result. `shown` is what there is to be seen meanwhile, where it makes no latents.

        An interruption before the first step of a stage finds nothing in it: what was predicted last belongs to the one before.
        """
        self._before, self._here = self._before + self._here, 0
        self._left = self._left[1:]

        def change(ask: Ask) -> Ask:
            if not isinstance(ask, Step):
                return ask
            self._here = ask.at.step + 1
            steps = None if ask.at.steps is None else self._before + ask.at.steps + sum(self._left)
            told = replace(ask, at=replace(ask.at, step=self._before + ask.at.step, steps=steps))
            return told if shown is None else replace(told, x=shown, denoised=shown)

        return changed(generation, change, lambda early: Interrupted(early.latent if self._here and shown is None else None))


def steps_between(request: Request, upscaler: str) -> int:
    """About how many steps enlarging takes: the tiles that a network is shown at first."""
    if upscaler in (*LATENT_UPSCALES, LANCZOS, NEAREST):
        return 0
    margin = 2 * OVERLAP if request.tiling else 0
    return len(places(request.height + margin)) * len(places(request.width + margin))


def enlarged_latent(
    latent: Tensor, request: Request, upscaler: str, factor: int, *, network: str, later: str, vae: str
) -> Generator[Ask, Any, Tensor]:
    """A latent [C, h, w] of the first pass as the second one begins with it, unless the second shows other ones: larger.

    Either the latent itself is resized, or the picture it stands for is, by a network or a filter (`upscaler`); `network` and
    `later` name the models of the two passes. As A1111 has it, what is beyond the size is cut off the latent, in the middle.
    """
    width, height = request.hires["full_width"], request.hires["full_height"]
    down, across = height // factor, width // factor
    if upscaler in LATENT_UPSCALES:
        large = resized_latent(latent, down, across, upscaler, circular=request.tiling)
    else:
        picture = yield Decode(latent, network=network, vae=vae)
        own: Tensor = yield Read(picture)
        enlarged = yield from enlarged_picture(own, width, height, upscaler, circular=request.tiling)
        large = yield EncodePicture(enlarged[..., : down * factor, : across * factor], network=later, vae=vae)
    return middle(large, request.hires["height"] // factor, request.hires["width"] // factor)


def told_larger(second: Request, first: Request) -> Request:
    """The second pass's request as texts are read for it: SDXL is told the size before anything is cut off, as A1111 has it."""
    return replace(second, width=first.hires["full_width"], height=first.hires["full_height"])


def enlarged_canvas(second: Request, latent: Tensor) -> Canvas:
    """What the second pass draws on."""
    return Canvas(width=second.width, height=second.height, latent=latent)


def resized_latent(latent: Tensor, height: int, width: int, name: str, *, circular: bool = False) -> Tensor:
    """A latent [C, h, w] of another size, by one of `LATENT_UPSCALES`; a circular one goes on at its opposite edges."""
    mode, antialias = LATENT_UPSCALES[name]
    # Three times itself in both directions is enlarged to three times the size: the same scale, and neighbours at every edge.
    times = 3 if circular else 1
    whole = latent[None].repeat(1, 1, times, times)
    large = interpolate(whole, size=(times * height, times * width), mode=mode, antialias=antialias)[0]
    return large[..., height : 2 * height, width : 2 * width].contiguous() if circular else large


def enlarged_picture(
    picture: Tensor, width: int, height: int, upscaler: str, *, circular: bool = False
) -> Generator[Ask, Any, Tensor]:
    """A picture float32 [3, H, W] in [0, 1] on the host, of another size; networks see it tile by tile, as bytes say it."""
    own = in_bytes(picture)
    own_height, own_width = own.shape[-2:]
    fit = Fit.of(STRETCH, width, height, own_width, own_height)
    if circular:
        own, fit = wrapped(own, OVERLAP), fit_of_wrapped(width, height, own_width, own_height, OVERLAP)
    scale = max(width / own_width, height / own_height)
    return (yield from by_one(upscaler if scale > 1 or upscaler == NEAREST else LANCZOS, own, fit, scale))


def middle(latent: Tensor, height: int, width: int) -> Tensor:
    """The middle of a latent [C, h, w]; where that is between two cells, the one nearer to the beginning."""
    top, left = (latent.shape[-2] - height) // 2, (latent.shape[-1] - width) // 2
    return latent[..., top : top + height, left : left + width]
