"""From the shipped files back to training state, so that another machine can go on where the last one stopped."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from webui.training.loop import Average
from webui.training.state import newest, save_state
from webui.weights.files import read_tensors
from webui.weights.model import load

from .depth import narrow_down
from .estimator import ESTIMATOR, in_training_units, shipped_estimator
from .fitting import MODEL, Run, new_depth_predictor, new_noise_predictor
from .pack import CHECKPOINT, IMAGE_TOWER, shipped_clip


def keep(folder: Path, network: nn.Module, step: int) -> None:
    """Write a network's weights as a state without an optimizer's memory, unless the folder has a state already."""
    if newest(folder) is None:
        network.requires_grad_(True)
        save_state(folder, step, network, torch.optim.SGD(network.parameters()), Average(network, 0).tensors)


def make_state(run: Run) -> bool:
    """Give every network that has no state yet the shipped weights: VAE, CLIP and estimator as finished, the rest at step 0.

    "depth" goes on with the noise predictor as it ships. "noise" goes on with what that is without a map: the same network but
    for the weights that only a map meets. Who trains it on and then wants a map again removes the folder "depth" first.
    """
    model = load(MODEL / CHECKPOINT)
    keep(run.folder / "vae", model.vae, 1)
    keep(run.folder / "clip", shipped_clip(model.text[0], dict(read_tensors(MODEL / IMAGE_TOWER))), 1)
    with_map, without = new_depth_predictor(torch.device("cpu")), new_noise_predictor(torch.device("cpu"))
    with_map.unet.load_state_dict(model.unet.state_dict())
    narrow_down(without.unet, with_map.unet)
    keep(run.folder / "depth", with_map, 0)
    keep(run.folder / "noise", without, 0)
    keep(run.folder / "estimator", in_training_units(shipped_estimator(MODEL / ESTIMATOR)), 1)
    return True
