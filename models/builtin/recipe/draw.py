"""Pictures by the shipped model, made as a user would: by the product's own engine, with default settings."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from webui.drawing import Txt2Img
from webui.engine import events
from webui.errors import JobError
from webui.service.decoding import facts_of
from webui.service.given import among
from webui.service.opening import open_engine
from webui.tasks import Depth

ROOT = Path(__file__).parents[3]
NAME = "builtin"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for: the parameters of a tab, and the files that go with them by what each is for."""

    params: Txt2Img
    files: Mapping[str, bytes] = field(default_factory=dict)


def draw_pictures(texts: Sequence[str], root: Path = ROOT) -> np.ndarray:
    """uint8 [N, 3, H, W], the picture of each text with the seed that is its place in the list, by the model below `root`.

    Raises:
        JobError: a picture could not be made.
    """
    asked = [Asked(params=Txt2Img(prompt=text, seed=place, model=NAME)) for place, text in enumerate(texts)]
    return np.stack([pixels_of(picture) for picture in draw(asked, root)])


def draw_from_maps(texts: Sequence[str], maps: np.ndarray, root: Path = ROOT) -> np.ndarray:
    """As `draw_pictures`, each from a depth map of [N, H, W], 0 (far) to 1 (near), given as a file with 16 bits a pixel."""
    asked = [
        Asked(params=Depth(prompt=text, seed=place, model=NAME), files={"depth": sixteen_bits(depth)})
        for place, (text, depth) in enumerate(zip(texts, maps, strict=True))
    ]
    return np.stack([pixels_of(picture) for picture in draw(asked, root)])


def draw(asked: Sequence[Asked], root: Path = ROOT) -> list[events.Picture]:
    """The one picture of each request, in order. Raises `JobError` where one could not be made."""
    contents = {digest_of(content): content for each in asked for content in each.files.values()}
    with open_engine(root, open_input=among(contents)) as service:
        jobs = []
        for each in asked:
            inputs = {name: facts_of(digest_of(content), content) for name, content in each.files.items()}
            jobs.append(service.engine.submit(service.resolver.request(each.params, inputs)))
        drawn = []
        for job in jobs:
            made = [event for event in service.engine.events(job) if isinstance(event, events.Picture | events.Failed)]
            if len(made) != 1 or isinstance(made[0], events.Failed):
                raise JobError(f"A picture of the evaluation could not be made: {made}.")
            drawn.append(made[0])
            service.engine.forget(job)
    return drawn


def pixels_of(picture: events.Picture) -> np.ndarray:
    """A picture's pixels, uint8 [3, H, W]."""
    return picture.pixels.transpose(2, 0, 1)


def digest_of(content: bytes) -> str:
    """The name of a file's content."""
    return hashlib.sha256(content).hexdigest()


def sixteen_bits(depth: np.ndarray) -> bytes:
    """A map [H, W] from 0 to 1 as a grey PNG of 16 bits a pixel."""
    return as_png(np.round(depth * 65535).astype(np.uint16))


def as_png(pixels: np.ndarray) -> bytes:
    """Pixels [H, W] or [H, W, 3] as a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
