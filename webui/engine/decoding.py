"""Pictures from latents and back: in the number type that suffices, whole where memory allows, else in bands."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from webui.engine.device import Choice, Dtype
from webui.engine.faults import out_of_memory, without_frames
from webui.engine.holding import Holding
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.bands import decode_in_bands, encode_in_bands
from webui.nets.convolution import Padding
from webui.pipeline.protocol import Decode, EncodePicture

LOGGER = logging.getLogger(__name__)
BANDS = 4  # at first; twice as many where memory does not suffice for that either
MOST_BANDS = 64
# Bytes of the largest feature map. On a CPU nothing says that memory does not suffice: the system ends the program.
AT_ONCE_ON_A_CPU = 2**30
BAND_ON_A_CPU = 2**28
NUMBERS: dict[Dtype, str] = {"float16": "half precision", "bfloat16": "bfloat16", "float32": "float32"}


class Decoding:
    """A device's autoencoders at work. For one thread.

    Some published autoencoders overflow in half precision and give pictures of NaN: then the same latent is decoded in the next
    wider number type, which is said once (`notices`). It is tried anew for every latent: if it were remembered, a picture
    would depend on those before it.
    """

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._said: set[tuple[str, str, Dtype]] = set()  # of which autoencoders, and what they decoded in instead
        self._notices: list[str] = []

    def notices(self) -> tuple[str, ...]:
        """What people should be told since this was last asked."""
        told = tuple(self._notices)
        self._notices.clear()
        return told

    def holds(self, ask: Decode | EncodePicture) -> bool:
        """Whether the autoencoder for an ask is held."""
        choices = self._choices(ask.network)
        choice = choices[0] if isinstance(ask, Decode) else choices[-1]
        return self._holding.autoencoder_key(ask.network, ask.vae, choice) in self._holding.residency

    def decoded(self, ask: Decode, z: Tensor) -> Tensor:
        """The picture [1, 3, H, W], float32, about [-1, 1], of an unscaled latent z [1, C, h, w].

        Where not even float32 gives finite numbers from finite ones, those are the answer.
        """
        first, *wider = self._choices(ask.network)
        picture = self._decoded_in(ask, z, first)
        for choice in wider:
            if bool(torch.isfinite(picture).all()) or not bool(torch.isfinite(z).all()):
                break
            picture = self._decoded_in(ask, z, choice)
            self._say(ask, first, choice)
        return picture

    def encoded(self, ask: EncodePicture) -> Tensor:
        """The mean of the posterior, [C, h, w] float32, unscaled, of a picture [3, H, W] in [0, 1]."""
        choice = self._choices(ask.network)[-1]  # once a picture, and what is lost here is lost for good
        vae = self._holding.autoencoder(ask.network, ask.vae, choice)
        picture = ask.picture.to(choice.device, torch.float32)[None] * 2 - 1
        return encoded_somehow(vae, laid_out(picture, choice), ask.padding)[0].float().contiguous()

    def _say(self, ask: Decode, first: Choice, wider: Choice) -> None:
        about = ask.network, ask.vae, wider.dtype
        if about not in self._said:
            self._said.add(about)
            whose = f"The VAE {ask.vae!r}" if ask.vae else f"The VAE of {ask.network!r}"
            sentence = f"{whose} gave no numbers in {NUMBERS[first.dtype]}; such pictures are decoded in {NUMBERS[wider.dtype]}."
            self._notices.append(sentence)
            LOGGER.warning("%s", sentence)

    def _choices(self, network: str) -> tuple[Choice, ...]:
        return self._holding.known(network).choice.for_decoding()

    def _decoded_in(self, ask: Decode, z: Tensor, choice: Choice) -> Tensor:
        vae = self._holding.autoencoder(ask.network, ask.vae, choice)
        picture = decoded_somehow(vae, laid_out(z, choice), ask.padding)
        return picture.float().contiguous()


def decoded_somehow(vae: AutoencoderKL, z: Tensor, padding: Padding = "zeros") -> Tensor:
    """The picture of a latent: at once, or where memory does not suffice in ever narrower bands, which gives the same."""
    height, width = (side * vae.spec.factor for side in z.shape[-2:])
    return somehow(
        lambda: vae.decode(z, padding), lambda bands: decode_in_bands(vae, z, bands, padding), z.device,
        rows=z.shape[-2], size=largest_map(vae, height, width) * z.element_size(),
    )  # fmt: skip


def encoded_somehow(vae: AutoencoderKL, picture: Tensor, padding: Padding = "zeros") -> Tensor:
    """The mean of the posterior of a picture, likewise."""
    height, width = picture.shape[-2:]
    return somehow(
        lambda: vae.encode(picture, padding).mean, lambda bands: encode_in_bands(vae, picture, bands, padding).mean,
        picture.device, rows=height // vae.spec.factor, size=largest_map(vae, height, width) * picture.element_size(),
    )  # fmt: skip


def largest_map(vae: AutoencoderKL, height: int, width: int) -> int:
    """How many numbers the largest feature map of a picture has: at its own resolution, still with the channels of the next."""
    return height * width * vae.spec.channels * max(vae.spec.channel_mult[:2])


def somehow(
    whole: Callable[[], Tensor], banded: Callable[[int], Tensor], device: torch.device, *, rows: int, size: int
) -> Tensor:
    """What `whole` gives or, where memory does not suffice, `banded` in ever more bands, at most so many as there are `rows`.

    On a CPU what is used at once follows from the `size` of the largest feature map in bytes alone.
    """
    bands = BANDS
    if device.type != "cpu" or size <= AT_ONCE_ON_A_CPU:
        try:
            return whole()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            without_frames(error)
    else:
        bands = min(-(-size // BAND_ON_A_CPU), MOST_BANDS)
    while True:
        if device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            return banded(bands)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or bands >= MOST_BANDS or bands >= rows:
                raise
            without_frames(error)
        bands *= 2


def laid_out(x: Tensor, choice: Choice) -> Tensor:
    """x [B, C, H, W] in a choice's number type and memory layout."""
    x = x.to(choice.torch_dtype)
    return x.contiguous(memory_format=torch.channels_last) if choice.channels_last else x
