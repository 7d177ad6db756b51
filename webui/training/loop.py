"""One training loop for every network: warm-up, steady rate, decay to zero, averaged weights, exact resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from webui.training.state import load_state, save_state

SAVE_EVERY = 120.0
REPORT_EVERY = 20.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast to train.

    `rate` is AdamW's peak learning rate, reached after `warmup` steps, held, and taken linearly to zero over the last `decay`
    part of `steps` (Hagele et al. 2024, arXiv 2405.18392): a run that was lengthened needs no new schedule. `average` is the
    decay of the exponential moving average of the weights, which is what is kept as the result.
    """

    steps: int
    rate: float
    warmup: int = 100
    decay: float = 0.3
    average: float = 0.999
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """The learning rate of a step counted from 0."""
        rising = (step + 1) / max(self.warmup, 1)
        falling = (self.steps - step) / max(self.steps * self.decay, 1)
        return self.rate * max(0.0, min(1.0, rising, falling))


# A loss draws its own batch from the step's generator, so a resumed run sees the batches the unbroken one would have seen.
Loss = Callable[[torch.Generator], Mapping[str, Tensor]]
Report = Callable[[int, Mapping[str, float]], None]


class Average:
    """The exponential moving average of a network's parameters, with a short horizon while the run is young."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: tensor.detach().clone().float() for name, tensor in network.named_parameters()}

    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards the network's present weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        parameters = dict(network.named_parameters())
        names = list(self.tensors)
        torch._foreach_lerp_([self.tensors[name] for name in names], [parameters[name].detach() for name in names], 1 - decay)

    def write_to(self, network: nn.Module) -> None:
        """Put the averaged weights into a network."""
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(self.tensors[name])


def step_generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """The random numbers of one step: a function of the plan's seed and the step alone."""
    return torch.Generator(device=device).manual_seed(seed * 1_000_003 + step)


def train(
    network: nn.Module,
    loss: Loss,
    plan: Plan,
    folder: Path,
    *,
    seconds: float | None = None,
    report: Report | None = None,
) -> int:
    """Train until `plan.steps`, or for about `seconds`, and return the step reached; state is kept in `folder`.

    The loss returns named values; the one called "loss" is minimised, the others are reported.
    """
    device = next(network.parameters()).device
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=plan.rate, betas=(0.9, 0.99), weight_decay=plan.weight_decay, fused=True
    )
    average = Average(network, plan.average)
    step = load_state(folder, network, optimizer, average.tensors)
    start = saved = told = time.monotonic()
    sums: dict[str, float] = {}
    counted = 0
    while step < plan.steps and (seconds is None or time.monotonic() - start < seconds):
        values = loss(step_generator(plan.seed, step, device))
        values["loss"].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), plan.clip)
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(network, step)
        step += 1
        counted += 1
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        now = time.monotonic()
        if report is not None and (now - told > REPORT_EVERY or step == plan.steps):
            report(step, {**{name: total / counted for name, total in sums.items()}, "steps/s": counted / (now - told)})
            sums, counted, told = {}, 0, now
        if now - saved > SAVE_EVERY:
            save_state(folder, step, network, optimizer, average.tensors)
            saved = now
    save_state(folder, step, network, optimizer, average.tensors)
    average.write_to(network)
    return step
