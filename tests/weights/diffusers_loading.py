"""Single files loaded by diffusers itself, for benchmarks/loading.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.utils import logging
from torch import nn


def networks(path: Path, configs: Path, dtype: torch.dtype) -> list[nn.Module]:
    """The networks of a Stable Diffusion 1 checkpoint; `configs` is a diffusers folder without weights, instead of the hub."""
    logging.set_verbosity_error()
    pipeline: Any = StableDiffusionPipeline.from_single_file(
        str(path), config=str(configs), torch_dtype=dtype, local_files_only=True
    )
    return [pipeline.unet, pipeline.vae, pipeline.text_encoder]
