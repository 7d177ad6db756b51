"""CLIP's tokenizer: text to numbers and back, by byte-pair merges.

A tokenizer is described fully by its list of merges: the vocabulary is the 256 bytes, the 256 bytes that end a word,
one entry a merge, start and end. CLIP's own list is in `webui/weights/vocabulary.py`; `cut` makes a smaller one.

Source: Sennrich et al. 2016 (arXiv:1508.07909, algorithm 1) on bytes; word pattern and numbering of Radford et al. 2021.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from webui.errors import ModelFileError, quoted
from webui.nets.cleaning import clean

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
PIECE = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|'(?:s|t|re|ve|m|ll|d)|[a-z]+|[0-9]|[^\sa-z0-9]+", re.ASCII)
PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))  # bytes that stand for themselves, numbered first
CACHED_WORDS = 50_000
LONGEST_CACHED = 64  # characters


class Token(NamedTuple):
    """One token and the part of the text it stands for, `text[start:end]`."""

    id: int
    start: int
    end: int


def byte_characters() -> dict[int, str]:
    """Return the visible character that stands for each byte in merges, in the order in which CLIP numbers bytes."""
    rest = [byte for byte in range(256) if byte not in PRINTABLE]
    return {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + index) for index, byte in enumerate(rest)}


def _kind(character: str) -> str:
    """Return an ASCII character that the word pattern treats as it should treat this one."""
    if character < "\x80" or character == "ſ":
        return "s" if character == "ſ" else character
    if character.isalpha():
        return "z"
    if character.isalnum():
        return "0"
    return " " if character.isspace() else "."


class Tokenizer:
    """Byte-pair tokenizer over a list of merges, each two symbols with a space between ("i n", "th e</w>").

    Attributes: `merges`, `size` of the vocabulary, `start` and `end` (ids of the marks around a text), `tokens` (the
    symbol of every id). Raises `ModelFileError` if a merge joins symbols that do not exist or repeats another.
    """

    def __init__(self, merges: Sequence[str]) -> None:
        self.merges = tuple(merges)
        characters = byte_characters()
        self._character = characters
        tokens = [*characters.values(), *(character + WORD_END for character in characters.values())]
        known = set(tokens)
        self._ranks: dict[tuple[str, str], int] = {}
        for rank, merge in enumerate(self.merges):
            left, _, right = merge.partition(" ")
            if left not in known or right not in known or left.endswith(WORD_END):
                raise ModelFileError(f"Merge {rank} of the vocabulary, {quoted(merge)}, does not join two known symbols.")
            self._ranks[left, right] = rank
            tokens.append(left + right)
            known.add(left + right)
        self.tokens = (*tokens, START, END)
        self.size = len(self.tokens)
        self.start, self.end = self.size - 2, self.size - 1
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        if len(self._ids) != self.size:
            raise ModelFileError("The vocabulary has two merges that make the same symbol.")
        self._cache: dict[str, tuple[str, ...]] = {}

    def encode(self, text: str) -> list[int]:
        """Return the ids of any text, without start and end."""
        return [token.id for token in self.spans(text)]

    def spans(self, text: str) -> list[Token]:
        """Return the tokens of any text with the parts of `text` they stand for, in order; white space belongs to none.

        A token that is part of a character has that character's span.
        """
        cleaned = clean(text)
        shadow = cleaned.text if cleaned.text.isascii() else "".join(map(_kind, cleaned.text))
        found: list[Token] = []
        for match in PIECE.finditer(shadow):
            first, last = match.span()
            piece = cleaned.text[first:last]
            if piece in (START, END):
                found.append(Token(self._ids[piece], cleaned.starts[first], cleaned.ends[last - 1]))
                continue
            owner = range(len(piece)) if piece.isascii() else [i for i, c in enumerate(piece) for _ in c.encode()]
            done = 0
            for symbol in self.pieces(piece):
                following = done + len(symbol.removesuffix(WORD_END))
                begin, finish = first + owner[done], first + owner[following - 1]
                found.append(Token(self._ids[symbol], cleaned.starts[begin], cleaned.ends[finish]))
                done = following
        return found

    def pieces(self, word: str) -> tuple[str, ...]:
        """Return the symbols that spell one word (lower case, no spaces)."""
        known = self._cache.get(word)
        if known is None:
            known = self._merged(word)
            if len(word) <= LONGEST_CACHED:
                if len(self._cache) >= CACHED_WORDS:
                    self._cache.clear()
                self._cache[word] = known
        return known

    def _merged(self, word: str) -> tuple[str, ...]:
        """Merge the earliest listed pair wherever it stands, from left to right, until none is left; n log n in length."""
        symbols = [self._character[byte] for byte in word.encode()]
        if not symbols:
            return ()
        symbols[-1] += WORD_END
        after = list(range(1, len(symbols) + 1))  # the next symbol still standing; before: the previous one
        before = list(range(-1, len(symbols) - 1))
        places: dict[int, list[int]] = {}
        queue: list[int] = []

        def note(place: int) -> None:
            if place >= 0 and after[place] < len(symbols):
                rank = self._ranks.get((symbols[place], symbols[after[place]]))
                if rank is not None:
                    if rank not in places:
                        heapq.heappush(queue, rank)
                    places.setdefault(rank, []).append(place)

        for place in range(len(symbols)):
            note(place)
        while queue:
            rank = heapq.heappop(queue)
            left, _, right = self.merges[rank].partition(" ")
            merged: list[int] = []
            for place in sorted(set(places.pop(rank))):
                following = after[place]
                if symbols[place] != left or following >= len(symbols) or symbols[following] != right:
                    continue
                symbols[place], symbols[following] = left + right, ""
                after[place] = after[following]
                if after[place] < len(symbols):
                    before[after[place]] = place
                merged.append(place)
            for place in merged:
                note(before[place])
                note(place)
        return tuple(symbol for symbol in symbols if symbol)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, words apart by one space, marks left out; bytes that are no UTF-8 become U+FFFD."""
        byte = {character: value for value, character in self._character.items()}
        text = bytearray()
        for index in ids:
            if not 0 <= index < self.size:
                raise ValueError(f"Token id {index} is outside the vocabulary of {self.size}.")
            if index < self.start:
                token = self.tokens[index]
                text += bytes(byte[character] for character in token.removesuffix(WORD_END))
                text += b" " if token.endswith(WORD_END) else b""
        return text.decode("utf-8", errors="replace").strip()

    def cut(self, texts: Iterable[str]) -> Tokenizer:
        """Return a tokenizer with only the merges that spell these texts, which it spells in the same symbols.

        Other text is still spelt, in shorter pieces and bytes. Ids are numbered anew.
        """
        halves = {left + right: (left, right) for left, right in self._ranks}
        waiting = [self.tokens[index] for text in texts for index in set(self.encode(text))]
        needed: set[str] = set()
        while waiting:
            symbol = waiting.pop()
            if symbol in halves and symbol not in needed:
                needed.add(symbol)
                waiting += halves[symbol]
        return Tokenizer([merge for merge in self.merges if merge.replace(" ", "", 1) in needed])
