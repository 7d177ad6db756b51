"""A picture that is drawn twice equals two of diffusers' pipelines with the latent, or the picture, enlarged between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from tests.engine.making import last, run, stepped
from tests.engine.test_whole_picture import REGISTRY, REQUEST, Watching, assert_equal, euler, first_sigma, noise
from tests.engine.test_whole_picture_from_pictures import their_ddim, their_parts
from tests.nets.references import written
from webui.engine import events
from webui.engine.local import LocalNetworks
from webui.pipeline.generate import Model, generate
from webui.request import Request
from webui.tasks import LANCZOS, LATENT_UPSCALES
from webui.weights.source import ModelSource, open_model

TWICE = 2e-5  # relative: what a pass differs by, twice
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",  # of diffusers' schedules
    "ignore:.*text_config_dict|`.*` is deprecated:FutureWarning",
)
Open = Callable[[str], ModelSource]
WIDTH, HEIGHT = 104, 72
STEPS, STRENGTH, ASKED = 7, 0.7, 10  # all of the steps are taken: of 7 / 0.7
PLAIN: dict[str, Any] = {
    "upscaler": "Latent", "upscaler_hash": "", "scale_by": None, "to_width": WIDTH, "to_height": HEIGHT, "steps": STEPS,
    "strength": STRENGTH, "sampler": "Euler", "schedule": "DDIM", "sampler_options": {}, "scale": REQUEST.scale, "prompt": "",
    "negative": "", "model": "", "model_hash": "", "override": {}, "width": WIDTH, "height": HEIGHT, "full_width": WIDTH,
    "full_height": HEIGHT,
}  # fmt: skip


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """A checkpoint by name, opened once."""
    folder = tmp_path_factory.mktemp("models")
    return cache(lambda name: open_model(written(name, folder)))


@pytest.fixture(autouse=True)
def _means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their autoencoder gives the mean of its posterior, as ours does, instead of a random sample."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())


def ours(wanted: Request, first: ModelSource, second: ModelSource | None = None) -> Tensor:
    """What the engine decodes at last."""
    models = {"m": first} | ({} if second is None else {"s": second})
    networks = Watching(LocalNetworks(models.__getitem__))
    known = {name: Model(name=name, spec=each.spec, tokenizers=each.tokenizers) for name, each in models.items()}
    upscaler = wanted.hires["upscaler"]
    engine = stepped(
        lambda asked: [generate(asked, known["m"], REGISTRY, larger=known.get("s"), upscaler=upscaler)], networks
    )
    job = engine.submit(wanted)
    run(engine)
    assert isinstance(last(engine, job), events.Finished), last(engine, job)
    assert len(networks.decoded) == (1 if upscaler in LATENT_UPSCALES else 2)
    return networks.decoded[-1][1]


def pipeline(kind: Any, name: str, model: ModelSource, scheduler: Any) -> Any:
    components = their_parts(name, model, scheduler)
    if kind in (StableDiffusionPipeline, StableDiffusionImg2ImgPipeline):
        components |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    else:
        components["add_watermarker"] = False
    found = kind(**components)
    found.set_progress_bar_config(disable=True)
    return found


def first_pass(name: str, model: ModelSource) -> Tensor:
    """Their latent of the first pass."""
    kind, scheduler = StableDiffusionXLPipeline if name.startswith("sdxl") else StableDiffusionPipeline, euler()
    found: Tensor = pipeline(kind, name, model, scheduler)(
        REQUEST.prompt, negative_prompt=REQUEST.negative, num_inference_steps=REQUEST.steps, guidance_scale=REQUEST.scale,
        height=REQUEST.height, width=REQUEST.width, latents=noise(scheduler, REQUEST.steps, first_sigma(REQUEST, model)),
        output_type="latent",
    ).images  # fmt: skip
    return found


def second_pass(
    name: str, model: ModelSource, image: Any, prompt: str = REQUEST.prompt, negative: str = REQUEST.negative,
    scale: float = REQUEST.scale, **more: Any,
) -> Tensor:
    """Their picture of an enlarged latent or picture."""
    kind = StableDiffusionXLImg2ImgPipeline if name.startswith("sdxl") else StableDiffusionImg2ImgPipeline
    found: Tensor = pipeline(kind, name, model, euler())(
        prompt, image=image, negative_prompt=negative, num_inference_steps=ASKED, guidance_scale=scale,
        strength=(STEPS + 0.5) / ASKED, generator=torch.Generator().manual_seed(REQUEST.seed), output_type="pt", **more,
    ).images[0]  # fmt: skip
    return found


def larger(latent: Tensor, name: str = "Latent") -> Tensor:
    mode, antialias = LATENT_UPSCALES[name]
    return interpolate(latent, size=(HEIGHT // 8, WIDTH // 8), mode=mode, antialias=antialias)


def test_a_latent_enlarged_and_drawn_on_equals_diffusers_in_two_passes(opened: Open) -> None:
    name = "sd15-tiny"
    expected = second_pass(name, opened(name), larger(first_pass(name, opened(name))))
    assert_equal(ours(replace(REQUEST, hires=PLAIN), opened(name)), expected, TWICE)
    other = ours(replace(REQUEST, hires=PLAIN | {"upscaler": "Latent (nearest)"}), opened(name))
    assert float((other - expected).abs().max()) > 1e-2


def test_what_is_beyond_the_size_is_cut_off_and_sdxl_is_told_what_it_was_before(opened: Open) -> None:
    name, sizes = "sdxl-tiny", {"original_size": (HEIGHT, WIDTH), "target_size": (HEIGHT, WIDTH)}
    cut = larger(first_pass(name, opened(name)), "Latent (bicubic antialiased)")[..., 2:11]
    own = {"width": 72, "upscaler": "Latent (bicubic antialiased)"}
    assert_equal(ours(replace(REQUEST, hires=PLAIN | own), opened(name)), second_pass(name, opened(name), cut, **sizes), TWICE)


def test_the_second_pass_has_its_own_model_prompts_and_scale(opened: Open) -> None:
    first, second = "sd15-tiny", "sd21-base-tiny"
    own = {"prompt": "two dogs", "negative": "red", "scale": 3.0, "model": "s"}
    found = ours(replace(REQUEST, hires=PLAIN | own), opened(first), opened(second))
    expected = second_pass(second, opened(second), larger(first_pass(first, opened(first))), "two dogs", "red", 3.0)
    assert_equal(found, expected, TWICE)


def test_a_picture_enlarged_by_a_filter_and_drawn_on_equals_diffusers_in_two_passes(opened: Open) -> None:
    name = "sd15-tiny"
    model = opened(name)
    vae = pipeline(StableDiffusionPipeline, name, model, euler()).vae
    with torch.no_grad():
        small = (vae.decode(first_pass(name, model) / vae.config.scaling_factor).sample[0] / 2 + 0.5).clamp(0, 1)
    content = Image.fromarray((small.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
    enlarged = np.asarray(content.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)).copy()
    image = torch.from_numpy(enlarged).permute(2, 0, 1)[None].float() / 255
    # Rounded to 8 bits between the passes: what the first differs by may fall on either side of a half.
    assert_equal(ours(replace(REQUEST, hires=PLAIN | {"upscaler": LANCZOS}), model), second_pass(name, model, image), 1e-4)


class NoisedFurther(StableDiffusionImg2ImgPipeline):
    """Latent diffusion's way, as A1111 has it for DDIM: the picture is noised to the step before the first."""

    def prepare_latents(self, image: Any, timestep: Any, *rest: Any) -> Any:
        return super().prepare_latents(image, timestep + 1000 // ASKED, *rest)


def test_another_sampler_goes_on_and_ddim_begins_one_step_further(opened: Open) -> None:
    name = "sd15-tiny"
    components = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    theirs = NoisedFurther(**their_parts(name, opened(name), their_ddim()), **components)
    theirs.set_progress_bar_config(disable=True)
    expected = theirs(
        REQUEST.prompt, image=larger(first_pass(name, opened(name))), negative_prompt=REQUEST.negative,
        num_inference_steps=ASKED, strength=(STEPS + 0.5) / ASKED, guidance_scale=REQUEST.scale,
        generator=torch.Generator().manual_seed(REQUEST.seed), output_type="pt",
    ).images[0]  # fmt: skip
    wanted = replace(REQUEST, hires=PLAIN | {"sampler": "DDIM", "schedule": "DDIM timesteps"})
    assert_equal(ours(wanted, opened(name)), expected, TWICE)
