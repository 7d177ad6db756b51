"""A LoRA file for the test kit: random matrices beside the keys and values of every look at the text, as kohya names them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from webui.extension.testing import write_tensors

UNET = "model.diffusion_model."
RANK = 4


def make(models: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Write Lora/example.safetensors for the model whose weights have these shapes."""
    import torch

    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for key, shape in shapes.items():
        if key.startswith(UNET) and key.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
            name = "lora_unet_" + key.removeprefix(UNET).removesuffix(".weight").replace(".", "_")
            tensors[f"{name}.lora_down.weight"] = torch.randn(RANK, shape[1], generator=generator) / shape[1] ** 0.5
            tensors[f"{name}.lora_up.weight"] = torch.randn(shape[0], RANK, generator=generator)
            tensors[f"{name}.alpha"] = torch.tensor(float(RANK))
    write_tensors(models / "Lora" / "example.safetensors", tensors)
