"""The classifier that the guidance extension ships: what one thing is, told from its noisy latent at every noise level.

    python3 launch.py train --recipe builtin --stage classifier

It learns from the latents of the training scenes of exactly one thing, half of them mirrored, under noise of the levels that the
noise predictor is trained at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from extensions.guidance.latent_classifier import LatentClassifier
from webui.pipeline.noise_table import NoiseTable
from webui.training.loop import Plan
from webui.training.noise_predictor import level_chances, spread_times
from webui.training.state import load_average
from webui.weights.files import save

from . import dataset
from .batches import Latents, choose, encode_all, numpy_generator
from .fitting import MODEL, Run, fit, spec, trained_vae
from .things import Scene
from .vocabulary import COLOURS, SHAPES

FILE = "still_lifes.safetensors"
EXTENSION = Path(__file__).parents[3] / "extensions" / "guidance"
WORDS: Mapping[str, str] = {"sphere": "ball", "torus": "ring"}  # people's, where ours is another
CLASSES = (tuple(WORDS.get(shape, shape) for shape in SHAPES), COLOURS)
CLASSIFIER_PLAN = Plan(steps=2400, rate=2e-3, warmup=100, decay=0.5, average=0.995, seed=16)
BATCH = 64
EVERY = 10  # one scene of so many is kept from training, to judge by
LEVELS = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)  # noise levels that it is judged at


def new_classifier() -> LatentClassifier:
    """An untrained classifier, with the same first weights each time."""
    torch.manual_seed(CLASSIFIER_PLAN.seed)
    return LatentClassifier(spec().vae.latent_channels, tuple(map(len, CLASSES)))


def train_classifier(run: Run) -> bool:
    """Train the classifier, judge it by the scenes that it has not seen, and write its file when it is done."""
    data, model = dataset.load(run.folder / "data"), spec()
    latents = encode_all(trained_vae(run), data, run.folder / "latents.pt", run.device)
    network = new_classifier().to(run.device)
    alphas = NoiseTable.from_betas(*model.betas, model.train_steps).alphas_cumprod.to(run.device)
    levels, truth = level_chances(alphas), truth_of(data.scenes)
    single = np.array([len(scene.things) == 1 for scene in data.scenes])
    likely = single & (np.arange(len(data)) % EVERY > 0)

    def loss(generator: torch.Generator) -> Mapping[str, Tensor]:
        rng = numpy_generator(generator)
        indices, flips = choose(data, min(BATCH, int(likely.sum())), rng, likely / likely.sum())
        kept = alphas[spread_times(len(indices), levels, generator)].float()
        sigma = ((1 - kept) / kept).sqrt()
        clean = latents.take(indices, flips)
        noise = torch.randn(clean.shape, generator=generator, device=run.device)
        found = network.log_chances(clean + sigma.view(-1, 1, 1, 1) * noise, sigma)
        return classifier_loss(found, truth[indices].to(run.device))

    done = fit(run, "classifier", network, loss, CLASSIFIER_PLAN)
    if done:
        load_average(run.folder / "classifier", network)
        network.eval().requires_grad_(False)
        right = judged(network, latents, truth, np.flatnonzero(single & ~likely))
        write_classifier(network, (EXTENSION if run.output == MODEL else run.output) / FILE, right)
    return done


def truth_of(scenes: Sequence[Scene]) -> Tensor:
    """Which shape and which colour the first thing of each scene has, int64 [N, 2]; 0 where there is none."""
    first = [scene.things[0] if scene.things else None for scene in scenes]
    return torch.tensor([(SHAPES.index(one.shape), COLOURS.index(one.colour)) if one else (0, 0) for one in first])


def classifier_loss(found: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of the log chances [B, classes] for the true classes [B, groups], and how many are right by group."""
    groups = found.split([len(group) for group in CLASSES], dim=1)
    losses = [functional.nll_loss(chances, true) for chances, true in zip(groups, truth.T, strict=True)]
    right = {name: (chances.argmax(1) == true).float().mean().detach()
             for name, chances, true in zip(("shape", "colour"), groups, truth.T, strict=True)}  # fmt: skip
    return {"loss": torch.stack(losses).sum(), **right}


@torch.no_grad()
def judged(network: LatentClassifier, latents: Latents, truth: Tensor, indices: np.ndarray) -> dict[str, dict[str, float]]:
    """How many of the pictures it names right, by noise level and group."""
    generator = torch.Generator().manual_seed(CLASSIFIER_PLAN.seed)
    clean = latents.take(indices, np.zeros(len(indices), bool)).cpu()
    noise = torch.randn(clean.shape, generator=generator)
    found = {}
    for level in LEVELS:
        chances = network.cpu().log_chances(clean + level * noise, torch.full((len(clean),), level))
        values = classifier_loss(chances, truth[indices])
        found[f"{level:g}"] = {name: round(float(values[name]), 3) for name in ("shape", "colour")}
        print(f"noise level {level:g}: {found[f'{level:g}']}", flush=True)
    return found


def write_classifier(network: LatentClassifier, path: Path, right: Mapping[str, Mapping[str, float]]) -> None:
    """Write the file that ships: half precision, with its classes and what it was judged at."""
    metadata = {
        "format": "pt", "family": spec().family, "classes": json.dumps(CLASSES), "right": json.dumps(right),
        "modelspec.title": "What one thing is, from the built-in model's noisy latents", "modelspec.license": "Apache-2.0",
    }  # fmt: skip
    save(path, {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}, metadata)
