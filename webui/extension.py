"""What an extension may use and add: the whole public API, on one page. Imports no torch.

    # extensions/mine/__init__.py
    from webui.extension import SamplerInfo, hook

    @hook
    def samplers():
        return [SamplerInfo(name="Mine", function=mine)]

An extension is a folder with an `extension.toml` (name, version, api, description) and a Python package. It imports nothing of
the program but this module. Hooks return values or functions; none changes what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from webui.errors import UserError, quoted, unknown
from webui.params import LARGEST_SEED, LONGEST_PROMPT, RANDOM_SEED, Parameter, Params, Value, param, parameters, size
from webui.pipeline.protocol import Asking, Denoise, Moment, Noise, Read, Sampler, Step
from webui.pipeline.samplers import SamplerInfo, churned, moments, noised, split
from webui.pipeline.schedules import Schedule, bent, ends, ramp, times
from webui.scripts import LARGEST_MARGIN, Axis, AxisKind, Base, Cell, Plan, Script

if TYPE_CHECKING:  # the model's noise levels, as samplers and schedules are given them; their module imports torch
    from webui.pipeline.noise_table import NoiseTable as NoiseTable

__all__ = [
    "API", "Asking", "Axis", "AxisKind", "Base", "Cell", "Denoise", "Hooks", "LARGEST_MARGIN", "LARGEST_SEED", "LONGEST_PROMPT",
    "Moment", "Noise", "Parameter", "Params", "Plan", "PromptContext", "RANDOM_SEED", "Read", "Sampler", "SamplerInfo",
    "Schedule", "Script", "Step", "UserError", "Value", "bent", "churned", "ends", "hook", "moments", "noised", "param",
    "parameters", "quoted", "ramp", "size", "split", "times", "unknown",
]  # fmt: skip

API = "1"
PROJECT = "webui"
SPECIFIED = pluggy.HookspecMarker(PROJECT)
Function = TypeVar("Function", bound=Callable[..., Any])


def hook(function: Function) -> Function:
    """Mark a function of an extension as its part of the hook it is named after."""
    marked: Function = pluggy.HookimplMarker(PROJECT)(function)
    return marked


@dataclass(frozen=True, kw_only=True)
class PromptContext:
    """For which picture a prompt is transformed: its own `seed`, its `index` in the job, and "prompt" or "negative" as `role`.

    `folders` are those in which an extension's own files may be, such as lists of words: the program's folder and its models'.
    """

    seed: int
    index: int = 0
    role: str = "prompt"
    folders: tuple[Path, ...] = ()


class Hooks:
    """Every hook there is. An extension defines functions of these names, marked with `hook`, with these arguments or fewer.

    These are never called themselves.
    """

    @SPECIFIED
    def samplers(self) -> Sequence[SamplerInfo]:
        """Samplers to add; the name of one that is there already is an error."""
        raise NotImplementedError

    @SPECIFIED
    def schedules(self) -> Mapping[str, Schedule]:
        """Schedules to add, by the name that people choose them by."""
        raise NotImplementedError

    @SPECIFIED
    def scripts(self) -> Sequence[Script]:
        """Scripts to add: what makes many jobs of one form."""
        raise NotImplementedError

    @SPECIFIED
    def transform_prompt(self, text: str, context: PromptContext) -> str:
        """The prompt that a text means for one picture, when its job is submitted; extensions follow each other by name."""
        raise NotImplementedError

    @SPECIFIED
    def prompt_words(self, folders: Sequence[Path]) -> Mapping[str, Sequence[str]]:
        """Words that complete what is being typed, by kind ("wildcard", "lora", "embedding", ...)."""
        raise NotImplementedError

    @SPECIFIED
    def prompt_problems(self, text: str, folders: Sequence[Path]) -> Sequence[tuple[int, int, str]]:
        """What an extension cannot make sense of in a prompt: where it begins and ends, and a sentence."""
        raise NotImplementedError
