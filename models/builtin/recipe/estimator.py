"""The depth estimator that ships with the model: a small network that tells from a picture how near everything is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from webui.nets.autoencoder import AutoencoderKL
from webui.nets.depth_small import DEPTH_KEY, SmallDepth, SmallDepthSpec
from webui.training.loop import Plan
from webui.training.state import load_average
from webui.training.vae import edges
from webui.weights.files import read_header, read_tensors, save

from . import dataset
from .batches import chances, choose, encode_all, numpy_generator, to_unit
from .fitting import EMPHASIS, Run, channels_last, fit, trained_vae

ESTIMATOR = "depth.safetensors"
TITLE = "Depth of the built-in model's still lifes"
ESTIMATOR_PLAN = Plan(steps=1600, rate=2e-3, warmup=50, decay=0.5, average=0.99, seed=15)
BATCH = 16
REPAINTED = 0.25
"""Part of a batch that the VAE has decoded from disturbed latents: generated pictures look so."""
DISTURBED = 0.3
"""Largest deviation of the noise on those latents, whose own deviation is 1."""
THING_WEIGHT = 4.0
"""How many pixels of the background one of a thing counts for."""
BLUR, GRAIN, GAIN = 1.0, 0.03, 0.12
"""At most: the part of a picture that is its blurred self, the noise on it, and what each colour is brighter or darker."""
MIDDLE, SPREAD = 0.11, 0.02
"""About the mean and the deviation of disparity in 1 / metre; the network learns in units of these, and ships without."""


def new_estimator(device: torch.device) -> SmallDepth:
    """An untrained estimator, with the same first weights each time."""
    torch.manual_seed(ESTIMATOR_PLAN.seed)
    return channels_last(SmallDepth(SmallDepthSpec()).to(device))


def train_estimator(run: Run) -> bool:
    """Train the estimator on renders with their true depth, a part of them as the VAE would have painted them."""
    data, vae, network = dataset.load(run.folder / "data"), trained_vae(run), new_estimator(run.device)
    latents = encode_all(vae, data, run.folder / "latents.pt", run.device)
    likely = chances(data, EMPHASIS)

    def loss(generator: torch.Generator) -> Mapping[str, Tensor]:
        rng = numpy_generator(generator)
        indices, flips = choose(data, BATCH, rng, likely)
        again = int(REPAINTED * len(indices))
        seen = to_unit(mirrored(data.picture(indices), flips), run.device)
        seen[:again] = repainted(vae, latents.take(indices[:again], flips[:again]), generator)
        down = int(rng.integers(2))
        found = every_other(network(worn(lowered(seen / 2 + 0.5, down), generator)), flips, down)
        true = torch.from_numpy(mirrored(1 / data.depth_of(indices).astype(np.float32), flips)).to(run.device)
        things = torch.from_numpy(mirrored(data.mask_of(indices)[:, ::2, ::2] > 0, flips)).to(run.device)
        return estimator_loss(found, (true - MIDDLE) / SPREAD, things)

    return fit(run, "estimator", network, loss, ESTIMATOR_PLAN)


def estimator_loss(found: Tensor, true: Tensor, things: Tensor) -> dict[str, Tensor]:
    """Absolute error of disparity [B, h, w] and of its edges; pixels of `things` count more, as there are few.

    Also returns the mean relative error, of disparity in 1 / metre.
    """
    weight = 1 + (THING_WEIGHT - 1) * things.float()
    wrong = (found - true).abs()
    across, down = (functional.l1_loss(a, b) for a, b in zip(edges(found), edges(true), strict=True))
    loss = (weight * wrong).sum() / weight.sum() + across + down
    return {"loss": loss, "relative error": (wrong.detach() * SPREAD / (true * SPREAD + MIDDLE)).mean()}


def mirrored(arrays: np.ndarray, flips: np.ndarray) -> np.ndarray:
    """A copy of arrays [B, ..., W], each turned left to right where `flips` [B] says so."""
    copy = arrays.copy()
    copy[flips] = arrays[flips][..., ::-1]
    return copy


def lowered(pictures: Tensor, rows: int) -> Tensor:
    """Pictures [B, C, H, W] moved down by some rows, the first one repeated."""
    return torch.cat([pictures[:, :, :1].expand(-1, -1, rows, -1), pictures[:, :, : pictures.shape[2] - rows]], dim=2)


def every_other(maps: Tensor, flips: np.ndarray, rows: int) -> Tensor:
    """The pixels of maps [B, H, W] that a data set has the depth of: of every other row and column.

    It keeps the even ones of each picture. Those are odd columns in the picture's mirror image, and odd rows one row below.
    """
    kept = maps[:, rows::2]
    return torch.where(torch.from_numpy(flips).to(maps.device).view(-1, 1, 1), kept[:, :, 1::2], kept[:, :, ::2])


@torch.no_grad()
def repainted(vae: AutoencoderKL, latents: Tensor, generator: torch.Generator) -> Tensor:
    """What the VAE makes of latents with some noise on them: pictures in [-1, 1]."""
    much = DISTURBED * torch.rand(len(latents), 1, 1, 1, generator=generator, device=latents.device)
    noise = torch.randn(latents.shape, generator=generator, device=latents.device)
    return vae.decode(latents + much * noise).float().clamp(-1, 1)


def worn(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [B, 3, H, W] in [0, 1], each more or less blurred, grainy and off in its colours."""
    count, device = len(pictures), pictures.device
    soft = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    much = BLUR * torch.rand(count, 1, 1, 1, generator=generator, device=device)
    grain = GRAIN * torch.rand(count, 1, 1, 1, generator=generator, device=device)
    gains = 1 + GAIN * (2 * torch.rand(count, 3, 1, 1, generator=generator, device=device) - 1)
    noise = torch.randn(pictures.shape, generator=generator, device=device)
    return ((pictures + much * (soft - pictures)) * gains + grain * noise).clamp(0, 1)


def trained_estimator(run: Run) -> SmallDepth:
    """The trained estimator, which tells disparity in 1 / metre."""
    network = new_estimator(torch.device("cpu"))
    load_average(run.folder / "estimator", network)
    return rescaled(network, SPREAD, MIDDLE).eval().requires_grad_(False)


def in_training_units(network: SmallDepth) -> SmallDepth:
    """The inverse of what `trained_estimator` does to the weights, so that training can go on."""
    return rescaled(network, 1 / SPREAD, -MIDDLE / SPREAD)


@torch.no_grad()
def rescaled(network: SmallDepth, factor: float, shift: float) -> SmallDepth:
    """The network itself, changed so that it answers `factor` times as much and `shift` more."""
    assert network.out.bias is not None
    network.out.weight.mul_(factor)
    network.out.bias.mul_(factor).add_(shift)
    return network


def write_estimator(run: Run) -> None:
    """Write the estimator as it ships."""
    network = trained_estimator(run)
    metadata = {
        "format": "pt",
        DEPTH_KEY: json.dumps(network.spec.to_json()),
        "modelspec.title": TITLE,
        "modelspec.license": "Apache-2.0",
    }
    tensors = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    save(run.output / ESTIMATOR, tensors, metadata)


def shipped_estimator(file: Path) -> SmallDepth:
    """The estimator of a file that `write_estimator` wrote, in float32."""
    network = SmallDepth(SmallDepthSpec.from_json(json.loads(read_header(file).metadata[DEPTH_KEY])))
    network.load_state_dict({name: tensor.float() for name, tensor in read_tensors(file)})
    return network.eval().requires_grad_(False)
