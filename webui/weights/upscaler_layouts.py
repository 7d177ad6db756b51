"""Files that hold an upscaler: which network it is, from names and shapes alone, and where its weights go. Needs no torch.

Four ways of naming one network are in use: ESRGAN's first (`model.1.sub.0.RDB1.conv1.0`), its second (`RRDB_trunk.0.RDB1.conv1`,
also BSRGAN's), Real-ESRGAN's (`body.0.rdb1.conv1`), which is ours, and each within `params_ema`, `params` or the like.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from webui.errors import ModelFileError
from webui.nets.upscaler_spec import COLOURS, CompactSpec, RRDBSpec, UpscalerSpec
from webui.weights.expected import Weights
from webui.weights.files import Header
from webui.weights.plans import Given
from webui.weights.rules import Rule, translate
from webui.weights.shapes import MOST_BLOCKS
from webui.weights.upscaler_kinds import other_network

PART = "upscaler"
AROUND = ("params_ema.", "params.", "state_dict.", "model_state_dict.", "module.", "generator.")  # what may stand before keys
OLD_BLOCK = re.compile(r"model\.1\.sub\.(\d{1,4})\.(RDB)?")
OLD_LAYER = re.compile(r"model\.(\d{1,3})\.(?:weight|bias)")
DENSE = 5
ADVICE = "An extension can add such networks; choose an ESRGAN or Real-ESRGAN model"

TRUNK = (
    Rule("RRDB_trunk.{n}.RDB{m}.conv{k}.{p}", "body.{n}.rdb{m}.conv{k}.{p}"),
    Rule("RRDB_trunk.{n}.RDB{m}.conv1x1.weight", "body.{n}.rdb{m}.conv1x1.weight"),
    Rule("trunk_conv.{p}", "conv_body.{p}"),
    Rule("upconv{n}.{p}", "conv_up{n}.{p}"),
    Rule("HRconv.{p}", "conv_hr.{p}"),
    Rule("conv_first.{p}", "conv_first.{p}"),
    Rule("conv_last.{p}", "conv_last.{p}"),
)
OURS = (Rule("{rest}", "{rest}"),)


@dataclass(frozen=True, kw_only=True, eq=False)
class Described:
    """An upscaler's file: what network it holds, what it offers to it, and by which rules its keys became ours."""

    spec: UpscalerSpec
    offers: tuple[Given, ...]
    rules: tuple[Rule, ...]


def described(header: Header, path: Path) -> Described:
    """What an upscaler's file holds; `ModelFileError` says what else it is, or why it cannot be used."""
    if (other := other_in(header)) is not None:
        raise ModelFileError(f"It is an upscaler of another kind ({other}), which is not built in. {ADVICE}.")
    names = names_in(header)
    rules = rules_of(names)
    offers = tuple(
        Given(part=PART, file=path, key=key, piece=piece, info=header.tensors[key])
        for name, key in names.items()
        for piece in translate(rules, name, "an upscaler")
    )
    return Described(spec=spec_of({given.piece.key: given.info.shape for given in offers}), offers=offers, rules=rules)


def other_in(header: Header) -> str | None:
    """Which network that is not built in a file holds, as far as it is known by name."""
    return other_network(names_in(header))


def names_in(header: Header) -> dict[str, str]:
    """A file's keys by what is left of them without what stands around the network."""
    around = next((each for each in AROUND if any(key.startswith(each) for key in header.tensors)), "")
    return {key.removeprefix(around): key for key in header.tensors if key.startswith(around)}


def rules_of(names: Collection[str]) -> tuple[Rule, ...]:
    """The rules from a file's names, without what stands around them, to ours."""
    if any(name.startswith("model.1.sub.") for name in names):
        return old_rules(names)
    return TRUNK if any(name.startswith("RRDB_trunk.") for name in names) else OURS


def old_rules(names: Collection[str]) -> tuple[Rule, ...]:
    """The rules from ESRGAN's first names: layers are numbered through, those without weights too."""
    blocks = [int(match[1]) for name in names if (match := OLD_BLOCK.match(name)) and not match[2]]
    layers = sorted({int(match[1]) for name in names if (match := OLD_LAYER.fullmatch(name))})
    if not blocks or len(layers) < 3:
        raise ModelFileError("It is an upscaler that was cut: its last layers are missing. Download it again.")
    doublings = len(layers) - 3  # between the first layer and the last two; each is three numbers long
    ends = {0: "conv_first", 3 * doublings + 2: "conv_hr", 3 * doublings + 4: "conv_last"}
    places = ends | {3 * number: f"conv_up{number}" for number in range(1, doublings + 1)}
    return (
        Rule("model.1.sub.{n}.RDB{m}.conv{k}.0.{p}", "body.{n}.rdb{m}.conv{k}.{p}"),
        Rule("model.1.sub.{n}.RDB{m}.conv1x1.weight", "body.{n}.rdb{m}.conv1x1.weight"),
        Rule(f"model.1.sub.{max(blocks)}.{{p}}", "conv_body.{p}"),
        *(Rule(f"model.{layer}.{{p}}", f"{place}.{{p}}") for layer, place in places.items()),
    )


def spec_of(shapes: Mapping[str, tuple[int, ...]]) -> UpscalerSpec:
    """The network that has weights of these shapes, by our keys; `ModelFileError` where none built in has."""
    try:
        if "conv_first.weight" in shapes:
            return _rrdb(shapes)
        if "body.0.weight" in shapes:
            return _compact(shapes)
    except (ValueError, IndexError, KeyError) as error:
        raise ModelFileError(f"Its weights have shapes that no upscaler has ({error}); the file may be damaged.") from error
    raise ModelFileError(f"It is no upscaler of a kind that is built in (RRDBNet, SRVGGNetCompact). {ADVICE}.")


def _rrdb(shapes: Mapping[str, tuple[int, ...]]) -> RRDBSpec:
    first, last, grown = shapes["conv_first.weight"], shapes["conv_last.weight"], shapes["body.0.rdb1.conv1.weight"]
    blocks = {int(match[1]) for key in shapes if (match := re.match(r"body\.(\d{1,4})\.", key))}
    _colours(last[0])
    folded = math.isqrt(first[1] // COLOURS)
    if first[1] != COLOURS * folded**2:
        _colours(first[1])
    ups = sum(f"conv_up{number}.weight" in shapes for number in range(1, MOST_BLOCKS))
    plus = any(key.endswith(".conv1x1.weight") for key in shapes)
    return RRDBSpec(features=first[0], growth=grown[0], blocks=len(blocks), doublings=ups, unshuffle=folded, plus=plus)


def _compact(shapes: Mapping[str, tuple[int, ...]]) -> CompactSpec:
    layers = {int(match[1]): key for key in shapes if (match := re.fullmatch(r"body\.(\d{1,4})\.weight", key))}
    first, last = shapes[layers[0]], shapes[layers[max(layers)]]
    if 1 not in layers:
        raise ModelFileError("It is an upscaler whose activations have no weights, which is not built in. " + ADVICE + ".")
    _colours(first[1])
    scale = math.isqrt(last[0] // COLOURS)
    if last[0] != COLOURS * scale**2:
        raise ValueError(f"{last[0]} channels for the colours of enlarged pixels")
    return CompactSpec(features=first[0], convolutions=max(layers) // 2 - 1, scale=scale)


def _colours(found: int) -> None:
    if found != COLOURS:
        raise ModelFileError(f"It is an upscaler for pictures of {found} channels; supported are those for {COLOURS}.")


def title(spec: UpscalerSpec) -> str:
    """What a network is, in words that end a sentence."""
    if isinstance(spec, CompactSpec):
        return f"an upscaler, {spec.scale}x (SRVGGNetCompact, {spec.convolutions} layers of {spec.features} channels)"
    kind = "ESRGAN+" if spec.plus else "RRDBNet"
    return f"an upscaler, {spec.scale}x ({kind}, {spec.blocks} blocks of {spec.features} channels)"


def upscaler_weights(spec: UpscalerSpec) -> Weights:
    """Yield key and shape of every weight of an upscaler."""
    yield from _compact_weights(spec) if isinstance(spec, CompactSpec) else _rrdb_weights(spec)


def _rrdb_weights(spec: RRDBSpec) -> Weights:
    width = spec.features
    yield from _convolution("conv_first", COLOURS * spec.unshuffle**2, width)
    for block in (f"body.{number}.rdb{part}" for number in range(spec.blocks) for part in (1, 2, 3)):
        for number in range(DENSE):
            after = width if number == DENSE - 1 else spec.growth
            yield from _convolution(f"{block}.conv{number + 1}", width + number * spec.growth, after)
        if spec.plus:
            yield f"{block}.conv1x1.weight", (spec.growth, width, 1, 1)
    for name in ("conv_body", *(f"conv_up{number}" for number in range(1, spec.doublings + 1)), "conv_hr"):
        yield from _convolution(name, width, width)
    yield from _convolution("conv_last", width, COLOURS)


def _compact_weights(spec: CompactSpec) -> Weights:
    yield from _convolution("body.0", COLOURS, spec.features)
    yield "body.1.weight", (spec.features,)
    for number in range(1, spec.convolutions + 1):
        yield from _convolution(f"body.{2 * number}", spec.features, spec.features)
        yield f"body.{2 * number + 1}.weight", (spec.features,)
    yield from _convolution(f"body.{2 * spec.convolutions + 2}", spec.features, COLOURS * spec.scale**2)


def _convolution(name: str, before: int, after: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (after, before, 3, 3)
    yield f"{name}.bias", (after,)
