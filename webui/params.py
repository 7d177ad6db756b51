"""What a person can set, each thing defined once: a field drives its flag, check, place in a picture's text and docs line.

    steps: int = param(20, "Steps", min=1, max=150, infotext="Steps", help="Network evaluations along the schedule.")

A dataclass of such fields that inherits `Params` cannot hold a value that is out of range. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

from webui.errors import UserError, quoted, unknown

LONGEST_PROMPT = 20_000  # characters
LONGEST_NAME = 300
LARGEST_SIDE = 8192  # pixels
MOST_PIXELS = 4096 * 4096  # of one picture
LARGEST_SEED = 2**64 - 1  # torch's generators take 64 bits
RANDOM_SEED = -1
LARGEST_NUMBER = 1e300  # whatever the parameter; beyond it are infinity and integers that are no float
METADATA_KEY = "param"
AUTOMATIC = "Automatic"  # what suits the rest
NONE = "None"  # nothing beside the model
SWITCH_AT = 0.8  # of the steps, as the refiner of SDXL was made for

Value = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One thing a person can set: what its field says of it, with the field's name, type and default.

    `unset` says what None means. `choices` names the registry whose names are allowed ("samplers", "schedules", "models"),
    which is read when the request is submitted, for extensions add to it; `one_of` lists all values there are. `infotext` is the
    key in a picture's text, None to leave it out; "Size-1" and "Size-2" share `Size: 1x2`, as readers of the format have it;
    `infotext_by_sampler` holds other keys for some samplers. `unwritten` is the value, as text, that a picture's text says by
    saying nothing.
    `option` marks what is handed to the sampler under the field's own name.
    """

    label: str
    help: str
    name: str = ""
    kind: type = str
    optional: bool = False
    default: Value = None
    min: float | None = None
    max: float | None = None
    step: float | None = None
    longest: int = LONGEST_NAME
    unset: str = ""
    choices: str | None = None
    one_of: tuple[str, ...] = ()
    infotext: str | None = None
    infotext_by_sampler: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unwritten: str | None = None
    option: bool = False

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def expected(self) -> str:
        """What values are allowed, to follow "it must be"."""
        if self.kind is bool:
            return "true or false"
        if self.one_of:
            return "one of " + ", ".join(self.one_of)
        if self.kind is str:
            return f"text of at most {self.longest:,} characters"
        noun = "a whole number" if self.kind is int else "a number"
        if self.kind is int and self.step not in (None, 1):
            noun = f"a multiple of {self.step}"
        if self.min is None and self.max is None:
            return noun
        if self.max is None:
            return f"{noun}, {_number(self.min)} or more"
        return f"{noun} from {_number(self.min)} to {_number(self.max)}"

    def check(self, value: object) -> Value:
        """The value in the field's own type; `UserError` where it is of another type or out of range."""
        if value is None and self.optional:
            return None
        if self.kind is bool:
            return value if isinstance(value, bool) else self._refuse(value)
        if self.kind is str:
            return self._check_text(value) if isinstance(value, str) else self._refuse(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST_NUMBER:
            return self._refuse(value)  # neither is NaN at most any number
        if (self.min is not None and value < self.min) or (self.max is not None and value > self.max):
            return self._refuse(value)
        if self.kind is float:
            return float(value)
        if value != int(value) or (self.step is not None and value % self.step != 0):
            return self._refuse(value)
        return int(value)

    def parse(self, text: str) -> Value:
        """The value that a text from a command line or a picture means; `UserError` where it means none."""
        stripped = text.strip()
        try:
            if self.kind is bool:
                return {"true": True, "false": False}[stripped.casefold()]
            if self.kind is str:
                return self.check(text)
            return self.check(int(stripped) if self.kind is int else float(stripped))
        except (KeyError, ValueError):
            return self._refuse(text)

    def text(self, value: Value) -> str:
        """The inverse of `parse`; None has no text."""
        if isinstance(value, bool):
            return str(value)
        return value if isinstance(value, str) else _number(value)

    def _check_text(self, text: str) -> str:
        if len(text) > self.longest:
            raise UserError(f"{self.label} was {len(text):,} characters long; it must be {self.expected}.")
        if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
            raise UserError(f"{self.label} was {quoted(text)}; it must be Unicode text without NUL characters.")
        if self.one_of:
            named = {each.casefold(): each for each in self.one_of}
            return named[text.strip().casefold()] if text.strip().casefold() in named else self._refuse(text)
        return text

    def _refuse(self, value: object) -> typing.NoReturn:
        huge = isinstance(value, int) and abs(value) > LARGEST_NUMBER  # Python may even refuse to write it
        shown = quoted(value) if isinstance(value, str) else "too large" if huge else quoted(repr(value))[1:-1]
        raise UserError(f"{self.label} was {shown}; it must be {self.expected}.")


def param(default: Value, label: str, *, help: str, **more: Any) -> Any:  # noqa: A002 (the word argparse and DESIGN.md use)
    """A dataclass field that a person can set; `more` are the other attributes of `Parameter`."""
    return dataclasses.field(default=default, metadata={METADATA_KEY: Parameter(label=label, help=help, **more)})


def parameters(owner: type[Params] | Params) -> dict[str, Parameter]:
    """The parameters of a dataclass by name, in their order, which is also that of a picture's text."""
    cls: Any = owner if isinstance(owner, type) else type(owner)
    return dict(_parameters(cls))


@cache
def _parameters(cls: type[Params]) -> dict[str, Parameter]:
    hints = typing.get_type_hints(cls)  # reads the types' texts, which takes milliseconds
    found = {}
    for field in dataclasses.fields(cls):
        kind, optional = _plain_type(hints[field.name])
        found[field.name] = replace(
            field.metadata[METADATA_KEY], name=field.name, kind=kind, optional=optional, default=field.default
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Params:
    """A set of parameters whose values are all allowed: making one with any other raises `UserError`."""

    def __post_init__(self) -> None:
        for name, parameter in parameters(self).items():
            object.__setattr__(self, name, parameter.check(getattr(self, name)))
        self.check_together()

    def check_together(self) -> None:
        """Raise `UserError` where values that are each allowed are not so together."""

    @classmethod
    def read(cls, given: Mapping[str, object]) -> Self:
        """Make one from plain values by name; texts stand for what they say, what is not given gets its default."""
        known = parameters(cls)
        for name in given:
            if name not in known:
                raise unknown("parameter", name, known)
        return cls(**{
            name: known[name].parse(value) if isinstance(value, str) else value for name, value in given.items()
        })


@dataclass(frozen=True, kw_only=True)
class Txt2Img(Params):
    """The parameters of a picture from text."""

    prompt: str = param("", "Prompt", longest=LONGEST_PROMPT, help="What the picture shows.")
    negative: str = param("", "Negative prompt", longest=LONGEST_PROMPT, help="What the picture should not show.")
    steps: int | None = param(
        None, "Steps", min=1, max=150, step=1, unset="the model's own", infotext="Steps", help="Steps along the schedule.")
    sampler: str = param(
        AUTOMATIC, "Sampling method", choices="samplers", infotext="Sampler",
        help="How the steps are taken; Automatic takes the method that suits the model. Old names that hold a schedule too, such "
        "as `DPM++ 2M Karras`, are understood.")
    schedule: str = param(
        AUTOMATIC, "Schedule type", choices="schedules", infotext="Schedule type",
        help="Which noise levels the steps visit; Automatic takes the one that suits the model and the sampler.")
    scale: float | None = param(
        None, "CFG scale", min=0, max=30, step=0.1, unset="the model's own", infotext="CFG scale",
        help="How strongly the prompt pulls away from the negative prompt (classifier-free guidance): 1 means not at all.")
    seed: int = param(
        RANDOM_SEED, "Seed", min=RANDOM_SEED, max=LARGEST_SEED, step=1, infotext="Seed",
        help="The number the noise follows from, -1 for a random one; further pictures count up from it.")
    width: int | None = param(
        None, "Width", min=64, max=LARGEST_SIDE, step=8, unset="the model's own", infotext="Size-1", help="In pixels.")
    height: int | None = param(
        None, "Height", min=64, max=LARGEST_SIDE, step=8, unset="the model's own", infotext="Size-2", help="In pixels.")
    count: int = param(1, "Count", min=1, max=100, step=1, help="How many pictures to make, with seeds counting up.")
    model_hash: str | None = param(
        None, "Model hash", infotext="Model hash", unset="any",
        help="The first characters of the model's SHA-256, to find it under whatever name.")
    model: str | None = param(
        None, "Model", choices="models", infotext="Model", unset="the built-in one", help="The model's name.")
    vae_hash: str | None = param(
        None, "VAE hash", infotext="VAE hash", unset="any",
        help="The first characters of the autoencoder's SHA-256, to find it under whatever name.")
    vae: str = param(
        AUTOMATIC, "VAE", choices="vaes", infotext="VAE", unwritten=NONE,
        help="The autoencoder that turns latents into the picture: a file of models/VAE, None for the model's own, or Automatic: "
        "the file beside the model that has its name, else its own.")
    clip_skip: int | None = param(
        None, "Clip skip", min=1, max=12, step=1, unset="the model's own", infotext="Clip skip",
        help="Which layer of the text tower is read, counted from the last, which is 1.")
    eta: float | None = param(
        None, "Eta", min=0, max=1, step=0.01, unset="the sampler's own", infotext="Eta", infotext_by_sampler={"DDIM": "Eta DDIM"},
        option=True, help="How much fresh noise ancestral samplers and DDIM add: 0 none, 1 as much as DDPM.")
    s_churn: float | None = param(
        None, "Sigma churn", min=0, max=100, step=0.01, unset="the sampler's own", infotext="Sigma churn", option=True,
        help="How much noise Euler and Heun put back before each step (Karras et al. 2022, algorithm 2).")
    s_tmin: float | None = param(
        None, "Sigma tmin", min=0, max=1e6, step=0.01, unset="the sampler's own", infotext="Sigma tmin", option=True,
        help="The noise level below which nothing is put back.")
    s_tmax: float | None = param(
        None, "Sigma tmax", min=0, max=1e6, step=0.01, unset="the sampler's own", infotext="Sigma tmax", option=True,
        help="The noise level above which nothing is put back.")
    s_noise: float | None = param(
        None, "Sigma noise", min=0, max=2, step=0.001, unset="the sampler's own", infotext="Sigma noise", option=True,
        help="The strength of noise added or put back; 1 is what theory says.")
    refiner: str = param(
        NONE, "Refiner", choices="refiners", infotext="Refiner", unwritten=NONE,
        help="A model that takes over for the last steps.")
    refiner_switch_at: float | None = param(
        None, "Refiner switch at", min=0.01, max=1, step=0.01, unset=str(SWITCH_AT), infotext="Refiner switch at",
        help="The part of the way from noise, by its levels, after which the refiner takes over; at 1 it never does.")
    reproducible: bool = param(
        False, "Reproducible", infotext="Reproducible",
        help="Share no network call with other jobs, so that a replay on this machine is the same bit by bit.")

    def check_together(self) -> None:
        """A picture has at most `MOST_PIXELS` pixels."""
        check_size(self.width, self.height)


def check_size(width: int | None, height: int | None) -> None:
    """Raise `UserError` where a picture would have more than `MOST_PIXELS` pixels."""
    if width is not None and height is not None and width * height > MOST_PIXELS:
        raise UserError(
            f"The size was {width}x{height}, {width * height:,} pixels; "
            f"it must be at most {MOST_PIXELS:,} pixels, such as 4096x4096."
        )


def size(text: str) -> dict[str, str]:
    """Width and height of a text such as `512x768`, as texts by name; `UserError` where it is not two whole numbers."""
    width, sign, height = text.strip().casefold().replace("×", "x").partition("x")
    if not (sign and _is_integer(width) and _is_integer(height)):
        raise UserError(f"The size was {quoted(text)}; it must be WIDTHxHEIGHT in pixels, such as 512x768.")
    return {"width": width, "height": height}


def _is_integer(text: str) -> bool:
    return text.strip().removeprefix("-").isdecimal()


def _plain_type(hint: Any) -> tuple[type, bool]:
    """The type of a field and whether it may be None."""
    if isinstance(hint, types.UnionType):
        (kind,) = (each for each in hint.__args__ if each is not type(None))
        return kind, True
    return hint, False


def _number(value: float | None) -> str:
    """A number without a needless ".0", that reads back as exactly itself."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)
