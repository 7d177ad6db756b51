"""`launch.py models list` and `launch.py models info FILE`: which checkpoints there are, and what one is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from webui.commands.terminal import Parser, show
from webui.errors import ModelFileError
from webui.service.checkpoints import FOLDERS, choose, find, is_file

if TYPE_CHECKING:
    from webui.nets.spec import ModelSpec
    from webui.weights.files import Header

DESCRIPTION = """List the models found, or say what one of them is.

  launch.py models list
  launch.py models info NAME_OR_FILE"""


def main(arguments: list[str], root: Path) -> int:
    """Carry out the command; returns its exit code."""
    parser = Parser("models", DESCRIPTION)
    parser.add_argument("action", choices=("list", "info"), nargs="?", default="list")
    parser.add_argument("model", nargs="?", help="for info: a name from the list, or a file")
    options = parser.read(arguments)
    if options.action == "info":
        if options.model is None:
            parser.error("info needs a name or a file")
        return info(options.model, root)
    if options.model is not None:
        parser.error("list takes no name")
    return list_all(root)


def list_all(root: Path) -> int:
    """Print a line for each checkpoint."""
    found = find(root / "models")
    for checkpoint in found:
        try:
            size, what = megabytes(checkpoint.path), kind(checkpoint.path)
        except ModelFileError as error:
            size, what = "", f"cannot be used: {error}"
        show(f"{checkpoint.name:<30} {size:>8}  {what}")
    if not found:
        show(f"There are no models. Put checkpoints into {root / 'models' / FOLDERS[0]}.")
    return 0


def kind(path: Path) -> str:
    """What a checkpoint is, in a few words."""
    from webui.weights.families import is_undecided

    header, spec = described(path)
    if is_undecided(header, spec):
        return "Stable Diffusion 2, 512x512 or 768x768 (models info tells)"
    return f"{spec.title}, {spec.native_size}x{spec.native_size}"


def info(name: str, root: Path) -> int:
    """Print what is known of a checkpoint; `ModelFileError` says what is wrong with it."""
    from webui.service.catalogue import HASHES
    from webui.service.folders import cache_folder
    from webui.weights import hashes
    from webui.weights.settling import PREDICTIONS, settled

    cache = cache_folder(root)
    path = Path(name)
    if not is_file(path):
        path = choose(find(root / "models"), name, None, lambda file: hashes.sha256(file, cache / HASHES)).path
    header, spec = described(path)
    digest = hashes.sha256(path, cache / HASHES)
    spec = settled(path, header, spec, digest, cache / PREDICTIONS)
    weights = sum(product(each.shape) for each in header.tensors.values())
    dtypes = ", ".join(sorted({each.dtype for each in header.tensors.values()}))
    lines = {
        "File": str(path),
        "Size": megabytes(path),
        "SHA-256": digest,
        "Family": f"{spec.title} ({spec.family})",
        "Native size": f"{spec.native_size}x{spec.native_size} pixels",
        "Predicts": {"eps": "noise", "v": "velocity"}[spec.prediction],
        "Weights": f"{weights:,} in {len(header.tensors):,} tensors, {dtypes}",
        "Latents": f"{spec.vae.latent_channels} channels, {spec.vae.factor} pixels a side",
        "Text towers": ", ".join(f"{tower.layers} layers of width {tower.width}" for tower in spec.text),
    }
    for key, value in lines.items():
        show(f"{key + ':':<13} {value}")
    return 0


def described(path: Path) -> tuple[Header, ModelSpec]:
    """A checkpoint's header and what it says."""
    from webui.weights.families import detect
    from webui.weights.files import read_header

    header = read_header(path)
    return header, detect(header)


def megabytes(path: Path) -> str:
    """A file's size; `ModelFileError` where it is gone, as what a link leads to may be."""
    try:
        return f"{path.stat().st_size / 1e6:,.1f} MB"
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error


def product(shape: tuple[int, ...]) -> int:
    """How many numbers a tensor has."""
    count = 1
    for side in shape:
        count *= side
    return count
