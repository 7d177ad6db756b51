"""Networks held by this process: rows become one call of the noise predictor, texts and pictures go through their towers.

`torch.no_grad()` and patches are entered around each call and nothing outlives it. What is computed once per job instead of once
per step (texts, their keys and values for cross-attention, what residual blocks make of the time) is kept by content, bounded in
bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from webui.engine.batching import RowCall
from webui.engine.cache import ByteCache, nbytes
from webui.engine.contents import Contents, digest
from webui.engine.decoding import Decoding
from webui.engine.device import CPU_FLOAT32, Choice
from webui.engine.holding import Holding, Open, OpenVAE, Predictor, Tower
from webui.engine.networks import Predicted
from webui.engine.others import OpenOther, Others
from webui.engine.patched import content_key, variant_key
from webui.engine.placing import Weights
from webui.engine.rows import Batch, batch_of, contexts, sent, vectors
from webui.engine.text import encode
from webui.errors import JobError, UserError, quoted
from webui.nets.spec import ModelSpec
from webui.nets.unet import Hooks
from webui.pipeline.noise_table import denoised_from, network_input
from webui.pipeline.protocol import Call, Conditioning, Decode, Encode, EncodePicture, Row
from webui.weights import layouts

LOGGER = logging.getLogger(__name__)
MEBIBYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class Room:
    """How many bytes weights may take on the device, and how many are kept of what can be computed again."""

    weights: int = 2**62
    texts: int = 64 * MEBIBYTE
    contexts: int = 256 * MEBIBYTE
    times: int = 64 * MEBIBYTE
    pictures: int = 64 * MEBIBYTE
    latents: int = 32 * MEBIBYTE
    answers: int = 256 * MEBIBYTE


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What texts are to the noise predictor: tokens [B, n, width], and cross-attention's keys and values of them by site."""

    tokens: Tensor
    keys_values: dict[str, tuple[Tensor, Tensor]] | None = None

    def tensors(self) -> Iterator[Tensor]:
        """All of its tensors."""
        yield self.tokens
        for pair in (self.keys_values or {}).values():
            yield from pair

    def copied(self) -> Context:
        """The same in memory of its own."""
        pairs = None if self.keys_values is None else {site: (k.clone(), v.clone()) for site, (k, v) in self.keys_values.items()}
        return Context(tokens=self.tokens.clone(), keys_values=pairs)


def tensors_of(text: Conditioning) -> Iterator[Tensor]:
    """The tokens of a text, and its vector where it has one."""
    yield text.tokens
    if text.vector is not None:
        yield text.vector


class Towers(Sequence[Tower]):
    """A model's text towers with a text's patches, each brought onto the device in its turn: there may not be room for two."""

    def __init__(self, holding: Holding, ask: Encode) -> None:
        self._holding, self._ask = holding, ask
        self._count = len(holding.known(ask.network).spec.text)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if index >= self._count:
            raise IndexError(index)
        return self._holding.tower(self._ask.network, index, self._ask.patches.weights)


class LocalNetworks:
    """Answers asks with models that `open(name)` gives, on the device and in the number type of `choice`. For one thread.

    `choice` is one for all models, or says for each which. `open_vae(name, like)` gives autoencoders in place of models' own.
    `open_other(name)` gives the networks that answer `Call` asks, which compute as `other_choice` says.
    """

    def __init__(
        self, open: Open, choice: Choice | Callable[[Weights], Choice] = CPU_FLOAT32, *,  # noqa: A002
        open_vae: OpenVAE | None = None, open_other: OpenOther | None = None, other_choice: Choice = CPU_FLOAT32,
        room: Room = Room(),
    ) -> None:
        self.holding = Holding(open, (lambda _: choice) if isinstance(choice, Choice) else choice, room.weights, open_vae)
        self._others = Others(self.holding, open_other, other_choice, room.answers)
        self._texts: ByteCache[Conditioning] = ByteCache(room.texts)
        self._contents = Contents()
        self._contexts: ByteCache[Context] = ByteCache(room.contexts)
        self._times: ByteCache[dict[str, Tensor]] = ByteCache(room.times)
        self._pictures: ByteCache[Tensor] = ByteCache(room.pictures)
        self._latents: ByteCache[Tensor] = ByteCache(room.latents)
        self._decoding = Decoding(self.holding)

    @torch.no_grad()
    def predict(self, call: RowCall) -> Predicted:
        """The clean latents of rows, by one call of their network."""
        first = call.rows[0]
        known = self.holding.known(first.network)
        fitting(first, known.spec)
        device = torch.device(known.choice.device)
        batch = batch_of(call, device)
        predictor = self.holding.predictor(first.network, first.patches.weights)
        context = self._context(predictor, batch, call.length, known.choice)
        # Made on the host in double precision, so that a row's level is the same whoever it shares the call with.
        sigmas = sent(torch.tensor(batch.sigmas, dtype=torch.float64).to(torch.float32), device)
        times = tuple(known.table.t_of(row.at.sigma) if row.time is None else row.time for row in batch.inputs)
        t = sent(torch.tensor(times), device)
        vector = vectors(batch.inputs)
        vector = None if vector is None else vector.to(device)
        guidance = None if batch.guidance is None else batch.guidance - 1
        beside = predictor.alongside
        with nullcontext() if beside is None else beside.strengths.of(batch.rows, device):
            output = predictor.module(
                layout(shown(batch, sigmas).to(known.choice.torch_dtype), known.choice),
                t,
                context.tokens,
                vector,
                guidance=guidance,
                hooks=Hooks(attention=first.patches.attention, blocks=first.patches.blocks, at=batch.moments),
                residuals=None if batch.residuals is None else [each.to(known.choice.torch_dtype) for each in batch.residuals],
                keys_values=context.keys_values,
                embeddings=self._embeddings(predictor, batch, times, t, vector, guidance, known.choice),
                spread=batch.spread,
                padding=first.patches.padding or "zeros",
                run=predictor.run,
            )
        x, levels = batch.of_rows(batch.x), batch.of_rows(sigmas)
        denoised = denoised_from(known.spec.prediction, output.float().contiguous(), x, levels)[: len(call.rows)]
        finite = torch.isfinite(denoised).flatten(1).all(dim=1)
        return Predicted(denoised.unbind(0), lambda: tuple(finite.tolist()), by=known.choice.name)

    @torch.no_grad()
    def encode(self, ask: Encode) -> Conditioning:
        """The conditioning of a text, kept by content; the answer is a copy, whose holder may change it."""
        key = self._text_key(ask)
        found = self._texts.get(key)
        if found is None:
            pooled = self.holding.known(ask.network).spec.unet.label_width is not None
            found = encode(ask, Towers(self.holding, ask), pooled=pooled)
            self._texts.put(key, found, nbytes(tensors_of(found)))
        return replace(found, tokens=found.tokens.clone(), vector=None if found.vector is None else found.vector.clone())

    @torch.no_grad()
    def encode_picture(self, ask: EncodePicture) -> Tensor:
        """The mean of the latent of a picture whose sides are multiples of the autoencoder's factor, kept by content.

        The answer is a copy, whose holder may change it.
        """
        vae = self.holding.known(ask.network).spec.vae
        height, width = ask.picture.shape[-2:]
        if height % vae.factor or width % vae.factor:
            raise JobError(f"The picture is {width} x {height}; the model {ask.network!r} reads multiples of {vae.factor}.")
        key = self._latent_key(ask)
        found = self._latents.get(key) if key else None
        if found is None:
            found = (self._decoding.encoded(ask) - vae.shift) * vae.scale
            if key:
                self._latents.put(key, found, nbytes([found]))
        return found.clone()

    @torch.no_grad()
    def decode(self, ask: Decode) -> Tensor:
        """The picture of a latent, kept by content; the answer is a copy, whose holder may change it."""
        known = self.holding.known(ask.network)
        latent = ask.latent.to(known.choice.device, torch.float32).contiguous()
        key = (ask.network, ask.vae, ask.padding, digest(latent))
        found = self._pictures.get(key)
        if found is None:
            z = latent[None] / known.spec.vae.scale + known.spec.vae.shift
            found = (self._decoding.decoded(ask, z)[0] / 2 + 0.5).clamp(0, 1)
            self._pictures.put(key, found, nbytes([found]))
        return found.clone()

    def call(self, ask: Call) -> Any:
        """The answer of another network."""
        with torch.no_grad():
            return self._others.answer(ask)

    def ready(self, row: Row) -> bool:
        """Whether the row's network, with its patches, is held."""
        return self.holding.is_ready(row.network, row.patches.weights)

    def holds(self, ask: object) -> bool:
        """Whether the answer is kept, or the networks are held that compute it; some asks need none."""
        if isinstance(ask, Encode):
            return self._text_key(ask) in self._texts or self.holding.has_towers(ask.network, ask.patches.weights)
        if isinstance(ask, EncodePicture) and (key := self._latent_key(ask)) is not None and key in self._latents:
            return True
        if isinstance(ask, (Decode, EncodePicture)):
            return self._decoding.holds(ask)
        return self._others.holds(ask) if isinstance(ask, Call) else True

    def notices(self) -> tuple[str, ...]:
        """What people should be told since this was last asked."""
        return self._decoding.notices()

    def device_of(self, network: str) -> str:
        """Where the answers for a network come from."""
        return self.holding.known(network).choice.device

    def free(self) -> None:
        """Let go of everything that can be computed or read again, but for the weights used last, which are wanted next."""
        for cache in (self._texts, self._contexts, self._times, self._pictures, self._latents, self._others):
            cache.clear()
        self.holding.residency.drop_others()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _latent_key(self, ask: EncodePicture) -> tuple[str, str, str, str] | None:
        name = self._contents.of(ask.picture)
        return (ask.network, ask.vae, ask.padding, name) if name else None

    def _text_key(self, ask: Encode) -> Hashable:
        return ask.network, ask.chunks, ask.clip_skip, ask.norm, content_key(ask.patches.weights)

    def _context(self, predictor: Predictor, batch: Batch, length: int, choice: Choice) -> Context:
        names = tuple(self._contents.name(row.conditioning) for row in batch.rows)
        first = batch.rows[0]
        key = (first.network, variant_key(first.patches.weights), names, length)
        found = self._contexts.get(key)
        if found is None:
            tokens = contexts(batch.rows, length).to(choice.device, choice.torch_dtype)
            found = Context(tokens=tokens)
            if not all(names) or (predictor.alongside is not None and predictor.alongside.texts):
                return found  # not to be kept, for it has no name or is another one in each call
            found = replace(found, keys_values=predictor.module.cross_keys_values(tokens, predictor.run))
            self._contexts.put(key, found, nbytes(found.tensors()))
        return found.copied() if first.patches.attention else found  # a hook may write to what it is given

    def _embeddings(
        self, predictor: Predictor, batch: Batch, times: tuple[float, ...], t: Tensor, vector: Tensor | None,
        guidance: Tensor | None, choice: Choice,
    ) -> dict[str, Tensor] | None:
        """What residual blocks make of the times; None where their weights come only when their turn is, or differ by row."""
        names = tuple(self._contents.name(row.conditioning) for row in batch.inputs) if vector is not None else ()
        if predictor.streamed or not all(names) or (predictor.alongside is not None and predictor.alongside.times):
            return None
        first = batch.rows[0]
        scales = tuple(row.guidance for row in batch.inputs)
        key = (first.network, variant_key(first.patches.weights), times, names, scales)
        found = self._times.get(key)
        if found is None:
            found = predictor.module.embeddings(t, vector, guidance=guidance, dtype=choice.torch_dtype, run=predictor.run)
            self._times.put(key, found, nbytes(found.values()))
        return found


def shown(batch: Batch, sigmas: Tensor) -> Tensor:
    """What the network sees of a batch: x at the scale it was trained with, and channels behind it."""
    x = network_input(batch.x, sigmas)
    return x if batch.channels is None else torch.cat([x, batch.channels], dim=1)


def layout(x: Tensor, choice: Choice) -> Tensor:
    """x [B, C, H, W] in the choice's memory layout."""
    return x.contiguous(memory_format=torch.channels_last) if choice.channels_last else x


def fitting(row: Row, spec: ModelSpec) -> None:
    """Raise a sentence instead of a shape error deep in the network."""
    given = row.x.shape[0] + (0 if row.channels is None else row.channels.shape[0])
    if given != spec.unet.in_channels:
        raise JobError(
            f"The model {row.network!r} takes {spec.unet.in_channels} channels, but the job gives it {given}: what goes "
            "beside the noise (a mask, a depth map, a picture) does not suit it. Choose another model."
        )
    width = row.conditioning.tokens.shape[-1]
    if width != spec.unet.context_width:
        wanted = spec.unet.context_width
        raise JobError(f"The model {row.network!r} reads texts of width {wanted}, but the job gives it {width}.")
    label, vector = spec.unet.label_width, row.conditioning.vector
    if label is not None and (vector is None or vector.shape[-1] != label):
        given = 0 if vector is None else vector.shape[-1]
        raise JobError(
            f"The model {row.network!r} wants {label} numbers beside the text (sizes and crops, as in SDXL), but the job "
            f"gives it {given}."
        )
    places = (layouts.UNET, layouts.VAE, *layouts.TEXT_PLACES)
    for patch in row.patches.weights:
        if not patch.key.startswith(places):
            raise UserError(f"A patch changes the weight {quoted(patch.key)}, which is in no network of a model.")
