"""What is drawn and what becomes of it: an empty canvas, a picture fitted to a size, or a masked part of one, enlarged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Self

from torch import Tensor

from webui.pipeline.given import Given
from webui.pipeline.inpaint import seen
from webui.pipeline.masks import blurred, bounds, grown, surroundings
from webui.pipeline.pictures import (
    SMOOTH,
    Box,
    Fit,
    blended,
    continued,
    framed,
    laid_over,
    opaque,
    present,
    unit,
)
from webui.request import Request
from webui.tasks import FILL, LATENT, NOT_MASKED, ONLY_MASKED


@dataclass(frozen=True, kw_only=True, eq=False)
class Canvas:
    """`width` x `height` pixels to draw on.

    `picture` float32 [3, H, W] in [0, 1] is what the result is where nothing is made anew, None for nothing. `unfitted` is what
    it was before it was resized, where that is to happen to its latent. `mask` [H, W] says how much of what is new is seen, and
    `free` what may change at all: before it was blurred, or as a strength of each pixel; None for all of it. `box` is the part of
    the picture that is drawn, and `fit` how it lies on the canvas; None for all of it as it is. `latent` [C, h, w] is
    what is drawn on where that is no picture.
    """

    width: int
    height: int
    picture: Tensor | None = None
    unfitted: Tensor | None = None
    mask: Tensor | None = None
    free: Tensor | None = None
    box: Box | None = None
    fit: Fit | None = None
    latent: Tensor | None = None

    @property
    def untouched(self) -> bool:
        """Whether the mask lets nothing be made anew."""
        return self.mask is not None and not bool((self.mask > 0).any())

    def part(self, whole: Tensor) -> Tensor:
        """What of a picture of the result's size lies on the canvas."""
        return whole if self.fit is None else self.fit(_cut(whole, self.box))

    def mask_part(self, whole: Tensor) -> Tensor:
        """What of a mask of the result's size lies on the canvas."""
        return whole if self.fit is None else self.fit(_cut(whole, self.box), SMOOTH)

    def finished(self, drawn: Tensor) -> Tensor:
        """The result, from what was drawn [3, h, w] on the canvas or a little beyond its right and lower edges."""
        drawn = drawn[..., : self.height, : self.width]
        if self.picture is None or self.mask is None:
            return drawn
        if self.box is None or self.fit is None:
            return blended(self.picture, drawn, self.mask)
        left, top, right, bottom = self.box
        part = blended(
            _cut(self.picture, self.box), self.fit.back(drawn, right - left, bottom - top), _cut(self.mask, self.box)
        )
        result = self.picture.clone()
        result[..., top:bottom, left:right] = part
        return result

    def again(self, result: Tensor) -> Self:
        """The canvas for a result that is put in once more."""
        return replace(self, picture=result, unfitted=None)


def empty(request: Request, given: Given) -> Canvas:  # noqa: ARG001
    """A canvas with nothing on it."""
    return Canvas(width=request.width, height=request.height)


def of_picture(request: Request, given: Given) -> Canvas:
    """A picture with its drawing on it, on white paper and fitted to the size."""
    own = opaque(laid_over(present(given.picture), given.sketch))
    fit = Fit.of(request.resize_mode, request.width, request.height, own.shape[-1], own.shape[-2])
    unfitted = unit(own) if request.resize_mode == LATENT and own.shape[-2:] != (request.height, request.width) else None
    return Canvas(width=request.width, height=request.height, picture=unit(fit(own)), unfitted=unfitted)


def of_depth(request: Request, given: Given) -> Canvas:
    """A picture that is made anew to its depth, or nothing but the size."""
    return empty(request, given) if given.picture is None else of_picture(request, given)


def of_masked(request: Request, given: Given) -> Canvas:
    """A picture of which the masked part is made anew.

    What is added at its sides is masked whole. Without a mask, what is transparent is. A mask of another size is fitted as if it
    had the picture's; everything after happens in pixels of the result.
    """
    picture = laid_over(present(given.picture), given.sketch)
    colours = picture[:3] if given.mask is None else opaque(picture)
    mask = 1 - unit(picture[3]) if given.mask is None else given.mask.float().clamp(0, 1)
    height, width = colours.shape[-2:]
    only = request.area == ONLY_MASKED
    fit = Fit.of(request.resize_mode, *((width, height) if only else (request.width, request.height)), width, height)
    colours, mask = fit(colours), fit(mask, SMOOTH)
    mask = 1 - mask if request.mask_mode == NOT_MASKED else mask
    more = request.outpaint_left, request.outpaint_top, request.outpaint_right, request.outpaint_bottom
    colours, mask = continued(colours, *more), framed(mask, *more, value=1.0)
    free = grown(mask, request.mask_grow)
    final = blurred(free, request.mask_blur)
    height, width = final.shape
    free, shown = (final, seen(final)) if request.soft else (free, final)
    whole = Canvas(width=width, height=height, picture=unit(colours), mask=shown, free=free)
    box = bounds(final)
    if not only or box is None:
        return whole
    box = surroundings(box, request.padding, request.width / request.height, width, height)
    fit = Fit.of(FILL, request.width, request.height, box[2] - box[0], box[3] - box[1])
    return replace(whole, width=request.width, height=request.height, box=box, fit=fit)


def _cut(whole: Tensor, box: Box | None) -> Tensor:
    if box is None:
        return whole
    left, top, right, bottom = box
    return whole[..., top:bottom, left:right]


CANVASES: Mapping[str, Callable[[Request, Given], Canvas]] = MappingProxyType(
    {"txt2img": empty, "img2img": of_picture, "inpaint": of_masked, "depth": of_depth}
)


def canvas_of(request: Request, given: Given) -> Canvas:
    """What a request's pictures are drawn on, whatever their seeds."""
    return CANVASES[request.task](request, given)
