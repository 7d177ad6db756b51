"""From training state to the files that ship: one checkpoint, and CLIP's image tower beside it."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from webui.pipeline.preview import Preview, fit_preview
from webui.training.clip import ClipPair
from webui.training.state import load_average
from webui.weights.defaults import DEFAULTS_KEY
from webui.weights.families import PREVIEW_KEY
from webui.weights.files import save
from webui.weights.model import save_checkpoint

from .batches import encode_pictures, to_unit
from .dataset import load
from .estimator import write_estimator
from .fitting import Run, new_clip, new_depth_predictor, spec, trained_clip, trained_vae, words

CHECKPOINT = "model.safetensors"
IMAGE_TOWER = "clip_image.safetensors"
SCALE = 3.5
"""Guidance scale that suits the model: larger ones say the words more clearly, smaller ones keep closer to depth maps."""
PREVIEW_PICTURES = 400


def preview_of(run: Run) -> Preview:
    """The linear map from this VAE's latents to colours."""
    data, vae = load(run.folder / "data"), trained_vae(run)
    indices = np.arange(min(PREVIEW_PICTURES, len(data)))
    latents = encode_pictures(vae, data, indices, False, run.device).cpu()
    pictures = to_unit(data.picture(indices), torch.device("cpu")) / 2 + 0.5
    return fit_preview(latents, functional.avg_pool2d(pictures, vae.spec.factor))


def make_files(run: Run, kind: str = "weight") -> bool:
    """Write the weights of all networks as they ship, of the noise predictor's the last ones or, as `kind`, their "average"."""
    model = spec()
    taught = new_depth_predictor(torch.device("cpu"))
    # The rate has ended at zero, so the last weights are settled; the moving average still holds much of the faster steps before.
    step = load_average(run.folder / "depth", taught, kind)
    pair = trained_clip(run)
    preview = preview_of(run)
    metadata = {
        PREVIEW_KEY: json.dumps(asdict(preview)),
        DEFAULTS_KEY: json.dumps({"scale": SCALE}),
        "modelspec.title": model.title,
        "modelspec.license": "Apache-2.0",
    }
    target, merges = run.output / CHECKPOINT, words().merges
    save_checkpoint(target, model, taught.unet, trained_vae(run), [pair.text], merges, torch.float16, metadata)
    write_estimator(run)
    save(run.output / IMAGE_TOWER, {name: tensor.half().cpu() for name, tensor in image_half(pair).items()}, {"format": "pt"})
    print(f"{CHECKPOINT}: noise predictor after {step} steps, preview error {preview.error:.3f}")
    return True


def image_half(pair: ClipPair) -> dict[str, Tensor]:
    """All of CLIP that the checkpoint does not hold: the image tower, the projections and the temperature."""
    return {name: tensor for name, tensor in pair.state_dict().items() if not name.startswith("text.")}


def shipped_clip(text: torch.nn.Module, tensors: dict[str, Tensor]) -> ClipPair:
    """The pair of the checkpoint's text tower and the shipped image half."""
    pair = new_clip(torch.device("cpu"))
    state = {**tensors, **{f"text.{name}": tensor for name, tensor in text.state_dict().items()}}
    pair.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return pair.eval().requires_grad_(False)
