"""From what a person set to a request with nothing left open; reads names and headers of files, and imports no torch."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from webui.drawing import SAME_MODEL, SAME_SAMPLER, Drawing, Txt2Img
from webui.errors import ModelFileError, UnknownName, UserError, unknown
from webui.params import AUTOMATIC, NONE, Params
from webui.pipeline.samplers import SamplerInfo, names_schedule
from webui.pipeline.samplers import resolve as resolve_sampler
from webui.request import (
    NO_FILE,
    NO_INPUTS,
    FileFacts,
    InputFacts,
    ModelFacts,
    Request,
    SamplerFacts,
    check_clip_skip,
    needs_model,
    resolve,
    resolve_extras,
    resolve_map,
)
from webui.service import hires, sizes, vaes
from webui.service.catalogue import HASHES, Catalogue, described, model_facts
from webui.service.checkpoints import Checkpoint, choose, find, find_vaes, is_there
from webui.service.composed import composed_tasks, file_choices, pictures_of
from webui.service.decoding import facts_of
from webui.service.expansion import expanded
from webui.service.extensions import Current
from webui.service.further_networks import Functions, FurtherNetworks, unhashed
from webui.service.given import OpenInput, nothing
from webui.service.network_files import NetworkFiles
from webui.service.overrides import FileOptions, Overrides
from webui.service.taking_part import with_extensions
from webui.service.task_inputs import check_inputs, check_model, shape_of
from webui.tasks import MAP, ONLY_MASKED, OWN_ESTIMATOR, Depth, Extras, task_of
from webui.weights import hashes
from webui.weights.settling import PREDICTIONS

RANDOM_SEEDS = 2**32  # as other programs draw them
LARGEST_OPEN = 768  # pixels: the largest side that a model may turn out to be made for


def random_seed() -> int:
    """A seed nobody chose."""
    return random.SystemRandom().randrange(RANDOM_SEEDS)


@dataclass(kw_only=True, eq=False)
class Resolver:
    """Knows the models, VAEs, further networks, samplers and schedules by name.

    `paths` lets a model be named by the path of a file; `open_input` is asked for the pictures of a request whose size was left
    open.
    """

    models_folder: Path
    cache: Path
    others: Sequence[Path] = ()
    paths: bool = False
    overrides: Overrides = field(default_factory=Overrides)
    extensions: Current = Current()  # noqa: RUF009  a descriptor: what is loaded now, or a snapshot that is given
    estimator_functions: Functions = field(default_factory=dict)
    upscaler_functions: Functions = field(default_factory=dict)
    seed: Callable[[], int] = random_seed
    open_input: OpenInput = nothing
    networks: FurtherNetworks = field(init=False)
    files: NetworkFiles = field(init=False)
    _catalogue: Catalogue = field(init=False)
    _known: dict[str, Path] = field(default_factory=dict)  # models by the names that requests give them
    _reading: threading.Lock = field(default_factory=threading.Lock)  # so that no file is read by two at once

    def __post_init__(self) -> None:
        self._catalogue = Catalogue(self.cache, self.overrides)
        self.files = NetworkFiles(
            self.models_folder, self.others, hash_of=self._hash, known=self.known_hash,
            unhurried=lambda: self.extensions.unhurried(),
        )  # fmt: skip
        self.networks = FurtherNetworks(
            models=self.models_folder, others=self.others, hash_of=self._hash, known=self.known_hash,
            more_estimators=self.estimator_functions, more_upscalers=self.upscaler_functions,
        )  # fmt: skip

    def request(self, params: Params, inputs: Mapping[str, InputFacts] = NO_INPUTS, task: str = "") -> Request:
        """What `params` mean here: every name known, every default filled in; `UserError` where that cannot be."""
        return self.complete(self.outline(params, inputs, task))

    def outline(
        self, params: Params, inputs: Mapping[str, InputFacts] = NO_INPUTS, task: str = "", *, as_written: bool = False
    ) -> Request:
        """What can be said of `params` and the pictures they are for at once; `UserError` where they cannot be meant.

        `task` is what the parameters are for, if not the task they are named after. Files that were never read whole have no hash
        yet, and the model perhaps no size of its own (0): `complete` finds it out. `as_written`: the prompts are what extensions
        wrote already, and mean themselves.
        """
        task = task or task_of(params)
        check_inputs(task, params, {name: facts for name, facts in inputs.items() if name not in pictures_of(params)})
        if isinstance(params, Extras):
            size = sizes.enlarged(params, shape_of(inputs) or (1, 1))
            return resolve_extras(params, inputs=inputs, upscalers=self.networks.pair(params), size=size)
        assert isinstance(params, Drawing)
        if task == MAP and isinstance(params, Depth):
            return self._map(params, inputs)
        self._sampler(params.sampler, params.schedule)  # wrong names are told before any file is looked at
        there = self.checkpoints()
        checkpoint = self._chosen(params, there)
        facts, options = self._facts(checkpoint)
        check_model(task, facts, self._with_depth())
        vae = vaes.choose(params, checkpoint, options.vae, self.vaes(), self.known_hash)
        request = resolve(
            params, model=facts, sampler=self._sampler_of(params, facts), random_seed=self.seed,
            vae=vaes.facts(vae, self.known_hash), refiner=self._refiner(params, checkpoint, there), inputs=inputs,
            estimator=self.networks.estimator(params, facts, inputs) if isinstance(params, Depth) else NO_FILE,
            size=sizes.resolved(params, facts.native_size, shape_of(inputs)),
        )  # fmt: skip
        if isinstance(params, Txt2Img) and hires.is_wanted(params):
            request = self._with_second(params, request, facts, checkpoint, there)
        if not as_written:
            request = expanded(request, self.extensions, (self.models_folder.parent, self.models_folder))
        return with_extensions(request, params, self.extensions, self.files)

    def complete(self, request: Request, told: hashes.Told | None = None) -> Request:
        """The request with nothing left open; the first time that reads whole files, of which `told` hears."""
        if is_complete(request):
            return request
        request = hires.sized(self._complete(request, told))
        return hires.completed(request, self._complete(request.second(), told)) if request.hires else request

    def _complete(self, request: Request, told: hashes.Told | None) -> Request:
        """One pass of a request with nothing left open."""
        with self._reading:
            request = self.networks.complete(request, told)
            if not needs_model(request):
                return request
            path = self.file_of(request)
            digest = request.model_hash or self._hash(path, told)
            override = request.override if request.model_hash else self.overrides.of(digest).network()
            size = request.width, request.height
            if not all(size):
                checkpoint = Checkpoint(name=request.model, path=path)
                options = FileOptions.read(override)
                facts = model_facts(checkpoint, digest, self.cache / PREDICTIONS, ask=True, options=options)
                size = self._size(request, facts.native_size)
            vae = request.vae_hash or (self._hash(self.vae_of(request), told) if request.vae else "")
            refiner = request.refiner_hash or (self._hash(self.refiner_of(request), told) if request.refiner else "")
            second = request.refiner_override if request.refiner_hash else self.overrides.of(refiner).network()
        return replace(
            request, model_hash=digest, width=size[0], height=size[1], vae_hash=vae, refiner_hash=refiner, override=override,
            refiner_override=second,
        )  # fmt: skip

    def tasks(self) -> Mapping[str, type[Params]]:
        """The parameters of every task, those of extensions too."""
        return composed_tasks(self.extensions)

    def further_choices(self) -> Mapping[str, Sequence[str]]:
        """The names that extensions' parameters may have, by registry."""
        return {"detectors": [NONE, *self.extensions.detectors], **file_choices(self.extensions, self.files)}

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The models there are now."""
        return find(self.models_folder, self.others)

    def vaes(self) -> tuple[Checkpoint, ...]:
        """The VAE files there are now."""
        return find_vaes(self.models_folder, self.others)

    def path_of(self, name: str) -> Path:
        """The file of a model as a request names it; `ModelFileError` where it is gone."""
        if name not in self._known:
            self._known.update({each.name: each.path for each in self.checkpoints()})
        if name not in self._known or not is_there(self._known[name]):
            raise ModelFileError(f"The model {name} is not here any more; put its file back, or choose another one.")
        return self._known[name]

    def file_of(self, request: Request) -> Path:
        """The file a request was resolved with, whatever it is called now; `ModelFileError` where it is gone or was changed."""
        return self._model_file(request.model, request.model_hash)

    def refiner_of(self, request: Request) -> Path:
        """The file of the model that takes over; `ModelFileError` where it is gone or was changed."""
        return self._model_file(request.refiner, request.refiner_hash)

    def vae_of(self, request: Request) -> Path:
        """The file of the autoencoder in place of the model's own; `ModelFileError` where it is gone or was changed."""
        near = vaes.beside(self.file_of(request))
        there = [*([near] if near else []), *self.vaes()]
        for each in sorted(there, key=lambda each: each.name != request.vae):  # its own name first
            if self._hash(each.path) == request.vae_hash if request.vae_hash else each.name == request.vae:
                return each.path
        hashed = f" with the hash {request.vae_hash[:10]}" if request.vae_hash else ""
        raise ModelFileError(f"The VAE {request.vae}{hashed} is not here any more; put its file back, or choose another one.")

    def models(self) -> list[dict[str, Any]]:
        """Every model for people to choose from, the built-in one first; "problem" says why one cannot be used."""
        there = self.checkpoints()
        return [self._shown(each, plain) for each, plain in zip(there, self._catalogue.describe(there), strict=True)]

    def vae_files(self) -> list[dict[str, Any]]:
        """Every VAE file, with its bytes, its hash, and why it cannot be used."""
        return self._catalogue.describe_vaes(self.vaes())

    def set_options(self, name: str, options: FileOptions) -> None:
        """Set what an owner says of a model's file; `UserError` where it cannot be, and then nothing is set.

        What is set is kept by the file's hash, for which the whole file is read the first time.
        """
        there = {each.name: each for each in self.checkpoints()}
        if name not in there:
            raise unknown("model", name, there)
        if options.vae is not None and options.vae not in self.vae_names():
            raise unknown("VAE", options.vae, self.vae_names())
        if options.network():
            described(there[name], options)
        self.overrides.put(self._hash(there[name].path), options)

    def samplers(self) -> list[str]:
        """The names of the samplers, the automatic choice first."""
        return [AUTOMATIC, *self.extensions.samplers]

    def schedules(self) -> list[str]:
        """The names of the schedules, the automatic choice first."""
        return [AUTOMATIC, *self.extensions.schedules]

    def vae_names(self) -> list[str]:
        """The names of the VAE files, the automatic choice and the model's own first."""
        return [AUTOMATIC, NONE, *(each.name for each in self.vaes())]

    def estimator_names(self) -> list[str]:
        """What can be chosen as a depth estimator, the automatic choice and none first."""
        return self.networks.estimator_names(own=any(each["own_estimator"] for each in self.models()))

    def hires_upscaler_names(self) -> list[str]:
        """What can enlarge a picture before its second pass; None is no second pass."""
        return self.networks.hires_upscaler_names()

    def known_hash(self, path: Path) -> str:
        """A file's hash, "" where it was never read whole, or cannot be."""
        with contextlib.suppress(ModelFileError):
            return hashes.known(path, self.cache / HASHES)
        return ""

    def _chosen(self, params: Drawing, there: Sequence[Checkpoint]) -> Checkpoint:
        checkpoint = choose(there, params.model, params.model_hash, self._hash, paths=self.paths)
        self._known[checkpoint.name] = checkpoint.path
        return checkpoint

    def _map(self, params: Depth, inputs: Mapping[str, InputFacts]) -> Request:
        """A depth map alone, of the size of what it is made of; the model is one of its request only where it makes the map."""
        facts, _ = self._facts(self._chosen(params, self.checkpoints()))
        estimator = self.networks.estimator(params, facts, inputs)
        if not estimator.name and "depth" not in inputs:
            raise UserError(f"The depth estimator was {NONE}, so there is no map to show; choose one, or give a depth map.")
        own = facts if estimator.name == OWN_ESTIMATOR else None
        return resolve_map(params, inputs=inputs, estimator=estimator, size=shape_of(inputs) or (1, 1), model=own)

    def _with_depth(self) -> Iterator[str]:
        """The models that take a depth map; nothing is looked at before they are wanted."""
        yield from (each["name"] for each in self.models() if each["beside"] == "depth" and not each["problem"])

    def _size(self, request: Request, native: int) -> tuple[int, int]:
        """The size of a request that was left to its model, now that the model's own is known."""
        first = request.inputs.get("picture") or request.inputs.get("depth")
        if first is None or request.area == ONLY_MASKED:
            return request.width or native, request.height or native
        facts = facts_of(first, self.open_input(first))
        return sizes.at_native(native, (facts.width, facts.height))

    def _hash(self, path: Path, told: hashes.Told | None = None) -> str:
        return hashes.sha256(path, self.cache / HASHES, told)

    def _model_file(self, name: str, wanted: str) -> Path:
        if not wanted:
            return self.path_of(name)
        with contextlib.suppress(ModelFileError):
            if self._hash(path := self.path_of(name)) == wanted:
                return path
        for each in self.checkpoints():
            with contextlib.suppress(ModelFileError):  # one that cannot be read is not the one
                if self._hash(each.path) == wanted:
                    return each.path
        raise ModelFileError(
            f"The model {name} with the hash {wanted[:10]} is not here any more; put its file back, or choose another one."
        )

    def _facts(self, checkpoint: Checkpoint) -> tuple[ModelFacts, FileOptions]:
        digest = self.known_hash(checkpoint.path)
        options = self.overrides.of(digest)
        return model_facts(checkpoint, digest, self.cache / PREDICTIONS, ask=False, options=options), options

    def _sampler(self, sampler: str, schedule: str) -> tuple[SamplerInfo | None, str]:
        """The sampler, None where it is left to the model, and the schedule; `UnknownName` where there is none."""
        automatic = sampler.strip().casefold() == AUTOMATIC.casefold()
        named = ModelFacts.sampler if automatic else sampler
        try:
            info, own = resolve_sampler(named, schedule, samplers=self.extensions.samplers, schedules=self.extensions.schedules)
        except UnknownName:
            if not automatic or named in self.extensions.samplers:
                raise
            return None, schedule
        return (None, schedule) if automatic else (info, own)

    def _sampler_of(self, params: Drawing, facts: ModelFacts) -> SamplerFacts:
        return self._suiting(params.sampler, params.schedule, facts)

    def _suiting(self, sampler: str, schedule: str, facts: ModelFacts) -> SamplerFacts:
        """What a sampler and a schedule mean; what is automatic suits the model."""
        info, schedule = self._sampler(sampler, schedule)
        if info is None:
            info, schedule = self.suited(facts.sampler, facts.schedule, schedule)
        return SamplerFacts(name=info.name, schedule=schedule, options=tuple(info.options))

    def suited(self, sampler: str, schedule: str, chosen: str = AUTOMATIC) -> tuple[SamplerInfo, str]:
        """The sampler and schedule that suit a model, as far as they are known here; a schedule that was chosen stays."""
        known = {name.casefold() for name in self.schedules()}
        wanted = schedule if schedule.casefold() in known else AUTOMATIC
        taken = wanted if chosen.strip().casefold() == AUTOMATIC.casefold() else chosen
        resolved = partial(resolve_sampler, samplers=self.extensions.samplers, schedules=self.extensions.schedules)
        try:
            return resolved(sampler, taken)
        except UnknownName:
            return resolved(ModelFacts.sampler, taken)

    def _with_second(
        self, params: Txt2Img, request: Request, facts: ModelFacts, model: Checkpoint, there: Sequence[Checkpoint]
    ) -> Request:
        """The request with its second pass; names in it are told as those of the first are."""
        upscaler = self.networks.hires_upscaler(params.hires_upscaler)
        second = FileFacts()
        if name := hires.said(params.hires_model, SAME_MODEL):
            facts = self._goes_on(name, "checkpoint of the second pass", model, there)
            second = FileFacts(name=facts.name, hash=facts.hash, override=facts.override)
            check_clip_skip(params, facts)
        automatic = self._sampler(request.sampler, AUTOMATIC)[1]
        named = hires.said(params.hires_sampler, SAME_SAMPLER) or request.sampler
        own = names_schedule(named, self.extensions.samplers) and named.casefold() != AUTOMATIC.casefold()
        sampler = self._suiting(named, hires.same_schedule(params, request, automatic, own=own), facts)
        return hires.resolved(params, request, upscaler, sampler, second)

    def _refiner(self, params: Drawing, model: Checkpoint, there: Sequence[Checkpoint]) -> FileFacts:
        if params.refiner.strip().casefold() in ("", NONE.casefold()):
            return FileFacts()
        facts = self._goes_on(params.refiner, "refiner", model, there)
        return FileFacts(name=facts.name, hash=facts.hash, override=facts.override)

    def _goes_on(self, name: str, what: str, model: Checkpoint, there: Sequence[Checkpoint]) -> ModelFacts:
        """A model that goes on with what another one begins; `UserError` where it cannot."""
        checkpoint = choose(there, name, None, self._hash, paths=self.paths)
        self._known[checkpoint.name] = checkpoint.path
        facts, _ = self._facts(checkpoint)
        check_model("txt2img", facts, ())  # it may be of any kind that goes on without being given anything
        latents = {latents_of(each, self.overrides.of(self.known_hash(each.path))) for each in (model, checkpoint)}
        if len(latents) > 1:
            raise UserError(
                f"The {what} {checkpoint.name} cannot go on with what {model.name} begins, for their latents are of different "
                "kinds; choose one of the same family, such as SDXL's refiner for SDXL."
            )
        return facts

    def _shown(self, checkpoint: Checkpoint, plain: dict[str, Any]) -> dict[str, Any]:
        """A model's description with the VAE, sampler and schedule that are taken for it here."""
        near = vaes.beside(checkpoint.path)
        vae = plain["set"].get("vae") or ("" if near is None else near.name)
        info, schedule = self.suited(plain["sampler"] or ModelFacts.sampler, plain["schedule"] or AUTOMATIC)
        return plain | {"sampler": info.name, "schedule": schedule, "vae": vae}


def latents_of(checkpoint: Checkpoint, options: FileOptions) -> tuple[int, int, float, float]:
    """What must be alike for one model to go on with another's latents: channels, pixels a side, scale and shift."""
    vae = described(checkpoint, options).spec.vae
    return vae.latent_channels, vae.factor, vae.scale, vae.shift


def is_complete(request: Request) -> bool:
    """Whether nothing is left open that only whole files tell."""
    if unhashed(request) or (request.hires and not is_complete(request.second())):
        return False
    if not needs_model(request):
        return True
    files = ((request.vae, request.vae_hash), (request.refiner, request.refiner_hash))
    return bool(request.model_hash and request.width and request.height) and all(digest or not name for name, digest in files)


def at_most(request: Request) -> Request:
    """The request as large as it may turn out to be, pictures of other shapes aside."""
    return hires.sized(replace(request, width=request.width or LARGEST_OPEN, height=request.height or LARGEST_OPEN))
