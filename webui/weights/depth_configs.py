"""What the JSON files beside a depth estimator's weights say of it, checked before anything is built of it. Needs no torch.

The files are those of `transformers`: config.json says what the network is, preprocessor_config.json how it sees pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from webui.errors import ModelFileError, quoted
from webui.nets.depth_spec import HEAD, STAGES, BitSpec, DepthSpec, Readout, SightSpec
from webui.weights.remembered import CONFIG

Plain = Mapping[str, Any]
SIGHT = "preprocessor_config.json"
WIDEST, MOST_LAYERS, LARGEST_SIDE, FARTHEST = 8192, 128, 2048, 1000
USUAL_SIDE = 518  # of Depth Anything
HALF = (0.5, 0.5, 0.5)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and spread of the pictures that DINOv2 was trained on
READOUTS: tuple[Readout, ...] = ("ignore", "add", "project")
CLASSES = {"dpt": "DPTForDepthEstimation", "depth_anything": "DepthAnythingForDepthEstimation"}
UNSUPPORTED: Mapping[str, Any] = {  # what none of the published estimators has, by what they have
    "use_batch_norm_in_fusion_residual": False, "add_projection": False, "head_in_index": -1, "num_channels": 3,
    "use_bias_in_fusion_residual": True,
}  # fmt: skip


def described(config: Plain, sight: Plain) -> DepthSpec:
    """The estimator that the two tables tell of; `ModelFileError` names what is wrong in which."""
    family = config.get("model_type")
    if family not in CLASSES:
        raise ModelFileError(f"{CONFIG} says it is a {quoted(str(family))}; supported are DPT (MiDaS) and Depth Anything.")
    named = config.get("architectures")
    if isinstance(named, list) and named and CLASSES[family] not in named:
        raise ModelFileError(f"{CONFIG} says it is a {quoted(str(named[0]))}; expected is {CLASSES[family]}.")
    for name, usual in UNSUPPORTED.items():
        if config.get(name) not in (None, usual):
            raise ModelFileError(f"{CONFIG} has {name} {quoted(repr(config[name]))[1:-1]}; supported is {usual}.")
    return _dpt(config, sight) if family == "dpt" else _depth_anything(config, sight)


def _dpt(config: Plain, sight: Plain) -> DepthSpec:
    hybrid = config.get("is_hybrid") is True
    backbone = config.get("backbone_config")
    if not hybrid and (backbone is not None or config.get("backbone") is not None):
        kind = backbone.get("model_type") if isinstance(backbone, Mapping) else config.get("backbone")
        raise ModelFileError(f"{CONFIG} has a {quoted(str(kind))} as backbone; supported are DPT's own and its hybrid.")
    patch = _whole(config, "patch_size", 16, 1, 64)
    bit = _bit(backbone if isinstance(backbone, Mapping) else {}) if hybrid else None
    readout = config.get("readout_type", "project")
    if readout not in READOUTS or (hybrid and readout != "project"):
        raise ModelFileError(f"{CONFIG} has the readout_type {quoted(str(readout))}; known: {', '.join(READOUTS)}.")
    taps = _wholes(config, "backbone_out_indices", (2, 5, 8, 11), 0, MOST_LAYERS)
    side = _whole(config, "image_size", 384, patch, LARGEST_SIDE)
    spec = DepthSpec(
        family="dpt", patch=patch, grid=side // patch, taps=tuple(number + 1 for number in taps), readout=readout, bit=bit,
        width=_whole(config, "hidden_size", 768, 1, WIDEST), layers=_whole(config, "num_hidden_layers", 12, 1, MOST_LAYERS),
        heads=_whole(config, "num_attention_heads", 12, 1, WIDEST),
        inner=_whole(config, "intermediate_size", 3072, 1, 8 * WIDEST),
        eps=_number(config, "layer_norm_eps", 1e-12), bias=config.get("qkv_bias") is not False,
        neck=_wholes(config, "neck_hidden_sizes", (96, 192, 384, 768), 1, WIDEST),
        factors=_factors(config), fusion=_whole(config, "fusion_hidden_size", 256, 2, WIDEST),
        sight=_sight(sight, side, 2 * patch, (HALF, HALF)),
    )  # fmt: skip
    return checked(spec)


def _bit(config: Plain) -> BitSpec:
    return BitSpec(
        stem=_whole(config, "embedding_size", 64, 1, WIDEST), groups=_whole(config, "num_groups", 32, 1, WIDEST),
        widths=_wholes(config, "hidden_sizes", (256, 512, 1024), 1, WIDEST, 3),
        depths=_wholes(config, "depths", (3, 4, 9), 1, MOST_LAYERS, 3),
    )  # fmt: skip


def _depth_anything(config: Plain, sight: Plain) -> DepthSpec:
    backbone = config.get("backbone_config")
    # What `transformers` builds where there is no table; one that is there is filled from DINOv2's own defaults.
    backbone = {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518} if backbone is None else backbone
    if not isinstance(backbone, Mapping) or backbone.get("model_type", "dinov2") != "dinov2":
        kind = backbone.get("model_type") if isinstance(backbone, Mapping) else backbone
        raise ModelFileError(f"{CONFIG} has a {quoted(str(kind))} as backbone; supported is DINOv2.")
    patch = _whole(backbone, "patch_size", 14, 1, 64)
    if _whole(config, "patch_size", 14, 1, 64) != patch:
        raise ModelFileError(f"{CONFIG} has another patch_size than its backbone.")
    width = _whole(backbone, "hidden_size", 768, 1, WIDEST)
    side = _whole(backbone, "image_size", 224, patch, LARGEST_SIDE)
    metric = config.get("depth_estimation_type", "relative")
    if metric not in ("relative", "metric"):
        raise ModelFileError(f"{CONFIG} has the depth_estimation_type {quoted(str(metric))}; known: relative, metric.")
    return checked(DepthSpec(
        family="depth_anything", patch=patch, grid=side // patch, width=width, taps=_taps(backbone),
        layers=_whole(backbone, "num_hidden_layers", 12, 1, MOST_LAYERS),
        heads=_whole(backbone, "num_attention_heads", 12, 1, WIDEST), inner=width * _whole(backbone, "mlp_ratio", 4, 1, 8),
        eps=_number(backbone, "layer_norm_eps", 1e-6), bias=backbone.get("qkv_bias") is not False,
        gated=backbone.get("use_swiglu_ffn") is True, normed=backbone.get("apply_layernorm") is not False,
        neck=_wholes(config, "neck_hidden_sizes", (48, 96, 192, 384), 1, WIDEST), factors=_factors(config),
        fusion=_whole(config, "fusion_hidden_size", 64, 2, WIDEST), head=_whole(config, "head_hidden_size", HEAD, 1, WIDEST),
        metres=_whole(config, "max_depth", 1, 1, FARTHEST) if metric == "metric" else None,
        sight=_sight(sight, USUAL_SIDE if backbone.get("image_size") is None else side, patch, IMAGENET),
    ))  # fmt: skip


def _taps(backbone: Plain) -> tuple[int, ...]:
    """The layers that are read: numbers, or names such as "stage9"."""
    names = backbone.get("out_features")
    if backbone.get("out_indices") is None and isinstance(names, list):
        numbers = [name.removeprefix("stage") if isinstance(name, str) else "" for name in names]
        if all(number.isascii() and number.isdecimal() and len(number) < 4 for number in numbers):
            return _wholes({"out_features": [int(number) for number in numbers]}, "out_features", (), 1, MOST_LAYERS)
        raise ModelFileError(f"{CONFIG} has out_features that are not names such as stage9.")
    return _wholes(backbone, "out_indices", (9, 10, 11, 12), 1, MOST_LAYERS)


def checked(spec: DepthSpec) -> DepthSpec:
    """The spec, of whose numbers a network can be built; else `ModelFileError`."""
    if spec.width % spec.heads:
        raise ModelFileError(f"{CONFIG} has {spec.heads} heads, which {spec.width} channels cannot be shared among.")
    if list(spec.taps) != sorted(set(spec.taps)) or spec.taps[-1] > spec.layers:
        raise ModelFileError(f"{CONFIG} reads the layers {list(spec.taps)} of {spec.layers}.")
    if spec.bit is not None:
        groups = spec.bit.groups
        if spec.bit.stem % groups or any(width % math.lcm(4 * groups, 32) for width in spec.bit.widths):
            raise ModelFileError(
                f"{CONFIG} has a backbone of widths {list(spec.bit.widths)}, which {groups} groups cannot share."
            )
        if spec.neck[:2] != spec.bit.widths[:2]:
            raise ModelFileError(
                f"{CONFIG} has neck_hidden_sizes {list(spec.neck)}, which do not begin with the backbone's widths."
            )
    return spec


def _sight(config: Plain, side: int, multiple: int, usual: tuple[tuple[float, ...], tuple[float, ...]]) -> SightSpec:
    """How pictures come to the network. Their shape is always kept, as it was in training, whatever the table says of that."""
    size = config.get("size")
    given = [size] if isinstance(size, int) else list(size.values()) if isinstance(size, Mapping) else []
    if given and not all(type(each) is int and multiple <= each <= LARGEST_SIDE for each in given):
        raise ModelFileError(f"{SIGHT} has a size that no estimator has: {quoted(str(size))}.")
    own = config.get("ensure_multiple_of")
    if type(own) is int and 0 < own <= LARGEST_SIDE:
        multiple = math.lcm(own, multiple)
    if multiple > (least := min(given, default=side)):
        raise ModelFileError(f"{SIGHT} has a size of {least}, which must be a multiple of {multiple}.")
    mean, std = (_colours(config, name, each) for name, each in zip(("image_mean", "image_std"), usual, strict=True))
    return SightSpec(side=least, multiple=multiple, mean=mean, std=std)


def _colours(config: Plain, name: str, usual: tuple[float, ...]) -> tuple[float, ...]:
    found = config.get(name)
    if found is None:
        return usual
    if not isinstance(found, list) or len(found) != 3 or not all(type(each) in (int, float) and 0 <= each <= 1 for each in found):
        raise ModelFileError(f"{SIGHT} has an {name} that is not three numbers from 0 to 1.")
    if name == "image_std" and not all(each > 1e-3 for each in found):
        raise ModelFileError(f"{SIGHT} has an image_std of nearly 0.")
    return tuple(float(each) for each in found)


def _whole(config: Plain, name: str, usual: int, least: int, most: int) -> int:
    found = config.get(name)
    found = usual if found is None else found
    if type(found) is not int or not least <= found <= most:
        shown = quoted(repr(found))[1:-1]
        raise ModelFileError(f"{CONFIG} has {name} {shown}; it must be a whole number from {least} to {most}.")
    return found


def _wholes(config: Plain, name: str, usual: tuple[int, ...], least: int, most: int, count: int = STAGES) -> tuple[int, ...]:
    found = config.get(name)
    found = list(usual) if found is None else found
    # a backbone's last stage may be listed, though it is never built
    found = found[:count] if isinstance(found, list) and count < STAGES else found
    fits = isinstance(found, list) and all(type(each) is int and least <= each <= most for each in found)
    if not fits or len(found) != count:
        raise ModelFileError(f"{CONFIG} has {name} that are not {count} whole numbers from {least} to {most}.")
    return tuple(found)


def _factors(config: Plain) -> tuple[float, ...]:
    found = config.get("reassemble_factors")
    found = [4, 2, 1, 0.5] if found is None else found
    if not isinstance(found, list) or len(found) != STAGES or not all(each in (4, 2, 1, 0.5) for each in found):
        raise ModelFileError(f"{CONFIG} has reassemble_factors that are not {STAGES} of 4, 2, 1 and 0.5.")
    return tuple(found)


def _number(config: Plain, name: str, usual: float) -> float:
    found = config.get(name)
    found = usual if found is None else found
    if type(found) not in (int, float) or not 0 <= found <= 1:
        raise ModelFileError(f"{CONFIG} has {name} {quoted(repr(found))[1:-1]}; it must be a number from 0 to 1.")
    return float(found)
