"""ControlNets as sources of weights: the door for whoever holds one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from webui.errors import ModelFileError
from webui.nets.controlnet_spec import ControlSpec
from webui.weights.controlnet_layouts import PART, control_weights, described, title
from webui.weights.files import read_header
from webui.weights.plans import places_of
from webui.weights.source import Source


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlSource(Source):
    """A ControlNet, the part "controlnet": what `build` makes is a `webui.nets.controlnet.ControlNet`."""

    spec: ControlSpec
    title: str


def open_controlnet(path: Path) -> ControlSource:
    """Open a file with a ControlNet of Stable Diffusion 1, 2 or XL, in any of its layouts; no weight is read.

    Raises `ModelFileError`, one sentence that says what is wrong with the file or what else it is.
    """
    header = read_header(path)
    try:
        found = described(header, path)
        places = places_of({PART: dict(control_weights(found.spec))}, found.offers)
    except ModelFileError as error:
        raise ModelFileError(f"{path.name}: {error}") from error
    return ControlSource(
        path=path, specs={PART: found.spec}, places=places, stamps={path: header.stamp}, spec=found.spec, title=title(found.spec)
    )
