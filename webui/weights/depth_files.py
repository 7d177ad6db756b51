"""Depth estimators as sources of weights: the door for whoever holds one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from webui.errors import ModelFileError, quoted
from webui.nets.depth_small import DEPTH_KEY, SmallDepth, SmallDepthSpec
from webui.nets.depth_spec import DepthSpec
from webui.weights.depth_expected import depth_weights
from webui.weights.depth_layouts import PART, Described, described_file, described_folder, small_description, title
from webui.weights.families import LONGEST_REASON
from webui.weights.files import Header, read_header
from webui.weights.plans import Given, places_of
from webui.weights.rules import Piece
from webui.weights.source import Source


@dataclass(frozen=True, kw_only=True, eq=False)
class EstimatorSource(Source):
    """A network that sees how near things are, the part "depth": what `build` makes is a `webui.nets.depth.Estimator`.

    `kind` is "small", "dpt" or "depth_anything", `title` says the same and more to people.
    """

    spec: DepthSpec | SmallDepthSpec
    kind: str
    title: str


def open_estimator(path: Path) -> EstimatorSource:
    """Open a depth estimator: a folder of `transformers` with DPT (MiDaS) or Depth Anything, our small one, or MiDaS' own file.

    No weight is read. Raises `ModelFileError`, one sentence that says what is wrong with it or what else it is.
    """
    header = None if path.is_dir() else read_header(path)
    try:
        if header is not None and (spec := small_spec(header)) is not None:
            return _small_source(path, header, spec)
        return _source(path, described_folder(path) if header is None else described_file(header, path))
    except ModelFileError as error:
        raise ModelFileError(f"{path.name}: {error}") from error


def small_spec(header: Header) -> SmallDepthSpec | None:
    """The small estimator that a file's metadata describes; None where it describes none."""
    plain = small_description(header, DEPTH_KEY)
    if plain is None:
        return None
    try:
        return SmallDepthSpec.from_json(plain)
    except (ValueError, TypeError) as error:
        reason = quoted(str(error), LONGEST_REASON)[1:-1]
        raise ModelFileError(f"Its own description, {DEPTH_KEY} in its metadata, cannot be used: {reason}") from error


def small_weights(spec: SmallDepthSpec) -> dict[str, tuple[int, ...]]:
    """Key and shape of every weight of a small estimator."""
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in SmallDepth(spec).state_dict().items()}


def small_offers(header: Header, path: Path) -> tuple[Given, ...]:
    """What the file of a small estimator offers to it."""
    return tuple(Given(part=PART, file=path, key=key, piece=Piece(key), info=info) for key, info in header.tensors.items())


def _small_source(path: Path, header: Header, spec: SmallDepthSpec) -> EstimatorSource:
    places = places_of({PART: small_weights(spec)}, small_offers(header, path))
    stamps = {path: header.stamp}
    return EstimatorSource(
        path=path, specs={PART: spec}, places=places, stamps=stamps, spec=spec, kind="small", title=small_title(spec)
    )


def small_title(spec: SmallDepthSpec) -> str:
    """What a small estimator is, in words that end a sentence."""
    return f"a depth estimator (small, {len(spec.widths)} levels of {spec.widths[0]} to {spec.widths[-1]} channels)"


def _source(path: Path, found: Described) -> EstimatorSource:
    spec = found.spec
    places = places_of({PART: dict(depth_weights(spec))}, found.offers)
    return EstimatorSource(
        path=path, specs={PART: spec}, places=places, stamps=found.stamps, spec=spec, kind=spec.family, title=title(spec)
    )
