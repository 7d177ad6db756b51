"""From a prompt's text to the windows of token ids that a text tower reads."""

from __future__ import annotations

from webui.nets.spec import TextSpec
from webui.nets.tokenizer import Tokenizer
from webui.pipeline.protocol import TokenChunk


def windows(text: str, tokenizer: Tokenizer, spec: TextSpec) -> tuple[TokenChunk, ...]:
    """The text as windows of `spec.positions` ids: start, up to positions - 2 tokens, end, padding.

    An empty text is one window; a longer one is cut into several, which are encoded on their own and joined.
    """
    ids = tokenizer.encode(text)
    room = spec.positions - 2
    parts = [ids[first : first + room] for first in range(0, len(ids), room)] or [[]]
    return tuple(window(part, tokenizer, spec.positions, spec.padding) for part in parts)


def window(ids: list[int], tokenizer: Tokenizer, positions: int, padding: int) -> TokenChunk:
    """One window of `positions` around at most `positions - 2` ids, each of weight 1."""
    full = [tokenizer.start, *ids, tokenizer.end]
    full += [padding] * (positions - len(full))
    return TokenChunk(tuple(full), (1.0,) * len(full))


def pad_windows(first: tuple[TokenChunk, ...], count: int, empty: TokenChunk) -> tuple[TokenChunk, ...]:
    """The same windows followed by as many empty ones as make `count`, so that prompt and negative prompt are equally long."""
    return first + (empty,) * (count - len(first))
