"""Whole pictures equal those of diffusers' own pipelines with the same weights, noise and noise levels, from text to pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from torch import Tensor
from transformers import CLIPTokenizer

from tests.engine.making import last, run, stepped
from tests.nets.families import FULL, TINY, UNET, VAE, difference
from tests.nets.references import PADDINGS, text_weights, their_autoencoder, their_tower, their_unet, written
from tests.random_weights import checkpoint, weight
from webui.engine import events
from webui.engine.local import LocalNetworks
from webui.pipeline.conditioning import conditionings
from webui.pipeline.generate import Model, Registry, generate
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.patches import NO_PATCHES
from webui.pipeline.protocol import Decode, Moment, Noise, answer_all
from webui.pipeline.samplers import SAMPLERS, SamplerInfo, euler_ancestral
from webui.pipeline.schedules import SCHEDULES
from webui.pipeline.texts import Texts
from webui.request import Request
from webui.weights.families import Override
from webui.weights.files import save
from webui.weights.source import ModelSource, open_model
from webui.weights.vocabulary import clip_merges, clip_tokenizer

PROMPT, NEGATIVE = "a photo of a red ball, on a wooden table", "blurry, dark"
REQUEST = Request(
    model="m", prompt=PROMPT, negative=NEGATIVE, steps=5, sampler="Euler", schedule="DDIM", scale=5.0, seed=3,
    width=64, height=48,
)  # fmt: skip
SCALES = {  # published, so that the reference does not learn them from what is tested
    "sd15-full": 0.18215, "sd15-tiny": 0.18215, "sd21-base-tiny": 0.18215, "sd21-v-tiny": 0.18215, "sdxl-tiny": 0.13025,
    "sdxl-refiner-tiny": 0.13025,
}  # fmt: skip
SHAPE = (4, REQUEST.height // 8, REQUEST.width // 8)
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ABSOLUTE = 1e-3  # of a picture in [0, 1]
RELATIVE = 1e-5
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",  # of diffusers' schedules
    "ignore:.*text_config_dict|`.*` is deprecated:FutureWarning",
)
Open = Callable[..., ModelSource]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """A checkpoint by name and by what is said of it, opened once."""
    folder = tmp_path_factory.mktemp("models")
    return cache(lambda name, override=None: open_model(written(name, folder), override))


# --- ours -----------------------------------------------------------------------------------------------------------------------


class Watching:
    """Networks that note what they decode, and the pictures before they are rounded."""

    def __init__(self, networks: LocalNetworks) -> None:
        self.networks = networks
        self.decoded: list[tuple[Tensor, Tensor]] = []
        self.rows: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.networks, name)

    def predict(self, call: Any) -> Any:
        self.rows.append(len(call.rows))
        return self.networks.predict(call)

    def decode(self, ask: Decode) -> Tensor:
        self.decoded.append((ask.latent, self.networks.decode(ask)))
        return self.decoded[-1][1]


def trailing(n: int, table: NoiseTable, **_: float | None) -> tuple[float, ...]:
    """Training steps counted from the last, as diffusers' "trailing" has them."""
    steps = len(table.sigmas)
    return (*(table.sigma_of(round(steps - index * steps / n) - 1) for index in range(n)), 0.0)


def consistency_steps(n: int, table: NoiseTable, **_: float | None) -> tuple[float, ...]:
    """`n` of the 50 steps that latent consistency models were taught."""
    taught = [20 * step - 1 for step in range(50, 0, -1)]
    return (*(table.sigma_of(taught[math.floor(index * 50 / n)]) for index in range(n)), 0.0)


def consistency(denoise: Any, x: Tensor, sigmas: Any, noise: Noise) -> Any:
    """Jump to the clean latent, and back up with nothing but fresh noise: Euler a with all of it."""
    return (yield from euler_ancestral(denoise, x, sigmas, noise, eta=1e9))


REGISTRY = Registry(
    samplers={**SAMPLERS, "LCM": SamplerInfo(name="LCM", function=consistency, unit_start=True)},
    schedules={**SCHEDULES, "Trailing": trailing, "LCM": consistency_steps},
)


def ours(wanted: Request, model: ModelSource, refiner: ModelSource | None = None) -> tuple[Tensor, Tensor, list[int]]:
    """Latent and picture of the engine, and how many rows each of its calls had."""
    models = {"m": model} | ({} if refiner is None else {"r": refiner})
    networks = Watching(LocalNetworks(models.__getitem__))
    known = {name: Model(name=name, spec=each.spec, tokenizers=each.tokenizers) for name, each in models.items()}
    engine = stepped(lambda asked: [generate(asked, known["m"], REGISTRY, refiner=known.get("r"))], networks)
    job = engine.submit(wanted)
    run(engine)
    assert isinstance(last(engine, job), events.Finished), last(engine, job)
    ((latent, picture),) = networks.decoded
    return latent, picture, networks.rows


# --- theirs ---------------------------------------------------------------------------------------------------------------------


def their_tokenizer(padding: int) -> CLIPTokenizer:
    """transformers' tokenizer; its padding is "!" where that is the token 0."""
    known = clip_tokenizer()
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(known.tokens)},
        merges=[tuple(merge.split(" ")) for merge in clip_merges()],
        pad_token="!" if padding == 0 else "<|endoftext|>",
        model_max_length=77,
    )


def parts(name: str, model: ModelSource, scheduler: Any, more: dict[str, Tensor] | None = None) -> dict[str, Any]:
    """The networks of a pipeline, by diffusers and transformers alone."""
    spec = model.spec
    predictor = replace((TINY | FULL)[name], guidance_width=256 if more else None)
    found: dict[str, Any] = {
        "vae": their_autoencoder(replace(spec.vae, scale=SCALES[name]), checkpoint(name, prefix=VAE)),
        "unet": their_unet(predictor, checkpoint(name, prefix=UNET) | (more or {})),
        "scheduler": scheduler,
    }
    refining = spec.unet.label_width is not None and len(spec.text) == 1
    for index, tower in enumerate(spec.text):
        ending = "_2" if index or refining else ""
        given = text_weights(name, spec.unet, index, tower)
        if spec.unet.label_width is None and tower.kind == "open_clip":  # as diffusers has Stable Diffusion 2: 23 layers of 24
            given.pop("text_projection")
            layers = tower.layers - 1
            found["text_encoder"] = their_tower(replace(tower, projection=None), given, layers=layers)
        else:
            found[f"text_encoder{ending}"] = their_tower(tower, given)
        found[f"tokenizer{ending}"] = their_tokenizer(PADDINGS[tower.kind])
    if refining:
        found |= {"text_encoder": None, "tokenizer": None}
    return found


def call(kind: Any, components: dict[str, Any], wanted: Request, latents: Tensor | None, **more: Any) -> Tensor:
    """The picture [3, H, W] in [0, 1], or the latent [4, h, w], of a pipeline without its safety checker."""
    if kind in (StableDiffusionPipeline, LatentConsistencyModelPipeline):
        components = {**components, "safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    elif kind is not StableDiffusionXLImg2ImgPipeline:
        components = {**components, "add_watermarker": False}
    else:
        components = {**components, "add_watermarker": False, "requires_aesthetics_score": True}
    pipeline = kind(**components)
    pipeline.set_progress_bar_config(disable=True)
    size = {} if latents is None else {"height": wanted.height, "width": wanted.width, "latents": latents}
    given = {"negative_prompt": wanted.negative or None} if kind is not LatentConsistencyModelPipeline else {}
    told = {"output_type": "pt", **size, **given, **more}
    result: Tensor = pipeline(wanted.prompt, num_inference_steps=wanted.steps, guidance_scale=wanted.scale, **told).images[0]
    return result


def noise(scheduler: Any, steps: int, first: float) -> Tensor:
    """The seed's noise, such that a pipeline starts from it at our first sigma."""
    scheduler.set_timesteps(steps)
    start = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(REQUEST.seed))
    return start * first / float(scheduler.init_noise_sigma)


def euler(**changes: Any) -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(**BETAS, **{"steps_offset": 1, "timestep_spacing": "leading", **changes})


def first_sigma(wanted: Request, model: ModelSource) -> float:
    """The sigma that ours starts at."""
    return REGISTRY.schedules[wanted.schedule](wanted.steps, NoiseTable.from_spec(model.spec))[0]


def assert_equal(found: Tensor, expected: Tensor, relative: float = RELATIVE) -> None:
    """Fail unless two pictures are equal before they are rounded, and are pictures of something."""
    assert float(expected.std()) > 0.05
    rms, most = difference(found, expected).rms, float((found - expected).abs().max())
    assert rms < relative and most < ABSOLUTE, f"relative rms {rms:.2e}, at most {most:.2e}"


# --- equal ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("schedule", "spacing"), [("DDIM", "leading"), ("Uniform", "linspace"), ("Trailing", "trailing")])
@pytest.mark.parametrize("name", ["sd15-tiny", "sd21-base-tiny"])
def test_euler_equals_diffusers(name: str, schedule: str, spacing: str, opened: Open) -> None:
    model, wanted = opened(name), replace(REQUEST, schedule=schedule, steps=10)
    scheduler = euler(timestep_spacing=spacing)
    latents = noise(scheduler, wanted.steps, first_sigma(wanted, model))
    expected = call(StableDiffusionPipeline, parts(name, model, scheduler), wanted, latents)
    assert_equal(ours(wanted, model)[1], expected)


@pytest.mark.parametrize("name", ["sd15-tiny", "sd21-v-tiny"])
def test_ddim_equals_diffusers(name: str, opened: Open) -> None:
    model = opened(name, Override(family="sd21-v") if name == "sd21-v-tiny" else None)
    wanted = replace(REQUEST, sampler="DDIM", schedule="DDIM timesteps")
    kind = "v_prediction" if model.spec.prediction == "v" else "epsilon"
    assert (kind == "v_prediction") is (name == "sd21-v-tiny")
    scheduler = DDIMScheduler(**BETAS, prediction_type=kind, steps_offset=1, clip_sample=False, set_alpha_to_one=False)
    expected = call(StableDiffusionPipeline, parts(name, model, scheduler), wanted, noise(scheduler, wanted.steps, 1.0))
    assert_equal(ours(wanted, model)[1], expected)


def test_zero_terminal_snr_equals_diffusers(opened: Open) -> None:
    name, wanted = "sd21-v-tiny", replace(REQUEST, schedule="Trailing")
    model = opened(name, Override(family="sd21-v", zero_terminal_snr=True))
    scheduler = euler(timestep_spacing="trailing", prediction_type="v_prediction", rescale_betas_zero_snr=True)
    latents = noise(scheduler, wanted.steps, first_sigma(wanted, model))
    expected = call(StableDiffusionPipeline, parts(name, model, scheduler), wanted, latents)
    found = ours(wanted, model)[1]
    assert_equal(found, expected, 1e-4)  # their Euler step cancels most digits at sigma 4096
    plain = ours(wanted, opened(name, Override(family="sd21-v")))[1]
    assert difference(plain, expected).rms > 1e-2


@pytest.mark.parametrize("negative", [NEGATIVE, ""])
def test_sdxl_equals_diffusers(negative: str, opened: Open) -> None:
    name = "sdxl-tiny"
    model, wanted = opened(name), replace(REQUEST, negative=negative)
    scheduler = euler()
    latents = noise(scheduler, wanted.steps, first_sigma(wanted, model))
    expected = call(StableDiffusionXLPipeline, parts(name, model, scheduler), wanted, latents)
    assert_equal(ours(wanted, model)[1], expected)


@pytest.mark.parametrize(("name", "same"), [("sd15-tiny", {1}), ("sd21-base-tiny", {1, 2}), ("sdxl-tiny", {1, 2})])
def test_clip_skip_never_reads_a_later_layer_than_the_model_was_trained_with(name: str, same: set[int], opened: Open) -> None:
    model = opened(name)
    known = Model(name="m", spec=model.spec, tokenizers=model.tokenizers)
    networks = LocalNetworks({"m": model}.__getitem__)

    def tokens(clip_skip: int | None) -> Tensor:
        asks = conditionings(replace(REQUEST, clip_skip=clip_skip), known, NO_PATCHES)
        texts: Texts = answer_all(asks, networks.encode)
        return texts.parts[0].at(Moment(1.0, 0, 1)).tokens

    assert {skip for skip in (1, 2, 3) if torch.equal(tokens(skip), tokens(None))} == same


@pytest.mark.parametrize("switch_at", [0.3, 0.8])
def test_sdxl_with_its_refiner_equals_diffusers(switch_at: float, opened: Open) -> None:
    model, refiner = opened("sdxl-tiny"), opened("sdxl-refiner-tiny")
    wanted = replace(REQUEST, refiner="r", refiner_switch_at=switch_at)
    scheduler = euler()
    latents = noise(scheduler, wanted.steps, first_sigma(wanted, model))
    components = parts("sdxl-tiny", model, scheduler)
    half = call(StableDiffusionXLPipeline, components, wanted, latents, denoising_end=switch_at, output_type="latent")
    expected = call(
        StableDiffusionXLImg2ImgPipeline, parts("sdxl-refiner-tiny", refiner, euler()), wanted, None, image=half[None],
        denoising_start=switch_at,
    )  # fmt: skip
    found = ours(wanted, model, refiner)[1]
    assert difference(ours(wanted, model)[1], expected).rms > 1e-3
    assert_equal(found, expected)


@pytest.mark.parametrize("scale", [8.0, 1.5])
def test_a_latent_consistency_model_equals_diffusers(scale: float, tmp_path: Path) -> None:
    key = UNET + "time_embedding.cond_proj.weight"
    more = {key: weight(key, (32, 256)) * 16}
    save(tmp_path / "lcm.safetensors", checkpoint("sd15-tiny") | more, {})
    model = open_model(tmp_path / "lcm.safetensors")
    assert model.spec.unet.guidance_width == 256
    wanted = replace(REQUEST, sampler="LCM", schedule="LCM", steps=4, scale=scale)
    scheduler = LCMScheduler(**BETAS)
    scheduler.set_timesteps(4)
    source = torch.Generator().manual_seed(wanted.seed)
    latents = torch.randn(1, *SHAPE, generator=source)
    components = parts("sd15-tiny", model, scheduler, more)
    expected = call(LatentConsistencyModelPipeline, components, wanted, latents, generator=source)
    _, found, rows = ours(wanted, model)
    assert_equal(found, expected)
    assert rows == [1] * 4
    assert torch.equal(ours(replace(wanted, negative="something else"), model)[1], found)
    assert difference(ours(replace(wanted, scale=scale + 1), model)[1], found).rms > 1e-3


@pytest.mark.slow
def test_a_picture_of_published_size_equals_diffusers(tmp_path: Path) -> None:
    """Two steps of Stable Diffusion 1.5 from a file of 2 GB; ours is gone before theirs is made."""
    weights = {key: value.half() if value.is_floating_point() else value for key, value in checkpoint("sd15-full").items()}
    save(tmp_path / "sd15-full.safetensors", weights, {})
    del weights
    model, wanted = open_model(tmp_path / "sd15-full.safetensors"), replace(REQUEST, steps=2)
    assert model.spec.unet == FULL["sd15-full"]
    found = ours(wanted, model)[1]
    scheduler = euler()
    latents = noise(scheduler, wanted.steps, first_sigma(wanted, model))
    assert_equal(found, call(StableDiffusionPipeline, parts("sd15-full", model, scheduler), wanted, latents))
