"""Key rules: how the keys of one layout become those of another, as short tables that work in both directions.

A rule is a pair of patterns in which `{n}`, `{m}` and `{k}` are numbers, `{p}` is `weight` or `bias` and `{rest}` anything:
`Rule("conv_in.{p}", "input_blocks.0.0.{p}")`. One key may become several (a fused matrix, cut in equal parts along its first
axis), be transposed, or be dropped on purpose. A key that no rule fits raises and is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from webui.errors import ModelFileError, quoted

if TYPE_CHECKING:  # so that a header can be told apart without the seconds that importing torch takes
    from torch import Tensor

HOLES = {"n": r"\d+", "m": r"\d+", "k": r"\d+", "p": "weight|bias", "rest": ".*"}


@dataclass(frozen=True)
class Piece:
    """One result of a rule: the new key, and which of how many equal parts of the old tensor it takes."""

    key: str
    part: int = 0
    parts: int = 1
    transposed: bool = False

    def take(self, tensor: Tensor) -> Tensor:
        """Return this piece of the old tensor (a view)."""
        cut = tensor.chunk(self.parts)[self.part] if self.parts > 1 else tensor
        return cut.T if self.transposed else cut

    def shape(self, whole: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of this piece of a tensor of shape `whole`, which stays whole where the parts would not be equal."""
        cut = (whole[0] // self.parts, *whole[1:]) if whole and whole[0] % self.parts == 0 else whole
        return cut[::-1] if self.transposed else cut


class Rule:
    """One line of a table; no target means: known, and not needed."""

    def __init__(self, source: str, *targets: str, transposed: bool = False) -> None:
        self.source, self.targets, self.transposed = source, targets, transposed

    @cached_property
    def _forward(self) -> re.Pattern[str]:
        return _compiled(self.source)

    @cached_property
    def _backward(self) -> tuple[re.Pattern[str], ...]:
        return tuple(_compiled(target) for target in self.targets)

    def apply(self, key: str) -> tuple[Piece, ...] | None:
        """Return what the key becomes, or None if this rule is not about it."""
        match = self._forward.fullmatch(key) if key.startswith(self.source.partition("{")[0]) else None
        if match is None:
            return None
        keys = [target.format_map(match.groupdict()) for target in self.targets]
        return tuple(Piece(new, part, len(keys), self.transposed) for part, new in enumerate(keys))

    def undo(self, key: str) -> tuple[str, Piece] | None:
        """Return the old key, and which piece of it the new key is; None if this rule does not make the key."""
        for part, (target, pattern) in enumerate(zip(self.targets, self._backward, strict=True)):
            match = pattern.fullmatch(key) if key.startswith(target.partition("{")[0]) else None
            if match is not None:
                return self.source.format_map(match.groupdict()), Piece(key, part, len(self.targets), self.transposed)
        return None


def _compiled(template: str) -> re.Pattern[str]:
    pattern = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
    return re.compile(re.sub(r"\{(\w+)\}", lambda hole: f"(?P<{hole[1]}>{HOLES[hole[1]]})", pattern))


def translate(rules: Iterable[Rule], key: str, layout: str) -> tuple[Piece, ...]:
    """Return what the first fitting rule makes of a key; a `ModelFileError` names a key that none fits."""
    for rule in rules:
        pieces = rule.apply(key)
        if pieces is not None:
            return pieces
    raise ModelFileError(f"The key {quoted(key)} is not part of {layout}.")


def converted(rules: Iterable[Rule], tensors: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Return `tensors` under their new keys; pieces are views of the old tensors."""
    table = tuple(rules)
    return {piece.key: piece.take(tensor) for key, tensor in tensors.items() for piece in translate(table, key, layout)}


def restored(rules: Iterable[Rule], tensors: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Undo `converted`: return `tensors` under the keys of the table's left side, parts put together again."""
    import torch

    table = tuple(rules)
    whole: dict[str, list[Tensor | None]] = {}
    for key, tensor in tensors.items():
        found = next((undone for rule in table if (undone := rule.undo(key)) is not None), None)
        if found is None:
            raise ModelFileError(f"The key {quoted(key)} has no place in {layout}.")
        old, piece = found
        whole.setdefault(old, [None] * piece.parts)[piece.part] = tensor.T if piece.transposed else tensor
    result: dict[str, Tensor] = {}
    for old, parts in whole.items():
        present = [part for part in parts if part is not None]
        if len(present) != len(parts):
            raise ModelFileError(f"The key {quoted(old)} of {layout} cannot be made: a part of it is missing.")
        result[old] = present[0] if len(present) == 1 else torch.cat(present)
    return result
