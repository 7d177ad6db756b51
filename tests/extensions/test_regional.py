"""Prompts for regions: what people write is cut as they mean it, each place looks at its own text, and pictures show it."""

from __future__ import annotations

import hashlib
import importlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from webui.engine import events
from webui.errors import UserError
from webui.extension import Conditioning, Moment, Row, Site
from webui.nets.dot_product import attend
from webui.pipeline.protocol import Said, answer_all
from webui.service.composed import composed_tasks
from webui.service.extensions import bundled
from webui.service.given import among
from webui.service.opening import Service, open_engine

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = bundled().packages["regional"]
EXTENSION = importlib.import_module(PACKAGE)
LAYOUT = importlib.import_module(f"{PACKAGE}.layout")
LOOKING = importlib.import_module(f"{PACKAGE}.looking")
HEADS, WIDTH, WINDOW = 2, 8, 5
SEEDS = range(3)


# --- what people write ----------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.lists(st.integers(1, 9), min_size=1, max_size=4)), min_size=1, max_size=4))
def test_regions_cover_the_picture_once_in_the_order_of_reading(rows: list[tuple[int, list[int]]]) -> None:
    boxes = LAYOUT.cut_of(";".join(f"{height}:{','.join(map(str, widths))}" for height, widths in rows))
    assert len(boxes) == sum(len(widths) for _, widths in rows)
    assert math.isclose(sum((right - left) * (bottom - top) for left, top, right, bottom in boxes), 1)
    assert [(top, left) for left, top, _, _ in boxes] == sorted((top, left) for left, top, _, _ in boxes)
    text = ";".join(f"{height}:{','.join(map(str, widths))}" for height, widths in rows)
    assert torch.allclose(LOOKING.weights_of(text, [])(5, 7).sum(0), torch.ones(5, 7))


def test_sizes_are_shares() -> None:
    assert LAYOUT.cut_of("1,3") == [(0, 0, 0.25, 1), (0.25, 0, 1, 1)]
    assert LAYOUT.cut_of(" 2,2 ; 1 ;") == [(0, 0, 0.5, 0.5), (0.5, 0, 1, 0.5), (0, 0.5, 1, 1)]
    assert LAYOUT.cut_of("3:1;1:1") == [(0, 0, 1, 0.75), (0, 0.75, 1, 1)]
    assert LAYOUT.cut_of(" ") == []


@pytest.mark.parametrize("text", ["a", "1,", ";", "1;;1", "0,1", "-1", "nan", "inf", "1e9,1", ":1", "1:", "1:1:1", "1;" * 17])
def test_what_says_no_regions_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="The regions"):
        EXTENSION.Regional(regions=text)


def test_prompts_need_a_text_for_each_region_or_one_more() -> None:
    def resolve(regions: str, *prompts: str, **masks: str) -> Any:
        values = vars(EXTENSION.Regional(regions=regions)) | masks
        submission: Any = SimpleNamespace(values=values, prompts=prompts)
        return EXTENSION.resolve(submission)

    assert resolve("1,1", "a BREAK b", "c BREAK d BREAK e", "plain", "a BREAK b AND c BREAK d") == {"regions": 2}
    assert resolve("", "a BREAK b BREAK c") is None
    assert resolve("", "a BREAK b", mask_1="d" * 64, mask_3="e" * 64) == {"regions": 2}
    for prompt in ("a BREAK b BREAK c BREAK d", "x BREAK y AND a BREAK b BREAK c BREAK d"):
        with pytest.raises(UserError, match="There are 2 regions, and the prompt has 4 texts"):
            resolve("1,1", prompt)


# --- where places look ----------------------------------------------------------------------------------------------------------


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def called(hook: Any, context: Tensor, height: int = 4, width: int = 6, site: str = "input_blocks.1.1.attn2") -> Tensor | None:
    """What a hook makes of a layer whose keys and values are the context itself."""
    call = Site(site=site, rows=1, height=height, width=width, at=None, heads=HEADS)
    found: Tensor | None = hook.attend(call, drawn(1, height * width, WIDTH), context, context.flip(-1))
    return found


def alone(context: Tensor, height: int = 4, width: int = 6) -> Tensor:
    """Attention to this context by itself."""
    return attend(drawn(1, height * width, WIDTH), context, context.flip(-1), HEADS)


@pytest.mark.parametrize("copies", [1, 2])
def test_each_place_looks_at_the_text_of_its_region_and_at_the_common_one(copies: int) -> None:
    context = drawn(1, 3 * WINDOW, WIDTH)
    common, left, right = (alone(each) for each in context.chunk(3, dim=1))
    hook = LOOKING.hook_for(2, LOOKING.weights_of("1,2", []), 0.25, (0, 1, 2), WINDOW)
    found = called(hook, context.repeat(1, copies, 1))  # the engine repeats contexts to the length of others
    assert found is not None
    columns = torch.arange(24) % 6
    for place, column in enumerate(columns):
        own = left if column < 2 else right
        assert torch.allclose(found[0, place], 0.25 * common[0, place] + 0.75 * own[0, place], atol=1e-6)
    assert called(hook, context, site="input_blocks.1.1.attn1") is None


def test_one_text_for_everything_is_plain_attention() -> None:
    context = drawn(1, 2 * WINDOW, WIDTH)
    found = called(LOOKING.hook_for(1, LOOKING.weights_of("1", []), 0.3, (0, 0), WINDOW), context)
    assert found is not None and torch.allclose(found, alone(context), atol=1e-6)


def test_windows_belong_to_the_texts_between_breaks() -> None:
    def texts(text: str, *windows: tuple[int, ...]) -> Any:
        places: list[tuple[int, int] | None] = []
        for starts in windows:
            places += [None, *((start, start + 1) for start in starts), *[None] * (WINDOW - 1 - len(starts))]
        return LOOKING.texts_in(text, places, WINDOW)

    assert texts("a BREAK b", (0,), (8,)) == (0, 1)
    assert texts("a a a a BREAK b", (0, 2, 4), (6,), (14,)) == (0, 0, 1)
    assert texts("a BREAK BREAK b", (0,), (), (14,)) == (0, 1, 2)
    assert texts("a", (0,)) == (0,)


def test_rows_that_do_not_fit_the_regions_are_left_alone_and_others_share_one_hook() -> None:
    spec = SimpleNamespace(text=[SimpleNamespace(positions=WINDOW)])
    job: Any = SimpleNamespace(
        spec=spec, network="model", pictures={}, values=vars(EXTENSION.Regional(regions="1,1")),
    )  # fmt: skip
    change = EXTENSION.rows(job)

    def row(said: Said | None, role: str = "cond", network: str = "model") -> Row:
        return Row(drawn(4, 4, 4), Moment(1.0, 0, 4), Conditioning(drawn(10, 8), said=said), role=role, network=network)

    two = Said("a BREAK b", (None, (0, 1), None, None, None, None, (8, 9), None, None, None))
    one = Said("a", (None, (0, 1), None, None, None))
    for left in (row(None), row(one), row(two, "uncond"), row(two, network="refiner")):
        assert answer_all(change(left), lambda _: None) is left
    first, again = (answer_all(change(row(two)), lambda _: None) for _ in range(2))
    assert len(first.patches.attention) == 1 and first.patches.key == again.patches.key
    assert EXTENSION.rows(SimpleNamespace(values=vars(EXTENSION.Regional()))) is None


def test_masks_share_places_and_count_alike_where_there_is_none() -> None:
    masks = [torch.zeros(4, 4, 6, dtype=torch.uint8) for _ in range(2)]
    for mask in masks:
        mask[3] = 255
    masks[0][:3, :, :2], masks[0][:3, :, 2:4], masks[1][:3, :, 2:4] = 255, 255, 255
    first, second = LOOKING.weights_of("", masks)(4, 6)
    assert torch.allclose(first[0], torch.tensor([1, 1, 0.5, 0.5, 0.5, 0.5])) and torch.allclose(first + second, torch.ones(4, 6))


# --- pictures -------------------------------------------------------------------------------------------------------------------


def mask_of(left: int, right: int) -> bytes:
    """A picture that is white between two columns of 128."""
    pixels = np.zeros((128, 128, 3), np.uint8)
    pixels[:, left:right] = 255
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


MASKS = {hashlib.sha256(content).hexdigest(): content for content in (mask_of(64, 128), mask_of(0, 64))}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with open_engine(ROOT, exact=True, open_input=among(MASKS)) as opened:
        yield opened


def placed(service: Service, prompt: str, seed: int, **more: Any) -> float:
    """How much more of the red is left and of the blue is right than the other way round: from -1 to 1."""
    task = composed_tasks(service.resolver.extensions)["txt2img"]
    request = service.request(task(prompt=prompt, model="builtin", seed=seed, steps=8, **more))  # type: ignore[arg-type]
    told = list(service.engine.events(service.engine.submit(request)))
    assert isinstance(told[-1], events.Finished), told[-1]
    (picture,) = [event for event in told if isinstance(event, events.Picture)]
    pixels = picture.pixels.astype(int)
    red = pixels[..., 0] - pixels[..., 1:].max(-1) > 40
    blue = pixels[..., 2] - pixels[..., :2].max(-1) > 40
    right = red[:, :64].sum() - red[:, 64:].sum() + blue[:, 64:].sum() - blue[:, :64].sum()
    return float(right / max(1, red.sum() + blue.sum()))


def test_colours_are_in_their_regions_more_than_without(service: Service) -> None:
    parted = "two objects on a grey floor BREAK a red ball on a grey floor BREAK a blue cube on a grey floor"
    plain = np.mean([placed(service, "a red ball and a blue cube on a grey floor", seed) for seed in SEEDS])
    found = np.mean([placed(service, parted, seed, regional_regions="1,1") for seed in SEEDS])
    assert found > 0.7 and found > plain + 0.4
    first, second = MASKS  # masks the other way round
    turned = np.mean([placed(service, parted, seed, regional_mask_1=first, regional_mask_2=second) for seed in SEEDS[:1]])
    assert turned < -0.7
