"""Upscalers as sources of weights: the door for whoever holds one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from webui.errors import ModelFileError
from webui.nets.upscaler_spec import UpscalerSpec
from webui.weights.files import read_header
from webui.weights.plans import places_of
from webui.weights.source import Source
from webui.weights.upscaler_layouts import PART, described, title, upscaler_weights


@dataclass(frozen=True, kw_only=True, eq=False)
class UpscalerSource(Source):
    """A network that enlarges pictures, the part "upscaler": what `build` makes is a `webui.nets.upscaler.Upscaler`."""

    spec: UpscalerSpec
    title: str

    @property
    def scale(self) -> int:
        """How many times as wide and as high its results are."""
        return self.spec.scale


def open_upscaler(path: Path) -> UpscalerSource:
    """Open a file with an upscaler of the ESRGAN family; no weight is read.

    Raises `ModelFileError`, one sentence that says what is wrong with the file or what else it is.
    """
    header = read_header(path)
    try:
        found = described(header, path)
        places = places_of({PART: dict(upscaler_weights(found.spec))}, found.offers)
    except ModelFileError as error:
        raise ModelFileError(f"{path.name}: {error}") from error
    return UpscalerSource(
        path=path, specs={PART: found.spec}, places=places, stamps={path: header.stamp}, spec=found.spec, title=title(found.spec)
    )
