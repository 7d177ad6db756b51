"""LoRA files in one pass of a picture: their patches, and what of them changes along the steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

from webui.extension import Ask, ChangeRow, Job, Moment, Patches, Row, WeightPatch

from . import finding, patching
from .bases import base_of, base_of_model
from .blocks import factors_of
from .places import places_of
from .plan import Plan, plan_of
from .strengths import Strength, Wish

Opened = tuple[patching.Source, Plan, Wish, Mapping[str, float] | None]


def merged_patches(job: Job) -> Patches:
    """The patches of all tags that hold for the whole pass; what is left out of a file is told."""
    weights: list[WeightPatch] = []
    tokens = []
    told = set()
    for name, (source, plan, wish, factors) in opened(job):
        weights += patching.merged(source, plan, wish, factors, unet=strength_of(job, wish).constant)
        tokens += patching.embeddings(source, plan, [tower.width for tower in job.spec.text])
        if not job.second and name not in told and (sentence := plan.sentence(name)):
            job.tell(sentence)
            told.add(name)
    return Patches(weights=tuple(weights), tokens=tuple(tokens))


def changing(job: Job) -> ChangeRow | None:
    """A change of each row by what its step is, None where nothing changes along the steps."""
    found = [
        (strength_of(job, wish), patching.beside(source, plan, wish, factors))
        for _, (source, plan, wish, factors) in opened(job)
        if strength_of(job, wish).constant is None
    ]
    if not found:
        return None
    patches_at = along_the_steps(found)

    def change(row: Row) -> Generator[Ask, Any, Row]:
        yield from ()
        if row.network != job.network:  # a refiner's weights have the same names and are others
            return row
        own = patches_at(row.at)
        return replace(row, patches=row.patches + own) if own.weights else row

    return change


def along_the_steps(found: list[tuple[Strength, list[tuple[WeightPatch, float]]]]) -> Callable[[Moment], Patches]:
    """The patches of a step; those of the last one are kept, for all rows of a step are asked for one after the other."""
    kept: dict[float, Patches] = {}
    highest = 0.0

    def at(moment: Moment) -> Patches:
        nonlocal highest
        highest = max(highest, moment.sigma)
        if moment.steps is None:  # an adaptive sampler: how far it is can be told by the noise alone
            part = 1 - math.log1p(moment.sigma) / math.log1p(highest) if highest else 1.0
        else:
            part = moment.step / max(moment.steps - 1, 1)
        place = moment.step + part
        if place not in kept:
            kept.clear()
            kept[place] = Patches(weights=tuple(_patches_at(found, moment.step + 1, part)))
        return kept[place]

    return at


def _patches_at(found: list[tuple[Strength, list[tuple[WeightPatch, float]]]], step: int, part: float) -> Iterator[WeightPatch]:
    for strength, patches in found:
        value = strength.at(step, part)
        if value:
            yield from (replace(patch, beside=value * factor) for patch, factor in patches)


def strength_of(job: Job, wish: Wish) -> Strength:
    """The strength in the noise predictor in this pass."""
    return Strength(points=((wish.hires, 0.0),)) if job.second and wish.hires is not None else wish.unet


def opened(job: Job) -> Iterator[tuple[str, Opened]]:
    """The file of each tag of the picture with what of it fits into the model, in the order of the tags."""
    places = places_of(job.spec, job.weights())
    in_blocks = job.spec.unet.levels * (job.spec.unet.res_blocks + 1)
    for tag in job.tags:
        noted = job.noted["tags"][tag]
        wish = Wish.of(noted["wish"])
        path = job.files.found(finding.FOLDERS, noted["name"], noted["sha256"])
        shapes, metadata = finding.described(job.files, path)
        tensors = {key: value for key, value in job.files.tensors(path).items() if hasattr(value, "shape")}
        own = tuple((key, tuple(value.shape)) for key, value in tensors.items())
        base = base_of(shapes or dict(own), metadata)
        plan = plan_of(own, places, base, base_of_model(job.spec))
        settings = patching.settings_of(metadata, noted["adapter"])
        source = patching.Source(tensors=tensors, sha256=noted["sha256"], settings=settings)
        yield noted["name"], (source, plan, wish, factors_of(wish.blocks, in_blocks))
