"""How large a result becomes: from what was set, what the model is made for, and the shape of the picture it begins with."""

from __future__ import annotations

from webui.drawing import Drawing
from webui.errors import UserError
from webui.params import LARGEST_SIDE, MOST_PIXELS
from webui.request import Request
from webui.tasks import LATENT, ONLY_MASKED, Extras, Img2Img, Inpaint

MULTIPLE = 8  # pixels: what sides are rounded to where nobody said which
SMALLEST_NATIVE, SMALLEST = 64, 16  # pixels a side: chosen here, and what can be set
Size = tuple[int, int]  # width and height


def resolved(params: Drawing, native: int, shape: Size | None) -> Size:
    """Width and height of a task's result; `shape` is that of the picture it begins with, None where it begins with none.

    A side is 0 where only the model's own size, `native`, would tell, and that is 0 because it is not known yet.
    """
    if shape is None or not isinstance(params, Img2Img):
        return (native if params.width is None else params.width, native if params.height is None else params.height)
    if params.width is None and params.height is None and params.scale_by is None:
        alone = isinstance(params, Inpaint) and params.area == ONLY_MASKED
        return (native, native) if alone else at_native(native, shape)
    return _set(params, shape, params.scale_by)


def enlarged(params: Extras, shape: Size) -> Size:
    """Width and height of a picture made larger."""
    scale = Extras.scale_by if params.scale_by is None else params.scale_by
    return _set(params, shape, scale)


def at_native(native: int, shape: Size) -> Size:
    """A shape with as many pixels as the model is made for, both sides rounded; (0, 0) where that is not known."""
    if not native:
        return 0, 0
    stretch = (shape[0] / shape[1]) ** 0.5
    sides = (round(side / MULTIPLE) * MULTIPLE for side in (native * stretch, native / stretch))
    width, height = (min(max(side, min(SMALLEST_NATIVE, native)), 4 * native) for side in sides)
    return width, height


def worked_at(request: Request, picture: Size | None) -> int:
    """How many pixels are worked at, at most: of the result, of the picture that a part is pasted into, or that is encoded.

    A picture that is drawn twice counts as large as it is enlarged to.
    """
    if request.hires:
        return max(_pixels(request.hires["full_width"], request.hires["full_height"]), _pixels(request.width, request.height))
    wider, higher = request.outpaint_left + request.outpaint_right, request.outpaint_top + request.outpaint_bottom
    if request.area != ONLY_MASKED:
        encoded = picture if request.resize_mode == LATENT and request.task in ("img2img", "depth") else None
        return max(_pixels(request.width + wider, request.height + higher), 0 if encoded is None else _pixels(*encoded))
    whole = 0 if picture is None else _pixels(picture[0] + wider, picture[1] + higher)
    return max(_pixels(request.width, request.height), whole)


def _pixels(width: int, height: int) -> int:
    """The pixels of a picture whose sides are made multiples of what a latent's pixel covers."""
    return (width + -width % MULTIPLE) * (height + -height % MULTIPLE)


def _set(params: Img2Img | Extras, shape: Size, scale: float | None) -> Size:
    """The sides that were set; one that was not follows from the other by the picture's shape, both from the scale."""
    if params.width is not None or params.height is not None:
        width = params.width if params.width is not None else round((params.height or 0) * shape[0] / shape[1])
        height = params.height if params.height is not None else round((params.width or 0) * shape[1] / shape[0])
    else:
        width, height = (max(round(side * (scale or 1.0)), 1) for side in shape)
    smallest = 1 if isinstance(params, Extras) and not (params.width or params.height) else SMALLEST
    if min(width, height) < smallest or max(width, height) > LARGEST_SIDE or width * height > MOST_PIXELS:
        raise UserError(
            f"The picture has {shape[0]:,}x{shape[1]:,} pixels, so it would become {width:,}x{height:,}; a side must have "
            f"{smallest} to {LARGEST_SIDE:,}, and all of it at most {MOST_PIXELS:,}: set another width, height or scale."
        )
    return width, height
