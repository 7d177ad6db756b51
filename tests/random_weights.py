"""Random checkpoints from a header and a seed: every tensor is a function of sha256(seed:key), so that no weights are stored.

A header (`data/headers/<name>.json.gz`) maps each key of a single-file checkpoint to its shape and dtype. With a `gain` below 1
the layers that write to the residual stream are scaled down, so that the stream is small and a wrong norm epsilon shows.
"""
from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

HEADERS = Path(__file__).parent / "data" / "headers"
STREAM = re.compile(
    r"(input_blocks\.0\.0|in_layers\.2|out_layers\.3|emb_layers\.1|proj_in|proj_out|to_out\.0|ff\.net\.2|conv1|conv2|conv_in)"
    r"\.(weight|bias)$"
)
SHORTCUT = re.compile(r"(skip_connection|nin_shortcut|\.op|\.conv|upsample\.conv|downsample\.conv)\.bias$")
NETWORKS = ("model.diffusion_model.", "first_stage_model.")
KEPT = (*NETWORKS, "cond_stage_model.", "conditioner.", "depth_model.")
UNIFORM = math.sqrt(3)  # a uniform variable on [-1, 1] times this has unit variance


def random_tensor(name: str, shape: Sequence[int]) -> Tensor:
    """Uniform values of unit variance that depend on the name alone."""
    count = int(np.prod(shape)) if len(shape) else 1
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    raw = np.random.Philox(key=key).random_raw((count + 1) // 2)
    unit = raw.view(np.uint32)[:count].astype(np.float32) * np.float32(2.0**-32)
    return torch.from_numpy((unit * 2 - 1) * np.float32(UNIFORM)).reshape(tuple(shape)).clone()


def gain_of(key: str, gain: float) -> float:
    """The factor of one weight: `gain` where it writes to the residual stream, else 1."""
    small = gain != 1 and key.startswith(NETWORKS) and (STREAM.search(key) or SHORTCUT.search(key))
    return gain if small else 1.0


def weight(key: str, shape: Sequence[int], seed: int = 0, gain: float = 1.0) -> Tensor:
    """The random weight of one key, rounded to float16 at unit gain."""
    values = random_tensor(f"{seed}:{key}", shape)
    factor = gain_of(key, gain)
    if len(shape) == 0:
        values = values * 0.1 + 1
    elif len(shape) == 1:
        values = 1 + 0.2 * values if key.endswith("weight") else 0.1 * values * factor
    elif "embedding" in key or "label_emb.weight" in key:
        values = 0.5 * values
    elif key.endswith("text_projection"):
        values = values * (1 / math.sqrt(shape[0]))
    else:
        values = values * (1 / math.sqrt(int(np.prod(shape[1:]))))
    values = values * factor
    return values.half().float() if gain == 1.0 else values


def header(name: str) -> dict[str, tuple[list[int], str]]:
    """Key -> (shape, dtype) of the named checkpoint."""
    text = gzip.decompress((HEADERS / f"{name}.json.gz").read_bytes())
    return {key: (shape, dtype) for key, (shape, dtype) in json.loads(text).items()}


def schedule() -> Tensor:
    """Stable Diffusion's betas, float64."""
    return torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2


def checkpoint(name: str, seed: int = 0, gain: float = 1.0, prefix: str = "") -> dict[str, Tensor]:
    """The weights of the named checkpoint whose keys start with `prefix`; integer position ids count up."""
    out = {}
    for key, (shape, dtype) in header(name).items():
        if not key.startswith(prefix):
            continue
        if not dtype.startswith(("F", "BF")):
            out[key] = torch.arange(shape[-1]).reshape(shape)
        elif key == "betas":
            out[key] = schedule().float()
        elif key == "alphas_cumprod":
            out[key] = (1 - schedule()).cumprod(0).float()
        elif key.startswith(KEPT):
            out[key] = weight(key, shape, seed, gain)
    return out
