"""Names and shapes of published single files, of every family, from our own networks' names alone."""

from __future__ import annotations

import pytest
import torch

from tests.published import built
from webui.nets.spec import ModelSpec
from webui.weights.families import FAMILIES
from webui.weights.published import published_shapes
from webui.weights.source import built as network
from webui.weights.source import specs_of

SPECS = {name: FAMILIES[name] for name in ("sd15", "sd21", "sdxl", "sdxl-refiner") if name in FAMILIES}


def ours(spec: ModelSpec, part: str) -> dict[str, tuple[tuple[int, ...], int]]:
    return {key: (tuple(value.shape), 2) for key, value in network(specs_of(spec)[part]).state_dict().items()}


@pytest.mark.parametrize("name", sorted(SPECS))
def test_they_are_those_of_a_whole_file_but_for_its_autoencoder(name: str) -> None:
    spec = SPECS[name]
    found = published_shapes(spec, lambda part: ours(spec, part))
    assert found == {key: shape for key, shape in built(name).items() if not key.startswith("first_stage_model.")}
    assert all(isinstance(shape, tuple) for shape in found.values()) and torch.Size(next(iter(found.values()))).numel() > 0
