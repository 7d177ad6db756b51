"""The stages that make the built-in model from nothing; each goes on where it stopped and says whether it is finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .fitting import Run, make_pictures, train_clip, train_noise_predictor, train_vae
from .pack import make_files

__all__ = ["STAGES", "Run"]

STAGES: Mapping[str, Callable[[Run], bool]] = {
    "data": make_pictures,
    "vae": train_vae,
    "clip": train_clip,
    "noise": train_noise_predictor,
    "pack": make_files,
}
