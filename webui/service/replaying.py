"""Making a picture again from its own text, and saying whether it is the same, or in what its making differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from webui import infotext
from webui.errors import UserError
from webui.infotext import Infotext
from webui.params import Params, parameters
from webui.request import InputFacts, Request
from webui.service.composed import pictures_of
from webui.service.picture_texts import (
    COMPUTED_KEY,
    ENVIRONMENT,
    INPUT_KEYS,
    MAP_KEY,
    PIXELS_KEY,
    REFINER_SET_KEY,
    SET_KEY,
    TEMPLATE_KEYS,
    pixels_digest,
)
from webui.service.requests import Resolver

SHARED, INTERRUPTED = "Shared calls", "Interrupted"
COMPARED = (*ENVIRONMENT, "Model hash", "VAE hash", SET_KEY, REFINER_SET_KEY, SHARED, INTERRUPTED)
FLAGS = {"picture": "--picture", "sketch": "--sketch", "mask": "--mask", "depth": "--depth-map"}
LARGEST = 255.0  # of a pixel
Find = Callable[[str, str], InputFacts | None]
"""A picture that another one was made of: by its name among the inputs and the first digits of its hash, "" for what is given."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How two pictures compare. `psnr` is in dB, None where they are identical or of different sizes.

    `differences` say in words what of the making differs, as far as both texts tell.
    """

    identical: bool
    psnr: float | None
    differences: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The verdict for a person."""
        if self.identical:
            return "identical"
        what = "of another size" if self.psnr is None else f"differs, PSNR {self.psnr:.1f} dB"
        why = "; ".join(self.differences) or "nothing that the texts tell of differs"
        return f"{what}: {why}"


def request_of(text: str, resolver: Resolver, find: Find) -> Request:
    """The request that makes the picture of a text again; `UserError` where the text or this machine does not suffice."""
    info = infotext.parse(text)
    task = infotext.task_said(info)
    if not task:
        raise UserError("It says nothing of how it was made; only pictures with parameters can be made again.")
    if "Script" in info.values:
        raise UserError(f"It is a grid of several pictures ({info.values['Script']}); make its parts again.")
    enlarged = "Postprocess upscaler" in info.values
    if enlarged and task != "extras":  # the text is that of the picture before it was enlarged, and more
        if find("picture", "") is None:
            raise UserError("It was enlarged of another picture, whose hash its text does not say; give that with --picture.")
        task = "extras"
    kind = resolver.tasks()[task]
    raw, _ = infotext.raw_parameters(info, kind)
    params = kind.read(raw)
    inputs = {**_inputs(info, task, find), **_pictures(params, find)}
    request = resolver.complete(resolver.outline(params, inputs, as_written=True))
    templates: dict[str, Any] = {name: info.values[key] for name, key in TEMPLATE_KEYS.items() if key in info.values}
    return replace(request, count=1, **templates)


def verdict(before: Any, after: Any, texts: tuple[str, str], *, lossless: bool) -> Verdict:
    """How the pixels uint8 [H, W, 3] of a picture and of the one made again compare, and the texts they were made with.

    Of a file that lost some of its pixels, its text says what they were.
    """
    was = infotext.parse(texts[0]).values.get(PIXELS_KEY)
    identical = np.array_equal(before, after) if lossless or was is None else was == pixels_digest(after)
    same_size = before.shape == after.shape
    psnr = None if identical or not same_size else psnr_of(before, after)
    return Verdict(identical=identical, psnr=psnr, differences=tuple(differences(*texts)))


def psnr_of(a: Any, b: Any) -> float:
    """The peak signal to noise ratio of uint8 [H, W, 3] in dB."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(LARGEST**2 / error)


def differences(before: str, after: str) -> list[str]:
    """What of the environment differs between two texts, in words; what only one of them tells of is not known to differ."""
    then, now = (infotext.parse(text).values for text in (before, after))
    found = []
    for key in COMPARED:
        if key == SHARED and key in then:
            found.append("its network calls were shared with other pictures, which changes rounding")
        elif key == INTERRUPTED and key in then:
            found.append("it was interrupted before its last step")
        elif key in (SET_KEY, REFINER_SET_KEY) and then.get(key) != now.get(key):
            found.append(f"{key} was {then.get(key, 'nothing')}, is {now.get(key, 'nothing')}")
        elif key in then and key in now and then[key] != now[key]:
            found.append(f"{key} was {then[key]}, is {now[key]}")
    if COMPUTED_KEY not in then:
        found.append("its text does not say what it was computed on")
    return found


def _pictures(params: Params, find: Find) -> Mapping[str, InputFacts]:
    """The pictures that extensions were given; `UserError` names the one that is not here."""
    found = {}
    for name, digest in pictures_of(params).items():
        facts = find(name, digest)
        if facts is None:
            label = parameters(params)[name].label
            raise UserError(f"The picture of {label} ({digest[:10]}) that it was made with is not here; give it with --input.")
        found[name] = facts
    return found


def _inputs(info: Infotext, task: str, find: Find) -> Mapping[str, InputFacts]:
    """The pictures it was made of; `UserError` names the one that is not here."""
    wanted = {name: info.values[key] for name, key in INPUT_KEYS.items() if key in info.values}
    if task == "extras":
        wanted = {"picture": wanted.get("picture", "")}
    if task == "depth" and MAP_KEY in info.values and "Depth estimator" not in info.values:
        wanted["depth"] = info.values[MAP_KEY]
    found = {}
    for name, digits in wanted.items():
        facts = find(name, digits)
        if facts is None:
            called = f" ({digits})" if digits else ""
            raise UserError(f"The {name}{called} that it was made of is not here; give its file with {FLAGS[name]}.")
        found[name] = facts
    return found
