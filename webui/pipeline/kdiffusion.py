"""Samplers written as k-diffusion's are, as they are: they call a model, and here those calls become asks. Imports no torch.

Such a function, `sample(model, x, sigmas, extra_args, callback, disable, **options)`, cannot give way at a call of its model as a
generator does. So it runs in a thread of its own, which waits at each call until its generation has the answer.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from webui.errors import JobError
from webui.pipeline.protocol import Asking, Denoise, Moment, Noise, Step
from webui.pipeline.samplers import SamplerInfo

if TYPE_CHECKING:  # so that the page can list samplers before torch is there
    from torch import Tensor

THEIRS = ("model", "x", "sigmas", "sigma_min", "sigma_max", "n", "extra_args", "callback", "disable", "noise_sampler")
NEAR = 1e-5  # of a level, relatively: a float32 of it is the schedule's own
PATIENCE = 2.0  # seconds that a function which is to end has for that, before it is left to itself


def k_diffusion(function: Callable[..., Any], name: str, **more: Any) -> SamplerInfo:
    """A sampler of a k-diffusion style function, which is called in a thread of its own; `more` is as in `SamplerInfo`.

    `function(model, x, sigmas, extra_args, callback, disable, noise_sampler, **options)` gets those of these arguments that it
    has, or (model, x, sigma_min, sigma_max, n, ...) as k-diffusion's DPM fast; its other arguments with defaults that are numbers
    are options. `model(x, sigma)` answers the clean latent, for x [1, C, H, W] and sigma [1]. Noise comes from the picture's own
    seed: from `noise_sampler(sigma, sigma_next)`, and for `torch.randn_like` and `torch.randn` too. Say `evaluations` where a
    step calls the model more than once, and `uses_noise` where steps draw noise.
    """
    arguments = inspect.signature(function).parameters
    options = {
        each.name: each.default for each in arguments.values()
        if each.name not in THEIRS and isinstance(each.default, (int, float)) and not isinstance(each.default, bool)
    }
    sampler = functools.partial(traded, function, tuple(arguments), int(more.get("evaluations", 1)))
    keywords = [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=value) for key, value in options.items()]
    places = [inspect.Parameter(key, inspect.Parameter.POSITIONAL_ONLY) for key in ("denoise", "x", "sigmas", "noise")]
    return SamplerInfo(name=name, function=Signed(sampler, inspect.Signature([*places, *keywords])), **more)


class Signed:
    """A function that says which arguments it takes."""

    def __init__(self, function: Callable[..., Asking], signature: inspect.Signature) -> None:
        self.__signature__ = signature
        self._function = function

    def __call__(self, *given: Any, **named: Any) -> Asking:
        return self._function(*given, **named)


def traded(
    function: Callable[..., Any], arguments: Sequence[str], evaluations: int, denoise: Denoise, x: Tensor,
    sigmas: Sequence[float], noise: Noise, **options: float,
) -> Asking:
    """Run a function in a thread, carry out what its model is asked, and return the state that it returns."""
    trade = Trade(sigmas, noise, evaluations, steps_told="callback" in arguments)
    given = trade.given(x)
    thread = threading.Thread(
        target=trade.run, args=(function, {key: given[key] for key in arguments if key in given} | options),
        name="k-diffusion sampler", daemon=True,
    )
    thread.start()
    answer: Any = None
    try:
        while True:
            said = trade.next(answer)
            if isinstance(said, Returned):
                return said.latent()
            if isinstance(said, Step):
                yield said
                answer = None
            else:
                found = yield from denoise(*said)
                answer = found[0] if isinstance(found, tuple) else found
    finally:
        trade.over()
        thread.join(PATIENCE)


@dataclass(frozen=True)
class Returned:
    """What became of a function: its `state` [1, C, H, W], or the error that it raised."""

    state: Any = None
    error: BaseException | None = None

    def latent(self) -> Tensor:
        """The state of one picture."""
        from torch import Tensor

        if self.error is not None:
            raise self.error
        if not isinstance(self.state, Tensor) or self.state.dim() != 4 or len(self.state) != 1:
            raise JobError(f"A sampler returned {type(self.state).__name__}, expected a tensor [1, C, H, W].")
        state: Tensor = self.state[0]
        return state


class Over(BaseException):
    """Raised within a function whose generation goes on without it; nothing that catches errors should catch this."""


class Trade:
    """What a function in its thread and its generation say to each other, one after the other."""

    def __init__(self, sigmas: Sequence[float], noise: Noise, evaluations: int, *, steps_told: bool) -> None:
        self._levels = list(sigmas)
        self._steps = len(self._levels) - 1
        self._noise = noise
        self._evaluations = evaluations
        self._steps_told = steps_told
        self._says: SimpleQueue[Any] = SimpleQueue()
        self._hears: SimpleQueue[Any] = SimpleQueue()
        self._begun = False
        self._ended = False
        self._step, self._evaluation = -1, 0
        self._at = Moment(self._levels[0], 0, self._steps)

    # In the generation's thread.

    def next(self, answer: Any) -> Any:
        """Answer what was said last, and hear what is said next: a state and its moment, a `Step`, or what was `Returned`."""
        if self._begun:
            self._hears.put(answer)
        self._begun = True
        return self._says.get()

    def over(self) -> None:
        """Have the function end at whatever it says next."""
        self._ended = True
        self._hears.put(None)

    # In the function's thread.

    def given(self, x: Tensor) -> dict[str, Any]:
        """The arguments that such functions have, by name."""
        import torch

        positive = [level for level in self._levels if level > 0]
        levels = torch.tensor(self._levels, dtype=torch.float32, device=x.device)
        return {
            "model": Model(self, positive[-1], positive[0]), "x": x[None], "sigmas": levels, "n": self._steps,
            "sigma_min": positive[-1], "sigma_max": positive[0], "extra_args": {}, "callback": self.told, "disable": True,
            "noise_sampler": self.noise,
        }  # fmt: skip

    def run(self, function: Callable[..., Any], given: Mapping[str, Any]) -> None:
        """Run the function to its end; whatever it raises is its generation's to raise."""
        import torch

        from webui.pipeline.own_noise import OwnNoise

        try:
            with torch.no_grad(), OwnNoise(self.drawn):
                state = function(**given)
            self._says.put(Returned(state=state))
        except BaseException as error:  # noqa: BLE001  raised where the job is
            self._says.put(Returned(error=error))

    def ask(self, x: Tensor, sigma: Any) -> Tensor:
        """The clean latent of a state [1, C, H, W] at a level."""
        self._at = self._moment(self.level(sigma))
        denoised: Tensor = self._said((x[0], self._at))[None]
        if not self._steps_told and self._at.evaluation == 0:
            self._said(Step(self._at, x[0], denoised[0]))
        return denoised

    def told(self, info: Mapping[str, Any]) -> None:
        """The callback of such functions, called after the first look at the model in a step."""
        self._step, self._evaluation = int(info["i"]), 0
        self._said(Step(Moment(self._at.sigma, self._step, self._steps), info["x"][0], info["denoised"][0]))

    def noise(self, sigma: Any, sigma_next: Any) -> Tensor:
        """Unit noise [1, C, H, W] for the way from one level to another."""
        return self._noise(Moment(self.level(sigma), max(self._step, 0), self._steps), self.level(sigma_next))[None]

    def drawn(self) -> Tensor:
        """Unit noise [1, C, H, W] for a function that draws its own."""
        after = next((level for level in self._levels if level < self._at.sigma), 0.0)
        return self._noise(self._at, after)[None]

    def level(self, sigma: Any) -> float:
        """A level as the schedule has it, where it is one of it but for the rounding."""
        value = float(sigma if isinstance(sigma, (int, float)) else sigma.flatten()[0])
        return next((level for level in self._levels if abs(level - value) <= NEAR * abs(level)), value)

    def _moment(self, sigma: float) -> Moment:
        """Where in the schedule a look at the model is: in the step it began, as often as a step has one, then in the next."""
        self._evaluation += 1
        if self._step < 0 or self._evaluation >= self._evaluations:
            self._step, self._evaluation = self._step + 1, 0
        return Moment(sigma, min(self._step, self._steps - 1), self._steps, self._evaluation)

    def _said(self, what: Any) -> Any:
        if self._ended:
            raise Over
        self._says.put(what)
        answer = self._hears.get()
        if self._ended:
            raise Over
        return answer


class Model:
    """What such functions call: `model(x, sigma)` is the clean latent. It knows the lowest and the highest level above 0."""

    def __init__(self, trade: Trade, sigma_min: float, sigma_max: float) -> None:
        self._trade = trade
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def __call__(self, x: Tensor, sigma: Tensor, **_: Any) -> Tensor:
        return self._trade.ask(x, sigma)

    @property
    def inner_model(self) -> Model:
        """What is within such a model where others have it wrapped."""
        return self
