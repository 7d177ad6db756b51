"""What extensions do in one job, as the pipeline sees it: functions by name, folded in one order. Imports no torch.

An extension takes part in a job where the request's `extensions` has its name, and only there: the pictures of all other jobs are
made as if it did not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from webui.pipeline.protocol import Ask, Conditioning, Denoise, MakeRow, Moment, Row

if TYPE_CHECKING:
    from torch import Tensor

    from webui.nets.spec import ModelSpec
    from webui.pipeline.patches import Patches
    from webui.pipeline.picture import Picture
    from webui.pipeline.texts import Texts
    from webui.request import Request


class Files(Protocol):
    """The weight files that extensions read, by folders under models/ ("Lora", "loras", ...). Paths are texts.

    In the folder of embeddings, pictures are files too where they stand for themselves.
    """

    def names(self, folders: tuple[str, ...]) -> Mapping[str, str]:
        """The files there are now: the path of each by the name that people have for it (its stem, its folder too if unclear)."""
        ...

    def find(self, folders: tuple[str, ...], name: str) -> str:
        """The path of a file by name, whatever the case; `UnknownName` names those most like it."""
        ...

    def found(self, folders: tuple[str, ...], name: str, sha256: str) -> str:
        """The path of the file a job was submitted with, whatever it is called now; `ModelFileError` where it is gone."""
        ...

    def sha256(self, path: str) -> str:
        """The hash of a file, kept by size and time of change."""
        ...

    def weights_sha256(self, path: str) -> str:
        """The hash of what follows a safetensors header ("AutoV3"), kept like `sha256`; that of the file for all others."""
        ...

    def header(self, path: str) -> Mapping[str, Any]:
        """Keys with shapes under "tensors", and the text `metadata` of a safetensors file, without weights and torch."""
        ...

    def tensors(self, path: str) -> Mapping[str, Any]:
        """Everything in a file, on the host, read once and kept while there is room: tensors by name; or what a pickle holds.

        Pickles are opened by the one safe door for all kinds. Never write to what is returned.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One pass of one picture, as the hooks of an extension are told of it.

    `request` is that of this picture and pass (count 1; the second pass of hires fix has its own size, steps and prompt, and
    `second` is true). `values` are the extension's own parameters by field name (defaults filled in); `noted` is what its
    `resolve` and its tags noted when the job was submitted: `noted["tags"]` maps the text of each tag ("lora:name:0.8") to
    what its kind resolved it to, `tags` are those of this picture's own prompt, in order. `network` is the name of the
    model's network for rows, `device` where the answers come from. `pictures` are the extension's own input pictures, uint8
    RGBA [4, H, W], by field name. `weights()` are the names of the model's weights in the published single-file layout, with
    their shapes: what weight patches may be about. `files` reads weights. `encode(text)` asks what a text means to the model.
    `generate(request, pictures)` makes another picture in this job, with the same model; `pictures` are inputs by name as in
    `Given`. `network_of(name)` is the name for `Call` asks of a network that the extension registered. `tell(sentence)` is
    shown to who started the job. `detectors` are those that extensions registered, by name. `home` is the extension's own place
    (`webui.extension.Home`), with its settings as they are now.
    """

    request: Request
    values: Mapping[str, Any]
    noted: Mapping[str, Any]
    tags: tuple[str, ...]
    second: bool
    spec: ModelSpec
    network: str
    device: str
    pictures: Mapping[str, Tensor]
    weights: Callable[[], Mapping[str, tuple[int, ...]]]
    files: Files
    encode: Callable[[str], Generator[Ask, Any, Conditioning]]
    generate: Callable[..., Generator[Ask, Any, Picture]]
    network_of: Callable[[str], str]
    tell: Callable[[str], None]
    detectors: Mapping[str, Detector] = field(default_factory=dict)
    home: Any = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Guided:
    """One guided step: what a `guide` hook is given, and may ask more for.

    `x` [C, H, W] and `at` are those of the step; `cond` is the sum that the prompt's parts pull to without the scale (that of one
    part is its answer), `uncond` what the negative prompt answers, None where it was not asked for; `scale` the request's, which
    samplers with CFG++ in their names take a 12.5th of.
    `denoised` is the guided clean latent so far, by the hooks before. `row(x, at, conditioning, role)` makes a further row of the
    same model, with the job's patches. `texts` has what the prompts mean at a moment.
    """

    x: Tensor
    at: Moment
    cond: Tensor
    uncond: Tensor | None
    scale: float
    denoised: Tensor
    row: MakeRow
    texts: Texts


Detector = Callable[[Job, "Picture"], Generator[Ask, Any, "Tensor"]]
PatchesOf = Callable[[Job], "Patches | None"]
ChangeRow = Callable[[Row], Generator[Ask, Any, Row]]
Guide = Callable[[Guided], Generator[Ask, Any, "Tensor"]]


@dataclass(frozen=True, kw_only=True, eq=False)
class JobHooks:
    """What one extension does in jobs that it takes part in; None where it does nothing there. See `webui.extension.Hooks`."""

    name: str
    version: str = ""
    patches: PatchesOf | None = None
    rows: Callable[[Job], ChangeRow | None] | None = None
    guide: Callable[[Job], Guide | None] | None = None
    denoiser: Callable[[Job, Denoise], Denoise] | None = None
    finish: Callable[[Job, Picture], Generator[Ask, Any, Picture]] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    home: Any = None
