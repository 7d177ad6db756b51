"""What the networks' tests share: the specs behind the headers, weights from them, and the gates of float32 parity."""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.random_weights import checkpoint
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import UNetSpec, VAESpec
from webui.nets.unet import UNetModel

DATA = Path(__file__).parent.parent / "data"
UNET = "model.diffusion_model."
VAE = "first_stage_model."
GAINS = (1.0, 0.003)
RMS_GATE, MOST_GATE = 1.5e-5, 3e-5  # two correct float32 implementations differ by a fifth of it
HALF_GATES = {torch.float16: 6e-3, torch.bfloat16: 6e-2}  # relative rms against float32 on a CPU

SD1 = UNetSpec(model_channels=32, channel_mult=(1, 2, 4, 4), transformer_depth=(1, 1, 1, 0), context_width=48, heads=8)
SD2 = dataclasses.replace(SD1, context_width=64, heads=None, head_width=8, linear_projection=True)
SDXL = UNetSpec(
    model_channels=32, channel_mult=(1, 2, 4), transformer_depth=(0, 2, 3), middle_depth=3, context_width=112, head_width=8,
    linear_projection=True, label_width=1600,
)
REFINER = dataclasses.replace(
    SDXL, channel_mult=(1, 2, 4, 4), transformer_depth=(0, 2, 2, 0), middle_depth=2, context_width=64, label_width=1344
)
TINY_VAE = VAESpec(channels=32)
TINY = {
    "sd15-tiny": SD1,
    "sd15-inpaint-tiny": dataclasses.replace(SD1, in_channels=9),
    "sd15-ip2p-tiny": dataclasses.replace(SD1, in_channels=8),
    "sd21-base-tiny": SD2,
    "sd21-v-tiny": SD2,
    "sd2-inpaint-tiny": dataclasses.replace(SD2, in_channels=9),
    "sd2-depth-tiny": dataclasses.replace(SD2, in_channels=5),
    "sdxl-tiny": SDXL,
    "sdxl-inpaint-tiny": dataclasses.replace(SDXL, in_channels=9),
    "sdxl-refiner-tiny": REFINER,
}
FULL = {
    "sd15-full": dataclasses.replace(SD1, model_channels=320, context_width=768),
    "sd21-v-full": dataclasses.replace(SD2, model_channels=320, context_width=1024, head_width=64),
    "sdxl-full": dataclasses.replace(
        SDXL, model_channels=320, transformer_depth=(0, 2, 10), middle_depth=10, context_width=2048, head_width=64,
        label_width=2816,
    ),
}


@cache
def recorded(name: str) -> dict[str, Tensor]:
    """Reference inputs and outputs of the named tiny checkpoint at unit gain."""
    return load_file(DATA / f"{name}.safetensors")


def part(name: str, prefix: str, gain: float = 1.0) -> dict[str, Tensor]:
    """The random weights under a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in checkpoint(name, gain=gain, prefix=prefix).items()}


def unet(name: str = "sd15-tiny", gain: float = 1.0, spec: UNetSpec | None = None) -> UNetModel:
    """The named tiny noise predictor; a strict load."""
    network = UNetModel(TINY[name] if spec is None else spec)
    network.load_state_dict(part(name, UNET, gain))
    return network.eval().requires_grad_(False)


def autoencoder(name: str = "sd15-tiny", gain: float = 1.0) -> AutoencoderKL:
    """The named tiny autoencoder; a strict load."""
    network = AutoencoderKL(TINY_VAE)
    network.load_state_dict(part(name, VAE, gain))
    return network.eval().requires_grad_(False)


def inputs(spec: UNetSpec, batch: int = 2, side: int = 16, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Random x, fractional t, context and y for a noise predictor."""
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, spec.in_channels, side, side, generator=source)
    t = torch.rand(batch, generator=source) * 999
    context = torch.randn(batch, 77, spec.context_width, generator=source)
    y = None if spec.label_width is None else torch.randn(batch, spec.label_width, generator=source)
    return x, t, context, y


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far two results are apart, relative to the second: root mean square, and at most."""

    rms: float
    most: float

    @property
    def accepted(self) -> bool:
        """Whether two correct float32 implementations can differ so much."""
        return self.rms < RMS_GATE and self.most < MOST_GATE


def difference(ours: Tensor, theirs: Tensor) -> Difference:
    """How far our result, whose numbers must be finite, is from theirs."""
    assert ours.shape == theirs.shape, f"{tuple(ours.shape)} is not {tuple(theirs.shape)}"
    assert torch.isfinite(ours).all()
    apart, size = ours.double() - theirs.double(), theirs.double()
    return Difference(rms=float(apart.norm() / size.norm()), most=float(apart.abs().max() / size.abs().max()))


def assert_same(ours: Tensor, theirs: Tensor, rms: float = RMS_GATE, most: float = MOST_GATE) -> None:
    """Fail unless two results differ by no more than two correct float32 implementations do, relative to the second."""
    found = difference(ours, theirs)
    assert found.rms < rms and found.most < most, f"relative rms {found.rms:.2e}, relative max {found.most:.2e}"
