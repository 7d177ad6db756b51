"""Quick looks at latents: each model's own linear map, which its file carries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from webui.errors import ModelFileError
from webui.pipeline.preview import Preview
from webui.request import Request
from webui.weights.families import PREVIEW_KEY, detect
from webui.weights.headers import read_header


def preview_of(path: Path) -> Preview | None:
    """The map in a checkpoint's metadata; None where it has none or none that fits its latents, for a picture is worth more."""
    try:
        header = read_header(path)
        preview = Preview.from_json(json.loads(header.metadata[PREVIEW_KEY]))
        return preview if len(preview.matrix[0]) == detect(header).vae.latent_channels else None
    except (KeyError, ValueError, RecursionError, ModelFileError):
        return None


class Previews:
    """Turns a latent of a request's model into colours, uint8 [h, w, 3]; None for models without a map."""

    def __init__(self, path_of: Callable[[str], Path]) -> None:
        self._path_of = path_of
        self._known: dict[tuple[str, str], Preview | None] = {}  # by name and hash, for a file may be replaced by another

    def __call__(self, request: Request, latent: Tensor) -> Tensor | None:
        model = request.model, request.model_hash
        if model not in self._known:
            self._known[model] = preview_of(self._path_of(request.model))
        preview = self._known[model]
        return None if preview is None else preview(latent)
