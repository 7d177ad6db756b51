"""Where in a model the modules of a LoRA file are: their names become weights of the single file, whole or in part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from webui.extension import OtherName, other_names

from .keys import ANY, TEXT, TEXT2, UNET, Module

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A weight of the model with its shape in the single file, or one of several equal parts of it along its first axis."""

    key: str
    whole: tuple[int, ...]
    part: int = 0
    parts: int = 1
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what the module sees."""
        own = (self.whole[0] // self.parts, *self.whole[1:]) if self.whole else ()
        return own[::-1] if self.transposed else own

    def take(self, whole: Tensor) -> Tensor:
        """What the module sees of the weight (a view)."""
        own = whole.chunk(self.parts)[self.part] if self.parts > 1 else whole
        return own.T if self.transposed else own


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a module is to the model: its weight and its bias."""

    weight: Slot | None = None
    bias: Slot | None = None


class Places:
    """The modules of a model by network and name, with underscores for dots."""

    def __init__(self, spec: Any, weights: Mapping[str, tuple[int, ...]]) -> None:
        self._found: dict[str, dict[str, Place]] = {}
        networks = networks_of(len(spec.text), spec.unet.label_width is not None)
        slots: dict[tuple[str, str], dict[str, Slot]] = {}
        for other in other_names(spec, weights):
            module, _, kind = other.name.rpartition(".")
            if not module:
                module, kind = other.name, "weight"
            if kind in ("weight", "bias") and other.network in networks:
                for network in networks[other.network]:
                    name = module.replace(".", "_")
                    slots.setdefault((network, name), {})[kind] = _slot(other, tuple(weights[other.key]))
        for (network, name), own in slots.items():
            self._found.setdefault(network, {})[name] = Place(**own)

    def find(self, module: Module) -> Place | None:
        """Where a module is; one that does not say in which network is looked for in all of them."""
        for network in (UNET, TEXT, TEXT2) if module.network == ANY else (module.network,):
            if found := self._found.get(network, {}).get(module.name):
                return found
        return None

    def has(self, network: str) -> bool:
        """Whether the model has such a network."""
        return network in self._found


def networks_of(towers: int, conditioner: bool) -> dict[str, tuple[str, ...]]:
    """What files call the networks of a model; a single OpenCLIP tower of an XL model (the refiner's) is its second one."""
    if towers == 1 and conditioner:
        return {"unet": (UNET,), "text0": (TEXT, TEXT2)}
    return {"unet": (UNET,), "text0": (TEXT,), "text1": (TEXT2,)}


def places_of(spec: Any, weights: Mapping[str, tuple[int, ...]]) -> Places:
    """The places of a model, kept for the next job with it."""
    return _places(spec, tuple((key, tuple(shape)) for key, shape in weights.items()))


@lru_cache(maxsize=4)
def _places(spec: Any, weights: Iterable[tuple[str, tuple[int, ...]]]) -> Places:
    return Places(spec, dict(weights))


def _slot(other: OtherName, whole: tuple[int, ...]) -> Slot:
    return Slot(key=other.key, whole=whole, part=other.part, parts=other.parts, transposed=other.transposed)
