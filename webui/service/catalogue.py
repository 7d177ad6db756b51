"""What is known of each checkpoint before it is loaded: from its header, read once for as long as the file stays as it is."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from webui.errors import ModelFileError, UserError, sendable
from webui.nets.spec import ModelSpec
from webui.request import ModelFacts
from webui.service.checkpoints import Checkpoint
from webui.weights import remembered
from webui.weights.families import default_scale, detect, is_undecided
from webui.weights.files import Header, is_pickle, read_header
from webui.weights.settling import remembered_spec, settled

HASHES = "hashes.json"  # in the cache folder
DESCRIPTIONS = "models.json"  # in the cache folder
EDITION = 2  # of what is kept there; rises when the same header is to be understood otherwise
UNDECIDED = "Stable Diffusion 2"  # of 512 or 768 pixels; which, only the network tells
Plain = dict[str, Any]


class Catalogue:
    """Descriptions of checkpoints for people to choose from. Safe from any thread; `cache` is a folder."""

    def __init__(self, cache: Path) -> None:
        self._hashes = cache / HASHES
        self._memory = cache / DESCRIPTIONS
        self._turn = threading.Lock()
        self._known: Plain = {}

    def describe(self, checkpoints: Iterable[Checkpoint]) -> list[Plain]:
        """Name, title, family, native size, scale, hash and problem of each.

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

    def _describe(self, checkpoint: Checkpoint, hashes: Plain, new: Plain) -> Plain:
        name, path = checkpoint.name, checkpoint.path
        plain = {"name": name, "title": name, "family": "", "native_size": None, "scale": None, "hash": "", "problem": ""}
        try:
            key, stamp = remembered.place(path), {**remembered.stamp(path), "edition": EDITION}
        except OSError as error:
            return plain | {"problem": sendable(f"{path} cannot be read: {error.strerror}.")}
        plain["hash"] = str(remembered.of_file(hashes, key, remembered.stamp(path)).get("sha256", ""))
        entry = remembered.of_file(self._known, key, stamp)
        if not entry:
            found = _read(checkpoint)
            if found is None:
                return plain
            entry = new[key] = stamp | found
        return plain | {key: entry.get(key) for key in ("family", "native_size", "scale", "problem")}


def _read(checkpoint: Checkpoint) -> Plain | None:
    """What the header says, or why it says nothing; None where it could only be read by importing torch."""
    try:
        if "torch" not in sys.modules and is_pickle(checkpoint.path):
            return None
        header, spec, scale = described(checkpoint)
    except UserError as error:
        return {"problem": str(error)}
    if is_undecided(header, spec):
        return {"family": UNDECIDED, "native_size": None, "scale": scale, "problem": ""}
    return {"family": spec.title, "native_size": spec.native_size, "scale": scale, "problem": ""}


def model_facts(checkpoint: Checkpoint, digest: str, memory: Path, *, ask: bool) -> ModelFacts:
    """A checkpoint's native size and defaults, from its header; `ModelFileError` names the file.

    Of the few files whose header leaves their size open the network is asked, once (see `settling.py`): if it may not be, and
    never was, the size is 0.
    """
    header, spec, scale = described(checkpoint)
    layers = min((tower.layers for tower in spec.text), default=1)
    known = settled(checkpoint.path, header, spec, digest, memory) if ask else remembered_spec(header, spec, digest, memory)
    size = 0 if known is None else known.native_size
    return ModelFacts(name=checkpoint.name, hash=digest, native_size=size, scale=scale, text_layers=layers)


def described(checkpoint: Checkpoint) -> tuple[Header, ModelSpec, float]:
    """A checkpoint's header, what it says the model is, and the scale that suits it; `ModelFileError` names the file."""
    header = read_header(checkpoint.path)
    try:
        return header, detect(header), default_scale(header, ModelFacts.scale)
    except ModelFileError as error:
        raise ModelFileError(f"{checkpoint.path.name}: {error}") from error
