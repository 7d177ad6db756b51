"""Models on a device: which parts of which are there, whole or block by block, with which patches, within a budget of bytes."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import nn

from webui.engine.alongside import Alongside, attached, changes_of
from webui.engine.device import Choice
from webui.engine.ledger import Ledger, PartKey, Residency
from webui.engine.patched import Place, changed_weights, content_key, pieces_of, require, variant_key, with_weights
from webui.engine.placing import Parts, Shapes, Weights, brought, size_of
from webui.engine.streaming import Streamed
from webui.errors import JobError
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.running import Run, call
from webui.nets.spec import ModelSpec, VAESpec
from webui.nets.text import TextTower
from webui.nets.unet import UNetModel
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.patches import WeightPatch
from webui.weights import layouts

MOST_OPEN = 64  # models whose headers are remembered
NAMES = {
    "unet": "The noise predictor", "vae": "The autoencoder", "depth": "The depth estimator", "upscaler": "The upscaler",
}
STREAMED = "streamed"
UNET = Place(prefix=layouts.UNET)
Open = Callable[[str], Weights]
OpenVAE = Callable[[str, VAESpec], Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What is known of a model that may or may not be on the device."""

    source: Weights
    choice: Choice
    table: NoiseTable

    @property
    def spec(self) -> ModelSpec:
        """Its description."""
        return self.source.spec

    @cached_property
    def shapes(self) -> Mapping[str, Shapes]:
        """What each of its parts is made of: asked for once, for it is needed in every step."""
        return {part: self.source.shapes(part) for part in ("unet", *(f"text{index}" for index in range(len(self.spec.text))))}

    @cached_property
    def predictor_size(self) -> int:
        """The bytes that its noise predictor takes in place."""
        return size_of(self.shapes["unet"], self.choice)


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """A noise predictor that can be called, with `run`; `streamed` where its blocks come and go.

    `alongside` are patches beside its layers: their strengths have to be set for each call.
    """

    module: UNetModel
    run: Run = call
    streamed: bool = False
    alongside: Alongside | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Tower:
    """A text tower that can be called, with `run` and ids on `device`."""

    module: TextTower
    device: str
    run: Run = call


class Holding:
    """The models that `open` gives, on the device and in the number types that `choose` says. For one thread.

    `open_vae(name, like)` gives autoencoders that stand in for models' own.
    """

    def __init__(self, open: Open, choose: Callable[[Weights], Choice], budget: int, open_vae: OpenVAE | None = None) -> None:  # noqa: A002
        self.residency = Residency(Ledger(budget))
        self._open = open
        self._choose = choose
        self._open_vae = open_vae
        self._known: OrderedDict[str, Known] = OrderedDict()

    def known(self, name: str) -> Known:
        """What is known of a model. `open` gives the same source for as long as its file stays as it is; another replaces it."""
        source = self._open(name)
        if name not in self._known or self._known[name].source is not source:
            if name in self._known:
                self.residency.drop_network(name)
            self._known[name] = Known(source=source, choice=self._choose(source), table=NoiseTable.from_spec(source.spec))
            if len(self._known) > MOST_OPEN:
                self._known.popitem(last=False)
        self._known.move_to_end(name)
        return self._known[name]

    def is_ready(self, name: str, patches: Sequence[WeightPatch]) -> bool:
        """Whether a model's noise predictor is there with these patches."""
        variant = variant_key(patch for patch in patches if patch.key.startswith(UNET.prefix))
        return any(PartKey(name, part, variant) in self.residency for part in ("unet", f"{STREAMED} unet"))

    def predictor(self, name: str, patches: Sequence[WeightPatch] = ()) -> Predictor:
        """A model's noise predictor with these patches; block by block where the budget is less than all its weights."""
        known = self.known(name)
        about = [patch for patch in patches if patch.key.startswith(UNET.prefix)]
        variant = variant_key(about)
        for part in ("unet", f"{STREAMED} unet"):
            if (found := self.residency.get(PartKey(name, part, variant))) is not None:
                return predictor_of(found)
        if any(patch.beside is not None for patch in about):
            return self._alongside(name, about, variant)
        size = known.predictor_size + patched_size(known.shapes["unet"], known.choice, UNET, about)
        if size <= self.residency.room():
            return predictor_of(self._patched(name, "unet", known.choice, UNET, about))
        streamed = Streamed(known.source, "unet", known.choice, self.residency.room, UNET, about)
        key = PartKey(name, f"{STREAMED} unet", variant)
        return predictor_of(self.residency.bring(key, streamed.size, lambda: streamed, close=streamed.close))

    def _alongside(self, name: str, patches: Sequence[WeightPatch], variant: Hashable) -> Predictor:
        """A noise predictor some of whose patches are merged, and the others run beside its layers."""
        known = self.known(name)
        shapes, choice = known.shapes["unet"], known.choice
        require(shapes, UNET, patches)
        merged = [patch for patch in patches if patch.beside is None]
        changes = changes_of(
            [patch for patch in patches if patch.beside is not None], UNET, known.source.build("unet"),
            lambda key: dict(known.source.read("unet", [key]))[key],
        )  # fmt: skip
        own = sum(change.numbers for change in changes) * choice.torch_dtype.itemsize
        size = own + patched_size(shapes, choice, UNET, merged)

        def beside(network: nn.Module, held: Any) -> Alongside:
            return attached(
                network, held, changes, choice.torch_dtype, choice.device, channels_last=choice.channels_last
            )

        if known.predictor_size + size <= self.residency.room():
            module = self.whole(PartKey(name, "unet"), known.source, "unet", choice)

            def make() -> Alongside:
                copied = with_weights(module, changed_weights(dict(module.named_parameters()), UNET, merged))
                return beside(copied, copied)

            purpose = f"The model {name!r} with extra networks"
            return predictor_of(
                self.residency.bring(PartKey(name, "unet", variant), size, make, base=PartKey(name, "unet"), purpose=purpose)
            )
        streamed = Streamed(
            known.source, "unet", choice, lambda least: self.residency.room(least + own) - own, UNET, merged
        )
        return predictor_of(self.residency.bring(
            PartKey(name, f"{STREAMED} unet", variant), streamed.size + own, lambda: beside(streamed.skeleton, streamed),
            close=streamed.close,
        ))  # fmt: skip

    def tower(self, name: str, index: int, patches: Sequence[WeightPatch] = ()) -> Tower:
        """One of a model's text towers with these patches; layer by layer where the budget is less than all its weights."""
        known, part = self.known(name), f"text{index}"
        place = self._tower_place(name, index)
        about = [patch for patch in patches if patch.key.startswith(place.prefix)]
        choice, variant = known.choice.in_float32(), content_key(about)
        for kind in (part, f"{STREAMED} {part}"):
            if (found := self.residency.get(PartKey(name, kind, variant))) is not None:
                return tower_of(found, choice)
        size = size_of(known.shapes[part], choice) + patched_size(known.shapes[part], choice, place, about)
        if size <= self.residency.room():
            return tower_of(self._patched(name, part, choice, place, about), choice)
        streamed = Streamed(known.source, part, choice, self.residency.room, place, about)
        key = PartKey(name, f"{STREAMED} {part}", variant)
        return tower_of(self.residency.bring(key, streamed.size, lambda: streamed, close=streamed.close), choice)

    def autoencoder(self, name: str, other: str, choice: Choice) -> AutoencoderKL:
        """A model's own autoencoder or, where it is named, another one, in the given number type."""
        key = self.autoencoder_key(name, other, choice)
        module = self.residency.get(key)
        if module is None:
            module = self.whole(key, self._autoencoder_source(name, other), "vae", choice)
        assert isinstance(module, AutoencoderKL)
        return module

    def _autoencoder_source(self, name: str, other: str) -> Any:
        known = self.known(name)
        if not other:
            return known.source
        if self._open_vae is None:
            raise JobError(f"No autoencoder {other!r} can be opened here.")
        return self._open_vae(other, known.spec.vae)

    def autoencoder_key(self, name: str, other: str, choice: Choice) -> PartKey:
        """Under which key an autoencoder is held; another one's description depends on whom it stands in for."""
        if not other:
            return PartKey(name, "vae", choice.dtype)
        return PartKey(other, f"vae for {self.known(name).spec.vae}", choice.dtype)

    def has_towers(self, name: str, patches: Sequence[WeightPatch]) -> bool:
        """Whether all of a model's text towers are there with these patches."""
        return all(self._has_tower(name, index, patches) for index in range(len(self.known(name).spec.text)))

    def _has_tower(self, name: str, index: int, patches: Sequence[WeightPatch]) -> bool:
        prefix = self._tower_place(name, index).prefix
        variant = content_key(patch for patch in patches if patch.key.startswith(prefix))
        return any(PartKey(name, part, variant) in self.residency for part in (f"text{index}", f"{STREAMED} text{index}"))

    def _tower_place(self, name: str, index: int) -> Place:
        spec = self.known(name).spec
        kind = spec.text[index].kind
        prefix = layouts.text_prefix(index, kind, conditioner=spec.unet.label_width is not None)
        return Place(prefix=prefix, rules=layouts.TEXT[kind])

    def whole(self, key: PartKey, source: Parts, part: str, choice: Choice) -> nn.Module:
        """A part's network with all its weights, under a key of its own."""
        found: nn.Module | None = self.residency.get(key)
        if found is None:
            purpose = f"{NAMES.get(part, 'A text tower' if part.startswith('text') else 'The network')} of {key.network!r}"
            found = self.residency.bring(
                key, size_of(source.shapes(part), choice), lambda: brought(source, part, choice), purpose=purpose
            )
        return found

    def _patched(self, name: str, part: str, choice: Choice, place: Place, patches: Sequence[WeightPatch]) -> Any:
        base = PartKey(name, part)
        known = self.known(name)
        about = [patch for patch in patches if patch.key.startswith(place.prefix)]
        if not about:
            return self.whole(base, known.source, part, choice)
        key = PartKey(name, part, content_key(about))
        found: nn.Module | None = self.residency.get(key)
        if found is None:
            require(known.shapes[part], place, about)
            module = self.whole(base, known.source, part, choice)
            size = patched_size(known.shapes[part], choice, place, about)

            def make() -> nn.Module:
                return with_weights(module, changed_weights(dict(module.named_parameters()), place, about))

            found = self.residency.bring(key, size, make, base=base, purpose=f"The model {name!r} with extra networks")
        return found


def predictor_of(held: UNetModel | Streamed | Alongside) -> Predictor:
    """How a noise predictor that is held is called."""
    if isinstance(held, Alongside):
        return replace(predictor_of(held.held), alongside=held)
    if isinstance(held, Streamed):
        assert isinstance(held.skeleton, UNetModel)
        return Predictor(module=held.skeleton, run=held.run, streamed=True)
    return Predictor(module=held)


def tower_of(held: TextTower | Streamed, choice: Choice) -> Tower:
    """How a text tower that is held is called."""
    if isinstance(held, Streamed):
        assert isinstance(held.skeleton, TextTower)
        return Tower(module=held.skeleton, device=choice.device, run=held.run)
    return Tower(module=held, device=choice.device)


def patched_size(shapes: Shapes, choice: Choice, place: Place, patches: Sequence[WeightPatch]) -> int:
    """The bytes of all weights of a part that patches change."""
    if not patches:
        return 0
    changed = {piece.key for patch in patches if patch.key.startswith(place.prefix) for piece in pieces_of(place, patch.key)}
    return sum(math.prod(shapes[key][0]) * choice.torch_dtype.itemsize for key in changed if key in shapes)
