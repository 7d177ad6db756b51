"""Whether a checkpoint is whole, as far as its header tells: every weight there once and in its shape, nothing foreign."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from webui.errors import ModelFileError, quoted
from webui.nets.spec import ModelSpec
from webui.weights import layouts
from webui.weights.depth_expected import depth_weights
from webui.weights.expected import Shape, expected
from webui.weights.families import Override, detect
from webui.weights.files import Header
from webui.weights.first_bytes import header_at
from webui.weights.midas import midas_rules, own_estimator
from webui.weights.plans import PARTS, Given, single_file, tokenizers_of
from webui.weights.rules import Rule

SHOWN = 3  # weights named in a sentence
LONGEST_KEY = 150  # characters
NO_RULES: Mapping[str, Sequence[Rule]] = MappingProxyType({})


def identified(path: Path, override: Override | None = None) -> tuple[Header, ModelSpec]:
    """Return a single file's header and what model it is; `ModelFileError` says why it is none that can be used."""
    header = header_at(path)
    spec = detect(header, override)
    for fault in faults(spec, header):
        raise ModelFileError(f"It is {spec.title}, but broken: {fault}")
    return header, spec


def faults(spec: ModelSpec, header: Header) -> Iterator[str]:
    """Yield a sentence for each thing that keeps a single file from being the model that it is found to be."""
    try:
        tokenizers_of(spec, header)
    except ModelFileError as error:
        yield str(error)
    try:
        estimator = own_estimator(spec, {key: info.shape for key, info in header.tensors.items()})
        offers = list(single_file(spec, header, Path()))
    except ModelFileError as error:  # a key that belongs nowhere
        yield str(error)
        return
    rules = {f"text{index}": layouts.TEXT[tower.kind] for index, tower in enumerate(spec.text)}
    wanted = expected(spec)
    if estimator is not None:
        rules["depth"] = midas_rules(hybrid=estimator.bit is not None)
        wanted["depth"] = dict(depth_weights(estimator))
    yield from misfits(wanted, offers, rules)


def misfits(
    wanted: Mapping[str, Mapping[str, Shape]], offers: Sequence[Given], rules: Mapping[str, Sequence[Rule]] = NO_RULES
) -> Iterator[str]:
    """Yield a sentence for each way in which what is offered to a model's parts is not what they want.

    `rules` are those by which a part's keys were made of a file's: weights are named as files name them, without the prefix.
    """
    counts = Counter((given.part, given.piece.key) for given in offers)
    for part, shapes in wanted.items():
        if missing := [key for key in shapes if (part, key) not in counts]:
            names = dict.fromkeys(_as_in_file(key, rules.get(part, ())) for key in missing)
            yield f"the {PARTS[part]} lacks {len(missing)} of {len(shapes)} weights: {_some(names)}."
    if extra := [given.key for given in offers if given.piece.key not in wanted[given.part]]:
        yield f"it has {len(extra)} weights that a model of its kind does not have: {_some(extra)}."
    if twice := [f"{key} of the {PARTS[part]}" for (part, key), count in counts.items() if count > 1]:
        yield f"it has {len(twice)} weights twice: {_some(twice)}."
    wrong = list(_misshapen(wanted, offers))
    if wrong:
        more = ", ..." if len(wrong) > SHOWN else ""
        yield f"{len(wrong)} weights have a wrong shape: {', '.join(wrong[:SHOWN])}{more}."


def _misshapen(wanted: Mapping[str, Mapping[str, Shape]], offers: Sequence[Given]) -> Iterator[str]:
    for given in offers:
        shape, needed = given.piece.shape(given.info.shape), wanted[given.part].get(given.piece.key)
        if needed is not None and _without_ones(shape) != _without_ones(needed):
            yield f"{_some([given.key])} has {list(shape)}, expected {list(needed)}"


def _as_in_file(key: str, rules: Sequence[Rule]) -> str:
    return next((undone[0] for rule in rules if (undone := rule.undo(key)) is not None), key)


def _some(keys: Iterable[str]) -> str:
    """The first few of many keys, for a sentence; published ones are never cut."""
    names = list(keys)
    return ", ".join(quoted(name, LONGEST_KEY)[1:-1] for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _without_ones(shape: Shape) -> Shape:
    """A shape without the 1x1 of a convolution: projections are written as matrices too."""
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape
