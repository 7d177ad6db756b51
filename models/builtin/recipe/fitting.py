"""The training of each network of the built-in model: its plan, its batches, its loss."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import ModelSpec, UNetSpec
from webui.nets.text import TextTower
from webui.nets.tokenizer import Tokenizer
from webui.nets.unet import UNetModel
from webui.pipeline.noise_table import NoiseTable
from webui.training.clip import ClipPair, PictureTower, clip_loss
from webui.training.curve import draw_curves
from webui.training.loop import Loss, Plan, train
from webui.training.noise_predictor import level_chances, noise_predictor_loss
from webui.training.state import load_average, newest
from webui.training.vae import standardise, vae_loss

from . import dataset
from .batches import (
    chances,
    choose,
    crops,
    encode_all,
    encode_pictures,
    numpy_generator,
    to_unit,
    token_rows,
    with_mirrored,
)
from .captions import caption
from .depth import maps_of, widen
from .meaning import Taught, meanings_of
from .mistakes import mistaken
from .networks import CONTEXT, model_spec, tokenizer, without_map

N = TypeVar("N", bound=nn.Module)
PICTURES = 24_000
SEED = 1
MODEL = Path(__file__).parents[1]
CAPTION_DROPOUT = 0.1
EMPHASIS = (1.0, 0.6, 1.4, 1.0)
"""How often training sees cards and one, two, three things, against their share: two are the harder lesson."""
VAE_PLAN = Plan(steps=4500, rate=1.5e-3, warmup=100, decay=0.4, average=0.998, seed=11)
CLIP_PLAN = Plan(steps=1400, rate=7e-4, warmup=50, decay=0.5, average=0.99, weight_decay=0.05, seed=12)
NOISE_PLAN = Plan(steps=17_000, rate=7e-4, warmup=200, decay=0.4, average=0.999, seed=13)
DEPTH_PLAN = Plan(steps=4100, rate=4e-4, warmup=100, decay=0.5, average=0.999, seed=14)
VAE_BATCH, VAE_SIDE = 16, 64
CLIP_BATCH = 128
NOISE_BATCH = 32
CAPTION_TOKENS = 36
MEANING = 0.3
"""Weight of the second lesson beside the first."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where and for how long to work.

    `folder` holds data and state, `output` gets the finished files, `seconds` is the slice, `steps` overrides plans' lengths.
    """

    folder: Path
    device: torch.device
    seconds: float | None = None
    steps: Mapping[str, int] | None = None
    pictures: int = PICTURES
    output: Path = MODEL

    def plan(self, stage: str, plan: Plan) -> Plan:
        """The plan with its length overridden where the run says so."""
        steps = (self.steps or {}).get(stage)
        return Plan(**{**vars(plan), "steps": steps}) if steps else plan


def words() -> Tokenizer:
    """The model's tokenizer."""
    return tokenizer()


def spec() -> ModelSpec:
    """The model's description."""
    return model_spec(words().size)


def make_pictures(run: Run) -> bool:
    """Render the training pictures."""
    few = min(dataset.SHARD, run.pictures)
    workers = 2 if run.device.type == "cpu" and run.pictures > few else 1
    dataset.build(run.folder / "data", run.pictures, SEED, workers=workers, device=str(run.device), shard=few)
    return True


def reporter(folder: Path, plan: Plan) -> Callable[[int, Mapping[str, float]], None]:
    """Print a run's figures, keep them in curve.jsonl and draw curve.png."""
    folder.mkdir(parents=True, exist_ok=True)

    def report(step: int, values: Mapping[str, float]) -> None:
        with (folder / "curve.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "time": round(time.time()), **values}) + "\n")
        left = (plan.steps - step) / max(values["steps/s"], 1e-9) / 60
        figures = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        print(f"{folder.name} {step}/{plan.steps}  {figures}  {left:.1f} min left", flush=True)
        draw_curves(folder / "curve.jsonl", folder / "curve.png")

    return report


def fit(run: Run, stage: str, network: nn.Module, loss: Loss, plan: Plan) -> bool:
    """Train one network for the run's slice under bfloat16 autocast; True when its plan is done."""
    plan = run.plan(stage, plan)
    folder = run.folder / stage

    def mixed(generator: torch.Generator) -> Mapping[str, Tensor]:
        with torch.autocast(run.device.type, torch.bfloat16):
            return loss(generator)

    return train(network, mixed, plan, folder, seconds=run.seconds, report=reporter(folder, plan)) >= plan.steps


def channels_last(network: N) -> N:
    """The same network, its convolutions laid out as CPUs are fastest with."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def new_vae(run: Run) -> AutoencoderKL:
    """An untrained VAE on the run's device, with the same first weights each time."""
    torch.manual_seed(VAE_PLAN.seed)
    return channels_last(AutoencoderKL(spec().vae).to(run.device))


def train_vae(run: Run) -> bool:
    """Train the VAE on crops."""
    data = dataset.load(run.folder / "data")
    network = new_vae(run)

    def loss(generator: torch.Generator) -> Mapping[str, Tensor]:
        rng = numpy_generator(generator)
        return vae_loss(network, crops(data, VAE_BATCH, VAE_SIDE, rng, run.device), generator)

    return fit(run, "vae", network, loss, VAE_PLAN)


def trained_vae(run: Run) -> AutoencoderKL:
    """The trained VAE, its latent channels standardised over the first 2,000 pictures."""
    network = new_vae(run)
    load_average(run.folder / "vae", network)
    network.eval().requires_grad_(False)
    data = dataset.load(run.folder / "data")
    standardise(network, encode_pictures(network, data, np.arange(min(2000, len(data))), False, run.device))
    return network


def new_clip(device: torch.device) -> ClipPair:
    """Untrained CLIP towers, with the same first weights each time."""
    torch.manual_seed(CLIP_PLAN.seed)
    pair = ClipPair(TextTower(spec().text[0]), PictureTower(CONTEXT), CONTEXT, CONTEXT, 128)
    return pair.to(device)


def train_clip(run: Run) -> bool:
    """Train the text and the image tower together; pictures are halved, captions are new each time.

    A part of each batch comes with its mirror image, and scenes of more than one thing with a caption that is nearly right:
    only who heeds left and right, and which colour is whose, tells these apart.
    """
    data, coder, pair = dataset.load(run.folder / "data"), words(), new_clip(run.device)
    channels_last(pair.image)
    likely = chances(data, EMPHASIS)

    def loss(generator: torch.Generator) -> Mapping[str, Tensor]:
        rng = numpy_generator(generator)
        indices, flips = with_mirrored(data, *choose(data, CLIP_BATCH, rng, likely), CLIP_BATCH // 4)
        pictures = data.picture(indices)[:, :, ::2, ::2]
        pictures[flips] = pictures[flips][..., ::-1]
        scenes = data.seen(indices, flips)
        wrong = [text for text in (mistaken(scene, rng) for scene in scenes) if text is not None]
        ids = [token_rows(texts, coder, CAPTION_TOKENS).to(run.device) for texts in ([caption(s, rng) for s in scenes], wrong)]
        return clip_loss(pair, to_unit(pictures, run.device), *ids)

    return fit(run, "clip", pair, loss, CLIP_PLAN)


def trained_clip(run: Run) -> ClipPair:
    """The trained towers."""
    pair = new_clip(run.device)
    load_average(run.folder / "clip", pair)
    return pair.eval().requires_grad_(False)


def train_noise_predictor(run: Run) -> bool:
    """Train the noise predictor to draw from words alone."""
    network = new_noise_predictor(run.device)
    return fit(run, "noise", network, lesson(run, network), NOISE_PLAN)


def train_with_depth(run: Run) -> bool:
    """Train the noise predictor on with a depth map beside the latent, or with none, from where its training on words ended."""
    network, before = new_depth_predictor(run.device), new_noise_predictor(run.device)
    if newest(run.folder / "depth") is None:
        load_average(run.folder / "noise", before, "weight")
        widen(network.unet, before.unet)
        network.head.load_state_dict(before.head.state_dict())
    return fit(run, "depth", network, lesson(run, network, with_maps=True), DEPTH_PLAN)


def lesson(run: Run, network: Taught, *, with_maps: bool = False) -> Loss:
    """The loss over latents and frozen text states; a caption is dropped now and then, for guidance, and so is a map."""
    model, data, coder = spec(), dataset.load(run.folder / "data"), words()
    latents = encode_all(trained_vae(run), data, run.folder / "latents.pt", run.device)
    tower = trained_clip(run).text
    meanings = meanings_of(data, model.vae.factor, run.device)
    maps = maps_of(data, model.native_size // model.vae.factor, run.device) if with_maps else None
    alphas = NoiseTable.from_betas(*model.betas, model.train_steps).alphas_cumprod.to(run.device)
    levels, likely = level_chances(alphas), chances(data, EMPHASIS)

    def loss(generator: torch.Generator) -> Mapping[str, Tensor]:
        rng = numpy_generator(generator)
        indices, flips = choose(data, NOISE_BATCH, rng, likely)
        texts = ["" if rng.random() < CAPTION_DROPOUT else text for text in data.captions(indices, rng, flips)]
        with torch.no_grad():
            context = tower(token_rows(texts, coder, model.text[0].positions).to(run.device)).tokens.float()
        beside = None if maps is None else maps.take(indices, flips, rng)
        values = noise_predictor_loss(network.unet, latents.take(indices, flips), context, alphas, levels, generator, beside)
        meaning = network.meaning_loss(*meanings.take(indices, flips))
        return {**values, "loss": values["loss"] + MEANING * meaning, "meaning": meaning.detach()}

    return loss


def new_noise_predictor(device: torch.device) -> Taught:
    """An untrained noise predictor that takes no map, with its second lesson's head, with the same first weights each time."""
    return untrained(without_map(spec().unet), NOISE_PLAN.seed, device)


def new_depth_predictor(device: torch.device) -> Taught:
    """An untrained noise predictor as it ships, with the same head."""
    return untrained(spec().unet, DEPTH_PLAN.seed, device)


def untrained(shape: UNetSpec, seed: int, device: torch.device) -> Taught:
    """A noise predictor and its head with the first weights of a seed."""
    torch.manual_seed(seed)
    return Taught(UNetModel(shape), shape.channel_mult[1] * shape.model_channels).to(device)
