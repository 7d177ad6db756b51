"""Quick looks at latents: each model's own linear map, which its file carries or its autoencoder shows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from webui.errors import ModelFileError
from webui.pipeline.preview import Preview, fit_preview
from webui.request import Request
from webui.weights import remembered
from webui.weights.families import PREVIEW_KEY, detect
from webui.weights.headers import read_header

LOGGER = logging.getLogger(__name__)
FITTED = "previews.json"  # in the cache folder: maps by the hashes of their models
SIDE = 64  # pixels of a picture that a map is fitted to: Stable Diffusion's autoencoder takes 0.1 s for it on a CPU
PICTURES = 8
PATCHES = 4  # a side, each of another colour
WORST = 0.14  # the error that a map may have, in colours from 0 to 1; one that always says grey has 0.2
Encode = Callable[[Request, Tensor], Tensor]


def preview_of(path: Path) -> Preview | None:
    """The map in a checkpoint's metadata; None where it has none or none that fits its latents, for a picture is worth more."""
    try:
        header = read_header(path)
        preview = Preview.from_json(json.loads(header.metadata[PREVIEW_KEY]))
        return preview if len(preview.matrix[0]) == detect(header).vae.latent_channels else None
    except (KeyError, ValueError, RecursionError, ModelFileError):
        return None


def fitted(encode: Callable[[Tensor], Tensor]) -> Preview:
    """The map that fits an autoencoder best: `encode` gives the latent [C, h, w] of a picture [3, H, W]."""
    pictures = list(colour_pictures())
    latents = torch.stack([encode(each).float().cpu() for each in pictures])
    height, width = latents.shape[-2:]
    return fit_preview(latents, functional.adaptive_avg_pool2d(torch.stack(pictures), (height, width)))


def colour_pictures() -> Iterator[Tensor]:
    """Pictures [3, H, W] of patches in all colours, the same every time: sharp ones, and ones that run into each other."""
    colours = torch.rand(PICTURES, 3, PATCHES, PATCHES, generator=torch.Generator().manual_seed(1))
    for number, patches in enumerate(colours):
        if number % 2:
            yield functional.interpolate(patches[None], SIDE, mode="bilinear", align_corners=False)[0]
        else:
            yield functional.interpolate(patches[None], SIDE, mode="nearest")[0]


class Previews:
    """Turns a latent of a request's model into colours, uint8 [h, w, 3]; None for models without a map that is good enough.

    Where a file carries none, one is fitted the first time that somebody looks, with `encode(request, picture)`, the model's own
    autoencoder; `memory`, a JSON file, keeps it.
    """

    def __init__(self, path_of: Callable[[str], Path], encode: Encode | None = None, memory: Path | None = None) -> None:
        self._path_of = path_of
        self._encode = encode
        self._memory = memory
        self._known: dict[str, Preview | None] = {}

    def __call__(self, request: Request, latent: Tensor) -> Tensor | None:
        if not request.model:  # nor are there latents
            return None
        override = json.dumps(dict(request.override), sort_keys=True) if request.override else ""
        model = f"{request.model_hash or request.model}{override}"  # by hash, for a file may be replaced by another
        if model not in self._known:
            self._known[model] = None  # also where the following fails, so that it is not tried for every picture
            self._known[model] = preview_of(self._path_of(request.model)) or self._fitted(model, request)
        preview = self._known[model]
        return None if preview is None or len(preview.matrix[0]) != latent.shape[0] else preview(latent)

    def _fitted(self, model: str, request: Request) -> Preview | None:
        encode = self._encode
        if encode is None:
            return None
        found = self._kept(model)
        if found is None:
            found = fitted(lambda picture: encode(request, picture))
            LOGGER.info("Fitted a preview to %s: its error is %.3f, and may be %.2f.", request.model, found.error, WORST)
            if request.model_hash:
                remembered.add(self._memory, {model: asdict(found)})
        return found if found.error <= WORST else None

    def _kept(self, model: str) -> Preview | None:
        """The map in the memory; None where there is none that makes sense."""
        kept = remembered.read(self._memory).get(model)
        try:
            return Preview.from_json(kept) if isinstance(kept, dict) else None
        except ValueError:
            return None
