"""From a LoRA file and what a tag asks for to patches of the model's weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from webui.extension import TokenVectors, WeightPatch

from .blocks import TEXT as TEXT_BLOCK
from .blocks import block_of
from .changes import BIASES, DORA, decomposed, for_inputs, lora
from .plan import Fitting, Plan
from .strengths import Wish

LARGEST_ALPHA = 1e6  # beyond it no scale means anything
ON_HOST = ("alpha", "scalar", "on_input")  # single numbers, which are read
SETTINGS = {"unet": "unet", "te1": "text_encoder", "te2": "text_encoder_2"}  # before the names of PEFT's settings


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A file: its tensors by key, its SHA-256, and what PEFT's settings say, by the part of the model."""

    tensors: Mapping[str, Tensor]
    sha256: str
    settings: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """What one module does to its weight or bias, with its strength and the file's own scale."""

    fitting: Fitting
    tensors: Mapping[str, Tensor]
    scale: float
    strength: float
    ranks: int | None

    def weight(self, original: Tensor) -> Tensor:
        """The difference of the weight as the module sees it."""
        kind = self.fitting.kind
        assert kind is not None
        parts = self._parts(original.device)
        if DORA & parts.keys():
            return decomposed(kind.delta, parts, original, self.scale, self.strength)
        return kind.delta(parts, original, self.scale, self.strength)

    def bias(self, original: Tensor) -> Tensor:
        """The difference of the bias."""
        parts = self._parts(original.device)
        total = torch.zeros_like(original)
        for part in BIASES:
            if part in parts:
                factor = self.scale if part == "up_bias" else 1.0
                total += self.strength * factor * parts[part].reshape(original.shape)
        if "ia3_l" in parts and not for_inputs(parts["ia3_l"], len(original)):
            total += self.strength * original * (parts["ia3_l"].flatten() - 1)
        return total

    def low_rank(self) -> tuple[Tensor, Tensor, float]:
        """Of a plain LoRA: up, down and what their product is to be multiplied with."""
        parts = self._parts(torch.device("cpu"))
        return parts["up"].flatten(1), parts["down"], self.scale * self.strength

    @property
    def is_low_rank(self) -> bool:
        """Whether the difference is one product of two matrices of the file."""
        kind, parts = self.fitting.kind, self.fitting.module.parts
        return kind is not None and kind.delta is lora and "mid" not in parts and not DORA & parts.keys()

    def _parts(self, device: torch.device) -> dict[str, Tensor]:
        """The module's tensors in float32 on a device."""
        found = {
            part: self.tensors[key] if part in ON_HOST else self.tensors[key].to(device).float()
            for part, key in self.fitting.module.parts.items()
        }
        if self.ranks is not None and "up" in found:
            found["up"], found["down"] = found["up"][:, : self.ranks], found["down"][: self.ranks]
            if "mid" in found:
                found["mid"] = found["mid"][: self.ranks, : self.ranks]
        return found


def merged(
    source: Source, plan: Plan, wish: Wish, factors: Mapping[str, float] | None, *, unet: float | None
) -> list[WeightPatch]:
    """Patches that are merged into the weights, with the wish's strengths; the noise predictor's only where `unet` is one."""
    found = []
    for key, own in _by_key(plan, lambda fitting: unet is not None or fitting.is_text).items():
        text = own[0][0].is_text
        strength = _factor(key, text, factors) * (wish.te if text or unet is None else unet)
        if strength:
            found.append(_patch(source, key, own, strength, wish.ranks, beside=None))
    return found


def beside(source: Source, plan: Plan, wish: Wish, factors: Mapping[str, float] | None) -> list[tuple[WeightPatch, float]]:
    """Patches that run beside the noise predictor's layers, and the factor of each."""
    found = []
    for key, own in _by_key(plan, lambda fitting: not fitting.is_text).items():
        factor = _factor(key, False, factors)
        if factor:
            found.append((_patch(source, key, own, 1.0, wish.ranks, beside=factor), factor))
    return found


def embeddings(source: Source, plan: Plan, widths: Sequence[int]) -> list[TokenVectors]:
    """The embeddings that a file brings along, of those widths that the model's text towers have."""
    found = []
    for name, parts in plan.embeddings.items():
        tensors = [source.tensors[key].float().reshape(-1, source.tensors[key].shape[-1]) for key in parts.values()]
        vectors = [next((each for each in tensors if each.shape[1] == width), None) for width in widths]
        if all(each is not None for each in vectors):
            own = tuple(each for each in vectors if each is not None)
            found.append(TokenVectors(name=name, content=f"{source.sha256} {name}", vectors=own))
    return found


def settings_of(metadata: Mapping[str, str], beside_file: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What PEFT's settings say, by "unet", "text_encoder", ... or "" for all: of a file's metadata, or of a file beside it."""
    try:
        told = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError):
        told = {}
    found: dict[str, dict[str, Any]] = {}
    for name, value in {**beside_file, **(told if isinstance(told, dict) else {})}.items():
        part, _, own = name.rpartition(".")
        if own in ("lora_alpha", "alpha", "use_rslora") and _is_number(value):
            found.setdefault(part, {})[own] = value
        elif own == "alpha_pattern" and isinstance(value, dict):
            found.setdefault(part, {})[own] = {key: each for key, each in value.items() if _is_number(each)}
    return found


def _is_number(value: object) -> bool:
    """Whether somebody's JSON has a number there that a weight can be multiplied by."""
    return isinstance(value, int | float) and abs(value) <= LARGEST_ALPHA


def scale_of(fitting: Fitting, tensors: Mapping[str, Tensor], settings: Mapping[str, Mapping[str, Any]]) -> float:
    """The file's own scale of a module: alpha / rank; PEFT's alpha is only in its settings, and else the rank."""
    parts, rank = fitting.module.parts, fitting.rank
    scalar = float(tensors[parts["scalar"]].float().flatten()[0]) if "scalar" in parts else 1.0
    if not rank:
        return scalar
    if "alpha" in parts:
        alpha = float(tensors[parts["alpha"]].float().flatten()[0])
        return scalar * (alpha / rank if math.isfinite(alpha) and alpha else 1.0)
    told = settings.get(SETTINGS.get(fitting.module.network, ""), settings.get("", {}))
    known = told.get("lora_alpha", told.get("alpha", rank))
    for pattern, own in (told.get("alpha_pattern") or {}).items():
        if f".{fitting.module.path}".endswith(f".{pattern}"):
            known = own
    return scalar * float(known) / (math.sqrt(rank) if told.get("use_rslora") else rank)


def _by_key(plan: Plan, wanted: Callable[[Fitting], bool]) -> dict[str, list[tuple[Fitting, bool]]]:
    """The modules that change each weight of the single file, and whether it is their bias."""
    found: dict[str, list[tuple[Fitting, bool]]] = {}
    for fitting in plan.fitting:
        if wanted(fitting):
            for slot, is_bias in ((fitting.weight, False), (fitting.bias, True)):
                if slot is not None:
                    found.setdefault(slot.key, []).append((fitting, is_bias))
    return found


def _factor(key: str, text: bool, factors: Mapping[str, float] | None) -> float:
    """The factor of a weight by its block; what is in no block has 1."""
    if factors is None:
        return 1.0
    block = TEXT_BLOCK if text else block_of(key)
    return factors.get(block, 0.0) if block else 1.0


def _patch(
    source: Source, key: str, own: Sequence[tuple[Fitting, bool]], strength: float, ranks: int | None, *, beside: float | None
) -> WeightPatch:
    pieces = [
        Piece(
            fitting=fitting, tensors=source.tensors, scale=scale_of(fitting, source.tensors, source.settings),
            strength=strength, ranks=ranks,
        )
        for fitting, _ in own
    ]  # fmt: skip
    slots = [fitting.bias if is_bias else fitting.weight for fitting, is_bias in own]

    def delta(original: Tensor) -> Tensor:
        total: Tensor | None = None
        for piece, slot, (_, is_bias) in zip(pieces, slots, own, strict=True):
            assert slot is not None
            seen = slot.take(original)
            change = piece.bias(seen) if is_bias else piece.weight(seen)
            if len(pieces) == 1 and slot.parts == 1:
                return change.T if slot.transposed else change
            total = torch.zeros_like(original) if total is None else total
            slot.take(total).add_(change)
        assert total is not None
        return total

    whole = len(pieces) == 1 and not own[0][1] and slots[0] is not None and slots[0].parts == 1 and not slots[0].transposed
    said = "beside" if beside is not None else repr(strength)
    content = f"lora {source.sha256} {said}{'' if ranks is None else f' {ranks}'}"
    low_rank = pieces[0].low_rank if whole and pieces[0].is_low_rank else None
    return WeightPatch(key, delta, content, low_rank=low_rank, beside=beside)
