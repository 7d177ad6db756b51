"""The noise predictor's arguments: hooks, residuals, reused keys and values, padding, and how its blocks are run."""
from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from tests.nets.families import SD1, SDXL, TINY, assert_same, inputs, unet
from webui.nets.hooks import Call, Hooks
from webui.nets.spec import UNetSpec
from webui.nets.unet import UNetModel

SMALL = UNetSpec(
    model_channels=16, channel_mult=(1, 2), res_blocks=1, transformer_depth=(0, 1), context_width=8, heads=2, groups=8,
    in_channels=8, out_channels=8,
)


@pytest.mark.parametrize(("name", "spec"), [("sd15-tiny", SD1), ("sdxl-tiny", SDXL)])
def test_reused_keys_and_values_change_nothing(name: str, spec: UNetSpec) -> None:
    network = unet(name)
    x, t, context, y = inputs(spec)
    kept = network.cross_keys_values(context)
    sites = {key.removesuffix(".to_k.weight") for key in network.state_dict() if key.endswith("attn2.to_k.weight")}
    assert set(kept) == sites
    plain = network(x, t, context, y)
    assert torch.equal(network(x, t, torch.zeros_like(context), y, keys_values=kept), plain)
    assert (network(x, t, torch.zeros_like(context), y) - plain).abs().max() > 1e-2


def test_rows_do_not_see_each_other() -> None:
    network = unet("sdxl-tiny")
    x, t, context, y = inputs(SDXL, batch=3)
    assert y is not None
    whole = network(x, t, context, y)
    for row in range(3):
        one = slice(row, row + 1)
        assert_same(network(x[one], t[one], context[one], y[one]), whole[one])


def test_equal_copies_of_a_context_change_nothing() -> None:
    network = unet()
    x, t, context, _ = inputs(SD1)
    assert_same(network(x, t, context.repeat(1, 3, 1)), network(x, t, context))


def test_circular_padding_makes_the_network_equivariant_to_shifts() -> None:
    network = unet()
    x, t, context, _ = inputs(SD1)

    def shifted_both_ways(padding: str) -> tuple[Tensor, Tensor]:
        rolled = network(x.roll((8, 8), (2, 3)), t, context, padding=padding)
        return rolled, network(x, t, context, padding=padding).roll((8, 8), (2, 3))

    assert_same(*shifted_both_ways("circular"))
    rolled, result = shifted_both_ways("zeros")
    assert (rolled - result).abs().max() > 1e-2


@pytest.mark.parametrize("side", [1, 2, 5])
def test_small_latents_work_with_both_paddings(side: int) -> None:
    x, t, context, _ = inputs(SD1, side=side)
    for padding in ("zeros", "circular"):
        assert unet()(x, t, context, padding=padding).shape == x.shape


def test_residuals_are_added_to_skips_and_middle() -> None:
    network = unet()
    x, t, context, _ = inputs(SD1)
    plain = network(x, t, context)
    skips: list[Tensor] = []

    def run(block: nn.Module, *given: Any) -> Any:
        result = block(*given)
        if isinstance(result, Tensor) and result.ndim == 4:
            skips.append(result)
        return result

    network(x, t, context, run=run)
    count = len(network.input_blocks) + 1
    zeros = [torch.zeros_like(each) for each in skips[:count]]
    assert torch.equal(network(x, t, context, residuals=zeros), plain)
    assert torch.equal(network(x, t, context, residuals=[None] * count), plain)
    for index in (0, count - 2, count - 1):
        more = torch.randn(zeros[index].shape, generator=torch.Generator().manual_seed(1))
        changed = network(x, t, context, residuals=[*zeros[:index], more, *zeros[index + 1 :]])
        assert (changed - plain).abs().max() > 1e-3
    with pytest.raises(ValueError, match=f"Got 2 residuals; this model takes {count}"):
        network(x, t, context, residuals=zeros[:2])


def test_every_weight_is_used_through_run() -> None:
    spec = dataclasses.replace(SDXL, guidance_width=16)
    network = UNetModel(spec).eval().requires_grad_(False)
    x, t, context, y = inputs(spec)
    seen: list[nn.Module] = []

    def run(block: nn.Module, *given: Any) -> Any:
        seen.append(block)
        return block(*given)

    plain = network(x, t, context, y, guidance=t)
    assert torch.equal(network(x, t, context, y, guidance=t, run=run), plain)
    used = [id(weight) for block in seen for weight in block.parameters()]
    assert sorted(used) == sorted(id(weight) for weight in network.parameters())  # each once
    assert set(network.input_blocks) | set(network.output_blocks) | {network.middle_block, network.out} <= set(seen)


def test_recomputed_blocks_have_the_same_gradients() -> None:
    network = UNetModel(SMALL).train()
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.1)
    x, t, context, _ = inputs(SMALL, side=8)

    def gradients(**given: Any) -> list[Tensor]:
        network.zero_grad()
        network(x, t, context, **given).square().mean().backward()
        return [weight.grad.clone() for weight in network.parameters() if weight.grad is not None]

    plain = gradients()
    again = gradients(run=lambda block, *given: recompute(block, *given, use_reentrant=False))
    assert len(plain) == len(list(network.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


def test_a_new_network_predicts_zero_and_learns_under_autocast() -> None:
    network = UNetModel(SMALL)
    x, t, context, _ = inputs(SMALL, side=8)
    assert not network(x, t, context).any()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = (network(x, t, context) - 1).float().square().mean()
    loss.backward()
    gradient = network.out[2].weight.grad
    assert gradient is not None and gradient.dtype == torch.float32 and gradient.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_format_and_precision_change_only_rounding(dtype: torch.dtype) -> None:
    gate = 1.5e-5 if dtype is torch.float32 else 6e-2
    x, t, context, y = inputs(SDXL)
    plain = unet("sdxl-tiny")(x, t, context, y)
    network = unet("sdxl-tiny").to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    result = network(x.to(dtype).to(memory_format=torch.channels_last), t, context.to(dtype), y)
    assert result.dtype == dtype
    assert_same(result.float(), plain, rms=gate, most=2 * gate)


def test_the_network_without_hooks_is_one_graph() -> None:
    network = UNetModel(SMALL).eval().requires_grad_(False)
    nn.init.normal_(network.out[2].weight)
    x, t, context, _ = inputs(SMALL, side=8)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert_same(compiled(x, t, context), network(x, t, context))


def test_inputs_that_do_not_fit_are_named() -> None:
    x, t, context, y = inputs(SDXL)
    with pytest.raises(ValueError, match="needs a vector y"):
        unet("sdxl-tiny")(x, t, context)
    with pytest.raises(ValueError, match="no vector y"):
        unet()(x, t, inputs(SD1)[2], y)
    with pytest.raises(ValueError, match="no guidance embedding"):
        unet()(x, t, inputs(SD1)[2], guidance=t)


class Recorder:
    """A hook of every kind that changes nothing and remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Call]] = []

    def context(self, call: Call, context: Tensor) -> tuple[Tensor, Tensor]:
        self.calls.append(("context", call))
        return context, context

    def attend(self, call: Call, q: Tensor, k: Tensor, v: Tensor) -> Tensor | None:
        self.calls.append(("attend", call))
        return None

    def output(self, call: Call, x: Tensor) -> Tensor:
        self.calls.append(("output", call))
        return x

    def before(self, call: Call, h: Tensor) -> Tensor:
        self.calls.append(("before", call))
        return h

    def skip(self, call: Call, h: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        self.calls.append(("skip", call))
        return h, skip

    def after(self, call: Call, h: Tensor) -> Tensor:
        self.calls.append(("after", call))
        return h


def test_hooks_are_called_at_every_site_with_its_size() -> None:
    network = unet()
    x, t, context, _ = inputs(SD1)
    recorder, at = Recorder(), object()
    plain = network(x[..., :8], t, context)
    hooks = Hooks(attention=(recorder,), blocks=(recorder,), at=at)
    assert torch.equal(network(x[..., :8], t, context, hooks=hooks), plain)
    attention = {key.removesuffix(".to_q.weight") for key in network.state_dict() if key.endswith("to_q.weight")}
    outputs = {f"output_blocks.{index}" for index in range(12)}
    blocks = {f"input_blocks.{index}" for index in range(12)} | {"middle_block"} | outputs
    expected = dict.fromkeys(("context", "attend", "output"), attention) | {"before": blocks, "after": blocks, "skip": outputs}
    for kind, sites in expected.items():
        calls = [call for name, call in recorder.calls if name == kind]
        assert {call.site for call in calls} == sites and len(calls) == len(sites)
        assert all(call.at is at and call.rows == 2 for call in calls)
        sizes = {call.site: (call.height, call.width) for call in calls}
        if kind == "attend":
            assert sizes["input_blocks.1.1.transformer_blocks.0.attn1"] == (16, 8)
            assert sizes["middle_block.1.transformer_blocks.0.attn2"] == (2, 1)
            assert {call.heads for call in calls} == {8}
    before = [call.height for name, call in recorder.calls if name == "before" and call.site == "input_blocks.3"]
    after = [call.height for name, call in recorder.calls if name == "after" and call.site == "input_blocks.3"]
    assert (before, after) == ([16], [8])


class Softmax:
    """Attention written out."""

    def attend(self, call: Call, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.unflatten(-1, (call.heads, -1)).transpose(1, 2) for x in (q, k, v))
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)
        return (weights @ v).transpose(1, 2).flatten(2)


class Doubled:
    """Each seam multiplied by two (contexts: keys only)."""

    def __init__(self, *seams: str) -> None:
        for seam in seams:
            setattr(self, seam, getattr(self, f"_{seam}"))

    def _context(self, call: Call, context: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * context, context

    def _attend(self, call: Call, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return 2 * q

    def _output(self, call: Call, x: Tensor) -> Tensor:
        return 2 * x

    _before = _after = _output

    def _skip(self, call: Call, h: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        return h, 2 * skip


def test_attention_can_be_replaced() -> None:
    network = unet()
    x, t, context, _ = inputs(SD1)
    plain = network(x, t, context)
    assert_same(network(x, t, context, hooks=Hooks(attention=(Softmax(),))), plain)
    alone = network(x, t, context, hooks=Hooks(attention=(Doubled("attend"),)))
    declined = network(x, t, context, hooks=Hooks(attention=(Recorder(), Doubled("attend"), Softmax())))
    assert torch.equal(declined, alone)
    kept = network.cross_keys_values(context)
    nothing = torch.zeros_like(context)
    assert_same(network(x, t, nothing, hooks=Hooks(attention=(Softmax(),)), keys_values=kept), plain)


@pytest.mark.parametrize("seam", ["context", "attend", "output", "before", "skip", "after"])
def test_hooks_have_an_effect_and_leave_no_trace(seam: str) -> None:
    network = unet()
    x, t, context, _ = inputs(SD1)
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    plain = network(x, t, context)
    hook = Doubled(seam)
    hooks = Hooks(attention=(hook,)) if seam in ("context", "attend", "output") else Hooks(blocks=(hook,))
    assert (network(x, t, context, hooks=hooks) - plain).abs().max() > 1e-2
    assert torch.equal(network(x, t, context), plain)
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_context_hook_sees_the_context_even_beside_reused_keys() -> None:
    network = unet()
    x, t, context, _ = inputs(SD1)
    hooks = Hooks(attention=(Doubled("context"),))
    expected = network(x, t, context, hooks=hooks)
    kept = network.cross_keys_values(torch.zeros_like(context))
    assert torch.equal(network(x, t, context, hooks=hooks, keys_values=kept), expected)


class Shift:
    """Contexts moved, keys and values by different amounts."""

    def __init__(self, keys: float, values: float, factor: float = 1.0) -> None:
        self.keys, self.values, self.factor = keys, values, factor

    def context(self, call: Call, context: Tensor) -> tuple[Tensor, Tensor]:
        return self.factor * context + self.keys, self.factor * context + self.values


def test_context_hooks_apply_in_turn_to_keys_and_to_values() -> None:
    network = unet()
    x, t, context, _ = inputs(SD1)
    chained = network(x, t, context, hooks=Hooks(attention=(Shift(0.5, -1.0), Shift(1.0, 0.25, 2.0))))
    assert_same(chained, network(x, t, context, hooks=Hooks(attention=(Shift(2.0, -1.75, 2.0),))))


def test_hooks_act_row_by_row() -> None:
    network = unet()
    x, t, context, _ = inputs(SD1)

    class SecondRow:
        def output(self, call: Call, x: Tensor) -> Tensor:
            return x * torch.tensor([1.0, 3.0])[:, None, None]

    plain, changed = network(x, t, context), network(x, t, context, hooks=Hooks(attention=(SecondRow(),)))
    assert torch.equal(changed[0], plain[0])
    assert (changed[1] - plain[1]).abs().max() > 1e-2


@pytest.mark.parametrize(("name", "spec"), [("sd15-tiny", SD1), ("sdxl-tiny", SDXL)])
def test_reused_embeddings_change_nothing(name: str, spec: UNetSpec) -> None:
    network = unet(name)
    x, t, context, y = inputs(spec)
    kept = network.embeddings(t, y)
    sites = {key.removesuffix(".emb_layers.1.weight") for key in network.state_dict() if key.endswith("emb_layers.1.weight")}
    assert set(kept) == sites
    plain = network(x, t, context, y)
    assert torch.equal(network(x, torch.zeros_like(t), context, y, embeddings=kept), plain)
    assert (network(x, torch.zeros_like(t), context, y) - plain).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["sd15-tiny", "sd21-v-tiny", "sdxl-tiny"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_rows_with_the_same_input_may_share_it(name: str, layout: torch.memory_format) -> None:
    spec, network = TINY[name], unet(name)
    x, t, context, y = inputs(spec, batch=4)
    spread = torch.tensor([0, 0, 1, 1])
    x, t, y = x[:2].contiguous(memory_format=layout), t[:2], None if y is None else y[:2]
    whole = network(x[spread].contiguous(memory_format=layout), t[spread], context, None if y is None else y[spread])
    began: list[int] = []

    def run(block: nn.Module, h: Any, *given: Any) -> Any:
        if isinstance(h, Tensor) and h.ndim == 4:
            began.append(len(h))
        return block(h, *given)

    shared = network(x, t, context, y, spread=spread, run=run)
    assert_same(shared, whole)
    assert shared.is_contiguous(memory_format=layout)
    assert began[:2] == [2, 2] and began[-1] == 4  # the first blocks see each input once
    kept = network.embeddings(t, y)
    assert torch.equal(network(x, t, context, y, spread=spread, embeddings=kept), shared)
    assert (network(x, t, context, y, spread=torch.tensor([0, 1, 1, 1])) - whole).abs().max() > 1e-2


def test_shared_rows_without_any_attention_on_the_way_down() -> None:
    spec = dataclasses.replace(SMALL, transformer_depth=(0, 0), middle_depth=0)
    network = UNetModel(spec)
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.1)
    x, t, context, _ = inputs(spec, batch=3)
    spread = torch.tensor([0, 0, 1])
    with torch.no_grad():
        assert_same(network(x[:2], t[:2], context, spread=spread), network(x[spread], t[spread], context))
