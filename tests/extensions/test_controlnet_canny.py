"""The edges that ControlNets see are those of OpenCV, bit for bit, and have the properties that make them edges."""

from __future__ import annotations

import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d

from tests.random_weights import random_tensor
from webui.service.extensions import bundled

CANNY = importlib.import_module(f"{bundled().packages['controlnet']}.canny")
HEIGHT, WIDTH = 20, 24
# cv2.Canny(picture, low, high) of opencv-python-headless 5.0.0.93, a bit a pixel.
OPENCV = {
    (0, 300, 700): "5e8a24c0b8311eaaad83282902bd058240b08324074494a843102804b6b8"
    "84b266a44c13992029933029a42120e5c229209827a00541021531f1b58b",
    (1, 100, 300): "43cce7b60d3030a228833b30364c0f00e929118320665872c227dc2ab482"
    "191c86c1e2ec040123c0c738704320190a7f04a428f7829b802ef0c1e903",
    (2, 60, 200): "f61c4910fcff129588aea1068001107cff0006c17d591ec5d1c80452206c"
    "7e3042129662d3824a10a2480e254fe0f570108502d4950a57698a722152",
}


def picture(number: int) -> Tensor:
    """A coloured noise, the smoother the higher the number: uint8 [3, H, W]."""
    noise = random_tensor(f"canny {number}", (3, 26, 30))
    smooth = (avg_pool2d(noise, 1 + 2 * number, 1) if number else noise)[:, :HEIGHT, :WIDTH]
    return ((smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255).round().to(torch.uint8)


def disc(radius: float, side: int = 64) -> Tensor:
    """A white disc on black."""
    y, x = torch.meshgrid(torch.arange(side) - side / 2 + 0.5, torch.arange(side) - side / 2 + 0.5, indexing="ij")
    return ((x**2 + y**2).sqrt() < radius).to(torch.uint8).mul(255).expand(3, -1, -1)


@pytest.mark.parametrize("which", OPENCV)
def test_edges_are_those_of_opencv(which: tuple[int, int, int]) -> None:
    number, low, high = which
    bits = "".join(f"{byte:08b}" for byte in bytes.fromhex(OPENCV[which]))
    expected = torch.tensor([bit == "1" for bit in bits]).view(HEIGHT, WIDTH)
    assert torch.equal(CANNY.edges(picture(number), low, high), expected)
    assert torch.equal(CANNY.edges(picture(number), high, low), expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(6, 28))
def test_the_edge_of_a_disc_is_a_thin_ring_where_it_ends(radius: int) -> None:
    found = CANNY.edges(disc(radius), 100, 200)
    y, x = found.nonzero(as_tuple=True)
    away = ((x - 31.5) ** 2 + (y - 31.5) ** 2).sqrt() - radius
    assert away.abs().max() < 1.5
    assert found.sum() >= 2 * 3.14 * radius * 0.8
    one = torch.zeros_like(found)
    one[y[0], x[0]] = True
    assert torch.equal(CANNY.grown(one, found), found)  # it hangs together


def test_turned_and_mirrored_pictures_have_turned_and_mirrored_edges_where_no_two_slopes_are_equal() -> None:
    smooth = picture(2)
    here = CANNY.edges(smooth, 60, 200)
    for turn in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)):
        assert (turn(CANNY.edges(turn(smooth), 60, 200)) != here).float().mean() < 0.02


def test_a_flat_picture_has_no_edges_and_weak_ones_count_only_where_they_go_on_from_strong_ones() -> None:
    assert not CANNY.edges(torch.full((3, 9, 11), 77, dtype=torch.uint8), 0, 1).any()
    step = torch.zeros(3, 20, 20, dtype=torch.uint8)
    step[:, :10, 10:], step[:, 10:, 10:] = 200, 40  # steep above, less so below
    both, alone = CANNY.edges(step, 100, 500), CANNY.edges(step, 500, 500)
    assert both[15].any() and not alone[15].any() and alone[5].any()
    weak = torch.zeros(3, 20, 20, dtype=torch.uint8)
    weak[..., 10:] = 40
    assert not CANNY.edges(weak, 100, 500).any() and CANNY.edges(weak, 100, 150).any()
