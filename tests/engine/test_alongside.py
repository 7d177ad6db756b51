"""Patches beside layers: each row as if its own strengths were merged, in one call, wherever the weights are; nothing stays."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.engine.making import MODEL, TINY, local, pictures, request, run, stepped, tiny_model
from tests.in_memory import InMemory
from webui.engine.batching import call_of, group_key
from webui.engine.device import Choice
from webui.engine.local import LocalNetworks, Room
from webui.engine.placing import size_of
from webui.errors import UserError
from webui.pipeline.generate import generate
from webui.pipeline.loops import changed
from webui.pipeline.patches import NO_PATCHES, Patches, WeightPatch
from webui.pipeline.protocol import Ask, Conditioning, Moment, Row, Rows
from webui.request import Request

PREFIX = "model.diffusion_model."
LAYERS = (  # of every kind, and those of which something is kept from call to call
    "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight", "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
    "middle_block.1.transformer_blocks.0.attn2.to_v.weight", "middle_block.1.transformer_blocks.0.ff.net.0.proj.bias",
    "input_blocks.1.0.in_layers.2.weight", "input_blocks.1.0.in_layers.2.bias", "input_blocks.2.0.op.weight",
    "input_blocks.1.1.proj_in.weight", "time_embed.0.weight", "output_blocks.0.0.emb_layers.1.weight",
    "output_blocks.0.0.in_layers.0.weight", "middle_block.1.transformer_blocks.0.norm2.bias", "out.2.weight",
)  # fmt: skip


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def row(seed: int = 0, sigma: float = 2.0, patches: Patches = NO_PATCHES, x: Tensor | None = None) -> Row:
    text = Conditioning(noise(12, TINY.unet.context_width, seed=seed), key=str(seed))
    return Row(noise(4, 8, 8, seed=seed) * sigma if x is None else x, Moment(sigma, 0, 1), text, network="tiny", patches=patches)


def shape_of(key: str) -> torch.Size:
    return tiny_model().unet.get_parameter(key).shape


def low_rank(key: str, content: str, seed: int = 0, beside: float | None = None, merged: float = 1.0) -> WeightPatch:
    """A patch of two ranks, to be run beside, or merged with a strength."""
    shape = shape_of(key)
    up, down = noise(shape[0], 2, seed=seed), noise(2, shape[1:].numel(), seed=seed + 1) / shape[1:].numel() ** 0.5
    return WeightPatch(
        PREFIX + key, lambda weight: merged * 0.5 * (up @ down).view(weight.shape), f"{content} {beside is None and merged}",
        low_rank=lambda: (up, down, merged * 0.5), beside=beside,
    )  # fmt: skip


def whole(key: str, content: str, seed: int = 0, beside: float | None = None, merged: float = 1.0) -> WeightPatch:
    """A patch of all a weight's ranks, which follows from the original weight."""
    change = noise(*shape_of(key), seed=seed) / max(shape_of(key)[1:].numel(), 4) ** 0.5
    return WeightPatch(
        PREFIX + key, lambda weight: merged * (change + 0.3 * weight), f"{content} {beside is None and merged}", beside=beside
    )


def made(key: str, content: str, seed: int, **strength: float) -> WeightPatch:
    ranked = key.endswith(".weight") and len(shape_of(key)) > 1 and seed % 2 == 0
    return (low_rank if ranked else whole)(key, content, seed=seed, **strength)


def predicted(networks: LocalNetworks, *rows: Row) -> tuple[Tensor, ...]:
    return networks.predict(call_of(rows)).rows


def near(actual: Tensor, wanted: Tensor, bound: float = 1e-5) -> bool:
    return bool((actual - wanted).abs().max() <= bound * wanted.abs().max())


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.sampled_from(LAYERS), min_size=1, max_size=3, unique=True), st.integers(0, 5),
    st.lists(st.sampled_from((-0.7, 0.0, 0.4, 1.0)), min_size=3, max_size=3), st.booleans(),
)
def test_each_row_is_as_with_its_own_strength_merged(keys: list[str], seed: int, strengths: list[float], also: bool) -> None:
    kept = (whole(keys[0], "kept", seed=99),) if also else ()  # and one that is merged at the same time
    rows = [
        row(index, patches=Patches(weights=(*(made(key, "a", seed, beside=strength) for key in keys), *kept)))
        for index, strength in enumerate(strengths)
    ]
    networks = local()
    together = predicted(networks, *rows)
    for index, (strength, answer) in enumerate(zip(strengths, together, strict=True)):
        merged = Patches(weights=(*(made(key, "a", seed, merged=strength) for key in keys), *kept))
        (wanted,) = predicted(networks, row(index, patches=merged))
        assert near(answer, wanted)


@pytest.mark.parametrize("key", LAYERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_it_has_an_effect_that_grows_with_the_strength_and_is_another_in_the_next_step(key: str, seed: int) -> None:
    networks = local()
    (plain,) = predicted(networks, row())
    answers = [predicted(networks, row(patches=Patches(weights=(made(key, "a", seed, beside=each),))))[0] for each in (0, 0.5, 1)]
    assert near(answers[0], plain)
    sizes = [float((answer - plain).abs().mean()) for answer in answers[1:]]
    assert 0 < 100 * sizes[0] < 100 * sizes[1] and sizes[0] > 1e-5 * float(plain.abs().mean())


def test_rows_of_different_strengths_share_a_call_and_rows_with_another_patch_do_not() -> None:
    def key(patch: WeightPatch) -> object:
        return group_key(row(patches=Patches(weights=(patch,))))

    layer = LAYERS[0]
    assert key(low_rank(layer, "a", beside=0.2)) == key(low_rank(layer, "a", beside=0.9))
    assert key(low_rank(layer, "a", beside=0.2)) != key(low_rank(layer, "b", beside=0.2))
    assert key(low_rank(layer, "a", merged=0.2)) != key(low_rank(layer, "a", merged=0.9))
    assert key(WeightPatch("k", torch.zeros_like, "a")) != key(WeightPatch("k", torch.zeros_like, "a", beside=1.0))
    assert not local().ready(row(patches=Patches(weights=(low_rank(layer, "a", beside=0.2),))))
    networks = local()
    predicted(networks, row(patches=Patches(weights=(low_rank(layer, "a", beside=0.2),))))
    swaps = networks.holding.residency.swaps
    assert networks.ready(row(patches=Patches(weights=(low_rank(layer, "a", beside=-3.0),))))
    predicted(networks, row(patches=Patches(weights=(low_rank(layer, "a", beside=0.9),))))
    assert networks.holding.residency.swaps == swaps


def test_the_order_of_patches_makes_no_difference_and_one_that_is_there_twice_counts_twice() -> None:
    a, b = low_rank(LAYERS[0], "a", beside=0.3), low_rank(LAYERS[0], "b", seed=5, beside=0.6)
    one, other = (predicted(local(), row(patches=Patches(weights=each)))[0] for each in ((a, b), (b, a)))
    assert torch.equal(one, other)
    (twice,) = predicted(local(), row(patches=Patches(weights=(a, a))))
    (double,) = predicted(local(), row(patches=Patches(weights=(replace(a, beside=0.6),))))
    assert near(twice, double)


@pytest.mark.parametrize("patch", [low_rank, whole])
def test_a_network_that_comes_block_by_block_answers_the_same(patch) -> None:
    keys = [key for key in LAYERS if len(shape_of(key)) > 1]
    patches = Patches(weights=(*(patch(key, "a", beside=0.6) for key in keys), whole(keys[0], "kept")))
    extra = sum(4 * shape_of(key).numel() for key in keys) if patch is whole else 0
    source = InMemory(tiny_model())
    small = LocalNetworks(lambda _: source, room=Room(weights=size_of(source.shapes("unet"), Choice()) + extra - 64))
    known = predicted(local(), row(patches=patches))[0]
    assert torch.equal(predicted(small, row(patches=patches))[0], known)
    assert small.holding.predictor("tiny", patches.weights).streamed
    assert small.holding.residency.ledger.peak <= small.holding.residency.ledger.budget


def test_nothing_stays_neither_after_a_call_nor_after_one_that_raises() -> None:
    class Broken:
        def before(self, call, h):
            if call.site == "middle_block":
                raise RuntimeError("broken")
            return h

    networks = local()
    before = {name: weight.clone() for name, weight in tiny_model().unet.state_dict().items()}
    patches = Patches(weights=tuple(made(key, "a", index, beside=0.8) for index, key in enumerate(LAYERS)))
    (plain,) = predicted(networks, row())
    (patched,) = predicted(networks, row(patches=patches))
    with pytest.raises(RuntimeError, match="broken"):
        predicted(networks, row(patches=patches + Patches(blocks=(Broken(),))))
    assert not near(patched, plain, 1e-2)
    assert torch.equal(predicted(networks, row())[0], plain)
    assert torch.equal(predicted(networks, row(patches=patches))[0], patched)
    assert all(torch.equal(weight, before[name]) for name, weight in tiny_model().unet.state_dict().items())
    assert not any(module._forward_hooks for module in networks.holding.predictor("tiny").module.modules())
    zero = networks.holding.predictor("tiny", patches.weights)
    assert zero.alongside is not None and zero.alongside.strengths.get(("a False", PREFIX + LAYERS[0])) is None


@pytest.mark.parametrize("patch", [
    WeightPatch(PREFIX + LAYERS[0], lambda weight: weight[:1], "a", beside=1.0),
    WeightPatch(PREFIX + LAYERS[0], lambda weight: weight, "a", lambda: (torch.ones(3, 1), torch.ones(1, 3), 1.0), beside=1.0),
    WeightPatch(PREFIX + "nowhere.weight", lambda weight: weight, "a", beside=1.0),
])  # fmt: skip
def test_what_does_not_fit_is_told(patch: WeightPatch) -> None:
    with pytest.raises(UserError, match="A patch"):
        predicted(local(), row(patches=Patches(weights=(patch,))))


def test_a_text_tower_has_them_merged_at_their_strength() -> None:
    key = "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight"

    def meaning(*patches: WeightPatch) -> np.ndarray:
        networks = local()

        def start(wanted: Request) -> list:
            return [generate(wanted, MODEL, patches=Patches(weights=patches))]

        engine = stepped(start, networks)
        job = engine.submit(request())
        run(engine)
        return pictures(engine, job)[0].pixels

    half = meaning(WeightPatch(key, lambda weight: weight, "a", beside=0.5))
    assert np.array_equal(half, meaning(WeightPatch(key, lambda weight: weight / 2, "b")))
    assert not np.array_equal(half, meaning(WeightPatch(key, lambda weight: weight, "a", beside=1.0)))


def test_strengths_that_differ_from_step_to_step_and_between_jobs_that_share_calls_equal_each_alone() -> None:
    """By the whole engine: one job's strength falls along the steps, the other's rises."""

    def scheduled(wanted: Request) -> list:
        def change(ask: Ask) -> Ask:
            if not isinstance(ask, Rows):
                return ask
            part = ask.rows[0].at.step / 4
            patch = low_rank(LAYERS[0], "a", beside=part if wanted.prompt == "up" else 1 - part)
            return Rows(*(replace(each, patches=Patches(weights=(patch,))) for each in ask.rows))

        return [changed(generate(wanted, MODEL), change)]

    def drawn(*prompts: str) -> tuple[list[np.ndarray], int]:
        engine = stepped(scheduled, local())
        jobs = [engine.submit(request(prompt=prompt)) for prompt in prompts]
        run(engine)
        return [pictures(engine, job)[0].pixels for job in jobs], engine.calls

    both, calls = drawn("up", "down")
    (up,), alone = drawn("up")
    (down,), _ = drawn("down")
    assert calls == alone
    for one, other in pairwise((both[0], up)):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1
    assert np.abs(both[1].astype(int) - down.astype(int)).max() <= 1
    assert not np.array_equal(up, down)
