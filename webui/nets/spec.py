"""A network family as data: every number a network is built from, and nothing else."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Prediction = Literal["eps", "v"]
Activation = Literal["quick_gelu", "gelu"]
Layout = Literal["clip", "open_clip"]
Beside = Literal["nothing", "depth", "inpaint", "edit", "unknown"]
S = TypeVar("S")


@dataclass(frozen=True, kw_only=True)
class UNetSpec:
    """The noise predictor (Rombach et al. 2022, arXiv:2112.10752; SDXL: Podell et al. 2023, arXiv:2307.01952).

    `transformer_depth` has one entry per level of `channel_mult`, 0 for a level without attention. Heads are counted
    (`heads`, SD 1) or follow from their width (`head_width`, SD 2 and SDXL): exactly one of the two is set.
    `label_width` is the length of the vector `y` (SDXL), `guidance_width` that of LCM's guidance embedding.
    """

    in_channels: int = 4
    out_channels: int = 4
    model_channels: int
    channel_mult: tuple[int, ...]
    res_blocks: int = 2
    transformer_depth: tuple[int, ...]
    middle_depth: int = 1
    context_width: int
    heads: int | None = None
    head_width: int | None = None
    linear_projection: bool = False
    label_width: int | None = None
    guidance_width: int | None = None
    groups: int = 32

    def __post_init__(self) -> None:
        if len(self.transformer_depth) != len(self.channel_mult):
            raise ValueError(f"transformer_depth {self.transformer_depth} must have one entry per level of channel_mult "
                             f"{self.channel_mult}.")
        if (self.heads is None) == (self.head_width is None):
            raise ValueError(f"Set either heads or head_width, not both and not none; got {self.heads} and {self.head_width}.")

    @property
    def levels(self) -> int:
        """The number of resolutions; sides of a latent are halved levels - 1 times."""
        return len(self.channel_mult)

    @property
    def time_width(self) -> int:
        """The width of the embedding that carries time, guidance and the vector to every residual block."""
        return 4 * self.model_channels

    def heads_at(self, channels: int) -> int:
        """How many attention heads share `channels`."""
        if self.heads is not None:
            return self.heads
        assert self.head_width is not None
        return channels // self.head_width


@dataclass(frozen=True, kw_only=True)
class VAESpec:
    """The autoencoder; a network latent is (z - shift) * scale of the autoencoder's own z."""

    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    res_blocks: int = 2
    latent_channels: int = 4
    picture_channels: int = 3
    scale: float = 0.18215
    shift: float = 0.0
    groups: int = 32

    @property
    def factor(self) -> int:
        """Picture pixels per latent pixel, along one side."""
        return int(2 ** (len(self.channel_mult) - 1))


@dataclass(frozen=True, kw_only=True)
class TextSpec:
    """A CLIP text tower (Radford et al. 2021, arXiv:2103.00020).

    `layers` counts the layers in the file. `skip` says which one is read: 1 is the last, 2 the penultimate (SD 2, SDXL);
    `final_norm` whether the final layer norm is applied to what was read (SDXL: not). `projection` is the width of the
    pooled output's projection, None for a tower without one. The last two entries of the vocabulary are the start and end tokens.
    `kind` names how single files lay its weights out.
    """

    kind: Layout = "clip"
    width: int
    layers: int
    heads: int
    hidden: int
    projection: int | None = None
    vocabulary: int = 49408
    positions: int = 77
    activation: Activation = "quick_gelu"
    padding: int = 49407
    skip: int = 1
    final_norm: bool = True

    @property
    def start(self) -> int:
        """The id of the start token."""
        return self.vocabulary - 2

    @property
    def end(self) -> int:
        """The id of the end token."""
        return self.vocabulary - 1


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A whole model family: the three networks, what the noise predictor predicts, and its noise schedule.

    The schedule is Stable Diffusion's "scaled linear" one: the square roots of `train_steps` betas are evenly spaced between
    those of `betas`; with `zero_terminal_snr` it is rescaled so that nothing is left of the picture at the last step (Lin et al.
    2023, arXiv:2305.08891). `native_size` is the side in pixels it was trained at. `no_map` is what fills the channel of a depth
    network where there is no map; None for a network that was never taught to do without, which is given a flat map. `smooth_map`
    says that a map is smoothed before it is made as small as the latent; published networks were taught with single pixels of it.
    """

    family: str
    title: str
    unet: UNetSpec
    vae: VAESpec
    text: tuple[TextSpec, ...]
    prediction: Prediction = "eps"
    betas: tuple[float, float] = (0.00085, 0.012)
    train_steps: int = 1000
    zero_terminal_snr: bool = False
    native_size: int = 512
    no_map: float | None = None
    smooth_map: bool = False

    @property
    def beside(self) -> Beside:
        """What the noise predictor takes behind the latent: nothing, a depth map, a mask and a masked latent, or a picture."""
        more, latent = self.unet.in_channels - self.vae.latent_channels, self.vae.latent_channels
        return {0: "nothing", 1: "depth", latent: "edit", latent + 1: "inpaint"}.get(more, "unknown")  # type: ignore[return-value]

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and strings, as a checkpoint carries them in its metadata."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ModelSpec:
        """The inverse of `to_json`; a ValueError names unknown or missing fields. What the fields hold is not checked."""
        parts: dict[str, Callable[[Any], Any]] = {
            "unet": lambda value: _build(UNetSpec, value),
            "vae": lambda value: _build(VAESpec, value),
            "text": _towers,
        }
        if not isinstance(plain, Mapping):
            raise ValueError("A model's description must be a table of its fields.")
        return _build(cls, {key: parts[key](value) if key in parts else value for key, value in plain.items()})


def _towers(value: Any) -> tuple[TextSpec, ...]:
    if not isinstance(value, list):
        raise ValueError("text must be a list of text towers.")
    return tuple(_build(TextSpec, each) for each in value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _build(cls: type[S], plain: Any) -> S:
    if not isinstance(plain, Mapping):
        raise ValueError(f"{cls.__name__} must be a table of its fields.")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(plain) - set(fields)):
        raise ValueError(f"Unknown fields in {cls.__name__}: {', '.join(unknown)}; known: {', '.join(sorted(fields))}.")
    if missing := [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in plain]:
        raise ValueError(f"{cls.__name__} is incomplete: {', '.join(missing)} missing.")
    try:
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()})
    except TypeError as error:
        raise ValueError(f"{cls.__name__} has a field of the wrong kind: {error}.") from error
