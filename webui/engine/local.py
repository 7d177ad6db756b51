"""Networks held by this process: rows become one call of the noise predictor, texts and pictures go through their towers.

`torch.no_grad()` and patches are entered around each call and nothing outlives it. What is computed once per job instead of once
per step (texts, their keys and values for cross-attention) is kept by content, bounded in bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from webui.engine.batching import RowCall
from webui.engine.cache import ByteCache, nbytes
from webui.engine.contents import Contents, digest
from webui.engine.device import CPU_FLOAT32, Choice
from webui.engine.networks import Predicted
from webui.engine.patched import Module, Place, content_key, patched, with_weights
from webui.engine.rows import Batch, batch_of, contexts, vectors
from webui.engine.text import encode
from webui.errors import JobError, UserError, quoted, unknown
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import ModelSpec
from webui.nets.text import TextTower
from webui.nets.unet import Hooks, UNetModel
from webui.pipeline.noise_table import NoiseTable, denoised_from, network_input
from webui.pipeline.patches import WeightPatch
from webui.pipeline.protocol import Call, Conditioning, Decode, Encode, EncodePicture, Row
from webui.weights import layouts
from webui.weights.model import LoadedModel

MEBIBYTE = 2**20
UNET = Place(prefix=layouts.UNET)
Load = Callable[[str], LoadedModel]


@dataclass(frozen=True, kw_only=True)
class Room:
    """How many models are held, and how many bytes are kept of what can be computed again."""

    models: int = 2
    texts: int = 64 * MEBIBYTE
    contexts: int = 256 * MEBIBYTE
    pictures: int = 64 * MEBIBYTE
    patched: int = 4096 * MEBIBYTE


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """A model on its device; the noise predictor in the chosen number type, the rest in float32."""

    spec: ModelSpec
    table: NoiseTable
    unet: UNetModel
    vae: AutoencoderKL
    text: tuple[TextTower, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What texts are to the noise predictor: tokens [B, n, width], vectors, and cross-attention's keys and values by site."""

    tokens: Tensor
    vector: Tensor | None
    keys_values: dict[str, tuple[Tensor, Tensor]] | None = None

    def tensors(self) -> Iterator[Tensor]:
        """All of its tensors."""
        yield from tensors_of(self)
        for pair in (self.keys_values or {}).values():
            yield from pair

    def copied(self) -> Context:
        """The same in memory of its own."""
        pairs = None if self.keys_values is None else {site: (k.clone(), v.clone()) for site, (k, v) in self.keys_values.items()}
        vector = None if self.vector is None else self.vector.clone()
        return Context(tokens=self.tokens.clone(), vector=vector, keys_values=pairs)


def tensors_of(text: Conditioning | Context) -> Iterator[Tensor]:
    """The tokens of a text, and its vector where it has one."""
    yield text.tokens
    if text.vector is not None:
        yield text.vector


class LocalNetworks:
    """Answers asks with models that `load(name)` gives, on the device and in the number type of `choice`. For one thread.

    `others` answer `Call` asks by name, with the inputs as keyword arguments.
    """

    def __init__(
        self, load: Load, choice: Choice = CPU_FLOAT32, *,
        others: Mapping[str, Callable[..., Any]] | None = None, room: Room = Room(),
    ) -> None:
        self.choice = choice
        self._load = load
        self._others = dict(others or {})
        self._room = room
        self._device = torch.device(choice.device)
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._texts: ByteCache[Conditioning] = ByteCache(room.texts)
        self._contents = Contents()
        self._contexts: ByteCache[Context] = ByteCache(room.contexts)
        self._pictures: ByteCache[Tensor] = ByteCache(room.pictures)
        self._patched: ByteCache[nn.Module] = ByteCache(room.patched)

    @torch.no_grad()
    def predict(self, call: RowCall) -> Predicted:
        """The clean latents of rows, by one call of their network."""
        first = call.rows[0]
        held = self._model(first.network)
        self._fitting(first, held.spec)
        batch = batch_of(call, self._device)
        unet = self._unet(held, first)
        context = self._context(unet, batch, call.length)
        # Made on the host in double precision, so that a row's level is the same whoever it shares the call with.
        sigmas = torch.tensor(batch.sigmas, dtype=torch.float64).to(torch.float32).to(self._device)
        times = torch.tensor([held.table.t_of(sigma) for sigma in batch.sigmas], device=self._device)
        output = unet(
            self._input(batch, sigmas),
            times,
            context.tokens,
            context.vector,
            guidance=None if batch.guidance is None else batch.guidance - 1,
            hooks=Hooks(attention=first.patches.attention, blocks=first.patches.blocks, at=batch.moments),
            residuals=None if batch.residuals is None else [each.to(self.choice.torch_dtype) for each in batch.residuals],
            keys_values=context.keys_values,
            padding=first.patches.padding or "zeros",
        )
        denoised = denoised_from(held.spec.prediction, output.float().contiguous(), batch.x, sigmas)[: len(call.rows)]
        finite = torch.isfinite(denoised).flatten(1).all(dim=1)
        return Predicted(denoised.unbind(0), lambda: tuple(finite.tolist()), by=self.choice.name)

    @torch.no_grad()
    def encode(self, ask: Encode) -> Conditioning:
        """The conditioning of a text, kept by content; the answer is a copy, whose holder may change it."""
        key = (ask.network, ask.chunks, ask.clip_skip, content_key(ask.patches.weights), len(ask.patches.tokens))
        found = self._texts.get(key)
        if found is None:
            held = self._model(ask.network)
            towers = [self._tower(held, index, ask) for index in range(len(held.text))]
            found = encode(ask, towers, pooled=held.spec.unet.label_width is not None)
            self._texts.put(key, found, nbytes(tensors_of(found)))
        return replace(found, tokens=found.tokens.clone(), vector=None if found.vector is None else found.vector.clone())

    @torch.no_grad()
    def encode_picture(self, ask: EncodePicture) -> Tensor:
        """The mean of the latent of a picture whose sides are multiples of the autoencoder's factor."""
        held = self._model(ask.network)
        height, width = ask.picture.shape[-2:]
        if height % held.spec.vae.factor or width % held.spec.vae.factor:
            factor = held.spec.vae.factor
            raise JobError(f"The picture is {width} x {height}; the model {ask.network!r} reads multiples of {factor}.")
        picture = ask.picture.to(self._device, torch.float32)[None] * 2 - 1
        mean = held.vae.encode(self._format(picture)).mean[0].contiguous()
        return (mean - held.spec.vae.shift) * held.spec.vae.scale

    @torch.no_grad()
    def decode(self, ask: Decode) -> Tensor:
        """The picture of a latent, kept by content; the answer is a copy, whose holder may change it."""
        held = self._model(ask.network)
        latent = ask.latent.to(self._device, torch.float32).contiguous()
        key = (ask.network, digest(latent))
        found = self._pictures.get(key)
        if found is None:
            z = latent[None] / held.spec.vae.scale + held.spec.vae.shift
            found = (held.vae.decode(self._format(z))[0].contiguous() / 2 + 0.5).clamp(0, 1)
            self._pictures.put(key, found, nbytes([found]))
        return found.clone()

    def call(self, ask: Call) -> Any:
        """The answer of another network."""
        if ask.network not in self._others:
            raise unknown("network", ask.network, self._others)
        with torch.no_grad():
            return self._others[ask.network](**ask.inputs)

    def ready(self, row: Row) -> bool:
        """Whether the row's network, with its patches, is held."""
        if row.network not in self._held:
            return False
        return not row.patches.weights or (row.network, "unet", content_key(row.patches.weights)) in self._patched

    def free(self) -> None:
        """Let go of everything that can be computed again."""
        for cache in (self._texts, self._contexts, self._pictures, self._patched):
            cache.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _model(self, name: str) -> Held:
        if name in self._held:
            self._held.move_to_end(name)
            return self._held[name]
        while len(self._held) >= self._room.models:
            self._held.popitem(last=False)
            self.free()
        model = self._load(name)
        unet, vae = placed(model.unet, self.choice), placed(model.vae, self.choice.in_float32())
        text = tuple(placed(tower, self.choice.in_float32()) for tower in model.text)
        table = NoiseTable.from_spec(model.spec)
        self._held[name] = Held(spec=model.spec, table=table, unet=unet, vae=vae, text=text)
        return self._held[name]

    def _unet(self, held: Held, row: Row) -> UNetModel:
        return self._patch(row.network, "unet", held.unet, UNET, row.patches.weights)

    def _tower(self, held: Held, index: int, ask: Encode) -> TextTower:
        kind = held.spec.text[index].kind
        prefix = layouts.text_prefix(index, kind, conditioner=held.spec.unet.label_width is not None)
        place = Place(prefix=prefix, rules=layouts.TEXT[kind])
        return self._patch(ask.network, f"text{index}", held.text[index], place, ask.patches.weights)

    def _patch(self, network: str, part: str, module: Module, place: Place, patches: Sequence[WeightPatch]) -> Module:
        if not patches:
            return module
        key = (network, part, content_key(patches))
        found = self._patched.get(key)
        if found is None:
            found, changed = patched(module, place, patches)
            self._patched.put(key, found, nbytes(changed))
        assert isinstance(found, type(module))
        return found

    def _context(self, unet: UNetModel, batch: Batch, length: int) -> Context:
        names = tuple(self._contents.name(row.conditioning) for row in batch.rows)
        first = batch.rows[0]
        key = (first.network, content_key(first.patches.weights), names, length)
        found = self._contexts.get(key)
        if found is None:
            tokens = contexts(batch.rows, length).to(self._device, self.choice.torch_dtype)
            vector = vectors(batch.rows)
            found = Context(tokens=tokens, vector=None if vector is None else vector.to(self._device))
            if not all(names):
                return found
            found = replace(found, keys_values=unet.cross_keys_values(tokens))
            self._contexts.put(key, found, nbytes(found.tensors()))
        return found.copied() if first.patches.attention else found  # a hook may write to what it is given

    def _input(self, batch: Batch, sigmas: Tensor) -> Tensor:
        x = network_input(batch.x, sigmas)
        x = x if batch.channels is None else torch.cat([x, batch.channels], dim=1)
        return self._format(x.to(self.choice.torch_dtype))

    def _format(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last) if self.choice.channels_last else x

    def _fitting(self, row: Row, spec: ModelSpec) -> None:
        """A sentence instead of a shape error deep in the network."""
        given = row.x.shape[0] + (0 if row.channels is None else row.channels.shape[0])
        if given != spec.unet.in_channels:
            raise JobError(f"The model {row.network!r} takes {spec.unet.in_channels} channels, but the job gives it {given}.")
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


def placed(module: Module, choice: Choice) -> Module:
    """A copy of a network on a device, in a number type and memory layout; the original stays as it is."""

    def converted(weight: Tensor) -> Tensor:
        weight = weight.detach().to(choice.device, choice.torch_dtype)
        return weight.contiguous(memory_format=torch.channels_last) if choice.channels_last and weight.dim() == 4 else weight

    return with_weights(module, {name: converted(weight) for name, weight in module.named_parameters()}).eval()
