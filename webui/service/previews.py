"""Quick looks at latents: each model's own linear map, which its file carries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from webui.errors import ModelFileError
from webui.pipeline.preview import Preview
from webui.request import Request
from webui.weights.families import PREVIEW_KEY
from webui.weights.files import read_header


def preview_of(path: Path) -> Preview | None:
    """The map in a checkpoint's metadata; None where it has none or none that makes sense, for a picture is worth more."""
    try:
        return Preview.from_json(json.loads(read_header(path).metadata[PREVIEW_KEY]))
    except (KeyError, ValueError, ModelFileError):
        return None


class Previews:
    """Turns a latent of a request's model into colours, uint8 [h, w, 3]; None for models without a map."""

    def __init__(self, path_of: Callable[[str], Path]) -> None:
        self._path_of = path_of
        self._known: dict[str, Preview | None] = {}

    def __call__(self, request: Request, latent: Tensor) -> Tensor | None:
        if request.model not in self._known:
            self._known[request.model] = preview_of(self._path_of(request.model))
        preview = self._known[request.model]
        return None if preview is None else preview(latent)
