"""Classifier guidance: uphill on what a classifier says of the noisy latent (Dhariwal and Nichol 2021, arXiv:2105.05233).

To the noise that the network predicts, -sigma * scale * grad log p(class | x) is added (section 4.2). In terms of the clean
latent, x - sigma * noise, that is + sigma^2 * scale * grad. The classifier that ships was trained on noisy latents of pictures of
one thing (models/builtin/recipe/classifier.py): it knows six shapes and nine colours of the built-in model, and no other model.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.extension import Ask, Denoise, Gradient, Job, Moment, Params, param, quoted

if TYPE_CHECKING:
    from torch import Tensor

    from .latent_classifier import LatentClassifier

FILE = Path(__file__).with_name("still_lifes.safetensors")
FAMILY, CHANNELS = "builtin", 8  # of the models whose latents it reads
SHAPES = ("ball", "cube", "cylinder", "cone", "ring", "pyramid")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "grey", "black")
CLASSES = (*SHAPES, *COLOURS)
NONE = "None"
Chance = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True, kw_only=True)
class Classifying(Params):
    """Which class the picture is pushed towards, and how far."""

    classifier: str = param(
        NONE, "Classifier", one_of=(NONE, *CLASSES), infotext="Classifier", unwritten=NONE,
        help="What a classifier is to see in the picture, whatever the prompt says. It knows what the built-in model draws.")
    classifier_scale: float = param(
        10.0, "Classifier scale", min=0, max=100, step=0.5, infotext="Classifier scale", unwritten="10",
        help="How far each step goes uphill on what the classifier says; 0 is off.")


def denoiser(job: Job, denoise: Denoise) -> Denoise:
    """The denoiser with the classifier's push, where a class is chosen and the model is one that the classifier knows."""
    chosen, scale = job.values["classifier"], job.values["classifier_scale"]
    if chosen == NONE or scale == 0:
        return denoise
    if job.spec.family != FAMILY:
        if not job.second:
            job.tell(f"The classifier knows the built-in model's latents alone; {quoted(job.request.model)} is drawn without it.")
        return denoise
    network, wanted = opened(job), CLASSES.index(chosen)

    def chance_at(sigma: float) -> Chance:
        return lambda x: network.log_chances(x[None], x.new_full((1,), sigma))[0, wanted]

    return uphill(denoise, chance_at, scale)


def uphill(denoise: Denoise, chance_at: Callable[[float], Chance], scale: float) -> Denoise:
    """The denoiser, whose answers go up on the logarithm of a chance, which is a function of the state at each noise level."""

    def pushed(x: Tensor, at: Moment) -> Generator[Ask, Any, Any]:
        answer = yield from denoise(x, at)
        push = (yield Gradient(chance_at(at.sigma), x)) * (scale * at.sigma**2)
        # Samplers with CFG++ in their names are answered a second latent too, which says where x came from.
        return (answer[0] + push, *answer[1:]) if isinstance(answer, tuple) else answer + push

    return pushed


def opened(job: Job) -> LatentClassifier:
    """The classifier that ships, on the job's device."""
    from .latent_classifier import LatentClassifier

    network = LatentClassifier(CHANNELS, (len(SHAPES), len(COLOURS)))
    network.load_state_dict(job.files.tensors(str(FILE)))
    return network.to(job.device).float().eval().requires_grad_(False)
