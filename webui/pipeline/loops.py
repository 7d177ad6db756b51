"""A generation that is one of several in a row: its steps are counted on from those before."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, TypeVar

from webui.pipeline.protocol import Ask, Interrupted, Step

T = TypeVar("T")


def counted(generation: Generator[Ask, Any, T], loop: int, loops: int) -> Generator[Ask, Any, T]:
    """The same asks and result; whoever watches is told the steps of all loops as one row."""
    sent: Any = None
    early: Interrupted | None = None
    try:
        while True:
            try:
                ask = generation.send(sent) if early is None else generation.throw(early)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(ask, Step) and ask.at.steps is not None:
                step, steps = ask.at.step + loop * ask.at.steps, ask.at.steps * loops
                ask = replace(ask, at=replace(ask.at, step=step, steps=steps))
            early = None
            try:
                sent = yield ask
            except Interrupted as thrown:
                early = thrown
    finally:
        generation.close()
