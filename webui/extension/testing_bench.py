"""Where the test kit makes its pictures: the program's own engine with the built-in model, with an extension and without it."""

from __future__ import annotations

import hashlib
import importlib
import io
import logging
import re
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor, nn

from webui.engine import driving, events
from webui.errors import ExtensionError, UserError
from webui.extension.testing_use import PROMPT, Use
from webui.params import parameters
from webui.pipeline.extended import Job, JobHooks
from webui.pipeline.protocol import Asking, Denoise, Moment
from webui.request import InputFacts, Request
from webui.service.composed import composed_tasks
from webui.service.decoding import facts_of
from webui.service.extension_manifest import Manifest, read_manifest
from webui.service.extension_shelf import Shelf
from webui.service.extension_trial import tried
from webui.service.extensions import BUNDLED, Extensions
from webui.service.given import among
from webui.service.opening import Service
from webui.service.requests import Resolver
from webui.tasks import TAKES
from webui.weights.files import read_header

BUILT_IN = Path(__file__).resolve().parents[2] / "models" / "builtin" / "model.safetensors"
USUAL: Mapping[str, Any] = {"steps": 6, "seed": 1}
KIT = "test_kit"  # under which the kit takes part in jobs, to fail or to hold them
FAIL, HOLD = "fail", "hold"
MEANT_TO_FAIL = "The test kit ends this job."
PATIENCE = 300.0  # seconds; nothing takes so long but a machine that is very busy
EXAMPLE = "example"
TAG = r"<\s*({names})\s*:[^<>]*>"
LOG = logging.getLogger(driving.__name__)  # where jobs that fail are told
Pixels = NDArray[np.uint8]


class Unusable(ExtensionError):
    """An extension could not be used as it says."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Together:
    """Pictures of three jobs that ran at once, two of which used the extension; whether any shared a call."""

    used: Pixels
    again: Pixels
    plain: Pixels
    shared: bool


def loaded(place: Path, manifest: Manifest, own: Path) -> tuple[Extensions, Extensions]:
    """An extension with those that it requires, and those alone; `ExtensionError` where one of them cannot be loaded.

    Copies are loaded, below the folder `own`, so that nothing else in the program has to do with it.
    """
    tried(place)
    required = _required(place, manifest)
    for name, folder in ((manifest.name, place), *required.items()):
        _copy(folder, own / "with" / name)
        if name != manifest.name:
            _copy(folder, own / "without" / name)
    return _loaded(own / "with"), _loaded(own / "without")


def _loaded(folder: Path) -> Extensions:
    shelf = Shelf(folder / "root", folders=(folder,))
    shelf.open()
    for name, problem in shelf.now.problems.items():
        raise ExtensionError(f"{name}: {problem}")
    return shelf.now


class Bench:
    """Makes pictures with an extension and without it. For one thread."""

    def __init__(self, own: Path, extensions: Extensions, without: Extensions, name: str, use: Use) -> None:
        self._use, self._name = use, name
        self._reached, self._go = threading.Event(), threading.Event()
        models = own / "models"
        (models / "builtin").mkdir(parents=True)
        shutil.copyfile(BUILT_IN, models / "builtin" / BUILT_IN.name)
        _make_files(use, extensions, name, models)
        kit = JobHooks(name=KIT, denoiser=self._denoiser)
        versions = {**extensions.versions, KIT: "1"}
        self._extensions = replace(extensions, job_hooks=(*extensions.job_hooks, kit), versions=versions)
        self._contents: dict[str, bytes] = {}
        self._with = self._service(self._extensions, own / "cache")
        self._without = self._service(without, own / "cache")
        self._inputs: dict[str, InputFacts] = {}

    def __enter__(self) -> Self:
        wanted = [name for name in TAKES.get(self._use.task, ()) if name in ("picture", "mask")]
        if wanted or EXAMPLE in self._use.parameters.values():
            request = self._without.request(composed_tasks(self._without.resolver.extensions)["txt2img"].read(
                {**USUAL, "prompt": PROMPT}
            ))  # fmt: skip
            self._inputs = {"picture": self._keep(self._run(self._without, request).pixels), "mask": self._keep(_mask())}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._go.set()
        for service in (self._with, self._without):
            service.close()

    def used(self) -> Pixels:
        """A picture that uses the extension."""
        return self._run(self._with, self._request(used=True)).pixels

    def plain(self) -> Pixels:
        """The same picture without using it, while it is loaded."""
        return self._run(self._with, self._request(used=False)).pixels

    def without(self) -> Pixels:
        """The same picture where it is not even loaded."""
        return self._run(self._without, self._request(used=False, service=self._without)).pixels

    def failed(self) -> None:
        """A job that uses the extension and fails on its way."""
        LOG.addFilter(_is_not_ours)
        try:
            told = self._told(self._with, self._with.engine.submit(self._acting(self._request(used=True), FAIL)))
        finally:
            LOG.removeFilter(_is_not_ours)
        if not isinstance(told[-1], events.Failed) or MEANT_TO_FAIL not in told[-1].sentence:
            raise Unusable(f"A job that was to fail ended otherwise: {told[-1]}")

    def cancelled(self) -> None:
        """A job that uses the extension and is cancelled on its way."""
        job = self._held(self._request(used=True))
        self._with.engine.cancel(job)
        self._go.set()
        if not isinstance(told := self._told(self._with, job)[-1], events.Cancelled):
            raise Unusable(f"A job that was cancelled ended otherwise: {told}")

    def together(self) -> Together:
        """Two jobs that use the extension and one that does not, at once: the first waits after its first step for the others."""
        used, plain = self._request(used=True), self._request(used=False)
        first = self._held(used)
        others = [self._with.engine.submit(each) for each in (plain, used)]
        self._go.set()
        made = [_picture(self._told(self._with, job)) for job in (first, *others)]
        return Together(
            used=made[0].pixels, plain=made[1].pixels, again=made[2].pixels, shared=any(each.batched for each in made)
        )

    def digest(self) -> dict[str, str]:
        """The SHA-256 of all weights of the model that are on the device, but for copies that were patched, by part."""
        found = {}
        for key, module in self._with.held_networks():
            if isinstance(module, nn.Module):
                content = hashlib.sha256()
                for name, tensor in sorted({**dict(module.named_parameters()), **dict(module.named_buffers())}.items()):
                    content.update(name.encode())
                    content.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
                found[key] = content.hexdigest()
        return found

    @staticmethod
    def difference(one: Pixels, other: Pixels) -> float:
        """By how much pictures differ in the mean, of 255; all of it where their sizes do."""
        return float(np.abs(one.astype(np.int16) - other).mean()) if one.shape == other.shape else 255.0

    @staticmethod
    def worst(one: Pixels, other: Pixels) -> int:
        """By how much pictures differ where they do most, of 255."""
        return int(np.abs(one.astype(np.int16) - other).max()) if one.shape == other.shape else 255

    @staticmethod
    def same(one: Pixels, other: Pixels) -> bool:
        """Whether pictures are the same to the bit."""
        return np.array_equal(one, other)

    def _service(self, extensions: Extensions, cache: Path) -> Service:
        opened = _Kept(self._contents)
        resolver = Resolver(models_folder=cache.parent / "models", cache=cache, extensions=extensions, open_input=opened)
        return Service(resolver=resolver, cache=cache, exact=True, open_input=opened)

    def _request(self, *, used: bool, service: Service | None = None) -> Request:
        """The request of a picture with the extension, or without it."""
        service = service or self._with
        kind = composed_tasks(service.resolver.extensions)[self._use.task]
        given = dict(USUAL) | {"prompt": self._use.prompt} | dict(self._use.parameters)
        if not used:
            own = {each.partition(" ")[2] for each, owner in self._extensions.owners.items() if owner == self._name}
            given = {key: value for key, value in given.items() if not key.startswith(f"{self._name}_") and value not in own}
            given["prompt"] = self._use.plain or self._untagged(self._use.prompt)
        known = parameters(kind)
        inputs = {name: facts for name, facts in self._inputs.items() if name in TAKES.get(self._use.task, ())}
        for name, parameter in known.items():
            if parameter.picture and given.get(name) == EXAMPLE:
                given[name] = self._inputs["picture"].digest
                inputs[name] = self._inputs["picture"]
        return service.request(kind.read(given), inputs)

    def _untagged(self, prompt: str) -> str:
        """A prompt without the extension's tags."""
        names = [re.escape(tag) for tag, (owner, _) in self._extensions.tags.items() if owner == self._name]
        return re.sub(TAG.format(names="|".join(names)), "", prompt).strip() if names else prompt

    def _acting(self, request: Request, act: str) -> Request:
        own = {"values": {"act": act}, "noted": {}}
        return replace(request, extensions={**request.extensions, KIT: own})

    def _held(self, request: Request) -> str:
        """A job that waits after its first step until it may go on."""
        self._reached.clear()
        self._go.clear()
        job = self._with.engine.submit(self._acting(request, HOLD))
        if not self._reached.wait(PATIENCE):
            raise Unusable("A job that was to wait after its first step has no second one, or took too long.")
        return job

    def _denoiser(self, job: Job, denoise: Denoise) -> Denoise:
        """What the kit does in its own jobs: let the first evaluation be, and fail in the second or hold it."""
        act, count = job.values.get("act"), 0

        def around(x: Tensor, at: Moment) -> Asking:
            nonlocal count
            count += 1
            if count == 2 and act == FAIL:
                raise UserError(MEANT_TO_FAIL)
            if count == 2 and act == HOLD:
                self._reached.set()
                self._go.wait(PATIENCE)
            return (yield from denoise(x, at))

        return around

    def _run(self, service: Service, request: Request) -> events.Picture:
        return _picture(self._told(service, service.engine.submit(request)))

    def _told(self, service: Service, job: str) -> list[events.Event]:
        told = list(service.engine.events(job))
        service.engine.forget(job)
        return told

    def _keep(self, pixels: Pixels) -> InputFacts:
        """A picture as if somebody had brought it."""
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        content = file.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        self._contents[digest] = content
        return facts_of(digest, content)


class _Kept:
    """The pictures there are, which grow."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._contents = contents

    def __call__(self, digest: str) -> bytes:
        return among(self._contents)(digest)


def _is_not_ours(record: logging.LogRecord) -> bool:
    """Whether an entry of the log is about something else than the failure that the kit makes."""
    return MEANT_TO_FAIL not in str(record.exc_info[1] if record.exc_info else "")


def _picture(told: list[events.Event]) -> events.Picture:
    """The one picture of a job that was to make one."""
    found = [event for event in told if isinstance(event, events.Picture)]
    if len(found) != 1 or not isinstance(told[-1], events.Finished):
        last = told[-1]
        raise Unusable(last.sentence if isinstance(last, events.Failed) else f"A job ended with {last}.")
    return found[0]


def _required(place: Path, manifest: Manifest) -> dict[str, Path]:
    """The folders of the extensions that one requires, and of those that they require."""
    found: dict[str, Path] = {}
    missing = list(manifest.extensions)
    while missing:
        name = missing.pop()
        if name in found or name == manifest.name:
            continue
        folder = next((each for each in (place.parent / name, BUNDLED / name) if each.is_dir()), None)
        if folder is None:
            raise UserError(f"The extension {manifest.name} requires {name}, which is neither beside it nor bundled.")
        found[name] = folder
        missing += read_manifest(folder).extensions
    return found


def _make_files(use: Use, extensions: Extensions, name: str, models: Path) -> None:
    """Have the extension write the files it needs."""
    if not use.make:
        return
    module, _, function = use.make.partition(":")
    shapes = {key: tuple(info.shape) for key, info in read_header(BUILT_IN).tensors.items()}
    try:
        make = getattr(importlib.import_module(f"{extensions.packages[name]}.{module}"), function)
    except (ImportError, AttributeError) as error:
        raise UserError(f'[test] says make = "{use.make}", which is not there: {error}.') from error
    make(models, shapes)


def _mask() -> Pixels:
    """A disc in the middle of a picture of the built-in model's size."""
    image = Image.new("L", (128, 128))
    ImageDraw.Draw(image).ellipse((32, 32, 96, 96), fill=255)
    return np.asarray(image)


def _copy(folder: Path, target: Path) -> None:
    """A copy of an extension's folder, without what Python made there."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__pycache__", ".git"))
