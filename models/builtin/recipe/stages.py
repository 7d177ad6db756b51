"""The stages that make the built-in model from nothing; each goes on where it stopped and says whether it is finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .classifier import train_classifier
from .estimator import train_estimator
from .fitting import Run, make_pictures, train_clip, train_noise_predictor, train_vae, train_with_depth
from .pack import make_files
from .samples import make_samples
from .unpack import make_state

__all__ = ["EXTRA_STAGES", "STAGES", "TRAINED", "Run"]

STAGES: Mapping[str, Callable[[Run], bool]] = {
    "data": make_pictures,
    "vae": train_vae,
    "clip": train_clip,
    "noise": train_noise_predictor,
    "depth": train_with_depth,
    "estimator": train_estimator,
    "pack": make_files,
}
TRAINED = ("vae", "clip", "noise", "depth", "estimator")
"""Those with a number of steps that a run may override."""
EXTRA_STAGES: Mapping[str, Callable[[Run], bool]] = {
    "unpack": make_state, "samples": make_samples, "classifier": train_classifier
}
"""What is run only when it is asked for: make training state of the files that ship, draw what the networks can do so far, and
train the classifier of the guidance extension."""
