"""What a person can set, each thing defined once: a field drives its flag, check, place in a picture's text and docs line.

    steps: int = param(20, "Steps", min=1, max=150, infotext="Steps", help="Network evaluations along the schedule.")

A dataclass of such fields that inherits `Params` cannot hold a value that is out of range. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import re
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
DIGEST = re.compile(r"(?:[0-9a-f]{64})?")
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
    `option` marks what is handed to the sampler under the field's own name, `schedule_option` what is handed to the schedule.
    `picture`: the value is the SHA-256 of a picture that was brought to the page, "" for none.
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
    schedule_option: bool = False
    picture: bool = False

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
        if self.picture:
            return "the SHA-256 of a picture that was uploaded, or nothing"
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
        if self.picture and not DIGEST.fullmatch(text):
            return self._refuse(text)
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
