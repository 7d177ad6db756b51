"""For which models a LoRA was made, by its metadata and the shapes of its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SD1, SD2, XL, FLUX, SD3, CASCADE = "SD 1", "SD 2", "SDXL", "Flux", "SD 3", "Stable Cascade"
WIDTHS = {768: SD1, 1024: SD2, 2048: XL, 1280: "SDXL refiner"}  # of the text that a noise predictor reads
SAID = (  # the beginning of what metadata say, in small letters and without "stable-diffusion" and the like
    (re.compile(r".*(flux)"), FLUX), (re.compile(r".*(sd-?_?3|diffusion-v?3)"), SD3), (re.compile(r".*cascade"), CASCADE),
    (re.compile(r".*(xl|pony|illustrious)"), XL), (re.compile(r".*(sd_?-?v?1|diffusion-v1)"), SD1),
    (re.compile(r".*(sd_?-?v?2|diffusion-v2)"), SD2),
)  # fmt: skip
CROSS = re.compile(r".*attn2[._](processor[._])?to_[kv](_lora)?[._](lora[._](down|A)|(lora_linear_layer\.)?down)(\.\w+)?\.weight")
OTHER_KEYS = (
    (re.compile(r".*(double_blocks|single_blocks|single_transformer_blocks)"), FLUX), (re.compile(r".*joint_blocks"), SD3),
    (re.compile(r"lora_prior_"), CASCADE), (re.compile(r"lora_te2_|text_encoder_2\.|.*_transformer_blocks_[2-9]_"), XL),
)  # fmt: skip


def base_of(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> str:
    """The family a file was made for; "" where nothing says so."""
    for name in ("modelspec.architecture", "ss_base_model_version"):
        said = metadata.get(name, "").lower()
        if found := next((base for pattern, base in SAID if pattern.match(said)), ""):
            return found
    widths = {shape[1] for key, shape in shapes.items() if len(shape) == 2 and CROSS.fullmatch(key)} & WIDTHS.keys()
    if len(widths) == 1:
        return WIDTHS[widths.pop()]
    for pattern, base in OTHER_KEYS:
        if any(pattern.match(key) for key in shapes):
            return base
    return {"true": SD2, "false": SD1}.get(metadata.get("ss_v2", "").lower(), "")


def base_of_model(spec: Any) -> str:
    """The family of a model."""
    return WIDTHS.get(spec.unet.context_width, str(spec.title))
