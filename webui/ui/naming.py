"""What a file would be called by a pattern, told while somebody writes one: with a picture that might be."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from webui.metadata.writing import PNG, SUFFIXES
from webui.request import Request
from webui.service.filenames import VALUES, Facts, name_of

NUMBER = 42  # of the picture that might be
LONGEST_PATTERN = 1000  # characters that are looked at
REQUEST = Request(
    model="builtin", model_hash="6ce0161689b3853a", prompt="a red ball on a wooden table", negative="blurry", steps=20,
    sampler="Euler a", schedule="Karras", scale=7.0, seed=1234, width=512, height=768, count=4,
)  # fmt: skip
PLACE = 1  # of the pictures of its job


def example(pattern: str, format: str, user: str, now: Callable[[], float] = time.time) -> str:  # noqa: A002
    """The path of the picture within the outputs folder."""
    moment = now()
    picture = REQUEST.picture(PLACE)
    facts = Facts(
        picture=picture, job=REQUEST, place=PLACE, seed=picture.seed, now=moment, begun=moment, user=user,
        pixels=np.zeros((picture.height, picture.width, 3), np.uint8),
    )  # fmt: skip
    *folders, last = name_of(pattern[:LONGEST_PATTERN], facts).split("/")
    number = f"{NUMBER:05}"
    return "/".join([*folders, f"{number}-{last}" if last else number]) + SUFFIXES.get(format, SUFFIXES[PNG])


def words() -> list[str]:
    """The words that a pattern may have in brackets."""
    return [*VALUES]
