"""Noise levels as plain numbers: what schedules read of a model, without torch, so that the page can draw them."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import mul

from webui.errors import UserError
from webui.nets.spec import ModelSpec

# Zero-terminal-SNR models end at alpha bar 0, sigma infinite: we start just below, at sigma 4096, where float32 still works.
SMALLEST_ALPHA = 2.0**-24
LEAST_ALPHA = 2.0**-30  # of the last training step but one: sigma 32768, where float32 has no digits to spare


@dataclass(frozen=True, eq=False)
class Levels:
    """The rising `sigmas` of a model's training steps 0 .. T - 1, and the `family` of the model.

    Between whole steps log sigma is interpolated linearly, and nothing is rounded.
    """

    sigmas: tuple[float, ...]
    family: str = ""

    @classmethod
    def of(cls, spec: ModelSpec, *, zero_terminal: bool = False) -> Levels:
        """The noise levels of a model, rescaled to end in pure noise where that is asked for or it was trained so."""
        check_prediction(spec)
        first, last = (math.sqrt(end) for end in spec.betas)
        betas = [(first + (last - first) * step / (spec.train_steps - 1)) ** 2 for step in range(spec.train_steps)]
        alphas = list(accumulate((1 - beta for beta in betas), mul))
        if zero_terminal or spec.zero_terminal_snr:
            low, high = math.sqrt(alphas[-1]), math.sqrt(alphas[0])
            alphas = [((math.sqrt(alpha) - low) * (high / (high - low))) ** 2 for alpha in alphas]
            alphas[-1] = last_alpha(alphas[-2])
        return cls(tuple(math.sqrt((1 - alpha) / alpha) for alpha in alphas), spec.family)

    @cached_property
    def _logs(self) -> tuple[float, ...]:
        return tuple(map(math.log, self.sigmas))

    @property
    def sigma_min(self) -> float:
        """The lowest noise level of the training steps, at t = 0."""
        return self.sigmas[0]

    @property
    def sigma_max(self) -> float:
        """The highest noise level of the training steps, at t = T - 1."""
        return self.sigmas[-1]

    def t_of(self, sigma: float) -> float:
        """The time of a noise level, in [0, T - 1]; levels outside the table get the nearest end."""
        logs = self._logs
        level = math.log(sigma) if sigma > 0 else -math.inf
        if not logs[0] < level < logs[-1]:
            return 0.0 if level <= logs[0] else float(len(logs) - 1)
        low = bisect.bisect_right(logs, level) - 1
        return low + (level - logs[low]) / (logs[low + 1] - logs[low])

    def sigma_of(self, t: float) -> float:
        """The noise level of a time in [0, T - 1]; times outside get the nearest end. Whole t give the table's own entries."""
        logs = self._logs
        t = min(max(t, 0.0), len(logs) - 1.0)
        low = int(t)
        if t == low:
            return self.sigmas[low]
        return math.exp(logs[low] + (t - low) * (logs[low + 1] - logs[low]))


def last_alpha(last_but_one: float) -> float:
    """What stands for 0 at the end of rescaled alphas: less than usual where the one before is as small; `UserError` beyond."""
    if last_but_one < LEAST_ALPHA:
        raise UserError(
            "The model has next to nothing of the picture left in more than its last training step, so its noise levels cannot "
            "be rescaled to zero-terminal SNR. Leave the noise schedule at Default."
        )
    return SMALLEST_ALPHA if last_but_one > SMALLEST_ALPHA else last_but_one / 4


def check_prediction(spec: ModelSpec) -> None:
    """Raise `UserError` for zero-terminal SNR with a network that predicts noise: where all is noise, that says nothing."""
    if spec.zero_terminal_snr and spec.prediction != "v":
        raise UserError(
            f"The model is set to zero-terminal SNR and to predict {spec.prediction}; a first step from nothing but noise "
            "can only be made by v prediction. Set the prediction to v, or turn zero-terminal SNR off."
        )
