"""What the engine's tests are made of: a tiny random model, closed-form networks, requests, and ways to run an engine."""
from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.analytic import gmm
from tests.in_memory import InMemory
from webui.engine import events
from webui.engine.batching import RowCall
from webui.engine.device import CPU_FLOAT32, Choice
from webui.engine.engine import Engine
from webui.engine.local import LocalNetworks
from webui.engine.networks import Predicted
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import ModelSpec, TextSpec, UNetSpec, VAESpec
from webui.nets.text import TextTower
from webui.nets.tokenizer import Tokenizer
from webui.nets.unet import UNetModel
from webui.pipeline.generate import Model, Picture, generate
from webui.pipeline.patches import NO_PATCHES, Patches
from webui.pipeline.protocol import (
    Call,
    Conditioning,
    Decode,
    Encode,
    EncodePicture,
    Interrupted,
    Moment,
    Row,
    Rows,
    Step,
)
from webui.request import Request
from webui.weights.model import LoadedModel

Source = Generator[Any, Any, Any]
SIZE = 16
PATIENCE = 60.0  # seconds; nothing takes so long but a machine that is very busy
TOKENIZER = Tokenizer([])
TINY = ModelSpec(
    family="tiny",
    title="Tiny random model",
    unet=UNetSpec(
        model_channels=16, channel_mult=(1, 2), res_blocks=1, transformer_depth=(1, 1), context_width=16, heads=2, groups=8
    ),
    vae=VAESpec(channels=8, channel_mult=(1, 2), res_blocks=1, scale=0.5, shift=0.1, groups=4),
    text=(TextSpec(width=16, layers=2, heads=2, hidden=32, vocabulary=TOKENIZER.size, positions=12, padding=TOKENIZER.end),),
    prediction="v",
    native_size=SIZE,
)


def randomised(module: nn.Module, seed: int) -> nn.Module:
    """The module with random weights, those that start at zero too."""
    generator = torch.Generator().manual_seed(seed)
    for weight in module.parameters():
        fan = max(weight[0].numel(), 1) if weight.dim() > 1 else 100
        weight.data = torch.randn(weight.shape, generator=generator) / fan**0.5 + (weight.dim() == 1)
    return module.eval().requires_grad_(False)


@functools.cache
def tiny_model(spec: ModelSpec = TINY) -> LoadedModel:
    """A whole random model."""
    unet, vae = UNetModel(spec.unet), AutoencoderKL(spec.vae)
    towers = tuple(TextTower(tower) for tower in spec.text)
    for seed, module in enumerate((unet, vae, *towers)):
        randomised(module, seed)
    return LoadedModel(spec=spec, unet=unet, vae=vae, text=towers, tokenizers=(TOKENIZER,) * len(towers), path=Path("tiny"))


def request(**changes: Any) -> Request:
    """A small request, changed."""
    plain = Request(
        model="tiny", prompt="a red ball", negative="grey", steps=4, sampler="Euler", schedule="Karras", scale=3.0, seed=1,
        width=SIZE, height=SIZE,
    )
    return replace(plain, **changes)


MODEL = Model(name="tiny", spec=TINY, tokenizers=(TOKENIZER,))


def pictures_of(wanted: Request, patches: Patches = NO_PATCHES) -> list[Source]:
    """The real pipeline's generations of a request."""
    return [generate(wanted.picture(index), MODEL, patches=patches) for index in range(wanted.count)]


def stepped(start: Callable[[Request], Sequence[Source]], networks: Any, **options: Any) -> Engine:
    """An engine that only moves when told to."""
    return Engine(start, networks, thread=False, **options)


def local(choice: Choice = CPU_FLOAT32) -> LocalNetworks:
    """The tiny model's networks."""
    source = InMemory(tiny_model())
    return LocalNetworks(lambda _: source, choice)


def run(engine: Engine, turns: int = 100_000) -> None:
    """Step until nothing is left to do."""
    for _ in range(turns):
        if not engine.step():
            return
    raise AssertionError("The engine never came to rest.")


def told(engine: Engine, job: str) -> list[events.Event]:
    """All events of a job that has ended or soon will."""
    found: list[events.Event] = []
    with engine.events(job, previews=True) as stream:
        while not found or not isinstance(found[-1], events.LAST):
            event = stream.next(timeout=PATIENCE)
            assert event is not None, f"The job never ended after {found}."
            found.append(event)
    return found


def last(engine: Engine, job: str) -> events.Event:
    """The last event of an ended job."""
    return told(engine, job)[-1]


def pictures(engine: Engine, job: str) -> list[events.Picture]:
    """The pictures of an ended job, in order of their number."""
    return sorted((each for each in told(engine, job) if isinstance(each, events.Picture)), key=lambda each: each.picture)


def alone(wanted: Request, networks: Any = None, start: Callable[[Request], Sequence[Source]] = pictures_of) -> list[np.ndarray]:
    """The pixels of a request run by itself."""
    engine = stepped(start, networks or local())
    job = engine.submit(wanted)
    run(engine)
    return [each.pixels for each in pictures(engine, job)]


def conditioning(length: int = 3, width: int = 2, value: float = 0.0) -> Conditioning:
    """A conditioning of equal numbers."""
    return Conditioning(torch.full((length, width), value), key=f"{length} {width} {value}")


class Exact:
    """Networks that know the answer: the closed-form denoiser, shifted by the text. Rows whose role is "nan" get no numbers."""

    def __init__(self, fault: Callable[[RowCall], None] | None = None) -> None:
        self.fault = fault
        self.shapes: list[int] = []
        self.rows: list[int] = []
        self.shared: list[set[str]] = []
        self.freed = 0

    def predict(self, call: RowCall) -> Predicted:
        self.shapes.append(call.count)
        self.rows.append(len(call.rows))
        self.shared.append({row.role for row in call.rows})
        if self.fault is not None:
            self.fault(call)
        answers = tuple(self.one(row) for row in call.rows)
        return Predicted(answers, lambda: tuple(bool(torch.isfinite(each).all()) for each in answers))

    def one(self, row: Row) -> Tensor:
        if row.role == "nan":
            return torch.full_like(row.x, float("nan"))
        return gmm(row.x.double(), row.at.sigma).float() + row.conditioning.tokens.mean()

    def encode(self, ask: Encode) -> Conditioning:
        return conditioning(value=len(ask.chunks) / 100)

    def encode_picture(self, ask: EncodePicture) -> Tensor:
        return ask.picture.mean() * torch.ones(4, 2, 2)

    def decode(self, ask: Decode) -> Tensor:
        return (ask.latent[:3].repeat_interleave(2, 1).repeat_interleave(2, 2) / 4 + 0.5).clamp(0, 1)

    def call(self, ask: Call) -> Any:
        return ask.inputs

    def ready(self, row: Row) -> bool:
        return True

    def holds(self, ask: object) -> bool:
        return True

    def notices(self) -> tuple[str, ...]:
        return ()

    def free(self) -> None:
        self.freed += 1


def plain(
    wanted: Request, *, role: str = "cond", network: str = "model", length: int = 3, patches: Patches = NO_PATCHES, rows: int = 1
) -> Source:
    """One picture by Euler's method written out, `rows` equal rows a call: the smallest generation there is."""
    x = torch.randn(4, 2, 2, generator=torch.Generator().manual_seed(wanted.seed)) * 10
    sigmas = torch.linspace(10, 0, wanted.steps + 1).tolist()
    text = conditioning(length)
    latent = x
    try:
        for step in range(wanted.steps):
            at = Moment(sigmas[step], step, wanted.steps)
            denoised, *_ = yield Rows(*[Row(x, at, text, network=network, patches=patches, role=role) for _ in range(rows)])
            x = x + (x - denoised) / sigmas[step] * (sigmas[step + 1] - sigmas[step])
            yield Step(at, x, denoised)
        latent = x
    except Interrupted as early:
        if early.latent is None:
            raise
        latent = early.latent
    pixels = yield Decode(latent, network=network)
    return Picture(pixels=pixels, latent=latent)


def plain_pictures(wanted: Request) -> list[Source]:
    """Plain generations of a request; its prompt "role length" says what its rows are."""
    role, _, length = wanted.prompt.partition(" ")
    return [plain(wanted.picture(index), role=role, length=int(length or 3)) for index in range(wanted.count)]


def simple(role: str = "cond", length: int = 3, **changes: Any) -> Request:
    """A request for `plain_pictures`."""
    return request(prompt=f"{role} {length}", **changes)

