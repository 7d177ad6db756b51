"""A hypernetwork for the test kit: two random layers for the width of the text, with a ReLU between them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEY = "attn2.to_k.weight"


def make(models: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Write hypernetworks/example.pt for the model whose weights have these shapes."""
    import torch

    width = next(shape[1] for key, shape in shapes.items() if key.endswith(KEY))
    generator = torch.Generator().manual_seed(1)

    def layers() -> dict[str, torch.Tensor]:
        found = {}
        for name, out, inside in (("linear.0", 2 * width, width), ("linear.2", width, 2 * width)):
            found[f"{name}.weight"] = torch.randn(out, inside, generator=generator) / inside**0.5
            found[f"{name}.bias"] = torch.zeros(out)
        return found

    path = models / "hypernetworks" / "example.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    content: dict[Any, Any] = {width: [layers(), layers()], "name": "example", "step": 1}
    structure = {"layer_structure": [1, 2, 1], "activation_func": "relu", "is_layer_norm": False, "activate_output": False}
    torch.save(content | structure, path)
