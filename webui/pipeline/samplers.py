"""Samplers: from noise to a clean latent, by solving the probability-flow equation dx/dsigma = (x - denoised) / sigma.

Each sampler is one generator, `sampler(denoise, x, sigmas, noise, **options)`. The state `x` is data + sigma * unit noise at the
current of the falling `sigmas` (Karras et al. 2022, arXiv:2206.00364); `denoised` is the network's guess of the data in it, had
by `yield from denoise(x, at)`. Each step ends by telling the watchers how far it came. No sampler calls a network, reads
a tensor's values, or knows how many others are running.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from webui.errors import unknown
from webui.pipeline.protocol import Asking, Denoise, Moment, Noise, Sampler, Step
from webui.pipeline.schedules import SCHEDULES, Schedule

if TYPE_CHECKING:  # so that the page can list samplers before torch is there
    from torch import Tensor

    from webui.pipeline.noise_table import NoiseTable

AUTOMATIC = "Automatic"  # the schedule a sampler is usually run with


def moments(sigmas: Sequence[float]) -> Iterator[tuple[Moment, float]]:
    """Each step of the falling `sigmas`: where it starts, and the sigma it goes to."""
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        yield Moment(sigma, step, len(sigmas) - 1), sigma_next


def euler(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *,
    s_churn: float = 0.0, s_tmin: float = 0.0, s_tmax: float = math.inf, s_noise: float = 1.0
) -> Asking:
    """Euler's method, after adding the noise that `s_churn` asks for (arXiv:2206.00364, algorithm 2 without its correction)."""
    for at, sigma_next in moments(sigmas):
        at, x = churned(at, x, noise, s_churn, s_tmin, s_tmax, s_noise)
        denoised = yield from denoise(x, at)
        # x + (x - denoised) / sigma * (sigma_next - sigma), without the cancellation at the sigmas of zero-terminal SNR.
        x = denoised + (x - denoised) * (sigma_next / at.sigma)
        yield Step(at, x, denoised)
    return x


def heun(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *,
    s_churn: float = 0.0, s_tmin: float = 0.0, s_tmax: float = math.inf, s_noise: float = 1.0
) -> Asking:
    """Heun's method of order 2: an Euler step, then again with the mean slope of both ends (arXiv:2206.00364, algorithm 2).

    Two evaluations a step, one in a step to sigma 0, where there is no slope.
    """
    for at, sigma_next in moments(sigmas):
        at, x = churned(at, x, noise, s_churn, s_tmin, s_tmax, s_noise)
        denoised = yield from denoise(x, at)
        slope = (x - denoised) / at.sigma
        euler_x = denoised + slope * sigma_next
        if sigma_next > 0:
            denoised_next = yield from denoise(euler_x, replace(at, sigma=sigma_next, evaluation=1))
            slope_next = (euler_x - denoised_next) / sigma_next
            x = x + (slope + slope_next) / 2 * (sigma_next - at.sigma)
        else:
            x = euler_x
        yield Step(at, x, denoised)
    return x


def euler_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Asking:
    """Euler's method to below the next sigma, then up to it with fresh noise (Ho et al. 2020, arXiv:2006.11239, eq. 7).

    At `eta` 1 the noise has the variance of the true posterior; at 0 this is `euler`.
    """
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        x = noised(denoised, x, at, sigma_next, noise, eta, s_noise)
        yield Step(at, x, denoised)
    return x


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Sequence[float], _noise: Noise) -> Asking:
    """DPM-Solver++(2M): exact but for `denoised`, taken as linear in -log sigma (Lu et al. 2022, arXiv:2211.01095, algorithm 2).

    The line goes through this step's `denoised` and the last one's and is read half a step ahead. The first step, and one
    to sigma 0, which is infinitely far in log sigma, have no line and are of first order.
    """
    before: tuple[float, Tensor] | None = None
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        ahead = denoised
        if before is not None and sigma_next > 0:
            sigma_before, denoised_before = before
            h, h_before = math.log(at.sigma / sigma_next), math.log(sigma_before / at.sigma)
            ahead = denoised + (denoised - denoised_before) * (h / (2 * h_before))
        x = ahead + (x - ahead) * (sigma_next / at.sigma)
        before = at.sigma, denoised
        yield Step(at, x, denoised)
    return x


def dpmpp_sde(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Asking:
    """DPM-Solver++(2S) for the reverse SDE: `denoised` halfway in log sigma stands for the whole step (arXiv:2211.01095, alg. 1).

    Both the way to the middle and the step are of `euler_ancestral`'s kind, with the noise of one Brownian path. A step to
    sigma 0 has no middle and ends at `denoised`.
    """
    for at, sigma_next in moments(sigmas):
        ahead = denoised = yield from denoise(x, at)
        if sigma_next > 0:
            middle = math.sqrt(at.sigma * sigma_next)
            there = noised(ahead, x, at, middle, noise, eta, s_noise)
            ahead = yield from denoise(there, replace(at, sigma=middle, evaluation=1))
        x = noised(ahead, x, at, sigma_next, noise, eta, s_noise)
        yield Step(at, x, denoised)
    return x


def dpmpp_2m_sde(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Asking:
    """`dpmpp_2m` for the reverse SDE, its integrals over the noise solved exactly (Lu et al. 2022, arXiv:2211.01095).

    Over a step h of log sigma, what is not data shrinks by exp(-(1 + eta) h) and noise of variance 1 - exp(-2 eta h) joins it.
    """
    before: tuple[float, Tensor] | None = None
    for at, sigma_next in moments(sigmas):
        ahead = denoised = yield from denoise(x, at)
        if sigma_next > 0:
            h = math.log(at.sigma / sigma_next)
            if before is not None:
                ahead = denoised + (denoised - before[1]) * (h / (2 * math.log(before[0] / at.sigma)))
            x = ahead + (x - ahead) * math.exp(-(1 + eta) * h)
            if eta > 0:
                x = x + noise(at, sigma_next) * (sigma_next * math.sqrt(-math.expm1(-2 * eta * h)) * s_noise)
        else:
            x = denoised
        before = at.sigma, denoised
        yield Step(at, x, denoised)
    return x


def lcm(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, s_noise: float = 1.0, table: NoiseTable | None = None
) -> Asking:
    """Consistency sampling: jump to the data, then add the next level's noise (Luo et al. 2023, arXiv:2310.04378, algorithm 3).

    With the model's `table`, answers are weighted so that they are the state itself at time 0, where deviation 0.5
    of data meets ten times the training step.
    """
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        if table is not None:
            kept, scaled = 0.25, (10 * table.t_of(at.sigma)) ** 2
            denoised = denoised * math.sqrt(scaled / (scaled + kept)) + x * (kept / (scaled + kept))
        x = denoised
        if sigma_next > 0:
            x = x + noise(at, sigma_next) * (sigma_next * s_noise)
        yield Step(at, x, denoised)
    return x


def ddim(denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 0.0) -> Asking:
    """DDIM (Song et al. 2020, arXiv:2010.02502, eq. 12 and 16), on the training steps that its schedule picks.

    Written in sigma, eq. 12 is an Euler step and eq. 16 gives the noise of `euler_ancestral`. Where the last sigma is not 0, the
    result is scaled as the network sees it, which is DDIM's own state.
    """
    x = yield from euler_ancestral(denoise, x, sigmas, noise, eta=eta)
    return x / math.sqrt(1 + sigmas[-1] ** 2)


def churned(
    at: Moment, x: Tensor, noise: Noise, s_churn: float, s_tmin: float, s_tmax: float, s_noise: float
) -> tuple[Moment, Tensor]:
    """Raise sigma by its `s_churn` / steps, at most its sqrt(2) - 1, while it is in range (Karras et al. 2022, algorithm 2).

    Every step of a churning sampler draws noise, in range or not: what a step gets must not depend on the range. An `s_tmax` of 0
    sets no bound, as A1111 has it.
    """
    if s_churn <= 0:
        return at, x
    fresh = noise(at, at.sigma)
    assert at.steps is not None
    gamma = min(s_churn / at.steps, math.sqrt(2) - 1) if s_tmin <= at.sigma <= (s_tmax or math.inf) else 0.0
    raised = at.sigma * (1 + gamma)
    return replace(at, sigma=raised), x + fresh * (s_noise * math.sqrt(raised**2 - at.sigma**2))


def noised(
    denoised: Tensor, x: Tensor, at: Moment, sigma_next: float, noise: Noise, eta: float, s_noise: float
) -> Tensor:
    """From `at` to below `sigma_next` by what is `denoised`, and up to it with fresh noise; drawn only where it is added."""
    down, up = split(at.sigma, sigma_next, eta)
    x = denoised + (x - denoised) * (down / at.sigma)
    return x + noise(at, sigma_next) * (up * s_noise) if up > 0 else x


def split(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """The sigma to go down to and the deviation of the noise to add, whose squares sum to that of `sigma_next`.

    `eta` times the deviation of DDPM's posterior (Song et al. 2020, eq. 16 with sigma^2 = (1 - a) / a), or all of `sigma_next`.
    """
    up = min(sigma_next, eta * sigma_next * math.sqrt(sigma**2 - sigma_next**2) / sigma)
    return math.sqrt(sigma_next**2 - up**2), up


@dataclass(frozen=True, kw_only=True)
class SamplerInfo:
    """A sampler as the rest of the program knows it.

    `schedule` is what "Automatic" stands for. `evaluations` counts the network evaluations of a step; `uses_noise` says whether
    steps draw noise with the options left alone. `unit_start` is for samplers that begin, as DDPM does, with what the network
    sees having deviation 1; below full strength they begin one step after the level a picture is noised to (`strength.way`).

    `brownian`: `noise(at, sigma_next)` is to be a Brownian path's way from `at.sigma` to `sigma_next`, made unit normal: draws
    over overlapping ways are alike. `discards_penultimate`: the schedule is made a step longer and its last sigma but one left
    out. `own_steps`: only the ends of the schedule and its number of steps count. `timesteps`: made for sigmas that are entries
    of the noise table. `ensd`: picture metadata names the "eta noise seed delta". `cfg_pp`: the denoiser answers a pair, guided
    and unconditional, of which the guidance scale counts a 12.5th (Chung et al. 2024, arXiv:2406.08070: scales from 0 to 1).
    """

    name: str
    function: Sampler
    schedule: str = "Uniform"
    aliases: tuple[str, ...] = ()
    evaluations: int = 1
    uses_noise: bool = False
    unit_start: bool = False
    brownian: bool = False
    discards_penultimate: bool = False
    own_steps: bool = False
    timesteps: bool = False
    ensd: bool = False
    cfg_pp: bool = False

    @property
    def options(self) -> Mapping[str, float]:
        """The options of the function and their defaults: its keyword-only arguments, the noise table aside."""
        arguments = inspect.signature(self.function).parameters.values()
        return {each.name: each.default for each in arguments if each.kind is each.KEYWORD_ONLY and each.name != "table"}

    def run(
        self, denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, table: NoiseTable, options: Mapping[str, float]
    ) -> Asking:
        """Run the function with those of `options` that it has, and the model's noise `table` where it asks for that."""
        given: dict[str, Any] = {name: value for name, value in options.items() if name in self.options}
        if "table" in inspect.signature(self.function).parameters:
            given["table"] = table
        return self.function(denoise, x, sigmas, noise, **given)

    def start(self, noise: Tensor, sigma: float) -> Tensor:
        """The state to begin with at `sigma` where there is no picture yet, from unit `noise`."""
        return noise * (math.sqrt(1 + sigma**2) if self.unit_start else sigma)


SAMPLERS: Mapping[str, SamplerInfo] = MappingProxyType(
    {
        info.name: info
        for info in (
            SamplerInfo(name="DPM++ 2M", function=dpmpp_2m, schedule="Karras", aliases=("k_dpmpp_2m", "dpmpp_2m")),
            SamplerInfo(
                name="DPM++ SDE", function=dpmpp_sde, schedule="Karras", aliases=("k_dpmpp_sde", "dpmpp_sde", "dpmpp_sde_gpu"),
                evaluations=2, uses_noise=True, brownian=True,
            ),
            SamplerInfo(
                name="DPM++ 2M SDE", function=dpmpp_2m_sde, schedule="Exponential",
                aliases=("k_dpmpp_2m_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu"), uses_noise=True, brownian=True,
            ),
            SamplerInfo(
                name="Euler a", function=euler_ancestral, aliases=("k_euler_a", "k_euler_ancestral", "euler_ancestral"),
                uses_noise=True, ensd=True,
            ),
            SamplerInfo(name="Euler", function=euler, aliases=("k_euler",)),
            SamplerInfo(name="Heun", function=heun, aliases=("k_heun",), evaluations=2),
            SamplerInfo(name="DDIM", function=ddim, schedule="DDIM timesteps", unit_start=True, timesteps=True),
            SamplerInfo(name="LCM", function=lcm, schedule="LCM", aliases=("k_lcm",), uses_noise=True, timesteps=True),
        )
    }
)  # fmt: skip
OTHER_LABELS = MappingProxyType({"ddim_uniform": "DDIM", "AYS": "Align Your Steps"})  # what others call a schedule
OLD_ENDINGS = MappingProxyType({"_ka": "Karras", "_exp": "Exponential"})  # of names from before schedules had names of their own


def resolve(
    sampler: str,
    schedule: str = AUTOMATIC,
    *,
    samplers: Mapping[str, SamplerInfo] = SAMPLERS,
    schedules: Mapping[str, Schedule] = SCHEDULES,
) -> tuple[SamplerInfo, str]:
    """The sampler and the name of the schedule that a request means; `UnknownName` where there is none.

    Case and what parts words do not matter, aliases count, and old names that hold both ("DPM++ 2M Karras", "k_dpmpp_2m_ka") are
    taken apart; their schedule gives way to one that is named by itself.
    """
    names = {_plain(name): info for info in samplers.values() for name in (*info.aliases, info.name)}
    labels = {_plain(name): label for name, label in OTHER_LABELS.items() if label in schedules}
    labels |= {_plain(name): name for name in (AUTOMATIC, *schedules)}
    given, own = _plain(sampler), _plain(schedule)
    if own not in labels:
        raise unknown("schedule", schedule, (AUTOMATIC, *schedules))
    if given in names:
        return _with_schedule(names[given], labels[own])
    for ending, label in [*labels.items(), *((_plain(old), label) for old, label in OLD_ENDINGS.items() if label in schedules)]:
        if given.endswith(ending) and given.removesuffix(ending) in names:
            return _with_schedule(names[given.removesuffix(ending)], label if labels[own] == AUTOMATIC else labels[own])
    raise unknown("sampler", sampler, samplers)


def names_schedule(sampler: str, samplers: Mapping[str, SamplerInfo] = SAMPLERS) -> bool:
    """Whether a sampler's name, one that `resolve` knows, holds a schedule too."""
    return _plain(sampler) not in {_plain(name) for info in samplers.values() for name in (*info.aliases, info.name)}


def _plain(name: str) -> str:
    """A name without case and without what parts its words."""
    return "".join(each for each in name.casefold() if not each.isspace() and each not in "_-")


def _with_schedule(info: SamplerInfo, schedule: str) -> tuple[SamplerInfo, str]:
    return info, info.schedule if schedule == AUTOMATIC else schedule
