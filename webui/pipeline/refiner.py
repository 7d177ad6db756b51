"""A second model that takes over for the lower noise levels: SDXL's refiner, or any that shares the latent space."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from torch import Tensor

from webui.errors import UserError
from webui.nets.spec import ModelSpec
from webui.pipeline.model import Model
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.protocol import Ask, Asking, Denoise, Moment

SWITCH_AT = 0.8  # SDXL's refiner was trained for the last fifth of the noise levels


def handed_over(first: Denoise, second: Generator[Ask, Any, Denoise], over: Callable[[Moment], bool]) -> Denoise:
    """Denoise by `first` until it is `over`, then by what `second` makes: only then are the second model's texts asked for.

    One generation owns what is returned, as it remembers what was made.
    """
    made: list[Denoise] = []

    def denoise(x: Tensor, at: Moment) -> Asking:
        if not over(at):
            return (yield from first(x, at))
        if not made:
            made.append((yield from second))
        return (yield from made[0](x, at))

    return denoise


def is_over(table: NoiseTable, switch_at: float | None) -> Callable[[Moment], bool]:
    """Whether the part `switch_at` (0 to 1; None for the usual) of the training steps lies behind a moment.

    Training steps are counted, from the noisiest, and not those of the sampler: a refiner was trained for certain noise levels.
    So A1111 counts since 1.8, and diffusers with `denoising_end`.
    """
    steps = len(table.sigmas)
    part = SWITCH_AT if switch_at is None else switch_at
    return lambda at: (steps - 1 - round(table.t_of(at.sigma))) / steps >= part


def check_pair(model: Model, refiner: Model) -> None:
    """Raise `UserError` unless a refiner can go on with the latents of a model."""
    if latents(model.spec) != latents(refiner.spec):
        raise UserError(
            f"The refiner {refiner.name!r} ({refiner.spec.title}) cannot go on with the latents of {model.name!r} "
            f"({model.spec.title}): their autoencoders differ. Choose two models that share one, such as SDXL and its refiner."
        )


def latents(spec: ModelSpec) -> tuple[int, int, float, float]:
    """What two models must have in common to read the same latents: channels, pixels a side, scale and shift."""
    return spec.vae.latent_channels, spec.vae.factor, spec.vae.scale, spec.vae.shift
