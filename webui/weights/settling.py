"""What a header leaves open, settled: whether a plain Stable Diffusion 2 file is the 512 or the 768 pixel model."""

from __future__ import annotations

from pathlib import Path

from webui.nets.spec import ModelSpec
from webui.weights import remembered
from webui.weights.families import Override, as_velocity, is_undecided, overridden
from webui.weights.files import Header

PREDICTIONS = "predictions.json"  # what networks answered, by the hashes of their files; lies beside the cache of hashes


def settled(
    path: Path, header: Header, spec: ModelSpec, digest: str, memory: Path | None, override: Override | None = None
) -> ModelSpec:
    """The detected `spec` with nothing left open: where the header leaves it so, the noise predictor is loaded and asked.

    That takes as long as reading the file and happens once: `memory`, a JSON file, keeps the answer under the file's SHA-256.
    What an `override` says of the rest still holds afterwards.
    """
    known = remembered_spec(header, spec, digest, memory, override)
    if known is not None:
        return known
    from webui.weights.model import asked_prediction  # torch, only when a network has to be asked

    found = asked_prediction(path, header, spec)
    if digest:
        remembered.add(memory, {digest: found})
    return overridden(as_velocity(spec), override) if found == "v" else spec


def remembered_spec(
    header: Header, spec: ModelSpec, digest: str, memory: Path | None, override: Override | None = None
) -> ModelSpec | None:
    """The settled spec where the header or `memory` tells it; None where the network would have to be asked."""
    if not is_undecided(header, spec, override):
        return spec
    known = remembered.read(memory).get(digest) if digest else None
    if known not in ("eps", "v"):
        return None
    return overridden(as_velocity(spec), override) if known == "v" else spec
