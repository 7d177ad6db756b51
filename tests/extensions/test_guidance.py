"""Five ways of guidance: each equals its paper's formula written another way, changes pictures, and is not there when off."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.utils.torch_utils import apply_freeu
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor

from models.builtin.recipe import classifier as recipe
from tests.nets.families import SD1, SDXL, assert_same, inputs, unet
from webui.engine import events
from webui.nets.hooks import Call, Hooks
from webui.pipeline.guidance import Options, guided, plain_row
from webui.pipeline.patches import NO_PATCHES
from webui.pipeline.protocol import Conditioning, Gradient, Moment, Row, Rows, answer_all
from webui.pipeline.texts import Part, Texts, constant
from webui.service.opening import Service, open_engine

guidance = importlib.import_module("extensions.guidance")
classifying, freeu, perpendicular, perturbed, thresholding = (
    importlib.import_module(f"extensions.guidance.{name}")
    for name in ("classifying", "freeu", "perpendicular", "perturbed", "thresholding")
)
ROOT = Path(__file__).parents[2]
AT = Moment(2.0, 0, 10)
PLAINLY = Options()
Parts = tuple[tuple[str, float], ...]
DEFAULTS = {"mimic": 0, "percentile": 99.5, "perpendicular": 0, "perturbed": 0, "perturbed_blocks": "Middle", "freeu": "Off",
            "b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2, "classifier": "None", "classifier_scale": 10}  # fmt: skip


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*(shape or (4, 6, 5)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def job(scale: float = 6.0, **values: Any) -> Any:
    def encode(text: str) -> Any:
        yield from ()
        return text_of(text or "nothing")

    said: list[str] = []
    return SimpleNamespace(
        values=DEFAULTS | values, request=SimpleNamespace(scale=scale, model="m"), encode=encode,
        spec=SimpleNamespace(family="tiny"), second=False, tell=said.append, said=said,
    )  # fmt: skip


def text_of(text: str) -> Conditioning:
    return Conditioning(torch.zeros(1, 1), key=text)


def answered(rows: Rows) -> tuple[Tensor, ...]:
    """A network whose answers are random but for what they are of; other ones where its attention is perturbed."""
    return tuple(random(sum(map(ord, row.conditioning.key)) + 7 * (row.patches is not NO_PATCHES)) for row in rows.rows)


def of(text: str, *, hurt: bool = False) -> Tensor:
    return random(sum(map(ord, text)) + 7 * hurt)


def step(own: Any, parts: Parts = (("a", 1.0),), options: Options = PLAINLY, asked: list[tuple[str, str]] | None = None) -> Any:
    """What a step of guidance answers with an extension's guide."""
    texts = Texts(parts=tuple(Part(course=constant(text_of(text)), weight=weight) for text, weight in parts),
                  course=constant(text_of("bad")))  # fmt: skip
    guide = guidance.guide(own)
    denoise = guided(texts, own.request.scale, plain_row(), options, [guide] if guide else [])

    def answer(rows: Any) -> Any:
        assert isinstance(rows, Rows)
        if asked is not None:
            asked.extend((row.role, row.conditioning.key) for row in rows.rows)
        return answered(rows)

    return answer_all(denoise(random(0), AT), answer)


PLAIN = of("bad") + 6 * (of("a") - of("bad"))


def test_all_are_off_by_default() -> None:
    asked: list[tuple[str, str]] = []
    assert guidance.guide(job()) is None and guidance.patches(job()) is None
    denoise = object()
    assert guidance.denoiser(job(), denoise) is denoise
    assert torch.equal(step(job(), asked=asked), PLAIN) and asked == [("cond", "a"), ("uncond", "bad")]
    sections = guidance.params()
    assert {name: getattr(each.params(), name) for each in sections for name in each.params.__dataclass_fields__} == DEFAULTS


# --- dynamic thresholding ---------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(mimic=st.floats(0.5, 12), percentile=st.sampled_from([50, 90, 99.5, 100]), scale=st.floats(1.5, 30))
def test_thresholding_is_the_papers_formula_in_each_channel(mimic: float, percentile: float, scale: float) -> None:
    found = step(job(scale=scale, mimic=mimic, percentile=percentile)).numpy()
    bad, good = of("bad").numpy(), of("a").numpy()
    for channel in range(4):
        x = bad[channel] + scale * (good[channel] - bad[channel])
        lower = bad[channel] + mimic * (good[channel] - bad[channel])
        centred, reach = x - x.mean(), np.abs(lower - lower.mean()).max()  # "x in [-1, 1]", where 1 is the reach
        s = max(np.percentile(np.abs(centred) / reach, percentile), 1.0)
        expected = np.clip(centred / reach, -s, s) / s * reach + x.mean()
        np.testing.assert_allclose(found[channel], expected, rtol=1e-9, atol=1e-9)


def test_thresholding_at_the_pictures_own_scale_changes_nothing() -> None:
    assert torch.allclose(step(job(mimic=6)), PLAIN, atol=1e-12) and not torch.allclose(step(job(mimic=3)), PLAIN, atol=0.1)
    assert not step(job(mimic=3, scale=1e4)).isnan().any()
    flat = torch.ones(4, 2, 2)
    assert torch.equal(thresholding.thresholded(flat, flat * 3, 0.9), flat)


# --- perpendicular negative -------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(weight=st.floats(0.1, 4), scale=st.floats(1.5, 12))
def test_perp_neg_subtracts_what_is_perpendicular(weight: float, scale: float) -> None:
    found = step(job(scale=scale, perpendicular=weight))
    towards, away = (of("a") - of("nothing")).flatten().numpy(), (of("bad") - of("nothing")).flatten().numpy()
    basis, _ = np.linalg.qr(np.stack([towards, away], axis=1))  # its second column is perpendicular to the prompt
    across = basis[:, 1] * (basis[:, 1] @ away)
    expected = of("nothing").flatten().numpy() + scale * (towards - weight * across)
    np.testing.assert_allclose(found.flatten().numpy(), expected, rtol=1e-8, atol=1e-8)


def test_a_negative_prompt_like_the_prompt_takes_nothing_away() -> None:
    x = random(1)
    assert perpendicular.perpendicular(3 * x, x).abs().max() < 1e-12
    assert torch.equal(perpendicular.perpendicular(x, torch.zeros_like(x)), x)
    asked: list[tuple[str, str]] = []
    step(job(perpendicular=1), asked=asked)
    assert asked == [("cond", "a"), ("uncond", "bad"), ("without words", "nothing")]


# --- perturbed attention ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", ["Middle", "All"])
@pytest.mark.parametrize(("name", "spec"), [("sd15-tiny", SD1), ("sdxl-tiny", SDXL)])
def test_perturbed_attention_is_the_values_alone(name: str, spec: Any, blocks: str) -> None:
    network, reference = unet(name), unet(name)
    for site, module in reference.named_modules():
        if site.endswith(".attn1") and (blocks == "All" or site.startswith("middle_block.")):
            module.forward = lambda x, *_, layer=module: layer.to_out[0](layer.to_v(x))  # type: ignore[method-assign]
    given = inputs(spec)
    (hook,) = perturbed.PERTURBED[blocks].attention
    plain = network(*given)
    assert_same(network(*given, hooks=Hooks(attention=(hook,))), reference(*given))
    assert (plain - reference(*given)).abs().max() > 1e-3 and torch.equal(network(*given), plain)


@pytest.mark.parametrize(("parts", "options"), [
    ((("a", 1.0),), Options()), ((("a", 0.7),), Options()), ((("a", 1.0), ("b", 0.5)), Options()),
    ((("a", 0.0), ("b", 0.5)), Options()), ((("a", 1.0), ("b", -0.5), ("c", 0.0)), Options()),
    ((("a", 1.0),), Options(start=0.5)), ((("a", 1.0), ("b", 0.5)), Options(start=0.5)),
])  # fmt: skip
def test_pag_pushes_every_part_of_a_prompt_by_its_weight(parts: Parts, options: Options) -> None:
    """Equation 16 for each part: away from its own perturbed answer."""
    plain = step(job(), parts, options)
    if options.start:  # the first part stands in for the negative prompt, and the others pull from it
        rest = sum(weight for _, weight in parts[1:])
        away = (1 - rest) * (of("a") - of("a", hurt=True))
        shares = parts[1:]
    else:
        away, shares = torch.zeros_like(plain), parts
    for text, weight in shares:
        away = away + weight * (of(text) - of(text, hurt=True))
    assert torch.allclose(step(job(perturbed=3), parts, options), plain + 3 * away, atol=1e-9)


def test_what_looks_at_the_negative_prompt_waits_until_it_counts() -> None:
    late = Options(start=0.5)
    assert torch.equal(step(job(mimic=3, perpendicular=1), options=late), of("a"))
    assert torch.equal(step(job(scale=1, mimic=3, perpendicular=1)), of("a"))


def test_several_follow_each_other() -> None:
    together = step(job(mimic=3, perpendicular=1, perturbed=2))
    before = step(job(perpendicular=1)) + 2 * (of("a") - of("a", hurt=True))
    reference = of("bad") + 3 * (of("a") - of("bad"))
    assert torch.allclose(together, thresholding.thresholded(before, reference, 0.995), atol=1e-9)


# --- FreeU ------------------------------------------------------------------------------------------------------------


def called(h: Tensor) -> Call:
    return Call(site="output_blocks.0", rows=len(h), height=h.shape[2], width=h.shape[3], at=None)


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (2, 3)])
def test_freeu_is_what_others_have_made_of_it(size: tuple[int, int]) -> None:
    """The first version as diffusers has it, at both levels."""
    factors = {"b1": 1.5, "b2": 1.6, "s1": 0.9, "s2": 0.2}
    for level, channels in enumerate((12, 8)):
        h, skip = random(level, 3, channels, *size).float(), random(9, 3, 6, *size).float()
        hook = freeu.Scaled({12: (1.5, 0.9), 8: (1.6, 0.2)}, by_strength=False)
        kept = h.clone(), skip.clone()
        ours = hook.skip(called(h), h, skip)
        theirs = apply_freeu(level, h.clone(), skip.clone(), **factors)
        for one, other in zip(ours, theirs, strict=True):
            assert torch.allclose(one, other, atol=1e-5)
        for before, after, now in zip(kept, ours, (h, skip), strict=True):
            assert torch.equal(before, now) and not torch.allclose(after, now, atol=0.01)  # and it was not written to


@settings(max_examples=20, deadline=None)
@given(b=st.floats(0, 3), s=st.floats(0, 3), height=st.integers(1, 9), width=st.integers(1, 9))
def test_freeus_first_version_is_the_papers_sum_of_waves(b: float, s: float, height: int, width: int) -> None:
    h, skip = random(1, 2, 6, height, width), random(2, 2, 5, height, width)
    found, passed = freeu.Scaled({6: (b, s)}, by_strength=False).skip(called(h), h, skip)
    assert torch.allclose(found[:, :3], h[:, :3] * b) and torch.equal(found[:, 3:], h[:, 3:])
    rows = [n for n in (-1, 0) if -(height // 2) <= n]  # frequencies, in waves per picture
    columns = [n for n in (-1, 0) if -(width // 2) <= n]
    low = torch.zeros_like(skip, dtype=torch.complex128)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for down in rows:
        for across in columns:
            wave = torch.exp(2j * math.pi * (down * y / height + across * x / width))
            low += (skip * wave.conj()).mean((2, 3), keepdim=True) * wave
    assert torch.allclose(passed.double(), skip + (s - 1) * low.real, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(b=st.floats(0, 3), flat=st.booleans())
def test_freeus_second_version_counts_where_features_are_strong(b: float, flat: bool) -> None:
    """Equation 2 of the paper's second version: alpha = (b - 1) * (mean - least) / (most - least) + 1, of each picture."""
    h, skip = random(1, 2, 6, 3, 4), random(2, 2, 5, 3, 4)
    h = torch.ones_like(h) if flat else h
    found, passed = freeu.Scaled({6: (b, 1.0)}, by_strength=True).skip(called(h), h, skip)
    for row in range(2):
        mean = h[row].numpy().mean(0)
        alpha = 1 + (b - 1) * (mean - mean.min()) / (np.ptp(mean) or 1)
        np.testing.assert_allclose(found[row, :3].numpy(), h[row, :3].numpy() * alpha, atol=1e-9)
    assert torch.equal(found[:, 3:], h[:, 3:]) and torch.allclose(passed, skip, atol=1e-5)


def test_freeu_scales_the_two_lowest_levels() -> None:
    own = job(freeu="v1")
    own.spec = SimpleNamespace(unet=SD1, family="sd1")
    (hook,) = guidance.patches(own).blocks
    assert guidance.patches(own).blocks == (hook,)  # pictures with the same factors may share calls
    network, given = unet("sd15-tiny"), inputs(SD1)
    seen: dict[int, tuple[float, float]] = {}

    class Watching:
        def skip(self, call: Call, h: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
            found, passed = hook.skip(call, h, skip)
            if not torch.equal(found, h):
                seen[h.shape[1]] = (round(float((found / h)[0, 0].mean()), 3), round(float(passed.sum() / skip.sum()), 3))
            return found, passed

    plain = network(*given)
    assert (network(*given, hooks=Hooks(blocks=(Watching(),))) - plain).abs().max() > 1e-2
    assert seen == {128: (1.3, 0.9), 64: (1.4, 0.2)} and torch.equal(network(*given), plain)


# --- a classifier -----------------------------------------------------------------------------------------------------


def test_uphill_on_a_true_classifier_is_the_class_own_denoiser() -> None:
    """Bayes' rule: for two Gaussians, what is known of both with the chance of one uphill is what is known of that one alone."""
    means, deviation, at = (1.5, -0.5), 0.4, Moment(0.8, 0, 10)
    variance = deviation**2 + at.sigma**2

    def logs(x: Tensor) -> Tensor:
        return torch.stack([-((x - mean) ** 2).sum() / (2 * variance) for mean in means])

    def own(x: Tensor, mean: float) -> Tensor:
        return mean + (x - mean) * deviation**2 / variance

    def denoise(x: Tensor, at: Moment) -> Iterator[Any]:
        yield from ()
        chances = logs(x).softmax(0)
        return chances[0] * own(x, means[0]) + chances[1] * own(x, means[1])

    x = random(3, 1, 3, 2)
    pushed = classifying.uphill(denoise, lambda sigma: lambda x: logs(x).log_softmax(0)[1], 1.0)
    found = answer_all(pushed(x, at), gradient)
    assert torch.allclose(found, own(x, means[1]), atol=1e-12) and not torch.allclose(found, own(x, means[0]), atol=0.1)

    def paired(x: Tensor, at: Moment) -> Iterator[Any]:
        answer = yield from denoise(x, at)
        return answer, x

    both = answer_all(classifying.uphill(paired, lambda sigma: lambda x: logs(x).log_softmax(0)[1], 1.0)(x, at), gradient)
    assert torch.equal(both[0], found) and both[1] is x


def gradient(ask: Any) -> Tensor:
    assert isinstance(ask, Gradient)
    with torch.enable_grad():
        x = ask.x.detach().requires_grad_()
        return torch.autograd.grad(ask.function(x), x)[0]


def test_the_classifier_that_ships_is_the_recipes() -> None:
    assert classifying.FILE.stat().st_size < 600_000
    with safe_open(classifying.FILE, "pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    shapes, colours = json.loads(metadata["classes"])
    assert (tuple(shapes), tuple(colours)) == recipe.CLASSES == (classifying.SHAPES, classifying.COLOURS)
    assert metadata["family"] == classifying.FAMILY and recipe.EXTENSION / recipe.FILE == classifying.FILE
    recipe.new_classifier().load_state_dict(tensors)
    right = json.loads(metadata["right"])
    assert right["0.5"]["shape"] > 0.9 and right["0.5"]["colour"] > 0.9 and right["2"]["shape"] > 0.5


def test_another_models_pictures_are_drawn_without_the_classifier_and_it_says_so() -> None:
    own, denoise = job(classifier="red"), object()
    assert guidance.denoiser(own, denoise) is denoise
    assert own.said == ["The classifier knows the built-in model's latents alone; 'm' is drawn without it."]
    assert guidance.denoiser(job(classifier="red", classifier_scale=0), denoise) is denoise


# --- in pictures ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with open_engine(ROOT, exact=True) as opened:
        yield opened


def drawn(service: Service, *requests: Any) -> list[np.ndarray]:
    jobs = [service.engine.submit(each) for each in requests]
    told = [list(service.engine.events(each)) for each in jobs]
    for each in told:
        assert isinstance(each[-1], events.Finished), each[-1]
    return [next(event.pixels for event in each if isinstance(event, events.Picture)).astype(int) for each in told]


def wanted(service: Service, **values: Any) -> Any:
    usual = {"model": "builtin", "prompt": "a large red ball on a grey floor", "negative": "a shiny cube", "seed": 3, "steps": 5}
    given = usual | {"scale": 7.0} | {name if name in usual else f"guidance_{name}": value for name, value in values.items()}
    return service.request(service.resolver.tasks()["txt2img"].read(given))


WAYS: tuple[dict[str, Any], ...] = (
    {"mimic": 2.0}, {"perpendicular": 1.5}, {"perturbed": 4.0, "perturbed_blocks": "All"}, {"freeu": "v1"}, {"freeu": "v2"},
    {"classifier": "blue", "classifier_scale": 15.0},
)  # fmt: skip


def test_each_way_changes_the_picture_and_none_does_when_off(service: Service) -> None:
    off = wanted(service, mimic=0.0, classifier_scale=10.0)
    assert off.extensions == {} and wanted(service).extensions == {}
    (plain,) = drawn(service, off)
    for way in WAYS:
        (found,) = drawn(service, wanted(service, **way))
        assert np.abs(found - plain).mean() > 5, way
    inert = {"percentile": 60.0, "b1": 2.0, "classifier": "blue", "classifier_scale": 0.0, "perturbed_blocks": "All"}
    (found,) = drawn(service, wanted(service, **inert))
    assert np.array_equal(found, plain)


def test_at_once_they_are_what_each_is_alone(service: Service) -> None:
    requests = [wanted(service), *(wanted(service, **way, steps=3) for way in WAYS[2:])]
    for together, each in zip(drawn(service, *requests), requests, strict=True):
        (alone,) = drawn(service, replace(each, reproducible=True))
        assert np.abs(together - alone).max() <= 1


def test_the_classifier_brings_its_class(service: Service) -> None:
    """A ball of no colour becomes one of the class', the words staying as they are."""
    for name, channel in (("red", 0), ("blue", 2)):
        way = {"classifier": name, "classifier_scale": 12.0}
        prompt = {"prompt": "a large ball on a grey floor", "negative": "", "steps": 12}
        plain, found = drawn(service, wanted(service, **prompt), wanted(service, **prompt, **way))
        excess = [each[..., channel] - np.delete(each, channel, axis=-1).max(axis=-1) for each in (plain, found)]
        before, after = (int((each > 40).sum()) for each in excess)
        assert after > before + 100, (name, before, after)


def test_rows_that_are_perturbed_are_told_apart() -> None:
    row = Row(random(0), AT, text_of("a"), patches=NO_PATCHES)
    assert (perturbed.PERTURBED["Middle"] + row.patches).key != row.patches.key
