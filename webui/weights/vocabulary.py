"""The vocabulary of CLIP, which every published model uses.

`clip_merges.txt.gz` holds the 48,894 merges of OpenAI's CLIP (MIT licence, copyright 2021 OpenAI,
https://github.com/openai/CLIP), one a line, most frequent first.
"""

from __future__ import annotations

import functools
import gzip
from importlib import resources

from webui.nets.tokenizer import Tokenizer


@functools.cache
def clip_merges() -> tuple[str, ...]:
    """Return CLIP's merges, read at the first call."""
    packed = resources.files("webui.weights").joinpath("clip_merges.txt.gz").read_bytes()
    return tuple(gzip.decompress(packed).decode("utf-8").splitlines())


@functools.cache
def clip_tokenizer() -> Tokenizer:
    """Return CLIP's tokenizer (49,408 tokens), made at the first call."""
    return Tokenizer(clip_merges())
