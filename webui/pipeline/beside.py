"""What a noise predictor is shown beside the latent: a depth map, or a mask and the picture without what is masked."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from webui.errors import UserError
from webui.nets.spec import ModelSpec
from webui.pipeline.canvas import Canvas
from webui.pipeline.depth import depth_channel
from webui.pipeline.inpaint import hidden
from webui.pipeline.masks import GREY, cells
from webui.pipeline.model import Model
from webui.pipeline.pictures import whole_cells
from webui.pipeline.protocol import Ask, EncodePicture


def beside(
    spec: ModelSpec, canvas: Canvas, depth: Tensor | None, height: int, width: int, *, network: str, vae: str, device: str
) -> Generator[Ask, Any, Tensor | None]:
    """The channels [K, h, w] that a model of `spec` takes behind a latent of so many cells; None for a model that takes none.

    Every such model works without what it was made for: a depth network without a map, and an inpainting network makes all of a
    picture anew, as latent diffusion has it with everything masked. `network` and `vae` name whose autoencoder it is.
    """
    if spec.beside == "depth":
        return depth_channel(depth, spec, height, width, device)
    if spec.beside != "inpaint":
        return None
    factor = spec.vae.factor
    if canvas.picture is None or canvas.free is None:
        mask = torch.ones(1, height, width)
        shown = torch.full((3, height * factor, width * factor), GREY)
    else:
        free = canvas.mask_part(canvas.free)
        mask = (cells(free, factor) > 0).float()
        shown = whole_cells(hidden(canvas.part(canvas.picture), free), factor)
    latent = yield EncodePicture(shown, network=network, vae=vae)
    return torch.cat([mask.to(device), latent])


def check_beside(model: Model, task: str) -> None:
    """Raise `UserError` for a model that a task cannot be done with."""
    kind = model.spec.beside
    if kind in ("edit", "unknown"):
        raise UserError(
            f"The model {model.name!r} ({model.spec.title}) wants something beside the noise that cannot be given yet "
            f"({model.spec.unet.in_channels} channels). Choose another model."
        )
    if task == "depth" and kind != "depth":
        raise UserError(
            f"The model {model.name!r} ({model.spec.title}) takes no depth map. Choose a depth model, such as the built-in one, "
            "or use img2img."
        )
