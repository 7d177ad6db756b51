"""Which weights a depth estimator has, by key and shape, from its spec alone: so that a file can be checked without torch.

The tests hold these tables against the networks themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

from webui.nets.depth_spec import BitSpec, DepthSpec
from webui.weights.expected import Weights

KERNEL = 3


def depth_weights(spec: DepthSpec) -> Weights:
    """Yield key and shape of every weight."""
    yield from _dpt(spec) if spec.family == "dpt" else _dinov2(spec)
    yield from _neck(spec)
    names = ("head.0", "head.2", "head.4") if spec.family == "dpt" else ("conv1", "conv2", "conv3")
    half = spec.fusion // 2
    for name, shape in zip(names, ((half, spec.fusion, 3, 3), (spec.head, half, 3, 3), (1, spec.head, 1, 1)), strict=True):
        yield from _layer(f"head.{name}", *shape)


def _dpt(spec: DepthSpec) -> Weights:
    width = spec.width
    yield "dpt.embeddings.cls_token", (1, 1, width)
    yield "dpt.embeddings.position_embeddings", (1, spec.grid**2 + 1, width)
    if spec.bit is None:
        yield from _layer("dpt.embeddings.patch_embeddings.projection", width, 3, spec.patch, spec.patch)
    else:
        yield from _bit(spec.bit, "dpt.embeddings.backbone.bit")
        yield from _layer("dpt.embeddings.projection", width, spec.bit.widths[-1], 1, 1)
    for layer in (f"dpt.encoder.layer.{number}" for number in range(spec.layers)):
        for name in ("query", "key", "value"):
            yield from _layer(f"{layer}.attention.attention.{name}", width, width, bias=spec.bias)
        yield from _layer(f"{layer}.attention.output.dense", width, width)
        yield from _layer(f"{layer}.intermediate.dense", spec.inner, width)
        yield from _layer(f"{layer}.output.dense", width, spec.inner)
        yield from _layer(f"{layer}.layernorm_before", width)
        yield from _layer(f"{layer}.layernorm_after", width)


def _bit(spec: BitSpec, prefix: str) -> Weights:
    yield f"{prefix}.embedder.convolution.weight", (spec.stem, 3, 7, 7)
    yield from _layer(f"{prefix}.embedder.norm", spec.stem)
    before = spec.stem
    for stage, (after, depth) in enumerate(zip(spec.widths, spec.depths, strict=True)):
        inner = after // 4
        for number in range(depth):
            layer = f"{prefix}.encoder.stages.{stage}.layers.{number}"
            shapes = {"conv1": (inner, before, 1, 1), "conv2": (inner, inner, KERNEL, KERNEL), "conv3": (after, inner, 1, 1)}
            if number == 0:
                yield f"{layer}.downsample.conv.weight", (after, before, 1, 1)
                yield from _layer(f"{layer}.downsample.norm", after)
            for name, shape in shapes.items():
                yield f"{layer}.{name}.weight", shape
                yield from _layer(f"{layer}.{name.replace('conv', 'norm')}", shape[0])
            before = after


def _dinov2(spec: DepthSpec) -> Weights:
    width = spec.width
    yield "backbone.embeddings.cls_token", (1, 1, width)
    yield "backbone.embeddings.position_embeddings", (1, spec.grid**2 + 1, width)
    yield from _layer("backbone.embeddings.patch_embeddings.projection", width, 3, spec.patch, spec.patch)
    gated = (int(spec.inner * 2 / 3) + 7) // 8 * 8
    for layer in (f"backbone.encoder.layer.{number}" for number in range(spec.layers)):
        for letter in "qkv":
            yield from _layer(f"{layer}.attention.{letter}_proj", width, width, bias=spec.bias)
        yield from _layer(f"{layer}.attention.o_proj", width, width)
        for number in (1, 2):
            yield from _layer(f"{layer}.norm{number}", width)
            yield f"{layer}.layer_scale{number}.lambda1", (width,)
        names = {"gate_proj": (gated, width), "up_proj": (gated, width), "down_proj": (width, gated)}
        plain = {"fc1": (spec.inner, width), "fc2": (width, spec.inner)}
        for name, shape in (names if spec.gated else plain).items():
            yield from _layer(f"{layer}.mlp.{name}", *shape)
    yield from _layer("backbone.layernorm", width)


def _neck(spec: DepthSpec) -> Weights:
    for number, (after, factor) in enumerate(zip(spec.neck, spec.factors, strict=True)):
        if spec.bit is None or number > 1:
            yield from _layer(f"neck.reassemble_stage.layers.{number}.projection", after, spec.width, 1, 1)
            if factor != 1:
                side = KERNEL if factor < 1 else int(factor)
                yield from _layer(f"neck.reassemble_stage.layers.{number}.resize", after, after, side, side)
            if spec.family == "dpt" and spec.readout == "project":
                yield from _layer(f"neck.reassemble_stage.readout_projects.{number}.0", spec.width, 2 * spec.width)
        yield f"neck.convs.{number}.weight", (spec.fusion, after, KERNEL, KERNEL)
        fusion = f"neck.fusion_stage.layers.{number}"
        yield from _layer(f"{fusion}.projection", spec.fusion, spec.fusion, 1, 1)
        for layer in (f"{fusion}.residual_layer{part}.convolution{step}" for part in (1, 2) for step in (1, 2)):
            yield from _layer(layer, spec.fusion, spec.fusion, KERNEL, KERNEL)


def _layer(name: str, *shape: int, bias: bool = True) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    if bias:
        yield f"{name}.bias", shape[:1]
