"""One model's weights wherever they lie, described before any of them is read: the door for whoever holds networks.

Opening a model reads headers only and makes the whole plan: which weight of which network is which piece of which key of which
file. What does not fit is refused then. Weights are read later, some or all, as often as wanted; between two readings nothing of
a user's file is open or mapped, and a file that was changed since it was opened is refused instead of mixed with what it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from webui.errors import ModelFileError
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.controlnet import ControlNet
from webui.nets.controlnet_spec import ControlSpec
from webui.nets.depth import Estimator, estimator
from webui.nets.depth_small import SmallDepthSpec
from webui.nets.depth_spec import DepthSpec
from webui.nets.spec import ModelSpec, TextSpec, UNetSpec, VAESpec
from webui.nets.text import TextTower
from webui.nets.tokenizer import Tokenizer
from webui.nets.unet import UNetModel
from webui.nets.upscaler import Upscaler, upscaler
from webui.nets.upscaler_spec import CompactSpec, RRDBSpec, UpscalerSpec
from webui.weights import depth_layouts, folders, vae_files
from webui.weights.depth_expected import depth_weights
from webui.weights.expected import expected, vae_weights
from webui.weights.families import Override, detect, is_undecided
from webui.weights.files import Header, Stamp
from webui.weights.folder_configs import structure
from webui.weights.headers import read_header
from webui.weights.plans import Place, places_of, single_file, tokenizers_of
from webui.weights.reading import Form, read_places

Network = UNetModel | AutoencoderKL | TextTower | Upscaler | Estimator | ControlNet
Spec = UNetSpec | VAESpec | TextSpec | UpscalerSpec | DepthSpec | SmallDepthSpec | ControlSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Networks that can be built, and read all or in part, by the names of their parts."""

    path: Path
    specs: Mapping[str, Spec]  # by part
    places: Mapping[str, Mapping[str, Place]]  # part -> our key -> where it lies
    stamps: Mapping[Path, Stamp]  # of the files when they were opened

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the networks."""
        return tuple(self.specs)

    def shapes(self, part: str) -> dict[str, tuple[tuple[int, ...], int]]:
        """The shape of every weight of a part, and how many bytes a number of it takes in the file."""
        return {key: (place.shape, place.info.item_bytes) for key, place in self.places[part].items()}

    def build(self, part: str) -> Network:
        """A part's network without memory for its weights (on torch's meta device)."""
        return built(self.specs[part])

    def read(
        self, part: str, keys: Collection[str] | None = None, dtype: torch.dtype | None = None, channels_last: bool = False
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield all or some of a part's weights: our keys, CPU tensors of the network's shape, in `dtype` or else in the file's.

        With `channels_last` those of convolutions have torch's memory format of that name; saying so here saves a copy.
        Their memory is nobody else's, though several of them may give it back only together (see `fresh_memory.py`). They come in
        the order in which they lie in the file. Raises `ModelFileError`, after which nothing is open either.
        """
        places = self.places[part]
        wanted = places if keys is None else {key: places[key] for key in keys}
        yield from read_places(wanted, self.stamps, Form(dtype, channels_last))


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelSource(Source):
    """A whole model: the parts "unet", "vae", "text0" and, where there is a second tower, "text1".

    A model that takes a depth map may bring its own estimator of depth, the part "depth".
    `tokenizers` has one entry a text tower. `undecided` says that the files leave open whether it predicts noise or velocity.
    """

    spec: ModelSpec
    tokenizers: tuple[Tokenizer, ...]
    undecided: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class VAESource(Source):
    """An autoencoder alone, the part "vae"."""

    spec: VAESpec


def open_model(path: Path, override: Override | None = None) -> ModelSource:
    """Open a checkpoint of any known family, which is what `override` says rather than what it seems; no weight is read.

    Raises `ModelFileError`, one sentence that says what is wrong with the file.
    """
    header = read_header(path)
    try:
        spec = detect(header, override)
    except ModelFileError as error:
        raise ModelFileError(f"{path.name}: {error}") from error
    return described_source(path, header, spec, override)


def described_source(path: Path, header: Header, spec: ModelSpec, override: Override | None = None) -> ModelSource:
    """The source of a checkpoint of which it is known what it is; `ModelFileError` where its header does not fit the spec."""
    try:
        folder = folders.opened(path) if folders.is_folder(path) else None
        if folder is not None:
            spec = structure(spec, detect(header))
        wanted, specs = expected(spec), specs_of(spec)
        estimator = depth_layouts.brought(spec, header, path)
        if estimator is not None:
            specs[depth_layouts.PART], wanted[depth_layouts.PART] = estimator.spec, dict(depth_weights(estimator.spec))
        stamps = {path: header.stamp} if folder is None else folder.stamps
        offers = single_file(spec, header, path) if folder is None else folders.offered(folder)
        if folder is not None and estimator is not None:
            offers, stamps = chain(offers, estimator.offers), {**stamps, **estimator.stamps}
        return ModelSource(
            path=path,
            specs=specs,
            places=places_of(wanted, offers),
            stamps=stamps,
            spec=spec,
            tokenizers=tokenizers_of(spec, header),
            undecided=is_undecided(header, spec, override),
        )
    except ModelFileError as error:
        raise ModelFileError(f"{path.name}: {error}") from error


def open_vae(path: Path, like: VAESpec) -> VAESource:
    """Open an autoencoder that shall stand in for a model's own, `like`, whose scale and shift it takes; no weight is read.

    Raises `ModelFileError`, also where it is made for other latents than the model's.
    """
    try:
        headers = vae_files.headers_at(path)
        offers = vae_files.offered(headers)
        spec = vae_files.fitting(offers, like)
        places = places_of({"vae": dict(vae_weights(spec))}, offers)
    except ModelFileError as error:
        raise ModelFileError(f"{path.name}: {error}") from error
    stamps = {file: header.stamp for file, header in headers.items()}
    return VAESource(path=path, specs={"vae": spec}, places=places, stamps=stamps, spec=spec)


def specs_of(spec: ModelSpec) -> dict[str, Spec]:
    """What a model's spec says of each of its parts."""
    return {"unet": spec.unet, "vae": spec.vae, **{f"text{index}": tower for index, tower in enumerate(spec.text)}}


def built(spec: Spec) -> Network:
    """The network of a spec, without memory for its weights."""
    with torch.device("meta"):
        if isinstance(spec, UNetSpec):
            return UNetModel(spec)
        if isinstance(spec, ControlSpec):
            return ControlNet(spec)
        if isinstance(spec, RRDBSpec | CompactSpec):
            return upscaler(spec)
        if isinstance(spec, DepthSpec | SmallDepthSpec):
            return estimator(spec)
        return AutoencoderKL(spec) if isinstance(spec, VAESpec) else TextTower(spec)


def build(spec: ModelSpec) -> dict[str, Network]:
    """A model's networks by part, without memory for their weights."""
    return {part: built(each) for part, each in specs_of(spec).items()}
