"""The same picture within smaller and smaller budgets of memory for a full-size model, on the CPU: time, memory, swaps, pixels.

    python benchmarks/budgets.py [--model FILE] [--size 512] [--steps 2] [--write]

Each budget, in percent of all the model's weights as they are held, is a process of its own that makes one guided picture with
the program's engine and then another of another prompt; the second is timed, so that reading everything for the first time is
not. Memory is what is neither a file nor shared, above what the process had before. Without `--model` a random Stable Diffusion 1
checkpoint in its published size is made in a temporary folder. Run it on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import document
from benchmarks.loading import cached, in_child, made, watched
from webui.engine.allocator import keep_freed_memory
from webui.engine.device import Choice, by_rule, facts
from webui.engine.engine import Engine
from webui.engine.events import Finished, Picture
from webui.engine.local import LocalNetworks, Room
from webui.engine.placing import size_of
from webui.pipeline.generate import Model, generate
from webui.request import Request
from webui.weights.source import ModelSource, open_model

PERCENT = (100, 60, 30)
GIGABYTE = 1e9


@dataclass(frozen=True)
class Drawn:
    """Two pictures within a budget: bytes allowed, seconds of the second, most memory, parts brought for both, a hash of them."""

    budget: int
    seconds: float
    peak: int
    swaps: int
    pixels: str


def weights_of(source: ModelSource, choice: Choice) -> int:
    """The bytes of all of a model's weights as they are held."""
    return sum(size_of(source.shapes(part), choice if part == "unet" else choice.in_float32()) for part in source.parts)


def child(pipe: Any, path: Path, percent: int, size: int, steps: int) -> None:
    """Draw twice within a budget."""
    keep_freed_memory()
    source, choice = open_model(path), by_rule(facts())
    budget = weights_of(source, choice) * percent // 100
    networks = LocalNetworks({"model": source}.__getitem__, choice, room=Room(weights=budget))
    known = Model(name="model", spec=source.spec, tokenizers=source.tokenizers)
    pixels = hashlib.sha256()
    with watched() as most, Engine(lambda wanted: [generate(wanted, known)], networks) as engine:
        for prompt in ("a red ball", "a green cube"):
            began = time.perf_counter()
            wanted = Request(model="model", prompt=prompt, steps=steps, sampler="Euler", schedule="Uniform", scale=7.0, seed=1,
                             width=size, height=size)
            *told, last = engine.events(engine.submit(wanted))
            assert isinstance(last, Finished), last
            for event in told:
                pixels.update(event.pixels.tobytes() if isinstance(event, Picture) else b"")
            seconds = time.perf_counter() - began
        residency = networks.holding.residency
        pipe.send(Drawn(budget=budget, seconds=seconds, peak=most(), swaps=residency.swaps, pixels=pixels.hexdigest()))


def table(found: Iterable[tuple[int, Drawn]]) -> Iterable[str]:
    """The lines of the table."""
    rows = list(found)
    first = rows[0][1]
    yield "| budget | of the weights | seconds a picture | of the first | most memory | parts brought for two pictures | pixels |"
    yield "|---|---|---|---|---|---|---|"
    for percent, drawn in rows:
        same = "the same" if drawn.pixels == first.pixels else "OTHERS"
        yield (
            f"| {drawn.budget / GIGABYTE:.2f} GB | {percent} % | {drawn.seconds:.1f} | {drawn.seconds / first.seconds:.2f} | "
            f"{drawn.peak / GIGABYTE:.2f} GB | {drawn.swaps} | {same} |"
        )


def main() -> None:
    """Measure and print; with --write, into docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    machine = facts()
    with tempfile.TemporaryDirectory() as folder:
        path = chosen.model or made(Path(folder))
        cached(path)
        found = [(percent, in_child(child, path, percent, chosen.size, chosen.steps)) for percent in PERCENT]
    lines = [
        f"{machine.name}, {machine.threads} threads, torch {machine.torch}: {by_rule(machine).name}, {chosen.size} x "
        f"{chosen.size}, {chosen.steps} guided steps.",
        "",
        *table(found),
    ]
    print("\n".join(lines))
    if chosen.write:
        document.replace("budgets", "\n".join(lines))


if __name__ == "__main__":
    main()
