"""A cache bounded in bytes that lets go of what was used longest ago."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from torch import Tensor

V = TypeVar("V")


class ByteCache(Generic[V]):
    """Values by key, at most `capacity` bytes together; a value larger than that is not kept. For one thread."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self._entries: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        """The value of a key, which is thereby the last to go, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: Hashable, value: V, size: int) -> V:
        """Keep a value of `size` bytes, if it fits, and return it."""
        self.remove(key)
        if size <= self.capacity:
            self._entries[key] = (value, size)
            self.size += size
        while self.size > self.capacity:
            _, (_, gone) = self._entries.popitem(last=False)
            self.size -= gone
        return value

    def remove(self, key: Hashable) -> None:
        """Let go of one key, if it is there."""
        if key in self._entries:
            self.size -= self._entries.pop(key)[1]

    def clear(self) -> None:
        """Let go of everything."""
        self._entries.clear()
        self.size = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries


def nbytes(tensors: Iterable[Tensor]) -> int:
    """How many bytes the values of these tensors take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
