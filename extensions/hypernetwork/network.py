"""A hypernetwork's file, and its arithmetic.

The file is a pickled dictionary. Whole numbers among its keys are widths of contexts (768 for SD 1's text; 320, 640 and 1280
for its pixels); each has the weights of two networks, for keys and for values: `linear.0.weight`, `linear.0.bias` and so on,
numbered by their places in a row of

    linear [activation] [layer norm] [dropout]    linear [activation] [layer norm] [dropout]    ...

The texts among its keys say which of those in brackets there are. Dropout has no weights and does nothing to a finished network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import activation

from webui.extension import ModelFileError, Site, quoted

OLD_NAMES = {"linear1": "linear.0", "linear2": "linear.1"}  # before there were structures, there were two layers
LINEAR = "linear"
# Not one number at a time, or not without being told more: no file with them can ever have worked.
UNUSABLE = {"glu", "logsoftmax", "multiheadattention", "softmax", "softmax2d", "softmin", "threshold"}
ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    **{name.lower(): getattr(activation, name) for name in activation.__all__ if name.lower() not in UNUSABLE},
    LINEAR: nn.Identity,
    "swish": nn.Hardswish,  # what files with this name were trained with
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A linear layer [out, in] with what follows it: an activation, and the weight and bias of a layer norm."""

    weight: Tensor
    bias: Tensor | None
    activation: nn.Module | None = None
    norm: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        y = functional.linear(x, self.weight, self.bias)
        y = y if self.activation is None else self.activation(y)
        return y if self.norm is None else functional.layer_norm(y, y.shape[-1:], *self.norm)

    def to(self, device: str) -> Layer:
        """The same on a device."""
        return replace(
            self, weight=self.weight.to(device), bias=None if self.bias is None else self.bias.to(device),
            activation=None if self.activation is None else self.activation.to(device),
            norm=None if self.norm is None else (self.norm[0].to(device), self.norm[1].to(device)),
        )  # fmt: skip


Layers = tuple[Layer, ...]


@dataclass(frozen=True, kw_only=True)
class Hypernetwork:
    """For each width of context the layers for keys and those for values, in float32."""

    name: str
    widths: Mapping[int, tuple[Layers, Layers]]

    @classmethod
    def read(cls, loaded: Any, name: str) -> Self:
        """Make sense of what a file holds; `ModelFileError` says what is wrong with it."""
        held = loaded if isinstance(loaded, dict) else {}
        widths = {width: pair for width, pair in held.items() if type(width) is int}
        if not widths:
            raise ModelFileError(f"{quoted(name)} is no hypernetwork: none of its keys is a width, such as 768.")
        structure = Structure.read(held, name)
        found = {}
        for width, pair in widths.items():
            if not (isinstance(pair, Sequence) and len(pair) == 2 and all(isinstance(each, dict) for each in pair)):
                raise structure.broken(f"for the width {width} it lacks the networks of keys and values")
            found[width] = (structure.layers(pair[0], width), structure.layers(pair[1], width))
        return cls(name=name, widths=found)

    def to(self, device: str) -> Self:
        """The same on a device."""
        moved = {
            width: (tuple(layer.to(device) for layer in keys), tuple(layer.to(device) for layer in values))
            for width, (keys, values) in self.widths.items()
        }
        return replace(self, widths=moved)

    def unfit(self, weights: Mapping[str, Sequence[int]]) -> str:
        """A sentence for people where it was made for other models than that with these weights, by name and shape; else ""."""
        contexts = {shape[1] for key, shape in weights.items() if key.endswith((".attn1.to_k.weight", ".attn2.to_k.weight"))}
        texts = {shape[1] for key, shape in weights.items() if key.endswith(".attn2.to_k.weight")}
        if texts & self.widths.keys() or self.widths.keys() <= contexts:
            return ""
        effect = "only a part of it has" if contexts & self.widths.keys() else "it has no"
        return (
            f"The hypernetwork {quoted(self.name)} was made for another kind of model: it is for the widths "
            f"{listed(self.widths)}, and this model's attention has {listed(contexts)}, so {effect} effect."
        )


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What the texts in a file say of the rows of layers in it."""

    name: str
    activation: str
    activates_last: bool
    norms: bool
    drops: bool

    @classmethod
    def read(cls, held: Mapping[Any, Any], name: str) -> Self:
        """What is said, and the usual for what is not."""
        said = held.get("activation_func")
        wanted = LINEAR if said is None else str(said).lower()
        if wanted not in ACTIVATIONS:
            known = ", ".join(sorted(ACTIVATIONS))
            raise ModelFileError(f"The hypernetwork {quoted(name)} wants the activation {quoted(wanted)}; known: {known}.")
        dropouts = held.get("dropout_structure")  # how likely each is, 0 where there is none
        some = isinstance(dropouts, Sequence) and any(dropouts)
        return cls(
            name=name, activation=wanted, activates_last=bool(held.get("activate_output", True)),
            norms=bool(held.get("is_layer_norm")), drops=bool(held.get("use_dropout")) or some,
        )  # fmt: skip

    def layers(self, given: Mapping[Any, Any], width: int) -> Layers:
        """One row of layers from `width` to `width`, out of its tensors by name; every one of them has its place."""
        tensors = self.by_place(given)
        starts = sorted(place for (place, what), tensor in tensors.items() if what == "weight" and tensor.ndim == 2)
        if not starts or starts[0] != 0:
            raise self.broken(f"for the width {width} it has no linear layer at the beginning")
        found, size = [], width
        for start, following in zip(starts, [*starts[1:], None], strict=True):
            layer, end = self.layer(tensors, start, last=following is None)
            if following is not None and following not in (end, end + self.drops):
                raise self.broken(f"it has a layer at {following}, which would be at {end} by what it says of itself")
            if layer.weight.shape[1] != size:
                raise self.broken(f"its layer {start} takes {layer.weight.shape[1]} numbers and is given {size}")
            found.append(layer)
            size = layer.weight.shape[0]
        if tensors:
            raise self.broken(f"nothing is known of linear.{'.'.join(map(str, min(tensors)))}")
        if size != width:
            raise self.broken(f"for the width {width} it answers with {size} numbers")
        return tuple(found)

    def layer(self, tensors: dict[tuple[int, str], Tensor], start: int, *, last: bool) -> tuple[Layer, int]:
        """The linear layer at a place with what follows it, taken out of `tensors`, and the place behind that."""
        weight, end = tensors.pop((start, "weight")), start + 1
        bias = self.taken(tensors, start, "bias", weight.shape[:1]) if (start, "bias") in tensors else None
        module = norm = None
        if self.activation != LINEAR and (self.activates_last or not last):
            module = ACTIVATIONS[self.activation]().eval().requires_grad_(False)
            for name, own in module.named_parameters():  # PReLU has learned one
                own.copy_(self.taken(tensors, end, name, own.shape))
            end += 1
        if self.norms:
            norm = (self.taken(tensors, end, "weight", weight.shape[:1]), self.taken(tensors, end, "bias", weight.shape[:1]))
            end += 1
        return Layer(weight=weight, bias=bias, activation=module, norm=norm), end

    def taken(self, tensors: dict[tuple[int, str], Tensor], place: int, what: str, shape: Sequence[int]) -> Tensor:
        """A tensor of this shape, taken out of `tensors`."""
        tensor = tensors.pop((place, what), None)
        if tensor is None or tensor.shape != shape:
            found = "is not there" if tensor is None else f"has the shape {list(tensor.shape)}"
            raise self.broken(f"linear.{place}.{what} should have the shape {list(shape)} and {found}")
        return tensor

    def by_place(self, given: Mapping[Any, Any]) -> dict[tuple[int, str], Tensor]:
        """Tensors, in float32, by their places in the row and what they are there."""
        found = {}
        for key, tensor in given.items():
            head, _, what = str(key).rpartition(".")
            row, _, place = OLD_NAMES.get(head, head).rpartition(".")
            if row != "linear" or not place.isdecimal() or not isinstance(tensor, Tensor) or not tensor.is_floating_point():
                raise self.broken(f"nothing is known of {str(key)[:80]!r}")
            found[int(place), what] = tensor.float()
        return found

    def broken(self, what: str) -> ModelFileError:
        """The error that says what is wrong."""
        return ModelFileError(f"The hypernetwork {quoted(self.name)} cannot be used: {what}. Get its file again.")


class Bend:
    """The attention hook: contexts as hypernetworks bend them, one after another. See `webui.nets.hooks`."""

    def __init__(self, networks: Sequence[tuple[Hypernetwork, float]]) -> None:
        self.networks = tuple(networks)

    def context(self, call: Site, context: Tensor) -> tuple[Tensor, Tensor]:
        """The context [B, M, width] that keys are made of, and the one that values are."""
        del call
        width, for_keys, for_values = context.shape[-1], context, context
        for network, strength in self.networks:
            if width in network.widths:
                keys, values = network.widths[width]
                for_keys, for_values = bent(for_keys, keys, strength), bent(for_values, values, strength)
        return for_keys.to(context.dtype), for_values.to(context.dtype)


def bent(context: Tensor, layers: Layers, strength: float) -> Tensor:
    """context + strength * layers(context), in float32 whatever the model is in: such files were trained so."""
    x = context = context.float()
    for layer in layers:
        x = layer(x)
    return torch.add(context, x, alpha=strength)


def listed(widths: Any) -> str:
    """Numbers as people list them."""
    return ", ".join(map(str, sorted(widths)))
