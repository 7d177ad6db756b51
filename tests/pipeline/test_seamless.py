"""Pictures whose opposite edges fit: nothing in them knows where they begin, with random weights and with the built-in ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.making import TINY, TOKENIZER, local
from tests.nets.families import assert_same, autoencoder, unet
from tests.pipeline.answering import MODEL as PLAIN_MODEL
from tests.pipeline.answering import REQUEST, Engine, made
from webui.engine.batching import call_of
from webui.engine.local import LocalNetworks
from webui.nets.bands import decode_in_bands, encode_in_bands
from webui.pipeline.generate import Model, Registry, generate
from webui.pipeline.given import NOTHING_GIVEN, Given
from webui.pipeline.protocol import Decode, Encode, EncodePicture, Padding, Read, Rows, answer_all
from webui.pipeline.samplers import SAMPLERS
from webui.pipeline.schedules import SCHEDULES
from webui.request import Request
from webui.weights.source import open_model

CHECKPOINT = Path(__file__).parents[2] / "models" / "builtin" / "model.safetensors"
SIZE = 32
PADDINGS: tuple[Padding, ...] = ("zeros", "circular")
DOWN, ACROSS = 8, 20  # pixels by which a picture is moved: whole cells of all layers
WANTED = Request(
    model="tiny", prompt="ab", steps=3, sampler="Euler", schedule="Karras", scale=3.0, seed=1, width=SIZE, height=2 * SIZE,
    tiling=True,
)  # fmt: skip


def answered(networks: LocalNetworks, ask: Any) -> Any:
    """What an engine answers, a row at a time."""
    match ask:
        case Encode():
            return networks.encode(ask)
        case Rows():
            return tuple(networks.predict(call_of([row], (1,))).rows[0] for row in ask.rows)
        case Decode():
            return networks.decode(ask)
        case EncodePicture():
            return networks.encode_picture(ask)
        case Read():
            return ask.tensor.cpu()


def drawn(networks: LocalNetworks, model: Model, wanted: Request, given: Given = NOTHING_GIVEN, **more: Any) -> Tensor:
    line = generate(wanted, model, given=given, **more)
    pixels: Tensor = answer_all(line, lambda ask: answered(networks, ask)).pixels
    return pixels


# --- nothing knows where it begins ----------------------------------------------------------------------------------------------


def moved(x: Tensor, down: int, across: int) -> Tensor:
    return x.roll((down, across), (-2, -1))


@torch.no_grad()
def test_networks_draw_the_same_wherever_a_picture_begins() -> None:
    network, x = unet(), torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(0))
    text, t = torch.randn(1, 5, 48, generator=torch.Generator().manual_seed(1)), torch.tensor([500.0])
    found = network(moved(x, 8, 16), t, text, padding="circular")
    assert_same(found, moved(network(x, t, text, padding="circular"), 8, 16))
    plain = network(moved(x, 8, 16), t, text)
    assert float((plain - moved(network(x, t, text), 8, 16)).abs().max()) > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("bands", [0, 1, 3])
def test_autoencoders_do_so_too_at_once_and_in_bands(bands: int) -> None:
    vae, z = autoencoder(), torch.randn(1, 4, 8, 6, generator=torch.Generator().manual_seed(0))

    def decode(given: Tensor) -> Tensor:
        return decode_in_bands(vae, given, bands, "circular") if bands else vae.decode(given, "circular")

    def encode(given: Tensor) -> Tensor:
        return encode_in_bands(vae, given, bands, "circular").mean if bands else vae.encode(given, "circular").mean

    picture = decode(z)
    assert_same(decode(moved(z, 3, 2)), moved(picture, 24, 16))
    assert_same(encode(moved(picture, 24, 16)), moved(encode(picture), 3, 2))
    assert float((vae.decode(moved(z, 3, 2)) - moved(vae.decode(z), 24, 16)).abs().max()) > 1e-2


def registry(down: int, across: int) -> Registry:
    """Samplers that begin with their noise moved, and draw as much in each step."""

    def beginning_elsewhere(sampler: Callable[..., Any]) -> Callable[..., Any]:
        return lambda denoise, x, sigmas, noise: sampler(
            denoise, moved(x, down, across), sigmas, lambda *at: moved(noise(*at), down, across)
        )

    infos = (SAMPLERS[name] for name in ("Euler", "Euler a"))
    named = {info.name: replace(info, function=beginning_elsewhere(info.function)) for info in infos}
    return Registry(samplers={**SAMPLERS, **named}, schedules=SCHEDULES)


HIRES: dict[str, Any] = {
    "upscaler": "Latent (bicubic)", "upscaler_hash": "", "scale_by": 2.0, "to_width": None, "to_height": None, "steps": 3,
    "strength": 0.0, "sampler": "Euler", "schedule": "Karras", "sampler_options": {}, "scale": 3.0, "prompt": "", "negative": "",
    "model": "", "model_hash": "", "override": {}, "width": 2 * SIZE, "height": 4 * SIZE, "full_width": 2 * SIZE,
    "full_height": 4 * SIZE,
}  # fmt: skip


@pytest.mark.parametrize("sampler", ["Euler", "Euler a"])
def test_whole_pictures_do_so_from_text_to_pixels(sampler: str) -> None:
    networks, model = local(), Model(name="tiny", spec=TINY, tokenizers=(TOKENIZER,))
    wanted, cell = replace(WANTED, sampler=sampler), TINY.vae.factor
    there = drawn(networks, model, wanted, registry=registry(DOWN // cell, ACROSS // cell))
    here = drawn(networks, model, wanted)
    assert torch.allclose(there, moved(here, DOWN, ACROSS), atol=1e-4) and here.std() > 0.05
    with_edges = drawn(networks, model, replace(wanted, tiling=False))
    elsewhere = drawn(networks, model, replace(wanted, tiling=False), registry=registry(DOWN // cell, ACROSS // cell))
    assert not torch.allclose(elsewhere, moved(with_edges, DOWN, ACROSS), atol=1e-2)


def test_pictures_enlarged_on_the_way_do_so_too() -> None:
    networks, model, cell = local(), Model(name="tiny", spec=TINY, tokenizers=(TOKENIZER,)), TINY.vae.factor
    wanted = replace(WANTED, hires=HIRES)
    there, here = (
        drawn(networks, model, wanted, registry=each, upscaler=HIRES["upscaler"])
        for each in (registry(DOWN // cell, ACROSS // cell), Registry())
    )
    assert here.shape == (3, 4 * SIZE, 2 * SIZE) and torch.allclose(there, moved(here, 2 * DOWN, 2 * ACROSS), atol=1e-4)


# --- what is asked --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tiling", [False, True])
@pytest.mark.parametrize("upscaler", ["Latent", "Lanczos"])
def test_everything_that_convolves_is_asked_for_alike(tiling: bool, upscaler: str) -> None:
    engine, own = Engine(), HIRES | {"upscaler": upscaler, "strength": 0.5}
    request = replace(REQUEST, strength=1.0, tiling=tiling, hires=own, refiner="r", refiner_switch_at=0.5)
    made(request, engine=engine, refiner=replace(PLAIN_MODEL, name="r"), upscaler=upscaler)
    pictures = [ask.padding for kind in (Decode, EncodePicture) for ask in engine.of(kind)]
    rows = {row.patches.padding for ask in engine.of(Rows) for row in ask.rows}
    assert set(pictures) == {"circular" if tiling else "zeros"} and rows == {"circular" if tiling else None}
    assert {row.network for row in engine.rows} == {"m", "r"}


def test_a_picture_that_is_begun_with_is_encoded_so(tmp_path: Path) -> None:
    engine = Engine()
    blank = torch.zeros(4, 32, 64, dtype=torch.uint8)
    made(replace(REQUEST, task="img2img", tiling=True), Given(picture=blank), engine)
    assert [ask.padding for ask in engine.of(EncodePicture)] == ["circular"]


def test_kept_answers_of_pictures_with_other_edges_are_not_taken() -> None:
    networks = local()
    latent = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))
    decoded = [networks.decode(Decode(latent, network="tiny", padding=each)) for each in PADDINGS]
    assert not torch.allclose(*decoded, atol=1e-3)
    encoded = [networks.encode_picture(EncodePicture(decoded[0], network="tiny", padding=each)) for each in PADDINGS]
    assert not torch.allclose(*encoded, atol=1e-3)


# --- the seam -------------------------------------------------------------------------------------------------------------------


@cache
def builtin() -> tuple[LocalNetworks, Model]:
    model = open_model(CHECKPOINT)
    return LocalNetworks({"builtin": model}.__getitem__), Model(name="builtin", spec=model.spec, tokenizers=model.tokenizers)


def steps_of(picture: Tensor, side: int) -> tuple[float, float]:
    """How much neighbouring lines of a picture differ: across the seam, and at most inside."""
    lines = (picture.roll(1, side) - picture).abs().mean((0, 3 - side))
    return float(lines[0]), float(lines[1:].max())


def test_no_seam_is_seen_where_the_built_in_model_s_pictures_meet_themselves() -> None:
    networks, model = builtin()
    wanted = replace(WANTED, model="builtin", prompt="a wooden table", width=128, height=128, steps=4)
    fits, with_edges = (drawn(networks, model, replace(wanted, tiling=each)) for each in (True, False))
    for side in (1, 2):
        seam, inside = steps_of(fits, side)
        assert seam <= inside
    seam, inside = steps_of(with_edges, 1)
    assert seam > 1.2 * inside, "or nothing would be shown by that"


def test_no_seam_is_seen_after_a_second_pass_either() -> None:
    networks, model = builtin()
    own = HIRES | {"width": 192, "height": 192, "full_width": 192, "full_height": 192, "strength": 0.5, "upscaler": "Lanczos"}
    wanted = replace(WANTED, model="builtin", prompt="a wooden table", width=128, height=128, hires=own)
    fits = drawn(networks, model, wanted, upscaler="Lanczos")
    assert fits.shape == (3, 192, 192)
    for side in (1, 2):
        seam, inside = steps_of(fits, side)
        assert seam <= inside
