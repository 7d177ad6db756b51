"""What the weights of a single file are called in other layouts: the names by which files that change weights know them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from webui.errors import ModelFileError
from webui.nets.spec import ModelSpec
from webui.weights.layouts import TEXT, UNET, diffusers_unet, text_prefix
from webui.weights.rules import translate

TRANSFORMERS = "text_model."  # what transformers puts before most names of a text tower


@dataclass(frozen=True, kw_only=True)
class OtherName:
    """A name of a weight, or of one of `parts` equal parts of it along its first axis.

    `key` is the weight's in the single file; `network` is "unet", or "text0", "text1" for the text towers in order; where
    `transposed`, what is called `name` has its axes the other way round.
    """

    key: str
    network: str
    name: str
    part: int = 0
    parts: int = 1
    transposed: bool = False


def other_names(spec: ModelSpec, keys: Iterable[str]) -> Iterator[OtherName]:
    """Every name that the weights `keys` of a single file have: their own without prefix, diffusers' and transformers'."""
    rules = diffusers_unet(spec.unet)
    towers = [
        (f"text{index}", text_prefix(index, tower.kind, conditioner=spec.unet.label_width is not None), TEXT[tower.kind])
        for index, tower in enumerate(spec.text)
    ]
    for key in keys:
        if key.startswith(UNET):
            own = key.removeprefix(UNET)
            yield OtherName(key=key, network="unet", name=own)
            undone = (rule.undo(own) for rule in rules)
            yield from (OtherName(key=key, network="unet", name=found[0]) for found in undone if found is not None)
        for network, prefix, table in towers:
            if key.startswith(prefix):
                own = key.removeprefix(prefix)
                yield OtherName(key=key, network=network, name=own)
                try:
                    pieces = translate(table, own, "this text tower")
                except ModelFileError:
                    continue  # an extension may ask for the name of anything
                for piece in pieces:
                    place = {"part": piece.part, "parts": piece.parts, "transposed": piece.transposed}
                    for name in (piece.key, TRANSFORMERS + piece.key):
                        if name != own:
                            yield OtherName(key=key, network=network, name=name, **place)  # type: ignore[arg-type]
