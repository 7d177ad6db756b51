"""What of a file fits into a model, and what becomes of every key that does not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from webui.extension import quoted

from .bases import CASCADE, FLUX, SD3, XL
from .changes import BIASES, Kind, kind_of, lora, rank_of
from .keys import TEXT2, Module, contents
from .places import Place, Places, Slot

Shapes = Mapping[str, tuple[int, ...]]
HOMELESS = {"te3": f"{FLUX} or {SD3}", "transformer": f"{FLUX} or {SD3}", "prior": CASCADE, "vae": "autoencoders"}
NO_PLACE, UNKNOWN = "have no place in this model", "are of a kind that is not known here"


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """A module of a file that fits: `kind` changes `weight`; the bias changes by those of its parts that `BIASES` name."""

    module: Module
    kind: Kind | None
    weight: Slot | None
    bias: Slot | None
    rank: int | None = None

    @property
    def is_text(self) -> bool:
        """Whether it is a text tower's."""
        return not any(slot.key.startswith("model.diffusion_model.") for slot in (self.weight, self.bias) if slot is not None)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What fits, embeddings by name and part, and how many of the rest are left out why."""

    fitting: Sequence[Fitting]
    embeddings: Mapping[str, Mapping[str, str]]
    left: Mapping[str, int]

    def sentence(self, name: str) -> str:
        """What is left out of a file and why; "" where nothing is."""
        if not self.left:
            return ""
        reasons = [f"{count} {reason}" if count > 1 else f"1 {_single(reason)}" for reason, count in self.left.items()]
        total = len(self.fitting) + sum(self.left.values())
        return f"The LoRA {quoted(name)}: applied {len(self.fitting)} of {total}; {', '.join(reasons)}."


@lru_cache(maxsize=32)
def plan_of(shapes: tuple[tuple[str, tuple[int, ...]], ...], places: Places, base: str, own_base: str) -> Plan:
    """What of a file of these keys and shapes fits; `base` is for what it was made, `own_base` what the model is."""
    known = dict(shapes)
    found = contents(known)
    left: Counter[str] = Counter()
    fitting = []
    for module in found.modules:
        place = places.find(module)
        own = {part: known[key] for part, key in module.parts.items()}
        fits = None if place is None else fitted(module, place, own)
        if fits is not None:
            fitting.append(fits)
            used = (fits.kind.needs | fits.kind.may if fits.kind else frozenset()) | set(BIASES) | {"alpha"}
            left[UNKNOWN] += len(own.keys() - used)
        elif kind_of(own) is None and not own.keys() & set(BIASES):
            left[UNKNOWN] += 1
        else:
            left[reason(module, places, base, own_base)] += 1
    left[UNKNOWN] += len(found.unknown)
    return Plan(fitting=tuple(fitting), embeddings=found.embeddings, left={why: count for why, count in left.items() if count})


def reason(module: Module, places: Places, base: str, own_base: str) -> str:
    """Why a module has no place."""
    if module.network == TEXT2 and not places.has(TEXT2):
        return f"are for {XL}"
    if module.network in HOMELESS:
        return f"are for {HOMELESS[module.network]}"
    return f"are for {base}" if base and base != own_base else NO_PLACE


def fitted(module: Module, place: Place, shapes: Shapes) -> Fitting | None:
    """A module in its place; None where what it has does not fit there."""
    kind = kind_of(shapes)
    if kind is None and not shapes.keys() & set(BIASES):
        return None
    if not all(math.prod(shape) for shape in shapes.values()):  # there is nothing in one of them
        return None
    if kind is not None and (place.weight is None or not fits(kind, shapes, place.weight.shape)):
        return None
    biases = [shapes[part] for part in BIASES if part in shapes]
    if any(place.bias is None or math.prod(shape) != math.prod(place.bias.shape) for shape in biases):
        return None
    rank = None if kind is None else rank_of(kind, shapes)
    bias = place.bias if biases or (kind is not None and "ia3_l" in kind.needs) else None
    return Fitting(module=module, kind=kind, weight=place.weight if kind else None, bias=bias, rank=rank)


def fits(kind: Kind, shapes: Shapes, shape: tuple[int, ...]) -> bool:
    """Whether the parts of a module make a difference of a shape: tried out without numbers, but for the commonest kind."""
    if any(math.prod(shapes[part]) not in shape[:2] for part in ("dora_scale", "magnitude") if part in shapes):
        return False
    if kind.delta is lora and "mid" not in shapes:
        up, down = shapes["up"], shapes["down"]
        whole = len(up) > 1 and len(down) > 1 and up[0] == shape[0] and math.prod(up[1:]) == down[0]
        return whole and math.prod(down[1:]) == math.prod(shape[1:])
    parts: dict[str, Tensor] = {part: torch.empty(own, device="meta") for part, own in shapes.items()}
    try:
        found = kind.delta(parts, torch.empty(shape, device="meta"), 1.0, 1.0)
    except (RuntimeError, ValueError, IndexError, KeyError, ZeroDivisionError):
        return False
    return tuple(found.shape) == tuple(shape)


def _single(reason: str) -> str:
    """The same of one alone."""
    return {"are": "is", "have": "has"}[reason.split()[0]] + reason[len(reason.split()[0]) :]
