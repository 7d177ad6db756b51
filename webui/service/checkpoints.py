"""Which checkpoints there are, and which one a person means by a name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from webui.errors import ModelFileError, UserError, quoted, unknown

BUILTIN = "builtin"
BUILTIN_FILE = Path("builtin") / "model.safetensors"
FOLDERS = ("checkpoints", "Stable-diffusion")  # under models/; the second is what other programs call it
SUFFIXES = (".safetensors", ".ckpt")
SHORTEST_HASH = 8  # digits that are taken for the beginning of one
HashOf = Callable[[Path], str]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint file and the name it goes by."""

    name: str
    path: Path


def find(models: Path) -> tuple[Checkpoint, ...]:
    """The checkpoints under the folder `models`, the built-in one first, the others by name.

    A name is the path below its folder without the ending, which stays only where two files would share a name.
    """
    found: dict[str, Path] = {}
    if (models / BUILTIN_FILE).is_file():
        found[BUILTIN] = models / BUILTIN_FILE
    for folder in (models / name for name in FOLDERS):
        for path in sorted(_files(folder)):
            relative = path.relative_to(folder)
            name = relative.with_suffix("").as_posix()
            found.setdefault(name if name not in found else relative.as_posix(), path)
    return tuple(Checkpoint(name=name, path=path) for name, path in found.items())


def choose(
    checkpoints: Sequence[Checkpoint], name: str | None, model_hash: str | None, hash_of: HashOf, *, paths: bool = False
) -> Checkpoint:
    """The checkpoint meant by a name, a hash, or both; without either, the built-in one.

    A name may be written `name [hash]`, with the file's ending, as a hash, or as any part that only one checkpoint has; case
    does not matter. The hash decides where no checkpoint has the name. `paths` allows the path of a file too. `UserError`
    says what there is.
    """
    if name is None and model_hash is None:
        return _builtin(checkpoints)
    if paths and name is not None and Path(name).suffix.lower() in SUFFIXES and Path(name).is_file():
        taken = {each.name for each in checkpoints}
        return Checkpoint(name=Path(name).stem if Path(name).stem not in taken else Path(name).as_posix(), path=Path(name))
    if name is not None and (named := _by_name(checkpoints, _without_hash(name))) is not None:
        return named
    for digits in (model_hash, name):
        if digits is not None and (hashed := _by_hash(checkpoints, digits, hash_of)) is not None:
            return hashed
    if name is None:
        raise UserError(f"No checkpoint here has the hash {quoted(model_hash or '')}; name one of: {_names(checkpoints)}.")
    raise unknown("model", name, [each.name for each in checkpoints])


def _files(folder: Path) -> Iterable[Path]:
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [each for each in folders if not each.startswith(".")]
        for name in names:
            if name.lower().endswith(SUFFIXES) and ".vae." not in name.lower() and not name.startswith("."):
                yield Path(place) / name


def _builtin(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    found = next((each for each in checkpoints if each.name == BUILTIN), None)
    if found is not None:
        return found
    others = f"; name another one with --model: {_names(checkpoints)}" if checkpoints else ""
    raise ModelFileError(f"The built-in model, models/{BUILTIN_FILE.as_posix()}, is missing: clone the repository again{others}.")


def _by_name(checkpoints: Sequence[Checkpoint], name: str) -> Checkpoint | None:
    wanted = name.casefold()
    for forms in (_exact_forms, _base_forms):
        matching = [each for each in checkpoints if wanted in forms(each)]
        if matching:
            return _only(name, matching)
    matching = [each for each in checkpoints if wanted and wanted in each.name.casefold()]
    return _only(name, matching) if matching else None


def _only(name: str, matching: Sequence[Checkpoint]) -> Checkpoint:
    if len(matching) > 1:
        raise UserError(f"The model name {quoted(name)} is that of several: {_names(matching)}; write more of it.")
    return matching[0]


def _exact_forms(checkpoint: Checkpoint) -> set[str]:
    name = checkpoint.name.casefold()
    return {name, name + checkpoint.path.suffix.casefold()}


def _base_forms(checkpoint: Checkpoint) -> set[str]:
    if checkpoint.name == BUILTIN:  # whose file is just called "model"
        return set()
    return {checkpoint.path.stem.casefold(), checkpoint.path.name.casefold()}


def _by_hash(checkpoints: Sequence[Checkpoint], digits: str, hash_of: HashOf) -> Checkpoint | None:
    wanted = digits.strip().casefold()
    if len(wanted) < SHORTEST_HASH or not set(wanted) <= set("0123456789abcdef"):
        return None
    return next((each for each in checkpoints if hash_of(each.path).startswith(wanted)), None)


def _without_hash(name: str) -> str:
    """`name` of `name [0123456789]`."""
    head, bracket, tail = name.strip().rpartition(" [")
    return head if bracket and tail.endswith("]") and set(tail[:-1].casefold()) <= set("0123456789abcdef") else name.strip()


def _names(checkpoints: Sequence[Checkpoint]) -> str:
    return ", ".join(each.name for each in checkpoints[:20])
