"""No seam is seen around what the built-in model draws into a picture."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

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


def in_the_band(wanted: Request, into: Tensor) -> tuple[float, float]:
    """How steep the result is where the mask, at blur 4 or more, goes over, and how steep the picture is anywhere."""
    brought = Given(picture=into, mask=mask_of(20, 20, 116, 116))  # around all there is to see
    result, colours = in_bytes(drawn(wanted, brought)), into[:3]
    final = of_masked(replace(wanted, mask_blur=max(wanted.mask_blur, 4)), brought).mask
    assert final is not None
    assert torch.equal(result[:, final == 0], colours[:, final == 0])
    assert float((result.float() - colours.float())[:, final == 1].abs().mean()) > 5
    return steepest(result, ((final > 0) & (final < 1)).numpy()), steepest(colours, np.ones((SIDE, SIDE), dtype=bool))


def dark() -> Tensor:
    """The picture with so little light that what is drawn into it stands out."""
    found = picture().clone()
    found[:3] //= 3
    return found


CUBE = replace(WANTED, task="inpaint", prompt="a yellow cube on a grey floor", strength=0.9, seed=7)


@pytest.mark.parametrize("more", [{}, {"masked_content": FILLED, "mask_blur": 8}, {"area": ONLY_MASKED}, {"soft": True}])
def test_the_band_is_no_steeper_than_the_picture(more: dict[str, Any]) -> None:
    band, own = in_the_band(replace(CUBE, **more), picture())
    assert band <= MOST * own


def test_a_seam_would_be_noticed_and_a_blur_takes_it_away() -> None:
    wanted = replace(CUBE, masked_content=LATENT_NOISE)
    band, own = in_the_band(wanted, dark())
    edge, _ = in_the_band(replace(wanted, mask_blur=0), dark())
    assert edge > 3 * MOST * own and band < edge / 2
