"""Networks with patched weights: copies that share every weight that no patch touches. The original is never written to."""

from __future__ import annotations

import copy
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from webui.errors import UserError, quoted
from webui.pipeline.patches import WeightPatch
from webui.weights.rules import Piece, Rule, translate

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a network stands in published single files: the prefix of its keys, and the rules from there to its own names."""

    prefix: str
    rules: tuple[Rule, ...] = (Rule("{rest}", "{rest}"),)


def content_key(patches: Iterable[WeightPatch]) -> Hashable:
    """Names what patches do to weights they are merged into, whatever their order."""
    return tuple(sorted((patch.content, patch.key, strength_of(patch)) for patch in patches))


def strength_of(patch: WeightPatch) -> float:
    """How strongly a patch is merged; where nothing changes by row or step, one that is run beside layers elsewhere is merged."""
    return 1.0 if patch.beside is None else float(patch.beside)


def variant_key(patches: Iterable[WeightPatch]) -> Hashable:
    """Names what patches do to a network that they are merged into or run beside; the strengths of those beside are the rows'."""
    patches = tuple(patches)
    beside = tuple(sorted({(patch.content, patch.key) for patch in patches if patch.beside is not None}))
    merged = content_key(patch for patch in patches if patch.beside is None)
    return (merged, beside) if beside else merged


def patched(module: Module, place: Place, patches: Sequence[WeightPatch]) -> tuple[Module, list[Tensor]]:
    """The network with the patches that are about it, and the weights that are new; the network itself where there are none.

    `UserError` names a key that the network does not have.
    """
    weights: dict[str, Tensor] = dict(module.named_parameters())
    require(weights, place, patches)
    changed = changed_weights(weights, place, patches)
    return (with_weights(module, changed) if changed else module), list(changed.values())


def require(names: Container[str], place: Place, patches: Iterable[WeightPatch]) -> None:
    """`UserError` where a patch is about a weight of this network that it does not have."""
    for patch in patches:
        if patch.key.startswith(place.prefix):
            pieces = pieces_of(place, patch.key)
            if not pieces or any(piece.key not in names for piece in pieces):
                raise UserError(f"A patch changes the weight {quoted(patch.key)}, which this model does not have.")


def changed_weights(weights: Mapping[str, Tensor], place: Place, patches: Iterable[WeightPatch]) -> dict[str, Tensor]:
    """Those of `weights` that patches change, changed; patches of other weights are passed over.

    Deltas are computed from the original weight and summed in float32 in the order of their content, so that the order of tags
    does not matter.
    """
    wanted: dict[str, list[WeightPatch]] = {}
    for patch in sorted(patches, key=lambda each: each.content):
        if patch.key.startswith(place.prefix):
            wanted.setdefault(patch.key, []).append(patch)
    changed: dict[str, Tensor] = {}
    with torch.no_grad():
        for key, own in wanted.items():
            pieces = pieces_of(place, key)
            if pieces and all(piece.key in weights for piece in pieces):
                changed.update(_changed(weights, pieces, own))
    return changed


def pieces_of(place: Place, key: str) -> tuple[Piece, ...]:
    """Which weights of a network a key of a single file stands for."""
    return translate(place.rules, key.removeprefix(place.prefix), "this network")


def _changed(weights: Mapping[str, Tensor], pieces: Sequence[Piece], patches: Sequence[WeightPatch]) -> dict[str, Tensor]:
    parts = [weights[piece.key].T if piece.transposed else weights[piece.key] for piece in pieces]
    original = torch.cat(parts).float() if len(parts) > 1 else parts[0].float()
    result: Tensor | None = None
    for patch in patches:
        result = added(patch, original, result)
    if result is None:
        return {}
    return {piece.key: like(piece.take(result), weights[piece.key], own=len(pieces) == 1) for piece in pieces}


def added(patch: WeightPatch, original: Tensor, result: Tensor | None) -> Tensor:
    """The sum so far and what a patch adds, in one pass for a patch of few ranks; the sum, None for `original`, is written to."""
    ranked = low_rank_of(patch, original)
    if ranked is None:
        delta = delta_of(patch, original)
        return original + delta if result is None else result.add_(delta)
    up, down, scale = ranked
    scale *= 1.0 if patch.beside is None else float(patch.beside)
    if result is None:
        return torch.addmm(original.flatten(1), up, down, alpha=scale).view(original.shape)
    result = result.contiguous()
    result.view(len(result), -1).addmm_(up, down, alpha=scale)
    return result


def low_rank_of(patch: WeightPatch, original: Tensor) -> tuple[Tensor, Tensor, float] | None:
    """The two matrices whose product a patch adds, and its factor, in float32; None where it has none that fit."""
    if patch.low_rank is None:
        return None
    up, down, scale = patch.low_rank()
    if up.shape[0] != original.shape[0] or down.numel() * len(up) != original.numel() * up[0].numel():
        return None
    up, down = (each.to(original.device, torch.float32) for each in (up, down))
    return up.flatten(1), down.reshape(up[0].numel(), -1), scale


def delta_of(patch: WeightPatch, original: Tensor) -> Tensor:
    """What a patch adds to a weight in float32, all of it; `UserError` where it is of another shape."""
    delta = patch.delta(original.clone())
    if delta.shape != original.shape:
        raise UserError(f"A patch of {quoted(patch.key)} has the shape {list(delta.shape)}, expected {list(original.shape)}.")
    delta = delta.to(original)
    return delta if patch.beside is None else delta * float(patch.beside)


def like(tensor: Tensor, model: Tensor, *, own: bool = False) -> Tensor:
    """A tensor with the dtype, device and memory layout of another: itself where it has them and is our `own`, else a copy."""
    if own and (tensor.dtype, tensor.device, tensor.stride()) == (model.dtype, model.device, model.stride()):
        return tensor
    return torch.empty_like(model).copy_(tensor)


def with_weights(module: Module, changed: Mapping[str, Tensor]) -> Module:
    """A copy of a network that has some weights of its own, by name, and shares the others."""
    copied: dict[int, Tensor] = {id(weight): weight for weight in (*module.parameters(), *module.buffers())}
    for name, weight in module.named_parameters():
        if name in changed:
            copied[id(weight)] = nn.Parameter(changed[name], requires_grad=False)
    return copy.deepcopy(module, copied)  # what is in its memo, deepcopy takes as it is
