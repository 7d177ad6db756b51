"""No seam is seen around what the built-in model draws into a picture."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.pipeline.answering import in_bytes
from webui.engine.batching import RowCall
from webui.engine.local import LocalNetworks
from webui.pipeline.canvas import of_masked
from webui.pipeline.generate import Model, generate
from webui.pipeline.given import NOTHING_GIVEN, Given
from webui.pipeline.protocol import Ask, Decode, Encode, EncodePicture, Read, Rows, answer_all
from webui.request import Request
from webui.tasks import FILLED, LATENT_NOISE, ONLY_MASKED
from webui.weights.source import open_model

CHECKPOINT = Path(__file__).parents[2] / "models" / "builtin" / "model.safetensors"
SIDE = 128
WANTED = Request(
    model="builtin", prompt="a red ball on a grey floor", steps=4, sampler="Euler", schedule="Karras", scale=3.0, seed=1,
    width=SIDE, height=SIDE,
)  # fmt: skip
MOST = 1.2  # times the picture's own


@cache
def networks() -> tuple[LocalNetworks, Model]:
    source = open_model(CHECKPOINT)
    return LocalNetworks({"m": source}.__getitem__), Model(name="m", spec=source.spec, tokenizers=source.tokenizers)


def drawn(request: Request, given: Given = NOTHING_GIVEN) -> Tensor:
    """The picture [3, H, W] that the built-in model makes."""
    local, model = networks()

    def answer(ask: Ask) -> object:
        match ask:
            case Rows():
                rows = ask.rows
                return local.predict(RowCall(rows=rows, count=len(rows), length=len(rows[0].conditioning.tokens))).rows
            case Encode():
                return local.encode(ask)
            case EncodePicture():
                return local.encode_picture(ask)
            case Decode():
                return local.decode(ask)
            case Read():
                return ask.tensor
        raise AssertionError(ask)

    result: Tensor = answer_all(generate(request, model, given=given), answer).pixels
    return result


@cache
def picture() -> Tensor:
    """RGBA bytes of what is drawn into."""
    return torch.cat([in_bytes(drawn(WANTED)), torch.full((1, SIDE, SIDE), 255, dtype=torch.uint8)])


def steepest(pixels: Tensor, where: np.ndarray) -> float:
    """The 99th percentile of the difference to the next pixel, of any colour, over some pixels."""
    values = pixels.double().numpy()
    found = np.zeros(values.shape[1:])
    found[:, :-1] = np.abs(np.diff(values, axis=2)).max(0)
    found[:-1] = np.maximum(found[:-1], np.abs(np.diff(values, axis=1)).max(0))
    return float(np.percentile(found[where], 99))


def mask_of(left: int, top: int, right: int, bottom: int) -> Tensor:
    mask = torch.zeros(SIDE, SIDE)
    mask[top:bottom, left:right] = 1
    return mask


@pytest.mark.parametrize("more", [
    {}, {"masked_content": FILLED, "mask_blur": 8}, {"area": ONLY_MASKED}, {"soft": True}, {"masked_content": LATENT_NOISE},
])  # fmt: skip
def test_the_band_is_no_steeper_than_the_picture(more: dict[str, object]) -> None:
    wanted = replace(WANTED, task="inpaint", prompt="a yellow cube on a grey floor", strength=0.9, seed=7, **more)
    mask = mask_of(20, 20, 116, 116)  # around all there is to see
    result = in_bytes(drawn(wanted, Given(picture=picture(), mask=mask)))
    final = of_masked(wanted, Given(picture=picture(), mask=mask)).mask
    assert final is not None
    band = ((final > 0) & (final < 1)).numpy()
    own = steepest(picture()[:3], np.ones((SIDE, SIDE), dtype=bool))
    assert torch.equal(result[:, final == 0], picture()[:3, final == 0])
    assert float((result.float() - picture()[:3].float())[:, final == 1].abs().mean()) > 5
    assert steepest(result, band) <= MOST * own


def test_a_seam_would_be_noticed() -> None:
    """What is put in without being drawn into the picture has an edge."""
    mask = mask_of(40, 60, 100, 120) > 0
    pasted = torch.where(mask, 255 - picture()[:3], picture()[:3])
    band = torch.nn.functional.max_pool2d(mask.float()[None], 3, 1, 1)[0].bool().numpy() & ~mask.numpy()
    assert steepest(pasted, band) > MOST * steepest(picture()[:3], np.ones((SIDE, SIDE), dtype=bool))
