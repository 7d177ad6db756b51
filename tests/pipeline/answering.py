"""A stand-in for the engine in tests of the pipeline: closed answers, and a list of what was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from tests.tiny_checkpoint import MERGES, SPEC
from webui.nets.spec import ModelSpec
from webui.nets.tokenizer import Tokenizer
from webui.pipeline.generate import Model, Picture, generate
from webui.pipeline.given import NOTHING_GIVEN, Given
from webui.pipeline.protocol import Call, Conditioning, Decode, Encode, EncodePicture, Read, Row, Rows, Step
from webui.request import Request

TOKENIZER = Tokenizer(MERGES)
FACTOR = 8
MODEL = Model(name="m", spec=SPEC, tokenizers=(TOKENIZER,))
REQUEST = Request(
    model="m", prompt="ab", steps=4, sampler="Euler", schedule="Karras", scale=2.0, seed=5, width=64, height=32, strength=0.6
)


def with_channels(channels: int, **more: Any) -> Model:
    """The model with a noise predictor of so many input channels."""
    return replace(MODEL, spec=replace(SPEC, unet=replace(SPEC.unet, in_channels=channels), **more))


def spec_of(**more: Any) -> ModelSpec:
    return replace(SPEC, **more)


def encoded(picture: Tensor) -> Tensor:
    """A picture's mean colour in each cell, and their mean as the fourth channel."""
    colours = avg_pool2d(picture[None], FACTOR)[0] * 2 - 1
    return torch.cat([colours, colours.mean(0, keepdim=True)])


def decoded(latent: Tensor) -> Tensor:
    """Cells as squares of their colour."""
    return (latent[:3] / 2 + 0.5).clamp(0, 1).repeat_interleave(FACTOR, 1).repeat_interleave(FACTOR, 2)


def settled(row: Row) -> Tensor:
    """A clean latent that depends on the cell alone, so that whatever may change does."""
    return torch.linspace(-0.9, 0.9, row.x.numel()).view(row.x.shape).to(row.x.device)


@dataclass(kw_only=True, eq=False)
class Engine:
    """Answers asks and keeps them; `predict` gives the clean latent of a row, `call` what another network gives of a picture."""

    predict: Callable[[Row], Tensor] = settled
    call: Callable[[Tensor], Tensor] = lambda picture: picture.mean(0) * 7 - 3
    device: str = "cpu"
    asks: list[Any] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def answer(self, ask: Any) -> Any:
        self.asks.append(ask)
        match ask:
            case Encode():
                return Conditioning(torch.full((1, 1), float(len(ask.chunks[0][0].ids))))
            case Rows():
                return tuple(self.predict(row) for row in ask.rows)
            case EncodePicture():
                return encoded(ask.picture).to(self.device)
            case Decode():
                return decoded(ask.latent)
            case Call():
                return self.call(ask.inputs["picture"])
            case Read():
                return ask.tensor.cpu()
        raise AssertionError(ask)

    def run(self, generation: Any) -> Picture:
        """Drive a generation to its end."""
        sent: Any = None
        while True:
            try:
                ask = generation.send(sent)
            except StopIteration as end:
                return end.value
            if isinstance(ask, Step):
                self.steps.append(ask)
                sent = None
            else:
                sent = self.answer(ask)

    def of(self, kind: type) -> list[Any]:
        """The asks of one kind."""
        return [ask for ask in self.asks if isinstance(ask, kind)]

    @property
    def rows(self) -> list[Row]:
        """The first row of each step."""
        return [ask.rows[0] for ask in self.of(Rows)]


def made(
    request: Request, given: Given = NOTHING_GIVEN, engine: Engine | None = None, model: Model = MODEL, **more: Any
) -> Picture:
    """The picture of a request."""
    engine = engine or Engine()
    return engine.run(generate(request, model, device=engine.device, given=given, **more))


def coloured(width: int, height: int, seed: int = 0, alpha: int = 255) -> Tensor:
    """An RGBA picture of random bytes [4, H, W]."""
    picture = torch.randint(0, 256, (4, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    picture[3] = alpha
    return picture


def in_bytes(pixels: Tensor) -> Tensor:
    """What the engine makes of a result."""
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
