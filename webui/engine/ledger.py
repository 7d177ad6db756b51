"""Which weights are on the device: a count that never passes its budget, and what has to go when something else comes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from webui.engine.allocator import give_back
from webui.engine.faults import out_of_memory, without_frames
from webui.errors import OutOfMemory

MEGABYTE = 10**6
ADVICE = "Allow models more memory in the settings, or choose a smaller model."
FORGET_AFTER = 32  # swaps after which more memory is tried again than sufficed: other programs may have given theirs back


class OverBudget(AssertionError):
    """Weights were put on the device for which no room had been made: a fault in the program."""


class Ledger:
    """Counts the bytes of weights on a device against a budget; `peak` is the most there were at once."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.used = 0
        self.peak = 0

    def take(self, size: int) -> None:
        """Write down bytes that come onto the device; `OverBudget` where that is more than allowed."""
        if self.used + size > self.budget:
            raise OverBudget(f"{size} bytes more than the {self.used} in use would pass the budget of {self.budget}.")
        self.used += size
        self.peak = max(self.peak, self.used)

    def give(self, size: int) -> None:
        """Write down bytes that left it."""
        self.used -= size


@dataclass(frozen=True)
class PartKey:
    """A part of a model ("unet", "vae", "text0"), plain or as patches and number type make it (`variant`)."""

    network: str
    part: str
    variant: Hashable = ()


@dataclass(frozen=True)
class Held:
    """One part: what it is, its bytes, the part whose weights it shares, and what is to be called when it goes."""

    value: Any
    size: int
    base: PartKey | None
    close: Callable[[], None] | None


class Residency:
    """What is on the device, the longest unused first to go. For one thread.

    `swaps` counts the parts that were brought onto the device.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.swaps = 0
        self._told = ledger.budget
        self._learnt = 0  # at how many swaps the budget was found to be more than there is
        self._held: OrderedDict[PartKey, Held] = OrderedDict()

    def __contains__(self, key: PartKey) -> bool:
        return key in self._held

    def get(self, key: PartKey) -> Any:
        """What is held under a key, and stays longest from now on; None where nothing is."""
        entry = self._held.get(key)
        if entry is None:
            return None
        if entry.base is not None:
            self._held.move_to_end(entry.base)
        self._held.move_to_end(key)
        return entry.value

    def plain(self) -> list[tuple[PartKey, Any]]:
        """What is held that shares no weights with something else, as copies with patches do."""
        return [(key, entry.value) for key, entry in list(self._held.items()) if entry.base is None]

    def room(self, least: int = 0) -> int:
        """The bytes that may be used now: the budget, or less where the device lately had less.

        That is never a reason to refuse what takes `least`: then all of the budget is tried again.
        """
        if self.ledger.budget < least or self.swaps >= self._learnt + FORGET_AFTER:
            self.ledger.budget = self._told
        return self.ledger.budget

    def bring(
        self, key: PartKey, size: int, make: Callable[[], Any], *,
        base: PartKey | None = None, close: Callable[[], None] | None = None, purpose: str = "A network",
    ) -> Any:
        """Make room for `size` bytes, then hold what `make` returns; what it raises leaves nothing behind.

        `close` is called when it goes. `base` is a part whose weights this one shares: it stays while this one comes, and takes
        it along when it goes. `OutOfMemory` where the budget could never hold it.
        """
        kept = 0 if base is None else self._held[base].size
        if size + kept > (room := self.room(size + kept)):
            raise OutOfMemory(
                f"{purpose} needs {(size + kept) / MEGABYTE:,.0f} MB of memory for its weights; "
                f"{room / MEGABYTE:,.0f} MB may be used. {ADVICE}"
            )
        while (missing := self.ledger.used + size - self.ledger.budget) > 0:
            self.drop(self._next_to_go(key, base, missing))
        value = self._made(size, make, base)
        self.swaps += 1
        self._held[key] = Held(value, size, base, close)
        return value

    def _made(self, size: int, make: Callable[[], Any], base: PartKey | None) -> Any:
        """What `make` returns; where the device has less memory than the budget says, with everything else gone.

        The budget is then for a while what was in use, which did fit.
        """
        others = [each for each in self._held if each != base]
        fitted = self.ledger.used
        try:
            return self._counted(size, make)
        except (RuntimeError, MemoryError) as error:
            if not others or not out_of_memory(error):
                raise
            without_frames(error)
        for other in others:
            self.drop(other)
        self.ledger.budget, self._learnt = max(fitted, self.ledger.used + size), self.swaps
        return self._counted(size, make)

    def _counted(self, size: int, make: Callable[[], Any]) -> Any:
        self.ledger.take(size)
        try:
            return make()
        except BaseException:
            self.ledger.give(size)
            raise

    def _next_to_go(self, key: PartKey, base: PartKey | None, missing: int) -> PartKey:
        """What goes to make room for `key`: of the network unused for longest, this one's own last, the least that suffices.

        A picture needs its model's parts one after the other, so the part unused for longest is just what it needs next.
        """
        others = dict.fromkeys(each.network for each in reversed(self._held) if each != base and each.network != key.network)
        network = [key.network, *others][-1]
        parts = {each: self._with_variants(each) for each in self._held if each.network == network and each != base}
        enough = {each: size for each, size in parts.items() if size >= missing}
        return min(enough, key=enough.__getitem__) if enough else max(parts, key=parts.__getitem__)

    def _with_variants(self, key: PartKey) -> int:
        """The bytes that are free when a part goes."""
        return self._held[key].size + sum(self._with_variants(each) for each, held in self._held.items() if held.base == key)

    def drop(self, key: PartKey) -> None:
        """Let go of one part, and of all that share its weights."""
        for other in [each for each, held in self._held.items() if held.base == key]:
            self.drop(other)
        if key in self._held:
            gone = self._held.pop(key)
            if gone.close is not None:
                gone.close()
            self.ledger.give(gone.size)
            del gone  # first, so that its memory is given back too
            give_back()

    def drop_network(self, network: str) -> None:
        """Let go of all parts of one network."""
        for key in [each for each in self._held if each.network == network]:
            self.drop(key)

    def drop_others(self) -> None:
        """Let go of everything but what was used last."""
        if self._held:
            last = next(reversed(self._held))
            for key in [each for each in self._held if each not in (last, self._held[last].base)]:
                self.drop(key)

    def clear(self) -> None:
        """Let go of everything."""
        for key in list(self._held):
            self.drop(key)
