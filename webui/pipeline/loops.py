"""What a generation asks is changed on the way, and the steps of several in a row are counted on."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, TypeVar

from webui.pipeline.protocol import Ask, Interrupted, Step

T = TypeVar("T")


def intercepted(
    generation: Generator[Ask, Any, T], change: Callable[[Ask], Generator[Ask, Any, Ask | None]],
    early: Callable[[Interrupted], Interrupted] | None = None,
) -> Generator[Ask, Any, T]:  # fmt: skip
    """The same generation, each of whose asks is changed before it is heard, by what may ask more; None is heard by nobody.

    `early` makes what it is told of an interruption out of what was said.
    """
    sent: Any = None
    thrown: Interrupted | None = None
    try:
        while True:
            try:
                ask = generation.send(sent) if thrown is None else generation.throw(thrown)
            except StopIteration as end:
                result: T = end.value
                return result
            sent, thrown = None, None
            try:
                heard = yield from change(ask)
                if heard is not None:
                    sent = yield heard
            except Interrupted as error:
                thrown = error if early is None else early(error)
    finally:
        generation.close()


def changed(
    generation: Generator[Ask, Any, T], change: Callable[[Ask], Ask], early: Callable[[Interrupted], Interrupted] | None = None
) -> Generator[Ask, Any, T]:
    """The same generation, each of whose asks is another one, and perhaps each interruption that it hears."""

    def at_once(ask: Ask) -> Generator[Ask, Any, Ask]:
        yield from ()
        return change(ask)

    return intercepted(generation, at_once, early)


def counted(generation: Generator[Ask, Any, T], loop: int, loops: int) -> Generator[Ask, Any, T]:
    """The same asks and result; whoever watches is told the steps of all loops as one row."""

    def change(ask: Ask) -> Ask:
        if not isinstance(ask, Step) or ask.at.steps is None:
            return ask
        return replace(ask, at=replace(ask.at, step=ask.at.step + loop * ask.at.steps, steps=ask.at.steps * loops))

    return changed(generation, change)
