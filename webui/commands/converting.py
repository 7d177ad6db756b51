"""`launch.py models convert`: a model as one file or as a diffusers folder, in a number type of one's choice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from webui.commands.terminal import Parser, show
from webui.errors import UserError

DESCRIPTION = """Write a model anew, as one file or as a diffusers folder. What is there is never overwritten unasked.

  launch.py models convert NAME_OR_FILE --to single --dtype fp16
  launch.py models convert NAME_OR_FILE --to diffusers --out FOLDER"""
DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}

OWN = {"F16": "fp16", "BF16": "bf16", "F32": "fp32"}


def convert(arguments: list[str], chosen: Callable[[str], Path]) -> int:
    """Carry out the command; `chosen` is the file or folder that a name means. Returns the exit code."""
    parser = Parser("models convert", DESCRIPTION)
    parser.add_argument("model", help="a name from the list, a file, or a diffusers folder")
    parser.add_argument("--to", choices=("single", "diffusers"), required=True, help="one .safetensors file, or a folder")
    parser.add_argument("--dtype", choices=tuple(DTYPES), help="number type; the noise predictor's own, if not given")
    parser.add_argument("--out", type=Path, help="where to; beside the model with the number type in its name, if not given")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    options = parser.read(arguments)
    path = chosen(options.model)
    out = written(path, options.to, options.dtype, options.out, overwrite=options.overwrite)
    show(f"Written to {out}.")
    return 0


def written(path: Path, to: str, dtype: str | None, out: Path | None, *, overwrite: bool) -> Path:
    """Write the model and return where it is; `UserError` where that is taken."""
    import torch

    from webui.weights.conversion import to_folder, to_single
    from webui.weights.headers import read_header
    from webui.weights.model import settled_source

    source = settled_source(path)
    kind = dtype or OWN.get(Counter(place.info.dtype for place in source.places["unet"].values()).most_common(1)[0][0], "fp16")
    numbers: torch.dtype = getattr(torch, DTYPES[kind])
    stem = path.name if path.is_dir() else path.stem
    target = out or path.with_name(f"{stem}-{kind}" + (".safetensors" if to == "single" else ""))
    if os.path.lexists(target) and not overwrite:
        raise UserError(f"{target} is there already; choose another name with --out, or say --overwrite.")
    metadata = read_header(path).metadata
    if to == "diffusers":
        to_folder(source, target, numbers, metadata, overwrite=overwrite)
    elif target.is_dir():
        raise UserError(f"{target} is a folder; name a file with --out.")
    else:
        to_single(source, target, numbers, metadata)
    return target
