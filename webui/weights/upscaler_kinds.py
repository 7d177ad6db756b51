"""Networks for enlarging pictures that are not built in, by a key that only they have, so that people learn what they got."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

NETWORKS: Mapping[str, str] = {
    "HAT": r"layers\.\d+\.residual_group\.(overlap_attn|blocks\.\d+\.conv_block\.cab)\.",
    "Swin2SR": r"layers\.\d+\.residual_group\.blocks\.\d+\.attn\.(logit_scale|cpb_mlp)",
    "ATD": r"layers\.\d+\.residual_group\.layers\.\d+\.(attn_win|assign)",
    "SwinIR": r"layers\.\d+\.residual_group\.",
    "DAT": r"(before_RG\.|layers\.\d+\.blocks\.\d+\.attn\.(attns|temperature))",
    "DRCT": r"layers\.\d+\.swin\d\.",
    "OmniSR": r"residual_layer\.\d+\.residual_layer\.",
    "SPAN": r"(block_\d+\.c1_r\.|conv_1\.sk\.)",
    "PLKSR": r"feats\.\d+\.(channe_mixer|channel_mixer|lk|refine)\.",
    "Real-CUGAN": r"unet1\.conv1\.conv\.",
    "EDSR or RCAN": r"(head\.0\.weight|body\.\d+\.body\.\d+\.)",
    "SCUNet": r"m_(head|body|tail)\.",
    "SRResNet": r"model\.1\.sub\.\d+\.res\.",
}


def other_network(keys: Iterable[str]) -> str | None:
    """Which of these networks the keys are of; None where of none."""
    names = tuple(keys)
    return next((kind for kind, pattern in NETWORKS.items() if any(re.match(pattern, name) for name in names)), None)
