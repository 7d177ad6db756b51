"""Depth estimators: how near every pixel of a picture is, by networks of `transformers` that are built from a spec alone.

Each sees a picture at the size it was trained for and answers at the picture's own. Only their layers are used from there: the
classes of `transformers` cannot do pictures that are not square with all of these networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.nets.depth_small import SmallDepth, SmallDepthSpec
from webui.nets.depth_spec import DepthSpec, fitted_size

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NEAREST = 0.1  # metres: nothing in what these networks were trained on is nearer


class Estimator(nn.Module):
    """What estimators have in common: pictures of any size come to them at theirs, and maps go back."""

    def forward(self, picture: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] -> relative inverse depth [B, H, W], float32, of any scale: larger is nearer."""
        raise NotImplementedError


class DepthEstimator(Estimator):
    """DPT or Depth Anything, with the keys of `transformers`; a last norm and a mask token, which nobody reads, are left out."""

    def __init__(self, spec: DepthSpec) -> None:
        super().__init__()
        self.spec = spec
        model = dpt(spec) if spec.family == "dpt" else depth_anything(spec)
        if spec.family == "dpt":
            self.dpt = Transformer(model.dpt)
        else:
            self.backbone = model.backbone
            self.backbone.embeddings.mask_token = None
        self.neck = model.neck
        self.head = model.head

    def forward(self, picture: Tensor) -> Tensor:
        """Networks that give metres are inverted, no thing being nearer than `NEAREST`."""
        height, width = picture.shape[-2:]
        found = self.estimated(self.seen(picture)).float()
        result = resized_back(found, height, width)
        return result if self.spec.metres is None else 1 / result.clamp(min=NEAREST)

    def seen(self, picture: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] as the network takes them: resized and normalised, in the type of its numbers."""
        sight = self.spec.sight
        x = resized(picture, *fitted_size(picture.shape[-2], picture.shape[-1], sight.side, sight.multiple))
        mean, std = (torch.tensor(each, device=x.device)[:, None, None] for each in (sight.mean, sight.std))
        return ((x - mean) / std).to(next(self.head.parameters()).dtype)

    def estimated(self, x: Tensor) -> Tensor:
        """What the network says [B, h, w] of pictures as it takes them: its own unit, its own size."""
        rows, columns = (length // self.spec.patch for length in x.shape[-2:])
        if self.spec.family == "dpt":
            fused = self.neck(self._dpt_features(x), rows, columns)
            found: Tensor = self.head(fused)
        else:
            found = self.head(self.neck(self._dinov2_features(x), rows, columns), rows, columns)
        return found

    def _dpt_features(self, x: Tensor) -> list[Tensor]:
        hybrid = self.spec.bit is not None
        more = {"interpolate_pos_encoding": True} if hybrid else {}
        embedded = self.dpt.embeddings(x, **more)
        features = list(embedded.intermediate_activations or ())  # of a hybrid, in place of the first two
        hidden = embedded.last_hidden_states
        for number, layer in enumerate(self.dpt.get_submodule("encoder.layer").children(), start=1):
            hidden = layer(hidden)
            if number in self.spec.taps[len(features) :]:
                features.append(hidden)
        return features

    def _dinov2_features(self, x: Tensor) -> list[Tensor]:
        features = []
        hidden = self.backbone.embeddings(x)
        for number, layer in enumerate(self.backbone.get_submodule("encoder.layer").children(), start=1):
            hidden = layer(hidden)
            if number in self.spec.taps:
                features.append(self.backbone.layernorm(hidden) if self.spec.normed else hidden)
        return features


class Transformer(nn.Module):
    """A vision transformer whose layers are read one by one, without the norm that follows the last."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.embeddings = model.get_submodule("embeddings")
        self.encoder = model.get_submodule("encoder")


class SmallEstimator(SmallDepth, Estimator):
    """The small estimator at the size it was trained for."""

    def forward(self, picture: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] -> disparity [B, H, W], float32."""
        height, width = picture.shape[-2:]
        x = resized(picture, *fitted_size(height, width, self.spec.side, self.spec.multiple))
        return resized_back(super().forward(x), height, width)


def estimator(spec: DepthSpec | SmallDepthSpec) -> Estimator:
    """The network of a spec."""
    return SmallEstimator(spec) if isinstance(spec, SmallDepthSpec) else DepthEstimator(spec)


def resized(picture: Tensor, height: int, width: int) -> Tensor:
    """Pictures [B, 3, H, W] in [0, 1] at another size: bicubic, over the whole of what one new pixel covers."""
    x = picture.float()
    if x.shape[-2:] == (height, width):
        return x
    return functional.interpolate(x, size=(height, width), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def resized_back(depth: Tensor, height: int, width: int) -> Tensor:
    """Maps [B, h, w] at the picture's size: bicubic."""
    if depth.shape[-2:] == (height, width):
        return depth
    return functional.interpolate(depth[:, None], size=(height, width), mode="bicubic", align_corners=False)[:, 0]


def dpt(spec: DepthSpec) -> PreTrainedModel:
    """DPT of `transformers`."""
    # Imported here because it takes seconds, which whoever only reads a spec should not wait for.
    from transformers.models.dpt.configuration_dpt import DPTConfig
    from transformers.models.dpt.modeling_dpt import DPTForDepthEstimation

    bit = spec.bit
    hybrid = {} if bit is None else {
        "is_hybrid": True,
        "backbone_featmap_shape": [1, bit.widths[-1], spec.grid, spec.grid],
        "backbone_config": {
            "model_type": "bit", "global_padding": "same", "layer_type": "bottleneck", "embedding_dynamic_padding": True,
            "embedding_size": bit.stem, "hidden_sizes": list(bit.widths), "depths": list(bit.depths), "num_groups": bit.groups,
            "out_features": [f"stage{number}" for number in range(1, len(bit.depths) + 1)],
        },
    }  # fmt: skip
    config = DPTConfig(
        hidden_size=spec.width, num_hidden_layers=spec.layers, num_attention_heads=spec.heads, intermediate_size=spec.inner,
        layer_norm_eps=spec.eps, image_size=spec.grid * spec.patch, patch_size=spec.patch, qkv_bias=spec.bias,
        backbone_out_indices=[number - 1 for number in spec.taps], readout_type=spec.readout,
        reassemble_factors=list(spec.factors), neck_hidden_sizes=list(spec.neck), fusion_hidden_size=spec.fusion, **hybrid,
    )  # fmt: skip
    return DPTForDepthEstimation(config)


def depth_anything(spec: DepthSpec) -> PreTrainedModel:
    """Depth Anything of `transformers`."""
    from transformers.models.depth_anything.configuration_depth_anything import DepthAnythingConfig
    from transformers.models.depth_anything.modeling_depth_anything import DepthAnythingForDepthEstimation

    backbone = {
        "model_type": "dinov2", "hidden_size": spec.width, "num_hidden_layers": spec.layers, "num_attention_heads": spec.heads,
        "mlp_ratio": spec.inner // spec.width, "layer_norm_eps": spec.eps, "image_size": spec.grid * spec.patch,
        "patch_size": spec.patch, "qkv_bias": spec.bias, "use_swiglu_ffn": spec.gated, "apply_layernorm": spec.normed,
        "out_indices": list(spec.taps), "reshape_hidden_states": False,
    }  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, patch_size=spec.patch, reassemble_hidden_size=spec.width, reassemble_factors=list(spec.factors),
        neck_hidden_sizes=list(spec.neck), fusion_hidden_size=spec.fusion, head_hidden_size=spec.head,
        depth_estimation_type="relative" if spec.metres is None else "metric", max_depth=spec.metres or 1,
    )  # fmt: skip
    return DepthAnythingForDepthEstimation(config)
