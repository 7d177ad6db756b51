"""An embedding for the test kit: two random vectors as wide as the text tower's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from webui.extension.testing import write_tensors

TABLE = "token_embedding.weight"


def make(models: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Write embeddings/kitword.safetensors for the model whose weights have these shapes."""
    import torch

    width = next(shape[1] for key, shape in shapes.items() if key.endswith(TABLE))
    vectors = torch.randn(2, width, generator=torch.Generator().manual_seed(1))
    write_tensors(models / "embeddings" / "kitword.safetensors", {"emb_params": vectors})
