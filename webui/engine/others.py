"""Networks beside those that generate: depth estimators, upscalers, and what extensions bring. They answer `Call` asks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from webui.engine.cache import ByteCache, nbytes
from webui.engine.contents import Contents
from webui.engine.device import Choice
from webui.engine.holding import Holding
from webui.engine.ledger import PartKey
from webui.engine.placing import Parts
from webui.errors import JobError, NotANumber, quoted
from webui.pipeline.protocol import Call

MOST_OPEN = 64  # networks of which it is remembered where they came from


@dataclass(frozen=True, kw_only=True, eq=False)
class Other:
    """A network of its own: where its weights come from, and what its part is called there.

    Its `forward` takes named tensors with a batch in front and returns one such tensor, or a tuple of them.
    """

    source: Parts
    part: str


Function = Callable[..., Any]
OpenOther = Callable[[str], "Other | Function"]
Answer = Tensor | tuple[Tensor, ...]


class Others:
    """Answers calls of networks that `open` gives by name, in `choice`'s number type, equal calls once. For one thread.

    `open` may also give a function, which gets the inputs of an ask as they are.
    """

    def __init__(self, holding: Holding, open: OpenOther | None, choice: Choice, capacity: int) -> None:  # noqa: A002
        self._holding = holding
        self._open = open
        self._choice = choice
        self._opened: OrderedDict[str, Other | Function] = OrderedDict()
        self._answers: ByteCache[Answer] = ByteCache(capacity)
        self._contents = Contents()

    def answer(self, ask: Call) -> Any:
        """The answer to a call, kept by the contents of its inputs; it is a copy, whose holder may change it."""
        other = self._other(ask.network)
        if not isinstance(other, Other):
            return other(**ask.inputs)
        key = self._key(ask)
        found = None if key is None else self._answers.get(key)
        if found is None:
            found = self._computed(ask, other)
            if key is not None:
                self._answers.put(key, found, nbytes(every(found)))
        return found.clone() if isinstance(found, Tensor) else tuple(each.clone() for each in found)

    def holds(self, ask: Call) -> bool:
        """Whether a call can be answered without bringing weights onto the device."""
        other = self._other(ask.network)
        if not isinstance(other, Other) or self._part_key(ask.network, other) in self._holding.residency:
            return True
        key = self._key(ask)
        return key is not None and key in self._answers

    def clear(self) -> None:
        """Let go of the answers."""
        self._answers.clear()

    def _computed(self, ask: Call, other: Other) -> Answer:
        module = self._holding.whole(self._part_key(ask.network, other), other.source, other.part, self._choice)
        inputs = {name: self._placed(value) for name, value in ask.inputs.items()}
        found = module(**inputs)
        if not isinstance(found, Tensor) and not all(isinstance(each, Tensor) for each in found):
            raise JobError(f"The network {quoted(ask.network)} answered with {quoted(repr(found))}, expected tensors.")
        answers = tuple(each[0].float().contiguous() for each in every(found))
        if not all(bool(each) for each in [torch.isfinite(answer).all() for answer in answers]):
            raise NotANumber(f"The network {quoted(ask.network)} gave values that are not numbers; choose another one.")
        return answers[0] if isinstance(found, Tensor) else answers

    def _placed(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if not value.is_floating_point() or value.dim() == 0:  # numbers that a short type would round, such as times
            return value.to(self._choice.device)[None]
        value = value.to(self._choice.device, self._choice.torch_dtype)[None]
        last = self._choice.channels_last and value.dim() == 4
        return value.contiguous(memory_format=torch.channels_last) if last else value

    def _part_key(self, name: str, other: Other) -> PartKey:
        return PartKey(name, other.part, self._choice.dtype)

    def _other(self, name: str) -> Other | Function:
        """What a name stands for now; the weights of a file that was replaced are let go."""
        if self._open is None:
            raise JobError(f"No network {quoted(name)} can be opened here.")
        other = self._open(name)
        before = self._opened.get(name)
        if isinstance(before, Other) and (not isinstance(other, Other) or before.source is not other.source):
            self._holding.residency.drop_network(name)
            self._answers.clear()
        self._opened[name] = other
        self._opened.move_to_end(name)
        if len(self._opened) > MOST_OPEN:
            self._opened.popitem(last=False)
        return other

    def _key(self, ask: Call) -> Hashable | None:
        """A name for the contents of an ask; None where it is not to be kept, or not all of its inputs are tensors."""
        if not ask.keep:
            return None
        named = {name: self._contents.of(value) if isinstance(value, Tensor) else "" for name, value in ask.inputs.items()}
        return (ask.network, tuple(sorted(named.items()))) if all(named.values()) else None


def every(answer: Answer) -> tuple[Tensor, ...]:
    """The tensors of an answer."""
    return (answer,) if isinstance(answer, Tensor) else tuple(answer)
