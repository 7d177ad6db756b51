"""Steps per second, what the engine adds to a step, and the floor: the bare network calls of the same shapes, in the same run.

    python benchmarks/steps.py [--steps 20] [--rounds 5] [--threads N] [--size 128]

The network has the built-in model's shape and random weights, which cost what trained ones cost. Floor and engine take turns
and the best round counts. Steps per second and milliseconds are wall time, from the request to the picture. The ratio and the
overhead compare processor time, which other programs on the machine disturb less: `ratio` is all of a step over the bare call,
`overhead` what a step costs outside the networks (queue, batching, sampler, noise, progress, hand-over; keys and values once a
picture). On a GPU, where the processor only waits, both are wall time. Then the noise predictor answers at once, and the last
line is what keeping time embeddings from one call to the next could save at most.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.builtin.recipe.networks import model_spec, tokenizer
from tests.in_memory import InMemory
from webui.engine.device import Choice, candidates, facts, fastest
from webui.engine.engine import Engine
from webui.engine.events import Finished
from webui.engine.local import LocalNetworks
from webui.engine.placing import brought
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.text import TextTower
from webui.nets.unet import UNetModel, timestep_embedding
from webui.pipeline.generate import Model, generate
from webui.pipeline.protocol import Conditioning, Decode, Encode
from webui.request import Request
from webui.weights.model import LoadedModel

WORDS = "a large shiny red ball to the left of a small green cube on a wooden table"


@dataclass(frozen=True)
class Figures:
    """Milliseconds a step: of wall time bare and with the engine, then of processor time, at last that outside the networks."""

    floor: float
    engine: float
    floor_work: float
    engine_work: float
    overhead: float


class Noting(LocalNetworks):
    """Networks that note the time spent on texts and pictures."""

    def __init__(self, loaded: LoadedModel, choice: Choice, spent: list[float]) -> None:
        super().__init__({"builtin": InMemory(loaded)}.__getitem__, choice)
        self.spent, self.clock = spent, clock_of(choice)

    def encode(self, ask: Encode) -> Conditioning:
        began = self.clock()
        found = super().encode(ask)
        self.spent.append(self.clock() - began)
        return found

    def decode(self, ask: Decode) -> Tensor:
        began = self.clock()
        found = super().decode(ask)
        self.spent.append(self.clock() - began)
        return found


def clock_of(choice: Choice) -> Callable[[], float]:
    """Seconds of processor time where the processor does the work, else of wall time."""
    return time.process_time if choice.device == "cpu" else time.perf_counter


def model(spent: list[float]) -> LoadedModel:
    """A random model of the built-in model's shape whose noise predictor notes how long each call took."""

    class Timed(UNetModel):
        def forward(self, *arguments: Any, **options: Any) -> Tensor:
            clock = time.process_time if arguments[0].device.type == "cpu" else time.perf_counter
            began = clock()
            predicted: Tensor = super().forward(*arguments, **options)
            spent.append(clock() - began)
            return predicted

    torch.manual_seed(0)
    words = tokenizer()
    spec = model_spec(words.size)
    unet, vae, text = Timed(spec.unet), AutoencoderKL(spec.vae), TextTower(spec.text[0])
    for network in (unet, vae, text):
        network.eval().requires_grad_(False)
    return LoadedModel(spec=spec, unet=unet, vae=vae, text=(text,), tokenizers=(words,), path=Path("random"))


def request(steps: int, count: int, size: int) -> Request:
    """A guided picture, or several."""
    return Request(
        model="builtin", prompt=WORDS, steps=steps, sampler="DPM++ 2M", schedule="Karras", scale=5.0, seed=1, width=size,
        height=size, count=count,
    )


def floor(loaded: LoadedModel, choice: Choice, rows: int, size: int) -> Callable[[], object]:
    """One bare call of the noise predictor."""
    unet, spec = brought(InMemory(loaded), "unet", choice), loaded.spec
    side = size // spec.vae.factor
    x = torch.randn(rows, spec.unet.in_channels, side, side).to(choice.device, choice.torch_dtype)
    context = torch.randn(rows, spec.text[0].positions, spec.unet.context_width).to(choice.device, choice.torch_dtype)
    t = torch.full((rows,), 500.0, device=choice.device)
    if choice.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)

    def call() -> object:
        with torch.no_grad():
            return unet(x, t, context)

    return call


def engine_run(loaded: LoadedModel, networks: LocalNetworks) -> tuple[Engine, Callable[[Request], None]]:
    """An engine as the program uses it, and a way to run one request to its end."""
    known = Model(name="builtin", spec=loaded.spec, tokenizers=loaded.tokenizers)
    engine = Engine(lambda wanted: [generate(wanted.picture(index), known) for index in range(wanted.count)], networks)

    def run(wanted: Request) -> None:
        *_, last = engine.events(engine.submit(wanted))
        assert isinstance(last, Finished), last

    return engine, run


def timed(clock: Callable[[], float], work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall time and on `clock`."""
    wall, began = time.perf_counter(), clock()
    work()
    return time.perf_counter() - wall, clock() - began


def rounds(loaded: LoadedModel, choice: Choice, spent: list[float], wanted: Request, count: int) -> Iterator[Figures]:
    """Floor and engine, turn by turn."""
    clock, bare = clock_of(choice), floor(loaded, choice, 2 * wanted.count, wanted.width)
    engine, run = engine_run(loaded, Noting(loaded, choice, spent))
    with engine:
        run(wanted)
        for index in range(count):
            other = Request(**{**wanted.to_dict(), "seed": index, "prompt": f"{WORDS} {index}"})
            lowest, lowest_work = timed(clock, lambda: [bare() for _ in range(wanted.steps)])
            spent.clear()
            whole, work = timed(clock, lambda: run(other))  # noqa: B023  called at once
            seconds = (lowest, whole, lowest_work, work, work - sum(spent))
            yield Figures(*(each / wanted.steps * 1e3 for each in seconds))


def engine_alone(spent: list[float], size: int) -> float:
    """Milliseconds of processor time a step where the noise predictor returns its input: a long run less a short one."""

    class Echo(UNetModel):
        def forward(self, *arguments: Any, **_: Any) -> Tensor:
            x: Tensor = arguments[0]
            return x

    loaded = model(spent)
    with torch.device("meta"):
        echo = Echo(loaded.spec.unet)
    loaded = replace(loaded, unet=echo.to_empty(device="cpu").eval())
    engine, run = engine_run(loaded, LocalNetworks({"builtin": InMemory(loaded)}.__getitem__))
    least = {20: float("inf"), 120: float("inf")}
    with engine:
        for _ in range(6):
            for steps in least:
                least[steps] = min(least[steps], timed(time.process_time, lambda: run(request(steps, 1, size)))[1])  # noqa: B023
    return (least[120] - least[20]) / 100 * 1e3


def time_embedding(loaded: LoadedModel, choice: Choice, rows: int) -> float:
    """Milliseconds on the choice's clock of the embedding of the time in one call."""
    unet, clock = brought(InMemory(loaded), "unet", choice), clock_of(choice)
    t, width = torch.full((rows,), 500.0, device=choice.device), loaded.spec.unet.model_channels

    def embed() -> object:
        embedded = unet.time_embed(timestep_embedding(t, width).to(choice.torch_dtype))
        return embedded.sum().item()  # waits for the device

    with torch.no_grad():
        return min(timed(clock, embed)[1] for _ in range(200)) * 1e3


def best(figures: list[Figures]) -> Figures:
    """The least of each figure."""
    return Figures(*(min(getattr(each, name) for each in figures) for name in Figures.__dataclass_fields__))


def main() -> None:
    """Measure every number type that is worth trying here, with one picture and with four."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="torch's threads; 0 leaves its own choice")
    parser.add_argument("--size", type=int, default=128)
    chosen = parser.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    machine, spent = facts(), list[float]()
    loaded = model(spent)
    weights = sum(weight.numel() for weight in loaded.unet.parameters())
    print(f"{machine.name}, {machine.threads} threads, torch {machine.torch}")
    print(f"{weights / 1e6:.1f} M weights, {chosen.size} x {chosen.size}, {chosen.steps} steps with guidance")
    print("device  numbers   layout         pictures  steps/s  ms/step   floor  ratio  overhead")
    single: dict[Choice, float] = {}
    for choice in candidates(machine):
        for pictures in (1, 4):
            figures = best(list(rounds(loaded, choice, spent, request(chosen.steps, pictures, chosen.size), chosen.rounds)))
            layout = "channels last" if choice.channels_last else "channels first"
            speed, ratio = pictures * 1e3 / figures.engine, figures.engine_work / figures.floor_work
            print(
                f"{choice.device:7} {choice.dtype:9} {layout:14} {pictures:8} {speed:8.2f} {figures.engine:8.2f} "
                f"{figures.floor:7.2f} {ratio:6.2f} {figures.overhead:6.2f} ms", flush=True,
            )
            if pictures == 1:
                single[choice] = figures.engine
    print(f"Fastest for one picture: {fastest(single)}")
    print(f"Engine alone: {engine_alone(spent, chosen.size):.2f} ms of processor time a step")
    embeddings = ", ".join(f"{time_embedding(loaded, choice, 2):.2f} ms {choice.dtype}" for choice in single)
    print(f"Time embedding of a call of two rows: {embeddings}")


if __name__ == "__main__":
    main()
