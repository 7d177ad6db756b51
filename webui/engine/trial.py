"""Trying a model out: which number type and layout its calls are fastest in, on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from webui.engine.batching import call_of
from webui.engine.device import Choice, Machine, best_times, choose, facts
from webui.engine.local import LocalNetworks
from webui.engine.placing import Weights
from webui.pipeline.protocol import Conditioning, Moment, Row

ROWS = 2  # a guided picture alone: what most people wait for
TOKENS = 77
LARGEST = 64  # latent pixels a side: what is fastest there is so for larger pictures too, which would take minutes to try


def choice_for(
    model: Weights, *, memory: Path | None = None, exact: bool = False, machine: Machine | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Choice:
    """How a model's noise predictor is to compute here: measured once and kept in `memory`, or by rule."""
    weights = sum(math.prod(shape) for shape, _ in model.shapes("unet").values())
    side = min(model.spec.native_size // model.spec.vae.factor, LARGEST)
    subject = f"{model.spec.family}, {weights} weights, {ROWS} rows of {side} x {side}"

    def measure(options: tuple[Choice, ...]) -> Mapping[Choice, float]:
        return best_times([(option, trial(model, option, side)) for option in options], clock)

    return choose(machine or facts(), measure, weights=weights, subject=subject, memory=memory, exact=exact)


def trial(model: Weights, choice: Choice, side: int) -> Callable[[], object]:
    """A call of the model's noise predictor from end to end, as a picture's steps make them."""
    networks = LocalNetworks(lambda _: model, choice)
    spec = model.spec.unet
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(spec.out_channels, side, side, generator=generator)
    more = spec.in_channels - spec.out_channels
    channels = torch.randn(more, side, side, generator=generator) if more else None
    guidance = None if spec.guidance_width is None else 1.0
    vector = None if spec.label_width is None else torch.randn(spec.label_width, generator=generator)

    def row(role: str) -> Row:
        tokens = torch.randn(TOKENS, spec.context_width, generator=generator)
        return Row(x, Moment(1.0, 0, 1), Conditioning(tokens, vector, key=role), channels=channels, role=role, guidance=guidance)

    call = call_of([row(f"trial {index}") for index in range(ROWS)])
    return lambda: networks.predict(call).finite()
