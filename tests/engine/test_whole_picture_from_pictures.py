"""Pictures from pictures, of parts of them and to depth maps equal those of diffusers' pipelines before they are rounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    StableDiffusionDepth2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from tests.engine.making import last, run, stepped
from tests.engine.test_whole_picture import (
    BETAS,
    REGISTRY,
    REQUEST,
    SCALES,
    Watching,
    assert_equal,
    euler,
    first_sigma,
    noise,
    parts,
)
from tests.nets.references import written
from webui.engine import events
from webui.engine.local import LocalNetworks
from webui.pipeline.generate import Model, generate
from webui.pipeline.given import Given
from webui.request import Request
from webui.tasks import A1111, DIFFUSERS
from webui.weights.source import ModelSource, open_model

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",  # of diffusers' schedules
    "ignore:.*text_config_dict|`.*` is deprecated:FutureWarning",
)
Open = Callable[[str], ModelSource]
WIDTH, HEIGHT = REQUEST.width, REQUEST.height
WANTED = replace(REQUEST, steps=10, convention=DIFFUSERS)
THEIR_SCALES = SCALES | dict.fromkeys(("sd15-inpaint-tiny", "sd2-depth-tiny", "sd2-inpaint-tiny"), 0.18215) | {
    "sdxl-inpaint-tiny": 0.13025
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """A checkpoint by name, opened once."""
    folder = tmp_path_factory.mktemp("models")
    return cache(lambda name: open_model(written(name, folder)))


@pytest.fixture(autouse=True)
def _means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their autoencoder gives the mean of its posterior, as ours does, instead of a random sample."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())


def waves(channels: int, seed: int) -> Tensor:
    """Something smooth and coloured [C, H, W] in [0, 1]."""
    down, across = torch.meshgrid(torch.linspace(0, 6, HEIGHT), torch.linspace(0, 6, WIDTH), indexing="ij")
    numbers = torch.randn(channels, 3, generator=torch.Generator().manual_seed(seed))
    return torch.stack([torch.sin(a * down + b * across + 3 * c) * 0.5 + 0.5 for a, b, c in numbers.tolist()])


RGBA = torch.cat([(waves(3, 1) * 255).round(), torch.full((1, HEIGHT, WIDTH), 255.0)]).to(torch.uint8)
PICTURE = RGBA[:3].float() / 255
MASK = torch.zeros(HEIGHT, WIDTH)
MASK[8:32, 16:48] = 1  # whole cells: theirs takes one pixel of each, ours the largest
DEPTH = waves(1, 2)[0]


def ours(wanted: Request, model: ModelSource, given: Given) -> Tensor:
    """What the engine decodes."""
    networks = Watching(LocalNetworks({"m": model}.__getitem__))
    known = Model(name="m", spec=model.spec, tokenizers=model.tokenizers)
    engine = stepped(lambda asked: [generate(asked, known, REGISTRY, given=given)], networks)
    job = engine.submit(wanted)
    run(engine)
    assert isinstance(last(engine, job), events.Finished), last(engine, job)
    ((_, picture),) = networks.decoded
    return picture


def their_parts(name: str, model: ModelSource, scheduler: Any) -> dict[str, Any]:
    """The networks of a pipeline; some want to know the size the noise predictor was trained at, and none use it."""
    components = parts(name, model, scheduler)
    components["unet"].register_to_config(sample_size=64)
    return components


def theirs(kind: Any, name: str, model: ModelSource, scheduler: Any, wanted: Request, strength: float, **more: Any) -> Tensor:
    """The picture of a pipeline that draws the seed's noise itself."""
    components = their_parts(name, model, scheduler)
    if kind in (StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline):
        components |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    elif kind is StableDiffusionDepth2ImgPipeline:
        components |= {"depth_estimator": None, "feature_extractor": None}
    else:
        components["add_watermarker"] = False
    pipeline = kind(**components)
    pipeline.set_progress_bar_config(disable=True)
    result: Tensor = pipeline(
        wanted.prompt, image=PICTURE[None], negative_prompt=wanted.negative, num_inference_steps=wanted.steps,
        guidance_scale=wanted.scale, strength=strength, generator=torch.Generator().manual_seed(wanted.seed), output_type="pt",
        **more,
    ).images[0]  # fmt: skip
    return result


def their_ddim() -> DDIMScheduler:
    return DDIMScheduler(**BETAS, prediction_type="epsilon", steps_offset=1, clip_sample=False, set_alpha_to_one=False)


@pytest.fixture(autouse=True)
def _scales(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, scale in THEIR_SCALES.items():
        monkeypatch.setitem(SCALES, name, scale)


# --- img2img --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.3, 0.75])
def test_img2img_equals_diffusers_by_its_convention(strength: float, opened: Open) -> None:
    name, wanted = "sd15-tiny", replace(WANTED, task="img2img", strength=strength)
    expected = theirs(StableDiffusionImg2ImgPipeline, name, opened(name), euler(), wanted, strength)
    found = ours(wanted, opened(name), Given(picture=RGBA))
    assert_equal(found, expected)
    other = ours(replace(wanted, convention=A1111), opened(name), Given(picture=RGBA))
    assert float((other - expected).abs().max()) > 1e-2


def test_img2img_by_a1111_s_convention_is_one_step_longer(opened: Open) -> None:
    """t_enc = 7 of 10: noised to the eighth level from below, and eight steps, which diffusers calls 0.8."""
    name, wanted = "sd15-tiny", replace(WANTED, task="img2img", strength=0.75, convention=A1111)
    expected = theirs(StableDiffusionImg2ImgPipeline, name, opened(name), euler(), wanted, 0.8)
    assert_equal(ours(wanted, opened(name), Given(picture=RGBA)), expected)


def test_ddim_equals_diffusers_by_its_convention(opened: Open) -> None:
    name, wanted = "sd15-tiny", replace(WANTED, task="img2img", strength=0.5, sampler="DDIM", schedule="DDIM timesteps")
    expected = theirs(StableDiffusionImg2ImgPipeline, name, opened(name), their_ddim(), wanted, 0.5)
    assert_equal(ours(wanted, opened(name), Given(picture=RGBA)), expected)


class NoisedFurther(StableDiffusionImg2ImgPipeline):
    """Latent diffusion's way, as A1111 has it for DDIM: the picture is noised to the step before the first."""

    def prepare_latents(self, image: Any, timestep: Any, *rest: Any) -> Any:
        return super().prepare_latents(image, timestep + 1000 // WANTED.steps, *rest)


def test_ddim_by_a1111_s_convention_begins_one_step_further(opened: Open) -> None:
    name = "sd15-tiny"
    wanted = replace(WANTED, task="img2img", strength=0.5, sampler="DDIM", schedule="DDIM timesteps", convention=A1111)
    components = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipeline = NoisedFurther(**their_parts(name, opened(name), their_ddim()), **components)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        wanted.prompt, image=PICTURE[None], negative_prompt=wanted.negative, num_inference_steps=10, strength=0.5,
        guidance_scale=wanted.scale, generator=torch.Generator().manual_seed(wanted.seed), output_type="pt",
    ).images[0]  # fmt: skip
    assert_equal(ours(wanted, opened(name), Given(picture=RGBA)), expected)


def test_sdxl_equals_diffusers(opened: Open) -> None:
    name, wanted = "sdxl-tiny", replace(WANTED, task="img2img", strength=0.6)
    expected = theirs(StableDiffusionXLImg2ImgPipeline, name, opened(name), euler(), wanted, 0.6)
    assert_equal(ours(wanted, opened(name), Given(picture=RGBA)), expected)


# --- inpaint --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sampler", "schedule"), [("Euler", "DDIM"), ("DDIM", "DDIM timesteps")])
def test_inpainting_by_an_ordinary_model_equals_diffusers(sampler: str, schedule: str, opened: Open) -> None:
    name = "sd15-tiny"
    wanted = replace(WANTED, task="inpaint", strength=0.7, sampler=sampler, schedule=schedule)
    scheduler = euler() if sampler == "Euler" else their_ddim()
    size = {"height": HEIGHT, "width": WIDTH}
    expected = theirs(
        StableDiffusionInpaintPipeline, name, opened(name), scheduler, wanted, 0.7, mask_image=MASK[None, None], **size
    )
    found = ours(wanted, opened(name), Given(picture=RGBA, mask=MASK))
    assert_equal(found, expected)


@pytest.mark.parametrize("strength", [0.6, 1.0])
@pytest.mark.parametrize("name", ["sd15-inpaint-tiny", "sd2-inpaint-tiny", "sdxl-inpaint-tiny"])
def test_inpainting_by_a_model_made_for_it_equals_diffusers(name: str, strength: float, opened: Open) -> None:
    wanted = replace(WANTED, task="inpaint", strength=strength)
    kind = StableDiffusionXLInpaintPipeline if name.startswith("sdxl") else StableDiffusionInpaintPipeline
    size = {"height": HEIGHT, "width": WIDTH}
    model, scheduler = opened(name), euler()
    more = size if strength < 1 else size | {"latents": noise(scheduler, wanted.steps, first_sigma(wanted, model))}
    expected = theirs(kind, name, model, scheduler, wanted, strength, mask_image=MASK[None, None], **more)
    found = ours(wanted, model, Given(picture=RGBA, mask=MASK))
    assert_equal(found, expected)
    other = ours(wanted, opened(name), Given(picture=RGBA, mask=1 - MASK))
    assert float((other - expected).abs().max()) > 1e-2


# --- depth ----------------------------------------------------------------------------------------------------------------------


def test_depth_equals_diffusers(opened: Open) -> None:
    name, wanted = "sd2-depth-tiny", replace(WANTED, task="depth", strength=0.7)
    expected = theirs(StableDiffusionDepth2ImgPipeline, name, opened(name), euler(), wanted, 0.7, depth_map=DEPTH[None])
    found = ours(wanted, opened(name), Given(picture=RGBA, depth=DEPTH))
    assert_equal(found, expected)
    other = ours(replace(wanted, depth_invert=True), opened(name), Given(picture=RGBA, depth=DEPTH))
    assert float((other - expected).abs().max()) > 1e-2
