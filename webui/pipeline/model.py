"""What a generation knows of a model: its name, its numbers and its tokenizers, but never its weights."""

from __future__ import annotations

from dataclasses import dataclass

from webui.nets.spec import ModelSpec
from webui.nets.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model by the name that the networks have for it; one tokenizer a text tower."""

    name: str
    spec: ModelSpec
    tokenizers: tuple[Tokenizer, ...]
