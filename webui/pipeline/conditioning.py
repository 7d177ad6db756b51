"""From a request's texts to what guides a network: tokens, and for SDXL and its refiner a vector of sizes beside them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import torch

from webui.errors import UserError
from webui.nets.unet import timestep_embedding
from webui.pipeline.model import Model
from webui.pipeline.patches import Patches
from webui.pipeline.prompt import pad_windows, windows
from webui.pipeline.protocol import Ask, Conditioning, Encode, TokenChunk
from webui.pipeline.texts import Part, Texts, constant
from webui.request import Request

SIZE_WIDTH = 256  # each of SDXL's numbers is shown to the network as so many sines and cosines
AESTHETIC_SCORE = 6.0  # what the refiner is told the picture would be rated, out of 10
NEGATIVE_SCORE = 2.5  # the same beside the negative prompt
CROP = (0.0, 0.0)  # top and left: nothing is cut off


def conditionings(
    request: Request, model: Model, patches: Patches, *, hires: bool = False, first_steps: int = 0  # noqa: ARG001
) -> Generator[Ask, Any, Texts]:
    """What prompt and negative prompt mean to the network; guidance never asks for rows of the one it does not need.

    Beside an SDXL model an empty negative prompt is no text at all: zeros, as the model was trained. A1111, Forge and diffusers
    (`negative_prompt=None`, `force_zeros_for_empty_prompt`) have it so; `negative_prompt=""` and diffusers' refiner encode "".
    """
    towers = tuple(zip(model.tokenizers, model.spec.text, strict=True))
    prompt, negative, empty = (
        tuple(windows(text, tokenizer, tower) for tokenizer, tower in towers) for text in (request.prompt, request.negative, "")
    )
    count = max(len(own) for text in (prompt, negative) for own in text)

    def ask(text: tuple[tuple[TokenChunk, ...], ...]) -> Encode:
        chunks = tuple(pad_windows(own, count, nothing[0]) for own, nothing in zip(text, empty, strict=True))
        return Encode(chunks, network=model.name, clip_skip=request.clip_skip, patches=patches)

    cond = yield ask(prompt)
    if model.spec.unet.label_width is None:
        return Texts(parts=(Part(course=constant(cond)),), course=constant((yield ask(negative))))
    uncond = (yield ask(negative)) if negative != empty else zeros_like(cond)
    cond, uncond = with_sizes(cond, request, model, AESTHETIC_SCORE), with_sizes(uncond, request, model, NEGATIVE_SCORE)
    return Texts(parts=(Part(course=constant(cond)),), course=constant(uncond))


def zeros_like(text: Conditioning) -> Conditioning:
    """No text, in the shape of another."""
    vector = None if text.vector is None else torch.zeros_like(text.vector)
    return Conditioning(torch.zeros_like(text.tokens), vector, key=f"zeros {tuple(text.tokens.shape)}")


def with_sizes(text: Conditioning, request: Request, model: Model, score: float) -> Conditioning:
    """A text whose vector, so far its pooled output, goes on with the sizes that the network was trained to be told.

    SDXL (Podell et al. 2023, arXiv:2307.01952, section 2.2): height and width of the original, top and left of the crop, height
    and width of the picture. Its refiner: an aesthetic `score` in place of the last two. The network's label width tells which.
    """
    assert text.vector is not None and model.spec.unet.label_width is not None
    original = (float(request.height), float(request.width), *CROP)
    known = {len(numbers) * SIZE_WIDTH: numbers for numbers in ((*original, *original[:2]), (*original, score))}
    room = model.spec.unet.label_width - text.vector.shape[-1]
    if room not in known:
        raise UserError(
            f"The model {model.name!r} wants {room} numbers beside the pooled text; known are those of SDXL and its refiner, "
            f"{' and '.join(map(str, known))}. Choose another model."
        )
    numbers = known[room]
    sizes = timestep_embedding(torch.tensor(numbers), SIZE_WIDTH).flatten().to(text.vector.device)
    return replace(text, vector=torch.cat([text.vector, sizes]), key=text.key and f"{text.key} {numbers}")
