"""A network larger than the memory for it: its blocks' weights come when their turn is, the next ones while one computes.

The network itself stays without weights. It is called with `run`, which hands each block its weights for the one call
(`torch.func.functional_call`), so the same operations see the same numbers as where everything is held: the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from webui.engine.device import Choice
from webui.engine.ledger import ADVICE
from webui.engine.patched import Place, changed_weights, require
from webui.engine.placing import Weights
from webui.errors import OutOfMemory
from webui.pipeline.patches import WeightPatch

WINDOW = 2  # blocks that are there at once beside those that stay: the one that computes, and the next
MEGABYTE = 10**6
NAMES = {"unet": "the noise predictor"}
LISTS = {"input_blocks": "", "output_blocks": "", "encoder": "layers"}  # of blocks: the children with them, and where in these


@dataclass(frozen=True)
class Fetched:
    """Weights on their way to the device; `event` is when they are there, None where they are already."""

    weights: dict[str, Tensor]
    event: torch.cuda.Event | None = None

    def arrived(self) -> dict[str, Tensor]:
        """The weights, for whatever is computed from now on."""
        if self.event is not None:
            stream = torch.cuda.current_stream()
            stream.wait_event(self.event)
            for weight in self.weights.values():
                weight.record_stream(stream)  # so that their memory is not given away before that is done
        return self.weights


class Streamed:
    """A part of a model ("unet", "text0") within the bytes that `room` gives who needs so many at least: as many blocks as fit
    stay, the others come and go. For one thread.

    `skeleton` is called with `run=self.run`. On a device of its own, blocks that come and go wait in the host's pinned memory; on
    the CPU they are read from the file again. `OutOfMemory` says what is needed at least.
    """

    def __init__(
        self, source: Weights, part: str, choice: Choice, room: Callable[[int], int], place: Place,
        patches: Sequence[WeightPatch] = (),
    ) -> None:
        self.skeleton = source.build(part).eval().requires_grad_(False)
        self._source, self._part, self._choice, self._place, self._patches = source, part, choice, place, tuple(patches)
        require(source.shapes(part), place, patches)
        self._units = units(self.skeleton)
        item = choice.torch_dtype.itemsize
        sizes = {name: sum(each.numel() for each in unit.parameters()) * item for name, unit in self._units.items()}
        self.window = WINDOW * max(sizes.values())
        budget = room(self.window)
        if self.window > budget:
            raise OutOfMemory(
                f"Even block by block {NAMES.get(part, 'a text tower')} needs {self.window / MEGABYTE:,.0f} MB of memory for its "
                f"weights; {budget / MEGABYTE:,.0f} MB may be used. {ADVICE}"
            )
        self._staying = staying(sizes, budget - self.window)
        self.size = self.window + sum(sizes[name] for name in self._staying)
        self._names = {id(module): name for name, module in self.skeleton.named_modules()}
        self._kept: dict[str, dict[str, Tensor]] = {}
        self._waiting: dict[str, dict[str, Tensor]] = {}  # in the host's memory, on devices of their own
        self._coming: dict[str, Future[Fetched]] = {}
        self._now: tuple[str, dict[str, Tensor]] | None = None
        self._after = following([name for name in self._units if name not in self._staying])
        self._fetching = ThreadPoolExecutor(1, thread_name_prefix="weights")
        self._beside = beside(choice.device)
        self.fetched = 0  # blocks that came, staying ones included

    def run(self, module: nn.Module, *given: Any, **named: Any) -> Any:
        """Call one of the network's modules with the weights it has at the moment."""
        name = self._names[id(module)]
        unit = name if name in self._units else owner(name, self._units)
        weights = self._weights(unit)
        inside = name.removeprefix(unit).removeprefix(".")
        prefix = f"{inside}." if inside else ""
        own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        return torch.func.functional_call(module, own, given, named)

    def close(self) -> None:
        """Let go of all weights."""
        self._fetching.shutdown(wait=True, cancel_futures=True)
        self._kept.clear()
        self._waiting.clear()
        self._coming.clear()
        self._now = None

    def _weights(self, unit: str) -> Mapping[str, Tensor]:
        if unit in self._staying:
            if unit not in self._kept:
                self._kept[unit] = self._fetch(unit).arrived()
            return self._kept[unit]
        if self._now is None or self._now[0] != unit:
            self._now = None  # before the next but one is asked for, so that there are never three
            free = so_far(self._beside)
            coming = self._coming.pop(unit, None)
            self._drop_coming()
            fetched = self._fetch(unit, free) if coming is None else coming.result()
            self._now = unit, fetched.arrived()
            following_unit = self._after[unit]
            if following_unit != unit:
                self._coming[following_unit] = self._fetching.submit(self._fetch, following_unit, free)
        return self._now[1]

    def _drop_coming(self) -> None:
        """Wait for what was fetched for nothing, so that its memory is free again."""
        for future in self._coming.values():
            future.cancel() or future.exception()
        self._coming.clear()

    def _fetch(self, unit: str, free: torch.cuda.Event | None = None) -> Fetched:
        """Bring a unit's weights, once the device is done with those whose room they take."""
        if free is not None:
            free.synchronize()  # the host is ahead of the device, and would else bring all units before the first is computed
        self.fetched += 1
        waiting = self._waiting.get(unit)
        if waiting is None:
            waiting = self._read(unit)
            if self._choice.device == "cpu":
                return Fetched(waiting)
            if unit not in self._staying:
                self._waiting[unit] = waiting = {key: pinned(value) for key, value in waiting.items()}
        with torch.cuda.stream(self._beside):  # does nothing where there is no such stream
            weights = {key: value.to(self._choice.device, non_blocking=True) for key, value in waiting.items()}
            return Fetched(weights, None if self._beside is None else self._beside.record_event())

    def _read(self, unit: str) -> dict[str, Tensor]:
        """A unit's weights on the host, patched, in the number type and layout they compute in."""
        keys = [f"{unit}.{name}" for name, _ in self._units[unit].named_parameters()]
        weights = dict(self._source.read(self._part, keys, self._choice.torch_dtype, self._choice.channels_last))
        # Into the memory that was read, for weights read together may give theirs back only together.
        for key, value in changed_weights(weights, self._place, self._patches).items():
            weights[key].copy_(value)
        return {key.removeprefix(f"{unit}."): value for key, value in weights.items()}


def units(network: nn.Module) -> dict[str, nn.Module]:
    """The parts of a network that are called one after the other, by name and in order: its lists' entries, and the rest."""
    found: dict[str, nn.Module] = {}
    for name, child in network.named_children():
        if name in LISTS:
            blocks = child.get_submodule(LISTS[name])
            prefix = ".".join(filter(None, (name, LISTS[name])))
            found.update({f"{prefix}.{index}": block for index, block in blocks.named_children()})
        else:
            found[name] = child
    return found


def staying(sizes: Mapping[str, int], room: int) -> frozenset[str]:
    """The units that stay, as many as there is room for, spread over the network: what comes has longest while others compute."""
    whole, seen, kept = max(sum(sizes.values()), 1), 0, 0
    found: set[str] = set()
    for name, size in sizes.items():
        seen += size
        if (kept + size) * whole <= room * seen:
            found.add(name)
            kept += size
    for name, size in sizes.items():
        if name not in found and kept + size <= room:
            found.add(name)
            kept += size
    return frozenset(found)


def following(names: Sequence[str]) -> dict[str, str]:
    """Which unit comes after each; after the last the first, for the next call."""
    return dict(zip(names, [*names[1:], *names[:1]], strict=True))


def owner(name: str, among: Mapping[str, nn.Module]) -> str:
    """The unit that a module within it belongs to."""
    while name not in among:
        name = name.rpartition(".")[0]
    return name


def beside(device: str) -> torch.cuda.Stream | None:
    """A stream for copies beside what is computed, where there are such."""
    return torch.cuda.Stream(device) if device.startswith("cuda") else None  # type: ignore[no-untyped-call]  # torch's annotations


def so_far(beside: torch.cuda.Stream | None) -> torch.cuda.Event | None:
    """When the device has computed all that it was told to compute so far; None where it has by now."""
    return None if beside is None else torch.cuda.current_stream().record_event()


def pinned(weight: Tensor) -> Tensor:
    """A copy from which a device can read by itself, where there is such memory."""
    return weight.pin_memory() if torch.cuda.is_available() else weight
