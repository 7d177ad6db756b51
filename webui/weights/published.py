"""The weights of a model by the names that published single files have for them: what patches of weights are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from webui.nets.spec import ModelSpec
from webui.weights import layouts
from webui.weights.rules import Rule

Shape = tuple[int, ...]
Shapes = Callable[[str], Mapping[str, tuple[Shape, int]]]


def published_shapes(spec: ModelSpec, shapes: Shapes) -> dict[str, Shape]:
    """Names and shapes of the weights of a model's noise predictor and text towers; `shapes` gives those of a part by ours.

    A weight that single files keep in one with others, such as the projections of OpenCLIP's attention, is there as that one.
    """
    found = {f"{layouts.UNET}{key}": shape for key, (shape, _) in shapes("unet").items()}
    for index, tower in enumerate(spec.text):
        prefix = layouts.text_prefix(index, tower.kind, conditioner=spec.unet.label_width is not None)
        for key, (shape, _) in shapes(f"text{index}").items():
            found.update(_published(layouts.TEXT[tower.kind], prefix, key, shape))
    return found


def _published(rules: tuple[Rule, ...], prefix: str, key: str, shape: Shape) -> dict[str, Shape]:
    """The weight that one of ours is, or is a part of."""
    for rule in rules:
        undone = rule.undo(key)
        if undone is not None:
            name, piece = undone
            own = shape[::-1] if piece.transposed else shape
            return {prefix + name: (own[0] * piece.parts, *own[1:]) if piece.parts > 1 else own}
    return {}
