"""Networks that extensions bring: built without memory, filled from safetensors or pickles, refused where they do not fit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from webui.engine.device import CPU_FLOAT32
from webui.engine.placing import brought
from webui.errors import ModelFileError
from webui.weights.network_file import PART, NetworkFile, OwnNetwork


class Classifier(nn.Module):
    """Two layers, and a buffer."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.first = nn.Linear(4, width)
        self.last = nn.Linear(width, 2)
        self.register_buffer("mean", torch.empty(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x - self.mean))


def weights(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.randn(value.shape, generator=generator) for key, value in Classifier().state_dict().items()}


def built(path: Path, **more: object) -> nn.Module:
    return brought(OwnNetwork(NetworkFile(path, Classifier, **more)), PART, CPU_FLOAT32)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_it_computes_what_the_network_with_the_files_weights_does(tmp_path: Path, suffix: str) -> None:
    own, path = weights(), tmp_path / f"classifier.{suffix}"
    if suffix == "pt":
        torch.save(own, path)
    else:
        save_file(own, path)
    plain = Classifier()
    plain.load_state_dict(own)
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(9))
    assert torch.equal(built(path)(x), plain(x))
    shapes = OwnNetwork(NetworkFile(str(path), Classifier)).shapes(PART)
    assert shapes["first.weight"] == ((5, 4), 4) and set(shapes) == set(own)


def test_keys_are_renamed_and_left_out(tmp_path: Path) -> None:
    own, path = weights(), tmp_path / "named.safetensors"
    save_file({f"net.{key}": value for key, value in own.items()} | {"epoch": torch.zeros(1)}, path)
    with pytest.raises(ModelFileError, match=r"named.safetensors lacks 'mean'"):
        built(path)
    module = built(path, keys=lambda key: key.removeprefix("net.") if key.startswith("net.") else None)
    assert torch.equal(module.state_dict()["first.bias"], own["first.bias"])


@pytest.mark.parametrize(("changed", "sentence"), [
    ({"first.weight": None}, "lacks 'first.weight'"), ({"more": torch.zeros(1)}, "1 weights that its network does not know"),
    ({"mean": torch.zeros(3)}, r"'mean' has the shape \[3\], its network's \[4\]"),
])  # fmt: skip
def test_what_does_not_fit_is_said_before_a_weight_is_read(tmp_path: Path, changed: dict, sentence: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file({key: value for key, value in (weights() | changed).items() if value is not None}, path)
    with pytest.raises(ModelFileError, match=sentence):
        OwnNetwork(NetworkFile(path, Classifier))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    torch.save({**weights(), "run": _Runs()}, path)
    with pytest.raises(ModelFileError):
        OwnNetwork(NetworkFile(path, Classifier))


class _Runs:
    def __reduce__(self) -> object:
        return os.getcwd, ()
