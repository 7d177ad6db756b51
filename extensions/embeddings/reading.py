"""The vectors of an embedding, in every layout that files have them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from webui.extension import Files, ModelFileError, TokenVectors, UserError, quoted

from .files import FAMILIES, PLAIN, TOWERS
from .pictures import PICTURES, kept_in_picture


def vectors_of(files: Files, path: str, name: str) -> dict[str, Tensor]:
    """The vectors [count, width] in a file, by tower ("clip_l", "clip_g") or under "" where it has those of one tower only.

    Layouts: `string_to_param` (A1111's .pt), a token and its tensor (diffusers), `emb_params`, `clip_l` and `clip_g` (SDXL), and
    pictures. `ModelFileError` where there are none.
    """
    picture = Path(path).suffix.lower() in PICTURES
    told: Any = kept_in_picture(Path(path)) if picture else files.tensors(path)
    own = told.get(PLAIN) if isinstance(told, dict) else None
    if isinstance(own, dict):
        told = {"": next((value for value in own.values() if _is_numbers(value)), None)}
    held = told if isinstance(told, dict) else {}
    found = {str(key): tensor for key, value in held.items() if (tensor := _tensor(value)) is not None}
    towers = {tower: tensor for tower in TOWERS for key, tensor in found.items() if key.rpartition(".")[2] == tower}
    if towers:
        return towers
    if not found:
        raise ModelFileError(f"The embedding {quoted(name)} has no vectors; download it again, or leave it out of the prompt.")
    return {"": next(iter(found.values()))}


def vectors_for(widths: Sequence[int], files: Files, path: str, name: str, sha256: str) -> TokenVectors | str:
    """The vectors in a file as a model with text towers of these widths takes them; a sentence where there are none or others."""
    try:
        return for_model(vectors_of(files, path, name), widths, name, sha256)
    except ModelFileError as error:
        return f"The embedding {quoted(name)} was skipped, so its name is read as it stands: {error}"


def for_model(vectors: Mapping[str, Tensor], widths: Sequence[int], name: str, sha256: str) -> TokenVectors | str:
    """The vectors as a model with text towers of these widths takes them; a sentence where they do not fit."""
    chosen = [next((each for each in vectors.values() if each.shape[1] == width), None) for width in widths]
    own = tuple(each for each in chosen if each is not None)
    if len(own) < len(widths):
        has, wants = tuple(each.shape[1] for each in vectors.values()), tuple(widths)
        return (
            f"The embedding {quoted(name)} was skipped, so its name is read as it stands: its vectors have {_said(has)}, "
            f"and this model reads {_said(wants)}."
        )
    try:
        return TokenVectors(name=name, content=f"embedding {sha256}", vectors=own)
    except UserError as error:
        return f"The embedding {quoted(name)} was skipped, so its name is read as it stands: {error}"


def _said(widths: tuple[int, ...]) -> str:
    family = FAMILIES.get(widths)
    return " and ".join(map(str, widths)) + " numbers" + (f" ({family})" if family else "")


def _is_numbers(value: Any) -> bool:
    return _tensor(value) is not None


def _tensor(value: Any) -> Tensor | None:
    """A tensor or a list of numbers as vectors [count, width]; None for anything else."""
    if isinstance(value, list):
        try:
            value = torch.tensor(value)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            return None
    if not isinstance(value, Tensor) or value.dim() not in (1, 2) or not value.numel() or not value.is_floating_point():
        return None
    found = value.float().reshape(-1, value.shape[-1])
    return found if bool(torch.isfinite(found).all()) else None
