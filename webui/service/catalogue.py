"""What is known of each checkpoint before it is loaded: from its header, read once for as long as the file stays as it is."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from webui.errors import ModelFileError, UserError, sendable
from webui.nets.spec import ModelSpec, VAESpec
from webui.params import AUTOMATIC
from webui.request import ModelFacts
from webui.service.checkpoints import Checkpoint, is_there
from webui.service.overrides import NO_OPTIONS, FileOptions, Overrides, override_of
from webui.weights import remembered
from webui.weights.completeness import identified
from webui.weights.defaults import Defaults, defaults_of
from webui.weights.families import Override, is_undecided
from webui.weights.files import Header
from webui.weights.headers import is_pickle
from webui.weights.hints import hint_of
from webui.weights.settling import PREDICTIONS, remembered_spec, settled
from webui.weights.vae_files import fitting, headers_at, offered
from webui.weights.verifying import MEMORY, kept

HASHES = "hashes.json"  # in the cache folder
DESCRIPTIONS = "models.json"  # in the cache folder
EDITION = 4  # of what is kept there; rises when the same header is to be understood otherwise
MOST_REMEMBERED = 8  # headers
ESTIMATOR, ESTIMATOR_FOLDER = "depth_model.", "depth_estimator"  # in the layouts of single files and of diffusers
UNDECIDED = "Stable Diffusion 2"  # of 512 or 768 pixels; which, only the network tells
NOTHING: dict[str, Any] = {
    "family": "", "key": "", "prediction": None, "zero_terminal_snr": None, "native_size": None, "undecided": False,
    "steps": None, "scale": None, "sampler": None, "schedule": None, "because": "", "hinted": [], "beside": "nothing",
    "own_estimator": False, "no_map": None, "problem": "",
}  # fmt: skip
Plain = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a checkpoint's header says, with what an owner set for it: the model, and the settings that suit it.

    `because` is the word in the file's name that the settings `hinted` follow from; `own_estimator` whether it brings a depth
    estimator.
    """

    header: Header
    spec: ModelSpec
    undecided: bool
    defaults: Defaults
    because: str = ""
    hinted: tuple[str, ...] = ()
    own_estimator: bool = False


class Catalogue:
    """Descriptions of checkpoints for people to choose from. Safe from any thread; `cache` is a folder."""

    def __init__(self, cache: Path, overrides: Overrides) -> None:
        self._hashes = cache / HASHES
        self._memory = cache / DESCRIPTIONS
        self._predictions = cache / PREDICTIONS
        self._verified = cache / MEMORY
        self._overrides = overrides
        self._turn = threading.Lock()
        self._known: Plain = {}

    def describe(self, checkpoints: Iterable[Checkpoint]) -> list[Plain]:
        """What is known of each (see `NOTHING`), its name, bytes and hash, and what an owner set for it.

        The size is None where the header leaves it open, the hash "" where it was not computed yet. Of files that only torch can
        read nothing more is known until torch was imported for something else.
        """
        with self._turn:
            self._known = self._known or remembered.read(self._memory)
            hashes = remembered.read(self._hashes)
            new: Plain = {}
            described = [self._describe(each, hashes, new) for each in checkpoints]
            self._known |= new
            remembered.add(self._memory, {key: entry for key, entry in new.items() if not entry["problem"]}) if new else None
            return described

    def describe_vaes(self, files: Iterable[Checkpoint]) -> list[Plain]:
        """Name, bytes and hash of each VAE file, and why it cannot be used."""
        with self._turn:
            hashes = remembered.read(self._hashes)
            return [self._describe_vae(each, hashes) for each in files]

    def _describe_vae(self, file: Checkpoint, hashes: Plain) -> Plain:
        plain: Plain = {"name": file.name, "hash": "", "bytes": None, "problem": ""}
        try:
            now = stamp(file.path)
            known = remembered.of_file(hashes, remembered.place(file.path), now)
            plain |= {"bytes": now["size"], "hash": str(known.get("sha256", ""))}
            if "torch" in sys.modules or not is_pickle(file.path):
                _check_vae(file.path, tuple(now.values()))
        except OSError as error:
            plain["problem"] = sendable(f"{file.path.name} cannot be read: {error.strerror}.")
        except ModelFileError as error:
            plain["problem"] = str(error)
        return plain

    def _describe(self, checkpoint: Checkpoint, hashes: Plain, new: Plain) -> Plain:
        name, path = checkpoint.name, checkpoint.path
        plain = {"name": name, "title": name, "hash": "", "bytes": None, "folder": path.is_dir(), "set": {}, **NOTHING}
        try:
            key, now = remembered.place(path), stamp(path)
        except OSError as error:
            return plain | {"problem": sendable(f"{path.name} cannot be read: {error.strerror}.")}
        digest = str(remembered.of_file(hashes, key, now).get("sha256", ""))
        plain |= {"hash": digest, "bytes": now["size"]}
        entry = remembered.of_file(self._known, key, now | {"edition": EDITION})
        if not entry:
            found = _read(checkpoint)
            if found is None:
                return plain
            entry = new[key] = now | {"edition": EDITION} | found
        plain |= {each: entry.get(each) for each in NOTHING}
        if faults := kept(path, self._verified):  # by `models verify`, such as NaN, which no header shows
            return plain | {"problem": sendable(f"It is {plain['family']}, but broken: {faults[0]}")}
        options = self._overrides.of(digest)
        if options == NO_OPTIONS and not (plain["undecided"] and digest):
            return plain
        plain["set"], plain["file"] = options.given(), {each: plain[each] for each in NOTHING}
        return plain | (_read(checkpoint, options, digest, self._predictions) or {})


def stamp(path: Path) -> dict[str, int]:
    """What changes when a model does: the size and time of change of a file, or of all files in a folder; raises OSError."""
    if not path.is_dir():
        return remembered.stamp(path)
    if not is_there(path):
        raise OSError(0, "it is a folder, not a file")
    found = [each.stat() for each in path.rglob("*") if each.is_file()]
    return {"size": sum(each.st_size for each in found), "mtime_ns": max(each.st_mtime_ns for each in found)}


def _read(
    checkpoint: Checkpoint, options: FileOptions = NO_OPTIONS, digest: str = "", predictions: Path | None = None
) -> Plain | None:
    """What the header says, or why it says nothing; None where it could only be read by importing torch."""
    try:
        if "torch" not in sys.modules and is_pickle(checkpoint.path):
            return None
        found = described(checkpoint, options)
    except UserError as error:
        return {**NOTHING, "problem": str(error)}
    override = override_of(options.network())
    spec = remembered_spec(found.header, found.spec, digest, predictions, override)
    known = spec or found.spec
    said = {
        "family": known.title if spec else UNDECIDED, "key": known.family if spec else "", "undecided": spec is None,
        "prediction": known.prediction if spec else None, "native_size": known.native_size if spec else None,
        "zero_terminal_snr": known.zero_terminal_snr, "because": found.because,
        "hinted": list(found.hinted), "beside": known.beside, "own_estimator": found.own_estimator, "no_map": known.no_map,
    }  # fmt: skip
    return {**NOTHING, **said, **asdict(found.defaults)}


def model_facts(checkpoint: Checkpoint, digest: str, memory: Path, *, ask: bool, options: FileOptions = NO_OPTIONS) -> ModelFacts:
    """A checkpoint's native size and defaults, from its header and what an owner set; `ModelFileError` names the file.

    Of the few files whose header leaves their size open the network is asked, once (see `settling.py`): if it may not be, and
    never was, the size is 0.
    """
    found = described(checkpoint, options)
    about = found.header, found.spec, digest, memory, override_of(options.network())
    known = settled(checkpoint.path, *about) if ask else remembered_spec(*about)
    suits = {name: value for name, value in asdict(found.defaults).items() if value is not None}
    return ModelFacts(
        name=checkpoint.name, hash=digest, override=options.network(), native_size=0 if known is None else known.native_size,
        text_layers=min((tower.layers for tower in found.spec.text), default=1), beside=found.spec.beside,
        own_estimator=found.own_estimator, **suits,
    )  # fmt: skip


def described(checkpoint: Checkpoint, options: FileOptions = NO_OPTIONS) -> Described:
    """What a checkpoint is and what suits it; `ModelFileError` names the file."""
    override = override_of(options.network())
    try:
        header, spec = _identified(checkpoint.path, tuple(stamp(checkpoint.path).values()), override)
        said = defaults_of(header)
    except OSError as error:
        raise ModelFileError(sendable(f"{checkpoint.path.name} cannot be read: {error.strerror}.")) from error
    except ModelFileError as error:
        name = checkpoint.path.name
        raise ModelFileError(str(error) if str(error).startswith(name) else f"{name}: {error}") from error
    hint = hint_of(checkpoint.path.name if checkpoint.path.is_dir() else checkpoint.path.stem)
    usual = Defaults(steps=ModelFacts.steps, scale=ModelFacts.scale, sampler=ModelFacts.sampler, schedule=AUTOMATIC)
    hinted = Defaults() if hint is None else Defaults(steps=hint.steps, scale=hint.scale, sampler=hint.sampler)
    first = joined(Defaults(steps=options.steps, scale=options.scale), said)
    names = tuple(name for name, value in asdict(first).items() if value is None and getattr(hinted, name) is not None)
    return Described(
        header=header, spec=spec, undecided=is_undecided(header, spec, override), defaults=joined(first, hinted, usual),
        because=hint.word if hint is not None and names else "", hinted=names,
        own_estimator=has_estimator(checkpoint.path, header),
    )  # fmt: skip


def has_estimator(path: Path, header: Header) -> bool:
    """Whether a model brings a depth estimator: among a file's weights, or as a part of a diffusers folder."""
    return (path / ESTIMATOR_FOLDER).is_dir() or any(key.startswith(ESTIMATOR) for key in header.tensors)


@lru_cache(maxsize=MOST_REMEMBERED)
def _identified(path: Path, _stamp: tuple[int, ...], override: Override | None) -> tuple[Header, ModelSpec]:
    """What a model is, remembered until its stamp is another one: checking every weight's shape takes a tenth of a second."""
    return identified(path, override)


@lru_cache(maxsize=MOST_REMEMBERED)
def _check_vae(path: Path, _stamp: tuple[int, ...]) -> None:
    """Raise `ModelFileError` unless a file holds an autoencoder for models known here, whose latents are all of one kind."""
    try:
        fitting(offered(headers_at(path)), VAESpec())
    except ModelFileError as error:
        raise ModelFileError(str(error) if str(error).startswith(path.name) else f"{path.name}: {error}") from error


def joined(*defaults: Defaults) -> Defaults:
    """Of each setting what the first one says that says anything."""
    plain = [asdict(each) for each in defaults]
    return Defaults(**{name: next((each[name] for each in plain if each[name] is not None), None) for name in plain[0]})
