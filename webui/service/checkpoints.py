"""Which checkpoints and VAE files there are, and which one a person means by a name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from webui.errors import ModelFileError, UserError, quoted, unknown
from webui.params import LONGEST_NAME
from webui.weights.hashes import legacy

BUILTIN = "builtin"
BUILTIN_FILE = Path("builtin") / "model.safetensors"
FOLDERS = ("checkpoints", "Stable-diffusion")  # under models/; the second is what other programs call it
PROGRAMS = ("", "models", "ComfyUI/models", "webui/models")  # where other programs have such folders, below what a person names
SUFFIXES = (".safetensors", ".ckpt")
INDEX = "model_index.json"  # what makes a folder one model, in the layout of diffusers
VAE_FOLDERS = ("VAE", "vae")
VAE_SUFFIXES = (*SUFFIXES, ".pt")
NETWORK_SUFFIXES = (*VAE_SUFFIXES, ".pth", ".bin")  # of networks beside a model: depth estimators, upscalers
CONFIG = "config.json"  # what makes a folder one network, in the layout of transformers
SHORTEST_HASH, LONGEST_HASH = 8, 64  # digits that are taken for (the beginning of) one
HashOf = Callable[[Path], str]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint, a file or a folder in the layout of diffusers, and the name it goes by."""

    name: str
    path: Path


def find(models: Path, others: Iterable[Path] = ()) -> tuple[Checkpoint, ...]:
    """The checkpoints under the folder `models`, the built-in one first, the others by name; then those of other programs.

    A name is the path below its folder without the ending, which stays only where two files would share a name; of another
    program's files its folder's name comes before. A file that is reached in two ways is found once.
    """
    builtin = {BUILTIN: models / BUILTIN_FILE} if is_file(models / BUILTIN_FILE) else {}
    folders = [(models / name, "") for name in FOLDERS]
    folders += [(folder, other.name) for other in others for folder in folders_of(other)]
    return _named_files(folders, _checkpoints, builtin)


def find_vaes(models: Path, others: Iterable[Path] = ()) -> tuple[Checkpoint, ...]:
    """The files with autoencoders alone under the folder `models`, then those of other programs; names keep the endings."""
    folders = [(models / name, "") for name in VAE_FOLDERS]
    folders += [(folder, other.name) for other in others for folder in _there(other, VAE_FOLDERS)]
    return _named_files(folders, _vaes, {}, endings=True)


def find_networks(
    models: Path, others: Iterable[Path], names: Sequence[str], builtin: Mapping[str, Path], *, reserved: Iterable[str] = ()
) -> tuple[Checkpoint, ...]:
    """The networks in folders called like `names` under `models` and those of other programs, files or folders of transformers.

    `builtin` come first; `reserved` names are nobody's, so that a file called so goes by its name with the ending.
    """
    first = {name: path for name, path in builtin.items() if is_file(path)}
    folders = [(models / name, "") for name in names]
    folders += [(folder, other.name) for other in others for folder in _there(other, names)]
    return _named_files(folders, _networks, first, suffixes=NETWORK_SUFFIXES, reserved=reserved)


def is_there(path: Path) -> bool:
    """Whether there is such a model: a file, or a folder in the layout of diffusers."""
    return is_file(path) or is_file(path / INDEX)


def _named_files(
    folders: Iterable[tuple[Path, str]], files: Callable[[Path], Iterable[Path]], found: dict[str, Path], *,
    endings: bool = False, suffixes: tuple[str, ...] = SUFFIXES, reserved: Iterable[str] = (),
) -> tuple[Checkpoint, ...]:  # fmt: skip
    reached: set[str] = set()
    taken = {each.casefold() for each in reserved}
    for folder, label in folders:
        for path in sorted(files(folder)):
            place = os.path.realpath(path)  # which stands links that lead in a circle
            if place in reached:
                continue
            reached.add(place)
            relative = path.relative_to(folder)
            whole = relative.as_posix()
            plain = whole if endings or not whole.lower().endswith(suffixes) else relative.with_suffix("").as_posix()
            names = chain([plain, f"{label}/{plain}" if label else whole], (f"{whole} ({number})" for number in count(2)))
            found[next(name for name in map(sayable, names) if name not in found and name.casefold() not in taken)] = path
    return tuple(Checkpoint(name=name, path=path) for name, path in found.items())


def sayable(name: str) -> str:
    """A name as people can give it, and a picture's text hold it: unprintable characters written out, the end of a long one."""
    text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in name)
    return text[-LONGEST_NAME:]


def folders_of(other: Path) -> tuple[Path, ...]:
    """The folders with checkpoints of another program; `other` is where it is installed, its models, or simply such a folder."""
    return _there(other, FOLDERS) or (other,)


def _there(other: Path, names: Iterable[str]) -> tuple[Path, ...]:
    candidates = (other / base / name for base in PROGRAMS for name in names)
    return tuple(each for each in candidates if each.is_dir())


def choose(
    checkpoints: Sequence[Checkpoint], name: str | None, model_hash: str | None, hash_of: HashOf, *, paths: bool = False
) -> Checkpoint:
    """The checkpoint meant by a name, a hash, or both; without either, the built-in one.

    A name may be written `name [hash]`, with the file's ending, as a hash, or as any part that only one checkpoint has; case
    does not matter. Of both, as pictures' texts have them, the hash says which file and the name only what it was called: the
    checkpoint with the hash is taken whatever its name is here, and a name that fits while no checkpoint has the hash is refused,
    for another file makes another picture. `paths` allows the path of a file too. `UserError` says what there is.
    """
    plain, own = _parted(name or "")
    digits = (model_hash or "").strip().casefold() or own
    if name is None and not digits:
        return _builtin(checkpoints)
    named = _named(checkpoints, plain, paths) if name is not None else []
    if not digits:
        found = named or _hashed(checkpoints, plain.casefold(), hash_of)
        if not found:
            raise unknown("model", plain, [each.name for each in checkpoints])
        return _only(plain, found)
    if not _is_hash(digits):
        raise UserError(f"The model hash was {quoted(digits)}; it must be the first 8 to 64 digits of a file's SHA-256.")
    if hashed := _hashed([*named, *checkpoints], digits, hash_of):
        return hashed[0]
    if name is None:
        raise UserError(f"No checkpoint here has the hash {quoted(digits)}; name one of: {_names(checkpoints)}.")
    if not named:
        raise unknown("model", plain, [each.name for each in checkpoints])
    other = _only(plain, named)
    raise UserError(
        f"The model {other.name} here has the hash {hash_of(other.path)[:10]}, not {digits}, and no other one here has that; "
        "leave the model hash out to use it all the same."
    )


def is_file(path: Path) -> bool:
    """Whether there is such a file; a path that no file can have, such as one too long, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _checkpoints(folder: Path) -> Iterable[Path]:
    """Checkpoint files, folders that are one model, and folders that are called like a file, so that people see what is wrong."""
    for place, folders, names in _walk(folder):
        if INDEX in names and place != folder:
            folders.clear()
            yield place
            continue
        yield from (place / name for name in folders if _is_weights(name, SUFFIXES) and not is_file(place / name / INDEX))
        yield from (place / name for name in names if _is_weights(name, SUFFIXES) and ".vae." not in name.lower())


def _vaes(folder: Path) -> Iterable[Path]:
    for place, _, names in _walk(folder):
        yield from (place / name for name in names if _is_weights(name, VAE_SUFFIXES))


def _networks(folder: Path) -> Iterable[Path]:
    for place, folders, names in _walk(folder):
        if CONFIG in names and place != folder:
            folders.clear()
            yield place
        else:
            yield from (place / name for name in names if _is_weights(name, NETWORK_SUFFIXES))


def _is_weights(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.lower().endswith(suffixes) and not name.startswith(".")


def _walk(folder: Path) -> Iterable[tuple[Path, list[str], list[str]]]:
    """Each folder once with the names of what is in it, links followed; whoever takes names of folders out does not get them."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [each for each in folders if not each.startswith(".")]
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        yield Path(place), folders, names


def _builtin(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    found = next((each for each in checkpoints if each.name == BUILTIN), None)
    if found is not None:
        return found
    others = f"; name another one with --model: {_names(checkpoints)}" if checkpoints else ""
    raise ModelFileError(f"The built-in model, models/{BUILTIN_FILE.as_posix()}, is missing: clone the repository again{others}.")


def _named(checkpoints: Sequence[Checkpoint], name: str, paths: bool) -> list[Checkpoint]:
    """Those that a name fits: exactly if any does so, else without folder and ending, else by a part of it."""
    path = Path(name)
    if paths and ((path.suffix.lower() in SUFFIXES and is_file(path)) or (name and is_file(path / INDEX))):
        taken = {each.name for each in checkpoints}
        return [Checkpoint(name=sayable(path.stem if path.stem not in taken else path.as_posix()), path=path)]
    wanted = name.casefold()
    for forms in (_own_form, _exact_forms, _base_forms):
        if matching := [each for each in checkpoints if wanted in forms(each)]:
            return matching
    return [each for each in checkpoints if wanted and wanted in each.name.casefold()]


def _only(name: str, matching: Sequence[Checkpoint]) -> Checkpoint:
    if len(matching) > 1:
        raise UserError(f"The model name {quoted(name)} is that of several: {_names(matching)}; write more of it.")
    return matching[0]


def _own_form(checkpoint: Checkpoint) -> set[str]:
    return {checkpoint.name.casefold()}


def _exact_forms(checkpoint: Checkpoint) -> set[str]:
    name = checkpoint.name.casefold()
    return {name, name + checkpoint.path.suffix.casefold()}


def _base_forms(checkpoint: Checkpoint) -> set[str]:
    if checkpoint.name == BUILTIN:  # whose file is just called "model"
        return set()
    return {checkpoint.path.stem.casefold(), checkpoint.path.name.casefold()}


def _hashed(checkpoints: Iterable[Checkpoint], digits: str, hash_of: HashOf) -> list[Checkpoint]:
    """The first that has the hash, where `digits` are one: old pictures have eight digits of another kind."""
    if _is_hash(digits):
        for each in checkpoints:
            with contextlib.suppress(ModelFileError):  # one that cannot be read is not the one
                if hash_of(each.path).startswith(digits) or (len(digits) == SHORTEST_HASH and legacy(each.path) == digits):
                    return [each]
    return []


def _is_hash(digits: str) -> bool:
    return SHORTEST_HASH <= len(digits) <= LONGEST_HASH and set(digits) <= set("0123456789abcdef")


def _parted(name: str) -> tuple[str, str]:
    """`name` and hash of `name [0123456789]`; the whole and "" where it is not written so."""
    head, bracket, tail = name.strip().rpartition(" [")
    digits = tail[:-1].casefold()
    return (head, digits) if bracket and tail.endswith("]") and _is_hash(digits) else (name.strip(), "")


def _names(checkpoints: Sequence[Checkpoint]) -> str:
    return ", ".join(each.name for each in checkpoints[:20])
