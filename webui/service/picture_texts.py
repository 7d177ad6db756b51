"""The text of a picture: its parameters, and everything else it depends on, each under a key of its own.

What is no parameter stands behind the community's keys, where programs that do not know it pass over it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from webui import infotext
from webui.errors import WebUIError
from webui.infotext import Infotext
from webui.metadata.reading import read
from webui.request import SHORT_HASH, Request, parameters_of
from webui.service.composed import composed_tasks, taken_back
from webui.service.extensions import Extensions
from webui.service.overrides import in_words

SET_KEY, REFINER_SET_KEY = "Model set to", "Refiner set to"  # what an owner had set for the file against what it says itself
INPUT_KEYS = {"picture": "Init image hash", "sketch": "Sketch hash", "mask": "Mask hash"}
NETWORK_KEYS = {
    "estimator_hash": "Depth estimator hash", "upscaler_hash": "Postprocess upscaler hash",
    "upscaler_2_hash": "Postprocess upscaler 2 hash",
}  # fmt: skip
MAP_KEY, HIRES_KEY = "Depth map", "Hires upscaler hash"
TEMPLATE_KEYS = {"template": "Wildcard prompt", "negative_template": "Wildcard negative prompt"}
COMPUTED_KEY = "Computed on"  # what beside the request decides on the last bits: device class and number type
EXTENSIONS_KEY = "Extensions"
ENVIRONMENT = (COMPUTED_KEY, "Device", "Torch", EXTENSIONS_KEY, "Version")
"""What a picture was made by, as far as it is nobody's choice."""
PIXELS_KEY = "Pixels"  # of a file that loses some: what they were
REMARKS = (
    "Shared calls", "Interrupted", SET_KEY, REFINER_SET_KEY, MAP_KEY, HIRES_KEY, *INPUT_KEYS.values(), *NETWORK_KEYS.values(),
    *TEMPLATE_KEYS.values(), *ENVIRONMENT, PIXELS_KEY, "User", "Model hash", "VAE hash",
)  # fmt: skip
"""The keys of the picture that are nothing to set."""
LONGEST_SOURCE = 100_000  # characters of another picture's text
LONGEST_SEED = 20  # digits
LOG = logging.getLogger(__name__)
NO_TEXTS: Mapping[str, str] = MappingProxyType({})


def text_of(
    request: Request, *, batched: bool, interrupted: bool, computed: str = "", maps: Mapping[str, str] = NO_TEXTS,
    source: str = "", environment: Mapping[str, str] = NO_TEXTS, extensions: Extensions | None = None,
) -> str:  # fmt: skip
    """The parameters' text for the one picture of `request`, as every picture's file has it.

    `maps` are the digests of what it was made to; `source` is the text of the picture that it is an enlargement of. `computed`
    says on what it was, such as "cpu float32", `environment` by what, `extensions` which there were.
    """
    remarks = {"Shared calls": batched, "Interrupted": interrupted}
    said = _files_said(request, maps, enlarged=bool(source))
    said |= {SET_KEY: in_words(request.override)} if request.override else {}
    said |= {REFINER_SET_KEY: in_words(request.refiner_override)} if request.refiner_override else {}
    said |= {key: getattr(request, name) for name, key in TEMPLATE_KEYS.items() if getattr(request, name)}
    said |= {key: "True" for key, true in remarks.items() if true}
    said |= ({COMPUTED_KEY: computed} if computed else {}) | dict(environment)
    before = infotext.parse(source) if source else None
    if extensions is None:
        return infotext.write(parameters_of(request), said, before=before)
    for name, plain in request.extensions.items():
        said |= _told_by(name, extensions, request, plain)
    used = taking_part(request, extensions)
    said |= {EXTENSIONS_KEY: ", ".join(f"{name} {version}" for name, version in used.items())} if used else {}
    values = {name: each.get("values", {}) for name, each in request.extensions.items()}
    further = taken_back(values, extensions, request.task)
    return infotext.write(parameters_of(request, composed_tasks(extensions), further), said, before=before)


def _told_by(name: str, extensions: Extensions, request: Request, plain: Mapping[str, Any]) -> Mapping[str, str]:
    """What an extension adds to the text; nothing where it fails, for the picture is finished and is not lost for that."""
    try:
        return extensions.metadata(name, request, plain.get("values", {}), plain.get("noted", {}))
    except WebUIError:
        LOG.warning("The extension %s says nothing in the text of a picture.", name, exc_info=True)
        return {}


def taking_part(request: Request, extensions: Extensions) -> dict[str, str]:
    """The extensions, with their versions, that had a part in a picture."""
    second = request.hires
    wanted = {f"sampler {request.sampler}", f"schedule {request.schedule}"}
    wanted |= {f"sampler {second['sampler']}", f"schedule {second['schedule']}"} if second else set()
    names = {owner for what, owner in extensions.owners.items() if what in wanted} | set(request.extensions)
    if request.template or request.negative_template:
        names |= set(extensions.with_hook("transform_prompt"))
    return {name: extensions.versions[name] for name in sorted(names) if name in extensions.versions}


def with_pixels(text: str, pixels: Any) -> str:
    """The text with what the pixels (uint8 [H, W, 3]) are before a file loses some of them."""
    info = infotext.parse(text)
    rest = {key: value for key, value in info.values.items() if key != "Version"}
    last = {key: value for key, value in info.values.items() if key == "Version"}
    return infotext.compose(Infotext(
        prompt=info.prompt, negative=info.negative, values={**rest, PIXELS_KEY: pixels_digest(pixels), **last}
    ))  # fmt: skip


def pixels_digest(pixels: Any) -> str:
    """The short hash of pixels, uint8 [H, W, 3], and their size."""
    height, width = pixels.shape[:2]
    return hashlib.sha256(f"{width}x{height}:".encode() + pixels.tobytes()).hexdigest()[:SHORT_HASH]


def source_text(content: bytes) -> str:
    """The parameters' text in the file of a picture that another one was made of; "" where it has none that can be read."""
    text = read(content, pixels=False).text
    return text if len(text) <= LONGEST_SOURCE else ""


def seed_said(request: Request, text: str) -> int:
    """The seed that a picture's file is named after: its own, or that of the picture it was made of."""
    said = infotext.parse(text).values.get("Seed", "")
    own = request.task != "extras" or not (said.isascii() and said.isdecimal() and len(said) <= LONGEST_SEED)
    return request.seed if own else int(said)


def _files_said(request: Request, maps: Mapping[str, str], *, enlarged: bool) -> dict[str, str]:
    """The short hashes of the files that a picture was made of and by, as the community names them.

    Those that an `enlarged` picture was made of are said in its own text.
    """
    named = {} if enlarged else {key: request.inputs.get(name, "") for name, key in INPUT_KEYS.items()}
    named |= {MAP_KEY: maps.get("depth", request.inputs.get("depth", ""))} if request.task == "depth" else {}
    named |= {key: getattr(request, name) for name, key in NETWORK_KEYS.items()}
    named |= {HIRES_KEY: request.hires.get("upscaler_hash", "")}
    return {key: digest[:SHORT_HASH] for key, digest in named.items() if digest}
