"""`launch.py models`: which checkpoints there are, what a file is, and whether it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from webui.commands.model_lines import megabytes, show_lines, weights
from webui.commands.terminal import Parser, show
from webui.errors import ModelFileError, one_line
from webui.service import estimators, upscalers
from webui.service.checkpoints import FOLDERS, SUFFIXES, choose, find, is_there
from webui.service.folders import DATA, cache_folder
from webui.service.vaes import by_name

if TYPE_CHECKING:
    from webui.nets.spec import ModelSpec
    from webui.weights.defaults import Defaults
    from webui.weights.files import Header

DESCRIPTION = """List the models found, say what one of them is, or read one from end to end and say whether it is whole.

  launch.py models list
  launch.py models info NAME_OR_FILE
  launch.py models verify NAME_OR_FILE     ends with 0 where the file is good, with 1 where it is broken
  launch.py models convert --help          a model as one file or as a diffusers folder, in another number type"""
ACTIONS = ("list", "info", "verify")


def main(arguments: list[str], root: Path) -> int:
    """Carry out the command; returns its exit code."""
    if arguments[:1] == ["convert"]:
        from webui.commands.converting import convert

        return convert(arguments[1:], lambda name: chosen(name, root))
    parser = Parser("models", DESCRIPTION)
    parser.add_argument("action", choices=ACTIONS, nargs="?", default="list")
    parser.add_argument("model", nargs="?", help="for info and verify: a name from the list, a file, or a diffusers folder")
    options = parser.read(arguments)
    if options.action == "list":
        if options.model is not None:
            parser.error("list takes no name")
        return list_all(root)
    if options.model is None:
        parser.error(f"{options.action} needs a name or a file")
    path = chosen(options.model, root)
    if options.action == "info":
        return info(path, root)
    from webui.commands.verifying import verify

    return verify(path, root)


def list_all(root: Path) -> int:
    """Print a line for each checkpoint: what it is, or why it cannot be used."""
    found = find(root / "models")
    for checkpoint in found:
        try:
            size, what = megabytes(checkpoint.path), in_short(checkpoint.path, cache_folder(root))
        except ModelFileError as error:
            size, what = "", f"cannot be used: {error}"
        show(one_line(f"{checkpoint.name:<30} {size:>8}  {what}"))
    if not found:
        show(f"There are no models. Put checkpoints into {root / 'models' / FOLDERS[0]}.")
    for title, others in (("Depth estimators", estimators.find(root / "models")), ("Upscalers", upscalers.find(root / "models"))):
        if others:
            show(f"{title}:")
        for each in others:
            show(one_line(f"{each.name:<30} {size_of(each.path):>8}  {beside_in_short(each.path)}"))
    return 0


def size_of(path: Path) -> str:
    """The size of a file or folder, in words where it is gone."""
    try:
        return megabytes(path)
    except ModelFileError:
        return "gone"


def beside_in_short(path: Path) -> str:
    """What a network beside the models is, or why it cannot be used, in a few words."""
    from webui.weights.verifying import examined

    try:
        found = examined(path)[1]
    except ModelFileError as error:
        return f"cannot be used: {error}"
    return f"cannot be used: {found.faults[0]}" if found.faults else found.what


def in_short(path: Path, cache: Path) -> str:
    """What a checkpoint is, in a few words; `ModelFileError` says why it cannot be used, as far as that is known."""
    from webui.weights.completeness import identified
    from webui.weights.families import is_undecided
    from webui.weights.verifying import MEMORY, kept

    header, spec = identified(path)
    if faults := kept(path, cache / MEMORY):
        raise ModelFileError(f"It is {spec.title}, but broken: {faults[0]}")
    if is_undecided(header, spec):
        return "Stable Diffusion 2, 512x512 or 768x768 (models info tells)"
    return f"{spec.title}, {spec.native_size}x{spec.native_size}"


def chosen(name: str, root: Path) -> Path:
    """The file or folder that a person means; `UserError` says what there is."""
    from webui.service.catalogue import HASHES
    from webui.weights import hashes
    from webui.weights.depth_layouts import is_estimator_folder

    path, models = Path(name), root / "models"
    if is_there(path) or is_estimator_folder(path) or (path.suffix.lower() in SUFFIXES and path.is_dir()):
        return path
    checkpoints, memory = find(models), cache_folder(root) / HASHES
    beside = by_name(name, (*estimators.find(models), *upscalers.find(models)))
    if beside is not None and by_name(name, checkpoints) is None:
        return beside.path
    return choose(checkpoints, name, None, lambda file: hashes.sha256(file, memory)).path


def info(path: Path, root: Path) -> int:
    """Print what is known of a file, whatever kind it is; `ModelFileError` says what is wrong with a checkpoint."""
    from webui.weights.kinds import CHECKPOINT
    from webui.weights.verifying import examined

    header, found = examined(path)
    if found.spec is None:
        if found.what in ("", CHECKPOINT.name):
            raise ModelFileError(f"{path.name}: {found.faults[0]}")
        lines = {**of_file(path, root), "Kind": found.what, "Weights": weights(header)}
        lines |= {"Broken": " ".join(found.faults)} if found.faults else {}
        lines |= {"Use": " ".join(found.notes)} if found.notes else {}
    elif found.faults:
        raise ModelFileError(f"{path.name}: It is {found.spec.title}, but broken: {found.faults[0]}")
    else:
        lines = of_checkpoint(path, header, found.spec, root)
    show_lines(lines)
    return 1 if found.faults else 0


def of_file(path: Path, root: Path) -> dict[str, str]:
    """What can be said of any file: size and hashes, as the community writes them."""
    from webui.service.catalogue import HASHES
    from webui.weights import hashes

    digest = hashes.sha256(path, cache_folder(root) / HASHES)
    old = {"Old hash": hashes.legacy(path)} if path.is_file() else {}
    return {"File": str(path), "Size": megabytes(path), "SHA-256": digest, "Short hash": hashes.short(digest), **old}


def of_checkpoint(path: Path, header: Header, spec: ModelSpec, root: Path) -> dict[str, str]:
    """All that is known of a checkpoint, an owner's word about it included; the network is asked what the header leaves open."""
    from webui.service.overrides import FILE, Overrides, override_of
    from webui.weights.defaults import defaults_of
    from webui.weights.families import detect
    from webui.weights.settling import PREDICTIONS, settled
    from webui.weights.verifying import MEMORY, kept

    cache = cache_folder(root)
    lines = of_file(path, root)
    options = Overrides(root / DATA / FILE).of(lines["SHA-256"])
    override = override_of(options.network())
    spec = detect(header, override)
    spec = settled(path, header, spec, lines["SHA-256"], cache / PREDICTIONS, override)
    faults = kept(path, cache / MEMORY)
    whole = "not yet; models verify reads it from end to end" if faults is None else "whole, every number finite"
    more = {
        "Family": f"{spec.title} ({spec.family})",
        "Native size": f"{spec.native_size}x{spec.native_size} pixels",
        "Predicts": {"eps": "noise", "v": "velocity"}[spec.prediction],
        "Noise levels": "down to zero terminal SNR" if spec.zero_terminal_snr else "",
        "Suits it": in_words(defaults_of(header)),
        "Set for it": ", ".join(f"{name} {value}" for name, value in options.given().items()),
        "Weights": weights(header),
        "Latents": f"{spec.vae.latent_channels} channels, {spec.vae.factor} pixels a side",
        "Text towers": ", ".join(f"{tower.layers} layers of width {tower.width}" for tower in spec.text),
        "Checked": "" if path.is_dir() else " ".join(faults or (whole,)),  # of folders that is not remembered
    }
    return lines | {name: value for name, value in more.items() if value}


def in_words(defaults: Defaults) -> str:
    """What suits a model, as far as its file says so."""
    scale = None if defaults.scale is None else f"{defaults.scale:g}"
    said = {"steps": defaults.steps, "CFG scale": scale, "sampler": defaults.sampler, "schedule": defaults.schedule}
    return ", ".join(f"{name} {value}" for name, value in said.items() if value is not None)
