"""A whole picture equals diffusers' with the same weights: text, guidance, noise levels, sampler, scale and decoder at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, EulerDiscreteScheduler
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from tests.engine.making import last, pictures, run, stepped
from tests.in_memory import InMemory
from tests.nets.families import TINY, TINY_VAE, UNET, VAE, assert_same
from tests.nets.references import their_unet
from tests.random_weights import checkpoint
from webui.engine import events
from webui.engine.local import LocalNetworks
from webui.pipeline.generate import Model, generate
from webui.pipeline.protocol import Decode
from webui.request import Request
from webui.weights.files import save
from webui.weights.model import LoadedModel, load
from webui.weights.vocabulary import clip_tokenizer

SIDE, STEPS, SCALE, SEED = 64, 10, 5.0, 3
PROMPT, NEGATIVE = "a photo of a red ball, on a wooden table", "blurry"
TEXT = "cond_stage_model.transformer.text_model."
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


class Watching:
    """Networks that note the latents they decode."""

    def __init__(self, networks: LocalNetworks) -> None:
        self.networks = networks
        self.latents: list[Tensor] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.networks, name)

    def decode(self, ask: Decode) -> Tensor:
        self.latents.append(ask.latent)
        return self.networks.decode(ask)


def loaded(name: str, folder: Path) -> LoadedModel:
    """The random checkpoint by way of its file, as a person's would be; that of Stable Diffusion 2 says that it predicts v."""
    told = {"modelspec.prediction_type": "v"} if name == "sd21-v-tiny" else {}
    save(folder / f"{name}.safetensors", checkpoint(name), told)
    return load(folder / f"{name}.safetensors")


def ours(model: LoadedModel, sampler: str, schedule: str) -> tuple[Tensor, np.ndarray]:
    """Latent and pixels of the engine."""
    networks = Watching(LocalNetworks(lambda _: InMemory(model)))
    known = Model(name="m", spec=model.spec, tokenizers=model.tokenizers)
    engine = stepped(lambda wanted: [generate(wanted, known)], networks)
    job = engine.submit(Request(
        model="m", prompt=PROMPT, negative=NEGATIVE, steps=STEPS, sampler=sampler, schedule=schedule, scale=SCALE, seed=SEED,
        width=SIDE, height=SIDE,
    ))  # fmt: skip
    run(engine)
    assert isinstance(last(engine, job), events.Finished), last(engine, job)
    return networks.latents[0], pictures(engine, job)[0].pixels


def their_texts(name: str, model: LoadedModel) -> Tensor:
    """The negative prompt and the prompt [2, 77, width], by transformers alone where it knows the file's layout."""
    spec = model.spec.text[0]
    rows = [[49406, *clip_tokenizer().encode(text), 49407] for text in (NEGATIVE, PROMPT)]
    ids = torch.tensor([row + [spec.padding] * (77 - len(row)) for row in rows])
    if spec.kind == "open_clip":
        return model.text[0](ids).tokens
    weights = {key.removeprefix(TEXT): value for key, value in checkpoint(name, prefix=TEXT).items()}
    weights.pop("embeddings.position_ids")
    tower = CLIPTextModel(CLIPTextConfig(hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4))
    tower.load_state_dict(weights)
    with torch.no_grad():
        tokens: Tensor = tower.eval()(ids).last_hidden_state
    return tokens


def their_picture(name: str, latent: Tensor) -> Tensor:
    """The picture [3, H, W] in [0, 1] that diffusers' autoencoder decodes."""
    levels = len(TINY_VAE.channel_mult)
    config: dict[str, Any] = {
        "down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": [mult * TINY_VAE.channels for mult in TINY_VAE.channel_mult],
        "layers_per_block": TINY_VAE.res_blocks, "latent_channels": TINY_VAE.latent_channels,
    }  # fmt: skip
    vae = AutoencoderKL(**config)
    vae.load_state_dict(convert_ldm_vae_checkpoint(checkpoint(name, prefix=VAE), config))
    with torch.no_grad():
        picture: Tensor = vae.eval().decode(latent / 0.18215).sample[0]
    return (picture / 2 + 0.5).clamp(0, 1)


def theirs(name: str, texts: Tensor, scheduler: Any) -> Tensor:
    """The latent that diffusers' network and scheduler come to, by the loop of its pipelines."""
    unet = their_unet(TINY[name], checkpoint(name, prefix=UNET))
    scheduler.set_timesteps(STEPS)
    first = getattr(scheduler, "sigmas", [1.0])[0]
    x = torch.randn(1, 4, SIDE // 8, SIDE // 8, generator=torch.Generator().manual_seed(SEED)) * first
    for t in scheduler.timesteps:
        given = scheduler.scale_model_input(torch.cat([x, x]), t)
        uncond, cond = unet(given, t, texts).sample.chunk(2)
        x = scheduler.step(uncond + SCALE * (cond - uncond), t, x).prev_sample
    return x


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers' schedule
@pytest.mark.parametrize(
    ("name", "sampler", "schedule"),
    [("sd15-tiny", "DDIM", "DDIM timesteps"), ("sd15-tiny", "Euler", "DDIM"), ("sd21-v-tiny", "DDIM", "DDIM timesteps")],
)
def test_a_whole_picture_equals_diffusers(name: str, sampler: str, schedule: str, tmp_path: Path) -> None:
    model = loaded(name, tmp_path)
    latent, pixels = ours(model, sampler, schedule)
    assert model.spec.prediction == ("v" if name == "sd21-v-tiny" else "eps")
    told = {**BETAS, "prediction_type": "v_prediction" if model.spec.prediction == "v" else "epsilon", "steps_offset": 1}
    ddim = DDIMScheduler(**told, clip_sample=False, set_alpha_to_one=False)
    scheduler = ddim if sampler == "DDIM" else EulerDiscreteScheduler(**told, timestep_spacing="leading")
    expected = theirs(name, their_texts(name, model), scheduler)
    assert_same(latent[None], expected, rms=1e-5, most=3e-5)
    picture = (their_picture(name, expected) * 255).permute(1, 2, 0).numpy()
    assert np.abs(pixels - picture).max() <= 0.5 + 0.05  # rounded to whole numbers
    assert pixels.std() > 10
