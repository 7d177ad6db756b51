"""Models that lie in memory instead of in a file, for whoever takes weights part by part."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn

from webui.engine.patched import with_weights
from webui.nets.spec import ModelSpec
from webui.weights.model import LoadedModel


class InMemory:
    """The weights of a loaded model as a `ModelSource` gives them; networks are built of the model's own classes."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.networks: dict[str, nn.Module] = {"unet": model.unet, "vae": model.vae}
        self.networks |= {f"text{index}": tower for index, tower in enumerate(model.text)}

    @property
    def spec(self) -> ModelSpec:
        return self.model.spec

    def shapes(self, part: str) -> dict[str, tuple[tuple[int, ...], int]]:
        return {key: (tuple(value.shape), value.element_size()) for key, value in self.networks[part].state_dict().items()}

    def build(self, part: str) -> nn.Module:
        network = self.networks[part]
        return with_weights(network, {name: torch.empty_like(value, device="meta") for name, value in network.named_parameters()})

    def read(
        self, part: str, keys: Collection[str] | None = None, dtype: torch.dtype | None = None, channels_last: bool = False
    ) -> Iterator[tuple[str, Tensor]]:
        for key, value in self.networks[part].state_dict().items():
            if keys is None or key in keys:
                layout = torch.channels_last if channels_last and value.dim() == 4 else torch.contiguous_format
                yield key, value.clone(memory_format=layout).to(dtype or value.dtype)
