"""Weight patches that are run beside layers, each row of a call with a strength of its own.

A layer makes W x; with a patch D of its weight beside it, each row gets W x + strength * D x. All this happens in a copy of the
network, which shares its weights and goes when the patches do; the network itself is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.engine.patched import Place, pieces_of, with_weights
from webui.engine.rows import sent
from webui.errors import UserError, quoted
from webui.pipeline.patches import WeightPatch
from webui.pipeline.protocol import Row

Name = tuple[str, str]  # of a patch, by content, and of the weight that it changes
Add = Callable[..., Tensor]  # what a change adds to what a layer makes, from what the layer is given
LINEAR = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm)  # layers whose result is linear in their weight and bias
KEYS_VALUES = (".attn2.to_k", ".attn2.to_v")
TIMES = ("time_embed", "time_embedding", "label_emb")


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """What a patch adds to a weight ("weight" or "bias", `which`) of a layer at strength 1: (up, down, scale), or all of it."""

    name: Name
    layer: str
    which: str
    low_rank: tuple[Tensor, Tensor, float] | None = None
    delta: Tensor | None = None

    @property
    def numbers(self) -> int:
        """How many numbers it takes."""
        held = [self.delta] if self.delta is not None else list(self.low_rank[:2]) if self.low_rank is not None else []
        return sum(each.numel() for each in held if each is not None)


class Strengths:
    """The strengths of the call that is being made, [rows] by patch; between calls there are none."""

    def __init__(self) -> None:
        self._now: Mapping[Name, Tensor] = {}

    def get(self, name: Name) -> Tensor | None:
        """The strength of a patch in each row, None where it is 0 in all."""
        return self._now.get(name)

    @contextmanager
    def of(self, rows: Sequence[Row], device: torch.device) -> Iterator[None]:
        """Have the strengths of these rows, until what is computed with them is on its way."""
        found = [strengths_of(row) for row in rows]
        names = [name for name in found[0] if any(each[name] for each in found)]
        if names:
            values = sent(torch.tensor([[each[name] for each in found] for name in names], dtype=torch.float32), device)
            self._now = dict(zip(names, values.unbind(), strict=True))
        try:
            yield
        finally:
            self._now = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Alongside:
    """A network, whole or `Streamed`, with changes beside its layers.

    `texts` and `times` say whether they are about what is otherwise made once a text, and once a noise level.
    """

    held: Any
    strengths: Strengths
    texts: bool
    times: bool


def strengths_of(row: Row) -> dict[Name, float]:
    """How strong each patch of a row is that is run beside a layer; one that is there twice counts twice."""
    found: dict[Name, float] = {}
    for patch in row.patches.weights:
        if patch.beside is not None:
            found[patch.content, patch.key] = found.get((patch.content, patch.key), 0.0) + float(patch.beside)
    return dict(sorted(found.items()))


def changes_of(
    patches: Iterable[WeightPatch], place: Place, network: nn.Module, original: Callable[[str], Tensor]
) -> list[Change]:
    """What patches add to a network's layers, each once, in the order of their content; `original` gives a weight by name.

    `UserError` where one is about no layer beside which it could be run, or does not fit it.
    """
    first = {(patch.content, patch.key): patch for patch in patches}
    found = []
    for name, patch in sorted(first.items()):
        (piece,) = pieces_of(place, patch.key)
        path, _, which = piece.key.rpartition(".")
        layer = network.get_submodule(path)
        if not isinstance(layer, LINEAR):
            raise UserError(f"The weight {quoted(patch.key)} cannot be patched with a strength of its own for each step.")
        shape = getattr(layer, which).shape
        if patch.low_rank is not None and which == "weight" and isinstance(layer, (nn.Linear, nn.Conv2d)):
            up, down, scale = patch.low_rank()
            if up.shape[0] != shape[0] or down.numel() * shape[0] != shape.numel() * up[0].numel():
                made = f"{list(up.shape)} times {list(down.shape)}"
                raise UserError(f"A patch of {quoted(patch.key)} is {made}, which makes nothing of the shape {list(shape)}.")
            found.append(Change(name=name, layer=path, which=which, low_rank=(up, down, scale)))
            continue
        with torch.no_grad():
            delta = patch.delta(original(piece.key).float().clone())
        if delta.shape != shape:
            raise UserError(f"A patch of {quoted(patch.key)} has the shape {list(delta.shape)}, expected {list(shape)}.")
        found.append(Change(name=name, layer=path, which=which, delta=delta))
    return found


def attached(
    network: nn.Module, held: Any, changes: Sequence[Change], dtype: torch.dtype, device: str, *, channels_last: bool = False
) -> Alongside:
    """Put changes beside the layers of a network, which must be nobody else's; `held` is what it is called by."""
    strengths = Strengths()
    by_layer: dict[str, list[tuple[Name, Add]]] = {}
    for change in changes:
        layer = network.get_submodule(change.layer)
        by_layer.setdefault(change.layer, []).append((change.name, adding(layer, change, dtype, device, channels_last)))
    for path, own in by_layer.items():
        network.get_submodule(path).register_forward_hook(summing(own, strengths), with_kwargs=True)
    return Alongside(
        held=held, strengths=strengths, texts=any(path.endswith(KEYS_VALUES) for path in by_layer),
        times=any(path.startswith(TIMES) or ".emb_layers." in path for path in by_layer),
    )  # fmt: skip


def summing(own: Sequence[tuple[Name, Add]], strengths: Strengths) -> Callable[..., Tensor]:
    """What is called after a layer: to its output [B, ...] each change is added, as strong as each row has it."""

    def after(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> Tensor:
        for name, add in own:
            strength = strengths.get(name)
            if strength is not None:
                output = output + strength.to(output.dtype).view(-1, *[1] * (output.dim() - 1)) * add(*given, **named)
        return output

    return after


def adding(layer: nn.Module, change: Change, dtype: torch.dtype, device: str, channels_last: bool) -> Add:
    """What a change adds, from what the layer is given."""

    def there(values: Tensor) -> Tensor:
        values = values.to(device, dtype)
        return values.contiguous(memory_format=torch.channels_last) if channels_last and values.dim() == 4 else values

    if change.low_rank is not None:
        up, down, scale = change.low_rank
        rank = up[0].numel()
        up = there(up.reshape(up.shape[0], rank).float() * scale)
        if isinstance(layer, nn.Linear):
            down = there(down.reshape(rank, layer.in_features))
            return lambda x: functional.linear(functional.linear(x, down), up)
        assert isinstance(layer, nn.Conv2d)
        first = twin(layer, there(down.reshape(rank, layer.in_channels, *layer.kernel_size)))
        return lambda x, *more, **named: functional.conv2d(first(x, *more, **named), up[:, :, None, None])
    assert change.delta is not None
    delta = there(change.delta)
    if change.which == "bias":
        return lambda x, *_, **__: delta.view(-1, 1, 1) if x.dim() == 4 else delta
    return twin(layer, delta)


def twin(layer: nn.Module, weight: Tensor) -> nn.Module:
    """A layer like another one, with a weight of its own and no bias."""
    bias = {} if layer.bias is None else {"bias": weight.new_zeros(len(weight))}
    return with_weights(layer, {"weight": weight} | bias)
