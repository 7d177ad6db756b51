"""What people can ask for besides a picture from text: a picture from a picture, of a part of one, to a depth map, larger.

Each task is a dataclass of parameters; the pictures it starts from are not among them, but named inputs of its request:
`picture` (img2img, inpaint, extras; depth: where the map is estimated from, and what is noised below strength 1), `sketch` (drawn
over the picture), `mask` (white is changed), `depth` (a depth map, white is near).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from webui.drawing import Drawing, Txt2Img
from webui.params import AUTOMATIC, LARGEST_SIDE, NONE, Params, check_size, param

LARGEST_OUTPAINT = 2048  # pixels a side
A1111, DIFFUSERS = "A1111", "diffusers"
STRETCH, CROP, FILL, LATENT = "Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)"
MASKED, NOT_MASKED = "Inpaint masked", "Inpaint not masked"
FILLED, ORIGINAL, LATENT_NOISE, LATENT_NOTHING = "fill", "original", "latent noise", "latent nothing"
WHOLE, ONLY_MASKED = "Whole picture", "Only masked"
OWN_ESTIMATOR = "Model's own"  # the estimator inside a depth checkpoint's file
LANCZOS, NEAREST = "Lanczos", "Nearest"
LATENT_UPSCALES: Mapping[str, tuple[str, bool]] = MappingProxyType({
    "Latent": ("bilinear", False), "Latent (antialiased)": ("bilinear", True), "Latent (bicubic)": ("bicubic", False),
    "Latent (bicubic antialiased)": ("bicubic", True), "Latent (nearest)": ("nearest", False),
    "Latent (nearest-exact)": ("nearest-exact", False),
})  # fmt: skip
"""How a latent is enlarged without being decoded: the filter, and whether it is widened where it makes smaller."""
INPUTS = ("picture", "sketch", "mask", "depth")


@dataclass(frozen=True, kw_only=True)
class Img2Img(Drawing):
    """The parameters of a picture from a picture."""

    width: int | None = param(
        None, "Width", min=16, max=LARGEST_SIDE, step=1, unset="as the picture", infotext="Size-1",
        help="In pixels. Where neither side is given, the picture keeps its shape, at the size the model is made for.")
    height: int | None = param(
        None, "Height", min=16, max=LARGEST_SIDE, step=1, unset="as the picture", infotext="Size-2", help="In pixels.")
    scale_by: float | None = param(
        None, "Resize by", min=0.05, max=4, step=0.05, unset="by width and height",
        help="The size as a multiple of the picture's own; it counts where no width and height are given.")
    resize_mode: str = param(
        STRETCH, "Resize mode", one_of=(STRETCH, CROP, FILL, LATENT), infotext="Resize mode", unwritten=STRETCH,
        help="How a picture of another shape is fitted: stretched, cropped, or whole with its edges continued; or as a latent.")
    strength: float = param(
        0.75, "Denoising strength", min=0, max=1, step=0.01, infotext="Denoising strength",
        help="How much of the picture is made anew: 0 returns it unchanged, 1 takes nothing from it.")
    convention: str = param(
        A1111, "Strength convention", one_of=(A1111, DIFFUSERS), infotext="Strength convention", unwritten=A1111,
        help="Which noise level a strength means: that of A1111's web UI, or diffusers', one step lower.")
    all_steps: bool = param(
        False, "Run all steps", infotext="Run all steps",
        help="Take as many steps as set, however low the strength; else strength times as many.")
    loops: int = param(
        1, "Loops", min=1, max=32, step=1, infotext="Loops", unwritten="1",
        help="How often the result is put in again; what comes out at last is kept.")


@dataclass(frozen=True, kw_only=True)
class Inpaint(Img2Img):
    """The parameters of a picture made anew in part."""

    mask_mode: str = param(
        MASKED, "Mask mode", one_of=(MASKED, NOT_MASKED), infotext="Mask mode", unwritten=MASKED,
        help="Whether what is painted over is made anew, or everything else.")
    mask_grow: int = param(
        0, "Mask grow", min=-256, max=256, step=1, infotext="Mask grow", unwritten="0",
        help="Pixels by which the mask's edge is moved outwards, before it is blurred; inwards below 0.")
    mask_blur: int = param(
        4, "Mask blur", min=0, max=64, step=1, infotext="Mask blur",
        help="Pixels over which old and new go over into each other.")
    masked_content: str = param(
        ORIGINAL, "Masked content", one_of=(FILLED, ORIGINAL, LATENT_NOISE, LATENT_NOTHING), infotext="Masked content",
        unwritten=ORIGINAL,
        help="What stands under the mask to begin with: the colours around it, what is there, noise, or nothing.")
    area: str = param(
        WHOLE, "Inpaint area", one_of=(WHOLE, ONLY_MASKED), infotext="Inpaint area", unwritten=WHOLE,
        help="Whether the model sees the whole picture, or only the masked part of it, enlarged to its size.")
    padding: int = param(
        32, "Only masked padding", min=0, max=256, step=4, infotext="Masked area padding", unwritten="32",
        help="Pixels around the masked part that the model sees too.")
    soft: bool = param(
        False, "Soft inpainting", infotext="Soft inpainting",
        help="A grey mask is a strength for each pixel (differential diffusion).")
    outpaint_left: int = param(
        0, "Outpaint left", min=0, max=LARGEST_OUTPAINT, step=1, infotext="Outpaint left", unwritten="0",
        help="Pixels to add.")
    outpaint_right: int = param(
        0, "Outpaint right", min=0, max=LARGEST_OUTPAINT, step=1, infotext="Outpaint right", unwritten="0",
        help="Pixels to add.")
    outpaint_top: int = param(
        0, "Outpaint top", min=0, max=LARGEST_OUTPAINT, step=1, infotext="Outpaint top", unwritten="0",
        help="Pixels to add.")
    outpaint_bottom: int = param(
        0, "Outpaint bottom", min=0, max=LARGEST_OUTPAINT, step=1, infotext="Outpaint bottom", unwritten="0",
        help="Pixels to add.")


@dataclass(frozen=True, kw_only=True)
class Depth(Img2Img):
    """The parameters of a picture that follows a depth map."""

    strength: float = param(
        1.0, "Denoising strength", min=0, max=1, step=0.01, infotext="Denoising strength",
        help="How much of the picture is made anew: at 1 only its depth is taken over.")
    estimator: str = param(
        AUTOMATIC, "Depth estimator", choices="estimators", infotext="Depth estimator",
        help="What makes a map of the picture where none is given; None draws without a map.")
    depth_invert: bool = param(
        False, "Invert depth", infotext="Invert depth", help="For maps in which black is near.")
    depth_near: float = param(
        1.0, "Near clip", min=0, max=1, step=0.01, infotext="Near clip", unwritten="1",
        help="The brightness of the map at which everything is as near as can be.")
    depth_far: float = param(
        0.0, "Far clip", min=0, max=1, step=0.01, infotext="Far clip", unwritten="0",
        help="The brightness of the map at which everything is as far as can be.")


@dataclass(frozen=True, kw_only=True)
class Extras(Params):
    """The parameters of a larger picture."""

    upscaler: str = param(LANCZOS, "Upscaler", choices="upscalers", infotext="Postprocess upscaler",
        help="What enlarges the picture.")
    upscaler_2: str = param(
        NONE, "Second upscaler", choices="upscalers", infotext="Postprocess upscaler 2", unwritten=NONE,
        help="Another one, whose result is mixed in.")
    visibility_2: float = param(
        0.0, "Second upscaler visibility", min=0, max=1, step=0.01, infotext="Postprocess upscaler 2 visibility", unwritten="0",
        help="How much of the second one's result is seen.")
    scale_by: float | None = param(
        2.0, "Scale by", min=1, max=8, step=0.05, unset="by width and height", infotext="Postprocess upscale by",
        help="How many times as large; it counts where no width and height are given.")
    width: int | None = param(
        None, "Width", min=16, max=LARGEST_SIDE, step=1, unset="by scale", infotext="Postprocess upscale to-1",
        help="In pixels.")
    height: int | None = param(
        None, "Height", min=16, max=LARGEST_SIDE, step=1, unset="by scale", infotext="Postprocess upscale to-2",
        help="In pixels.")
    crop: bool = param(True, "Crop to fit", infotext="Postprocess crop to fit", unwritten="True",
        help="Where both sides are given: cut off what does not fit, else keep all of it inside.")

    def check_together(self) -> None:
        """A picture has at most `MOST_PIXELS` pixels."""
        check_size(self.width, self.height)


TASKS: Mapping[str, type[Params]] = MappingProxyType(
    {"txt2img": Txt2Img, "img2img": Img2Img, "inpaint": Inpaint, "depth": Depth, "extras": Extras}
)
"""By the name that a request, a tab and a command have for it."""
EXTRAS = "extras"
MAP = "map"  # a depth map alone, by the parameters of `Depth`
TAKES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "txt2img": (), "img2img": ("picture", "sketch"), "inpaint": ("picture", "sketch", "mask"),
    "depth": ("picture", "sketch", "depth"), "extras": ("picture",), MAP: ("picture", "sketch", "depth"),
})  # fmt: skip
"""The inputs that each task may be given."""


def task_of(params: Params) -> str:
    """The task whose parameters these are."""
    names = {kind: name for name, kind in TASKS.items()}
    return next(names[kind] for kind in type(params).__mro__ if kind in names)  # an extension's parameters make a class of it
