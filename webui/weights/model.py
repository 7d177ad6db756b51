"""Load a whole model from one checkpoint file, and write one.

The networks are built without memory (torch's meta device), the file is read tensor by tensor (`source.py`), and each tensor
becomes the network's own: nothing is held twice and no file stays mapped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import ModelSpec, Prediction
from webui.nets.text import TextTower
from webui.nets.tokenizer import Tokenizer
from webui.nets.unet import UNetModel
from webui.weights import hashes, layouts
from webui.weights.families import MERGES_KEY, SPEC_KEY, Override, as_velocity
from webui.weights.files import Header, save
from webui.weights.rules import restored
from webui.weights.source import ModelSource, Network, described_source, open_model


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """The networks of one checkpoint, ready to be called, in evaluation mode and without gradients.

    `tokenizers` has one entry a text tower; `sha256` is None unless it was asked for.
    """

    spec: ModelSpec
    unet: UNetModel
    vae: AutoencoderKL
    text: tuple[TextTower, ...]
    tokenizers: tuple[Tokenizer, ...]
    path: Path
    sha256: str | None = None


def load(
    path: Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    hash_cache: Path | None = None,
    override: Override | None = None,
) -> LoadedModel:
    """Load a checkpoint of any known family onto `device` in `dtype`; with `hash_cache`, a JSON file, its hash is found too.

    Raises `ModelFileError`, one sentence that says what is wrong with the file.
    """
    source = open_model(path, override)
    networks = {part: _filled(source, part, torch.device(device), dtype) for part in source.parts if part != "depth"}
    unet, vae, text = _typed(networks)
    spec = as_velocity(source.spec) if source.undecided and predicts_velocity(unet) else source.spec
    digest = None if hash_cache is None else hashes.sha256(path, hash_cache)
    return LoadedModel(spec=spec, unet=unet, vae=vae, text=text, tokenizers=source.tokenizers, path=path, sha256=digest)


def settled_source(path: Path) -> ModelSource:
    """Open a checkpoint; where its header leaves open what it predicts, its noise predictor is loaded and asked."""
    source = open_model(path)
    if not source.undecided:
        return source
    unet = _filled(source, "unet", torch.device("cpu"), torch.float32)
    assert isinstance(unet, UNetModel)
    return replace(source, spec=as_velocity(source.spec) if predicts_velocity(unet) else source.spec, undecided=False)


def asked_prediction(path: Path, header: Header, spec: ModelSpec) -> Prediction:
    """Return what a checkpoint's noise predictor predicts, by loading it alone and calling it once."""
    unet = _filled(described_source(path, header, spec), "unet", torch.device("cpu"), torch.float32)
    assert isinstance(unet, UNetModel)
    return "v" if predicts_velocity(unet) else "eps"


def predicts_velocity(unet: UNetModel) -> bool:
    """Return whether a noise predictor predicts velocity, by one small call at the noisiest time.

    There a predictor of noise nearly returns its input; one of velocity returns minus the clean latent, which is far below. The
    bound is the one in general use: mean(output - input) < -1.
    """
    weight = next(unet.parameters())
    spec = unet.spec
    x = torch.full((1, spec.in_channels, 8, 8), 0.5, device=weight.device, dtype=weight.dtype)
    context = torch.full((1, 2, spec.context_width), 0.5, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        out = unet(x, torch.tensor([999.0], device=weight.device), context)
    return bool((out.float() - x[:, : spec.out_channels].float()).mean() < -1)


def save_checkpoint(
    path: Path,
    spec: ModelSpec,
    unet: nn.Module,
    vae: nn.Module,
    text: Sequence[nn.Module],
    merges: Sequence[str] | None = None,
    dtype: torch.dtype = torch.float16,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write one single-file checkpoint with the published key names, its spec and its tokenizer's merges in the metadata.

    Without `merges` the tokenizer is CLIP's. Raises `StorageError` if the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    tensors.update({layouts.UNET + key: value for key, value in unet.state_dict().items()})
    tensors.update({layouts.VAE + key: value for key, value in vae.state_dict().items()})
    for index, (tower, module) in enumerate(zip(spec.text, text, strict=True)):
        prefix = layouts.text_prefix(index, tower.kind, conditioner=spec.unet.label_width is not None)
        named = restored(layouts.TEXT[tower.kind], module.state_dict(), "a single file")
        tensors.update({prefix + key: value for key, value in named.items()})
    own = {"format": "pt", SPEC_KEY: json.dumps(spec.to_json())}
    if merges is not None:
        own[MERGES_KEY] = json.dumps(list(merges), ensure_ascii=False)
    save(path, {key: value.detach().to("cpu", dtype) for key, value in tensors.items()}, {**(metadata or {}), **own})


def _filled(source: ModelSource, part: str, device: torch.device, dtype: torch.dtype) -> Network:
    network = source.build(part)
    # Other devices convert faster than this one, and half as much is sent to them.
    read = source.read(part, dtype=dtype if device.type == "cpu" else None)
    state = {key: value.to(device, dtype) for key, value in read}
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _typed(networks: Mapping[str, Network]) -> tuple[UNetModel, AutoencoderKL, tuple[TextTower, ...]]:
    unet, vae = networks["unet"], networks["vae"]
    assert isinstance(unet, UNetModel) and isinstance(vae, AutoencoderKL)
    return unet, vae, tuple(network for network in networks.values() if isinstance(network, TextTower))
