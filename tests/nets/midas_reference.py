"""MiDaS' DPT written down a second time, from the papers and the names of its weights: for pictures of any shape.

DPT: Ranftl et al. 2021, arXiv:2103.13413; the hybrid's convolutions: Kolesnikov et al. 2019, arXiv:1912.11370, with weight
standardisation (Qiao et al. 2019, arXiv:1903.10520) and TensorFlow's padding.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

HEADS_OF = 64  # channels each
GROUPS = 32
Weights = Mapping[str, Tensor]


def midas(given: Weights, x: Tensor) -> Tensor:
    """The inverse depth [B, H, W] of normalised pictures [B, 3, H, W], whose sides are multiples of 32."""
    rows, columns = x.shape[2] // 16, x.shape[3] // 16
    layers = 1 + max(int(key.split(".")[3]) for key in given if key.startswith("pretrained.model.blocks."))
    hybrid = "pretrained.model.patch_embed.backbone.stem.conv.weight" in given
    early = resnet(given, x) if hybrid else []
    patches = functional.conv2d(
        early[-1] if hybrid else x, given["pretrained.model.patch_embed.proj.weight"],
        given["pretrained.model.patch_embed.proj.bias"], stride=1 if hybrid else 16,
    )  # fmt: skip
    tokens = torch.cat([given["pretrained.model.cls_token"].expand(len(x), -1, -1), patches.flatten(2).mT], dim=1)
    tokens = tokens + positions(given["pretrained.model.pos_embed"], rows, columns)
    found: list[Tensor] = early[:2]
    for number in range(layers):
        tokens = block(given, f"pretrained.model.blocks.{number}", tokens)
        if (number + 1) % (layers // 4) == 0 and (number + 1) // (layers // 4) > len(found):
            found.append(reassembled(given, f"pretrained.act_postprocess{len(found) + 1}", tokens, rows, columns))
    return fused(given, found)


def positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """The positions' vectors for a grid of another shape, those of a square one bilinearly resized."""
    side = round((table.shape[1] - 1) ** 0.5)
    grid = table[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    resized = functional.interpolate(grid, size=(rows, columns), mode="bilinear", align_corners=False)
    return torch.cat([table[:, :1], resized.flatten(2).mT], dim=1)


def block(given: Weights, name: str, x: Tensor) -> Tensor:
    """A layer of the transformer: attention, then a perceptron, each after a norm and beside a residual."""
    normed = norm(given, f"{name}.norm1", x)
    heads = x.shape[-1] // HEADS_OF
    query, key, value = (
        each.unflatten(-1, (heads, HEADS_OF)).transpose(1, 2)
        for each in linear(given, f"{name}.attn.qkv", normed).chunk(3, dim=-1)
    )
    weights = (query @ key.mT / HEADS_OF**0.5).softmax(dim=-1)
    x = x + linear(given, f"{name}.attn.proj", (weights @ value).transpose(1, 2).flatten(2))
    inner = linear(given, f"{name}.mlp.fc1", norm(given, f"{name}.norm2", x))
    inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
    return x + linear(given, f"{name}.mlp.fc2", inner)


def reassembled(given: Weights, name: str, tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Tokens as a picture again: the first one is read into all others, then the size is changed."""
    both = torch.cat([tokens[:, 1:], tokens[:, :1].expand(-1, tokens.shape[1] - 1, -1)], dim=-1)
    read = functional.gelu(linear(given, f"{name}.0.project.0", both)).mT.unflatten(2, (rows, columns))
    read = functional.conv2d(read, given[f"{name}.3.weight"], given[f"{name}.3.bias"])
    if f"{name}.4.weight" not in given:
        return read
    weight, bias = given[f"{name}.4.weight"], given[f"{name}.4.bias"]
    if weight.shape[-1] == 3:
        return functional.conv2d(read, weight, bias, stride=2, padding=1)
    return functional.conv_transpose2d(read, weight, bias, stride=weight.shape[-1])


def fused(given: Weights, found: list[Tensor]) -> Tensor:
    """From the coarsest features to the finest, then to one number a pixel."""
    features = [functional.conv2d(each, given[f"scratch.layer{at}_rn.weight"], padding=1) for at, each in enumerate(found, 1)]
    path: Tensor | None = None
    for at in (4, 3, 2, 1):
        name, feature = f"scratch.refinenet{at}", features[at - 1]
        path = feature if path is None else path + residual(given, f"{name}.resConfUnit1", feature)
        path = doubled(residual(given, f"{name}.resConfUnit2", path))
        path = functional.conv2d(path, given[f"{name}.out_conv.weight"], given[f"{name}.out_conv.bias"])
    assert path is not None
    y = doubled(convolved(given, "scratch.output_conv.0", path))
    y = convolved(given, "scratch.output_conv.2", y).clamp(min=0)
    last = functional.conv2d(y, given["scratch.output_conv.4.weight"], given["scratch.output_conv.4.bias"])
    return last.clamp(min=0)[:, 0]


def residual(given: Weights, name: str, x: Tensor) -> Tensor:
    """Two convolutions, each after what is below nought was cut, beside a residual."""
    return x + convolved(given, f"{name}.conv2", convolved(given, f"{name}.conv1", x.clamp(min=0)).clamp(min=0))


def doubled(x: Tensor) -> Tensor:
    """Twice the size, corner on corner."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def resnet(given: Weights, x: Tensor) -> list[Tensor]:
    """The features of the hybrid's three stages."""
    name = "pretrained.model.patch_embed.backbone"
    x = standardised(given, f"{name}.stem.conv", x, stride=2)
    x = grouped(given, f"{name}.stem.norm", x).clamp(min=0)
    x = functional.max_pool2d(same(x, 3, 2, value=-torch.inf), 3, stride=2)
    stages = []
    for stage in range(3):
        number = 0
        while f"{name}.stages.{stage}.blocks.{number}.conv1.weight" in given:
            x = bottleneck(given, f"{name}.stages.{stage}.blocks.{number}", x, stride=2 if stage and number == 0 else 1)
            number += 1
        stages.append(x)
    return stages


def bottleneck(given: Weights, name: str, x: Tensor, stride: int) -> Tensor:
    """Three convolutions beside a residual; the second one halves the size."""
    short = x
    if f"{name}.downsample.conv.weight" in given:
        short = grouped(given, f"{name}.downsample.norm", standardised(given, f"{name}.downsample.conv", x, stride))
    y = grouped(given, f"{name}.norm1", standardised(given, f"{name}.conv1", x)).clamp(min=0)
    y = grouped(given, f"{name}.norm2", standardised(given, f"{name}.conv2", y, stride)).clamp(min=0)
    y = grouped(given, f"{name}.norm3", standardised(given, f"{name}.conv3", y))
    return (y + short).clamp(min=0)


def standardised(given: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    """A convolution whose filters have mean 0 and variance 1."""
    weight = given[f"{name}.weight"]
    rows = weight.flatten(1)
    deviation = (rows.var(dim=1, unbiased=False, keepdim=True) + 1e-8).sqrt()
    plain = ((rows - rows.mean(dim=1, keepdim=True)) / deviation).reshape(weight.shape)
    return functional.conv2d(same(x, weight.shape[-1], stride), plain, stride=stride)


def same(x: Tensor, side: int, stride: int, value: float = 0.0) -> Tensor:
    """Padding with which a convolution gives one pixel for every `stride`, more of it after than before."""
    after = [max((-(-length // stride) - 1) * stride + side - length, 0) for length in (x.shape[3], x.shape[2])]
    edges = [edge for more in after for edge in (more // 2, more - more // 2)]
    return functional.pad(x, edges, value=value)


def grouped(given: Weights, name: str, x: Tensor) -> Tensor:
    """A group norm."""
    return functional.group_norm(x, GROUPS, given[f"{name}.weight"], given[f"{name}.bias"], eps=1e-5)


def norm(given: Weights, name: str, x: Tensor) -> Tensor:
    """A layer norm."""
    return functional.layer_norm(x, x.shape[-1:], given[f"{name}.weight"], given[f"{name}.bias"], eps=1e-6)


def linear(given: Weights, name: str, x: Tensor) -> Tensor:
    """A matrix and a bias."""
    return x @ given[f"{name}.weight"].mT + given[f"{name}.bias"]


def convolved(given: Weights, name: str, x: Tensor) -> Tensor:
    """A 3x3 convolution that keeps the size."""
    return functional.conv2d(x, given[f"{name}.weight"], given[f"{name}.bias"], padding=1)
