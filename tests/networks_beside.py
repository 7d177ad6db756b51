"""Upscalers and depth estimators as they are published: the names and shapes of their weights, written down without our rules."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from webui.nets.upscaler_spec import CompactSpec, RRDBSpec

Shapes = dict[str, tuple[int, ...]]
DATA = Path(__file__).parent / "data"


@cache
def midas() -> dict[str, Any]:
    """MiDaS' DPT-hybrid: the shapes of its weights, its names in `transformers`, and the configuration that makes them equal."""
    found: dict[str, Any] = json.loads(gzip.decompress((DATA / "midas_keys.json.gz").read_bytes()))
    return found


def midas_shapes(prefix: str = "") -> Shapes:
    """Its keys and shapes, under the prefix that a Stable Diffusion 2 depth checkpoint gives them."""
    return {prefix + key: tuple(shape) for key, shape in midas()["midas_keys"].items()}


def real_esrgan(spec: RRDBSpec, around: str = "") -> Shapes:
    """Real-ESRGAN's names of an RRDBNet."""
    return {around + key: shape for key, shape in _rrdb(spec, "body.{n}.rdb{m}.conv{k}", "conv_body", "conv_up{n}", "conv_hr")}


def bsrgan(spec: RRDBSpec) -> Shapes:
    """The names of ESRGAN's second release, and of BSRGAN."""
    return dict(_rrdb(spec, "RRDB_trunk.{n}.RDB{m}.conv{k}", "trunk_conv", "upconv{n}", "HRconv"))


def esrgan(spec: RRDBSpec) -> Shapes:
    """The names of ESRGAN's first release, whose layers are numbered through."""
    hr = {0: "model.2", 1: "model.5", 2: "model.8", 3: "model.11"}[spec.doublings]
    last = {0: "model.4", 1: "model.7", 2: "model.10", 3: "model.13"}[spec.doublings]
    first, trunk = "model.0", f"model.1.sub.{spec.blocks}"
    ups = "model.{place}"
    return dict(_rrdb(spec, "model.1.sub.{n}.RDB{m}.conv{k}.0", trunk, ups, hr, first, last))


def _rrdb(
    spec: RRDBSpec, dense: str, trunk: str, up: str, hr: str, first: str = "conv_first", last: str = "conv_last"
) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, grown = spec.features, spec.growth
    yield from _layer(first, width, 3 * spec.unshuffle**2)
    for n in range(spec.blocks):
        for m in (1, 2, 3):
            for k in range(1, 6):
                yield from _layer(dense.format(n=n, m=m, k=k), width if k == 5 else grown, width + (k - 1) * grown)
            if spec.plus:
                yield dense.format(n=n, m=m, k="1x1").removesuffix(".0") + ".weight", (grown, width, 1, 1)
    yield from _layer(trunk, width, width)
    for n in range(1, spec.doublings + 1):
        yield from _layer(up.format(n=n, place=3 * n), width, width)
    yield from _layer(hr, width, width)
    yield from _layer(last, 3, width)


def compact(spec: CompactSpec, around: str = "") -> Shapes:
    """Real-ESRGAN's names of an SRVGGNetCompact."""
    names = dict(_layer("body.0", spec.features, 3)) | {"body.1.weight": (spec.features,)}
    for n in range(1, spec.convolutions + 1):
        names |= dict(_layer(f"body.{2 * n}", spec.features, spec.features)) | {f"body.{2 * n + 1}.weight": (spec.features,)}
    names |= dict(_layer(f"body.{2 * spec.convolutions + 2}", 3 * spec.scale**2, spec.features))
    return {around + key: shape for key, shape in names.items()}


def _layer(name: str, after: int, before: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (after, before, 3, 3)
    yield f"{name}.bias", (after,)


OTHER_UPSCALERS: dict[str, Shapes] = {  # a few keys of networks that are not built in
    name: dict.fromkeys(keys, (8, 8))
    for name, keys in {
        "SwinIR": ("conv_first.weight", "layers.0.residual_group.blocks.0.attn.relative_position_bias_table"),
        "Swin2SR": ("conv_first.weight", "layers.0.residual_group.blocks.0.attn.logit_scale"),
        "HAT": ("params_ema.conv_first.weight", "params_ema.layers.0.residual_group.overlap_attn.norm1.weight"),
        "DAT": ("conv_first.weight", "before_RG.1.weight", "layers.0.blocks.0.attn.temperature"),
        "SPAN": ("conv_1.sk.weight", "block_1.c1_r.sk.weight"),
        "Real-CUGAN": ("unet1.conv1.conv.0.weight",),
    }.items()
}
