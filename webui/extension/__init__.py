"""What an extension may use and add: the whole public API, on one page. Imports no torch; docs/extensions.md explains it.

    # extensions/mine/__init__.py
    from webui.extension import Patches, Section, Params, hook, param

    @dataclass(frozen=True, kw_only=True)
    class Mine(Params):
        strength: float = param(0.0, "Strength", min=0, max=1, infotext="Mine strength", help="0 is off.")

    @hook
    def params():
        return [Section(title="Mine", params=Mine)]

    @hook
    def patches(job):
        return Patches(attention=(Softer(job.values["strength"]),))

An extension is a folder with an `extension.toml` and a Python package. It imports nothing of the program but this module, nothing
heavy at its own import, and never torch there. Hooks return values, functions or generators; none changes what it is given.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from webui.errors import ModelFileError, Stopped, UserError, quoted, unknown
from webui.extension.kinds import Answer, Asked, Card, Home, Panel, PromptContext, Route, Section, Submission, Tab, TagKind
from webui.params import LARGEST_SEED, LONGEST_PROMPT, RANDOM_SEED, Parameter, Params, Value, param, parameters, size
from webui.pipeline.extended import ChangeRow, Files, Guide, Guided, Job
from webui.pipeline.kdiffusion import k_diffusion
from webui.pipeline.patches import NO_PATCHES, Patches, TokenVectors, WeightPatch
from webui.pipeline.picture import Picture
from webui.pipeline.protocol import (
    Ask,
    Asking,
    Call,
    Conditioning,
    Decode,
    Denoise,
    EncodePicture,
    Gradient,
    Moment,
    Noise,
    Read,
    Row,
    Rows,
    Sampler,
    Step,
)
from webui.pipeline.samplers import SamplerInfo, churned, moments, noised, split
from webui.pipeline.schedules import Schedule, bent, ends, ramp, times
from webui.request import Request
from webui.scripts import LARGEST_MARGIN, Axis, AxisKind, Base, Cell, Plan, Script
from webui.weights.other_names import OtherName, other_names

if TYPE_CHECKING:  # their modules import torch: they are fetched when an extension asks for them
    from webui.nets.hooks import Call as Site
    from webui.pipeline.noise_table import NoiseTable as NoiseTable
    from webui.pipeline.pictures import Fit as Fit
    from webui.pipeline.pictures import opaque as opaque
    from webui.pipeline.pictures import unit as unit
    from webui.pipeline.preview import fit_preview as fit_preview
    from webui.weights.controlnet_files import open_controlnet as open_controlnet
    from webui.weights.depth_files import open_estimator as open_estimator
    from webui.weights.network_file import NetworkFile as NetworkFile

LATER: Mapping[str, tuple[str, str]] = {  # where a name comes from that is fetched when it is used, in a hook of a job
    "Fit": ("webui.pipeline.pictures", "Fit"),
    "NetworkFile": ("webui.weights.network_file", "NetworkFile"),
    "NoiseTable": ("webui.pipeline.noise_table", "NoiseTable"),
    "Site": ("webui.nets.hooks", "Call"),
    "fit_preview": ("webui.pipeline.preview", "fit_preview"),
    "opaque": ("webui.pipeline.pictures", "opaque"),
    "open_controlnet": ("webui.weights.controlnet_files", "open_controlnet"),
    "open_estimator": ("webui.weights.depth_files", "open_estimator"),
    "unit": ("webui.pipeline.pictures", "unit"),
}

__all__ = [
    "API", "Answer", "Ask", "Asked", "Asking", "Axis", "AxisKind", "Base", "Call", "Card", "Cell", "ChangeRow",
    "Conditioning", "Decode", "Denoise", "EncodePicture", "Files", "Fit", "Gradient", "Guide", "Guided", "Home", "Hooks",
    "Job", "LARGEST_MARGIN", "LARGEST_SEED", "LONGEST_PROMPT", "ModelFileError", "Moment", "NO_PATCHES", "NetworkFile",
    "Noise", "NoiseTable", "OtherName", "Panel", "Parameter", "Params", "Patches", "Picture", "Plan", "PromptContext",
    "RANDOM_SEED", "Read", "Request", "Route", "Row", "Rows", "Sampler", "SamplerInfo", "Schedule", "Script", "Section",
    "Site", "Step", "Stopped", "Submission", "Tab", "TagKind", "TokenVectors", "UserError", "Value", "WeightPatch", "bent",
    "churned", "ends", "fit_preview", "hook", "k_diffusion", "moments", "noised", "opaque", "open_controlnet",
    "open_estimator", "other_names", "param", "parameters", "quoted", "ramp", "size", "split", "times", "unit", "unknown",
]  # fmt: skip

API = "1"
PROJECT = "webui"
SPECIFIED = pluggy.HookspecMarker(PROJECT)
Function = TypeVar("Function", bound=Callable[..., Any])


def __getattr__(name: str) -> Any:
    """A name whose module imports torch, fetched now."""
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = LATER[name]
    return getattr(importlib.import_module(module), attribute)


def hook(function: Function) -> Function:
    """Mark a function of an extension as its part of the hook it is named after."""
    marked: Function = pluggy.HookimplMarker(PROJECT)(function)
    return marked


class Hooks:
    """Every hook there is. An extension defines functions of these names, marked with `hook`, with these arguments or fewer.

    Those above the line are called when an extension is loaded, or says `home.refresh()`; the others while people work.
    In jobs an extension is called only where it takes part: where one of its parameters is not at its default, one of its tags is
    in a prompt, or its `resolve` noted something. Several extensions follow each other by the `order` of their manifests, then by
    name. These here are never called themselves.
    """

    @SPECIFIED
    def samplers(self, home: Home) -> Sequence[SamplerInfo]:
        """Samplers to add; a name that is there already is an error. `k_diffusion` makes one of a k-diffusion function."""
        raise NotImplementedError

    @SPECIFIED
    def schedules(self, home: Home) -> Mapping[str, Schedule]:
        """Schedules to add, by the name that people choose them by."""
        raise NotImplementedError

    @SPECIFIED
    def scripts(self, home: Home) -> Sequence[Script]:
        """Scripts to add: what makes many jobs of one form."""
        raise NotImplementedError

    @SPECIFIED
    def params(self, home: Home) -> Sequence[Section]:
        """Parameters to add to tasks: each is a control, a flag, an API field and a value in the picture's text."""
        raise NotImplementedError

    @SPECIFIED
    def settings(self, home: Home) -> type[Params]:
        """The extension's own settings, which an owner sets in the Extensions tab and hooks read as `home.settings`."""
        raise NotImplementedError

    @SPECIFIED
    def tags(self, home: Home) -> Sequence[TagKind]:
        """Tags to read, such as `<lora:name:0.8>`."""
        raise NotImplementedError

    @SPECIFIED
    def networks(self, home: Home) -> Mapping[str, Callable[[str], Any]]:
        """Networks for `Call` asks by a prefix of their names: a function from the rest of the name to a network.

        What it returns is a `NetworkFile`, whose weights the engine holds, or a function of an ask's inputs.
        """
        raise NotImplementedError

    @SPECIFIED
    def detectors(self, home: Home) -> Mapping[str, Callable[[Job, Picture], Generator[Ask, Any, Any]]]:
        """Detectors by name: a generator from a picture to masks float32 [N, H, W] of the regions found, the best first."""
        raise NotImplementedError

    @SPECIFIED
    def tabs(self, home: Home) -> Sequence[Tab]:
        """Tabs to add to the page."""
        raise NotImplementedError

    @SPECIFIED
    def panels(self, home: Home) -> Sequence[Panel]:
        """Panels to add at named places of existing tabs."""
        raise NotImplementedError

    @SPECIFIED
    def routes(self, home: Home) -> Sequence[Route]:
        """Addresses below /x/extensions/NAME/, behind the same accounts as the page's own; needs the permission "routes"."""
        raise NotImplementedError

    # ---------------------------------------------------------------------------------------------------------------------

    @SPECIFIED
    def cards(self, home: Home, files: Files) -> Sequence[Card]:
        """What people choose from with the eye: files with a preview, and what choosing one puts into the prompt."""
        raise NotImplementedError

    @SPECIFIED
    def prompt_words(self, folders: Sequence[Path]) -> Mapping[str, Sequence[str]]:
        """Words that complete what is being typed, by kind ("wildcard", "lora", "embedding", ...)."""
        raise NotImplementedError

    @SPECIFIED
    def prompt_problems(self, text: str, folders: Sequence[Path]) -> Sequence[tuple[int, int, str]]:
        """What an extension cannot make sense of in a prompt: where it begins and ends, and a sentence."""
        raise NotImplementedError

    @SPECIFIED
    def read_file(self, content: bytes) -> str | None:
        """What a file that somebody drops says of how it was made, as a picture's parameter text; None where it says nothing."""
        raise NotImplementedError

    @SPECIFIED
    def transform_prompt(self, text: str, context: PromptContext) -> str:
        """The prompt that a text means for one picture, when its job is submitted; extensions follow each other."""
        raise NotImplementedError

    @SPECIFIED
    def resolve(self, submission: Submission) -> Mapping[str, Any] | None:
        """What an extension notes when a job is submitted, as plain data, or None; with it, it takes part in the job.

        `UserError` refuses the job. What depends on files is found out here, hashes included: the job may wait for long.
        """
        raise NotImplementedError

    @SPECIFIED
    def metadata(self, request: Request, values: Mapping[str, Any], noted: Mapping[str, Any]) -> Mapping[str, str]:
        """What goes into the picture's text besides the parameters, by key, such as the hashes of files."""
        raise NotImplementedError

    @SPECIFIED
    def patches(self, job: Job) -> Patches | None:
        """Changes of the network for a whole pass of a picture. Of the weights, attention, blocks, residuals, tokens, padding."""
        raise NotImplementedError

    @SPECIFIED
    def rows(self, job: Job) -> ChangeRow | None:
        """A generator that changes each row before the network sees it: its patches, residuals, channels, conditioning."""
        raise NotImplementedError

    @SPECIFIED
    def guide(self, job: Job) -> Guide | None:
        """A generator that makes the guided clean latent of each step, out of what is known of it and what it asks for."""
        raise NotImplementedError

    @SPECIFIED
    def denoiser(self, job: Job, denoise: Denoise) -> Denoise:
        """A denoiser around the one there is; it may be asked more than once a step, or not at all."""
        raise NotImplementedError

    @SPECIFIED
    def finish(self, job: Job, picture: Picture) -> Generator[Ask, Any, Picture]:
        """The finished picture, changed: a generator, which may make other pictures on the way (`job.generate`)."""
        raise NotImplementedError

    @SPECIFIED
    def picture_saved(self, home: Home, request: Request, path: Path, text: str) -> None:
        """Told when a picture that the extension took part in is in the gallery."""
        raise NotImplementedError

    @SPECIFIED
    def unloaded(self, home: Home) -> None:
        """Told before the extension is unloaded, and when the program ends."""
        raise NotImplementedError
