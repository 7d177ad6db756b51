"""Judging pictures against the facts of their prompts, with the reader's eyes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .prompts import Prompt
from .reader import Eyes, Reading, RelationReader, SeenThing, fresh, pair_features, read
from .scenes import sample_scene
from .things import Scene
from .tracer import render
from .vocabulary import RELATIONS

Name = Callable[[SeenThing, SeenThing], str]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Which facts of one prompt its picture shows; None where the prompt says nothing of the kind."""

    things: bool
    count: bool
    colours: bool
    shapes: bool
    floor: bool | None
    relation: bool | None
    digit: bool | None

    @property
    def everything(self) -> bool:
        """All that the prompt says is shown."""
        return all(fact is not False for fact in (self.things, self.count, self.floor, self.relation, self.digit))


def judge(prompt: Prompt, reading: Reading, name: Name) -> Verdict:
    """Compare a reading with a prompt's facts."""
    wanted = [(thing.colour, thing.shape) for thing in prompt.things]
    seen = {(thing.colour, thing.shape): thing for thing in reversed(reading.things)}
    largest = reading.things[: len(wanted)]
    found = all(pair in seen for pair in wanted)
    relation: bool | None = None
    if prompt.relation is not None:
        first, second = wanted[prompt.relation.first], wanted[prompt.relation.second]
        relation = found and name(seen[first], seen[second]) == prompt.relation.kind
    elif prompt.left_to_right:
        middles = [seen[pair].box[0] + seen[pair].box[2] for pair in wanted] if found else []
        relation = found and middles == sorted(middles)
    return Verdict(
        things=found,
        count=len(reading.things) == prompt.count and (reading.digit is not None) == (prompt.count == 0),
        colours=sorted(thing.colour for thing in largest) == sorted(colour for colour, _ in wanted),
        shapes=sorted(thing.shape for thing in largest) == sorted(shape for _, shape in wanted),
        floor=None if prompt.floor is None else reading.floor == prompt.floor,
        relation=relation,
        digit=None if prompt.digit is None else reading.digit == prompt.digit,
    )


def figures(prompts: Sequence[Prompt], verdicts: Sequence[Verdict]) -> dict[str, float | None]:
    """Shares of right pictures, in percent, by kind of prompt; None where no prompt is of the kind."""

    def share(which: Callable[[Prompt], bool], right: Callable[[Verdict], bool | None]) -> float | None:
        facts = [right(verdict) for prompt, verdict in zip(prompts, verdicts, strict=True) if which(prompt)]
        stated = [fact for fact in facts if fact is not None]
        return round(100 * sum(stated) / len(stated), 1) if stated else None

    def counted(count: int) -> Callable[[Prompt], bool]:
        return lambda prompt: prompt.count == count

    def any_prompt(_: Prompt) -> bool:
        return True

    return {
        "one object, colour and shape": share(counted(1), lambda v: v.things),
        "one object, colour": share(counted(1), lambda v: v.colours),
        "one object, shape": share(counted(1), lambda v: v.shapes),
        "one object, all right": share(counted(1), lambda v: v.everything),
        "one object, withheld, colour and shape": share(lambda p: p.count == 1 and p.withheld, lambda v: v.things),
        "two objects, all right": share(counted(2), lambda v: v.everything),
        "two objects, colours and shapes": share(counted(2), lambda v: v.things),
        "two objects, relation": share(counted(2), lambda v: v.relation),
        "two objects, withheld, all right": share(lambda p: p.count == 2 and p.withheld, lambda v: v.everything),
        "three objects, all right": share(counted(3), lambda v: v.everything),
        "three objects, colours and shapes": share(counted(3), lambda v: v.things),
        "floor": share(any_prompt, lambda v: v.floor),
        "count": share(any_prompt, lambda v: v.count),
        "digit": share(counted(0), lambda v: v.digit),
        "everything": share(any_prompt, lambda v: v.everything),
    }


def namer(network: RelationReader) -> Name:
    """The relation of two seen things by the trained network."""

    def name(first: SeenThing, second: SeenThing) -> str:
        with torch.no_grad():
            return RELATIONS[int(network(torch.tensor([pair_features(first, second)])).argmax())]

    return name


def matched(scene: Scene, reading: Reading) -> tuple[SeenThing, SeenThing] | None:
    """The two related things of a rendered scene as the reader saw them, or None where it missed one."""
    relation = scene.relation
    seen = {(thing.colour, thing.shape): thing for thing in reversed(reading.things)}
    pairs = [(thing.colour, thing.shape) for thing in scene.things]
    if relation is None or any(pair not in seen for pair in pairs):
        return None
    return seen[pairs[relation.first]], seen[pairs[relation.second]]


def train_relations(eyes: Eyes, rng: np.random.Generator, scenes: int = 3000) -> RelationReader:
    """Fit the relation network to freshly rendered pairs as the reader sees them."""
    features, targets = [], []
    for _ in range(0, scenes, 100):
        batch = [sample_scene(rng, count=2) for _ in range(100)]
        for scene, reading in zip(batch, read(eyes, render(batch).pictures.float() / 127.5 - 1), strict=True):
            pair = matched(scene, reading)
            if pair is not None and scene.relation is not None:
                features.append(pair_features(*pair))
                targets.append(RELATIONS.index(scene.relation.kind))
    return fitted_relations(torch.tensor(features), torch.tensor(targets))


def fitted_relations(features: Tensor, wanted: Tensor, steps: int = 2500) -> RelationReader:
    """The relation network after `steps` steps over all pairs; what stands on top of and what behind takes most of them."""
    torch.manual_seed(0)
    network = RelationReader()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / steps)))
    for _ in range(steps):
        torch.nn.functional.cross_entropy(network(features), wanted).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return network.eval()


def accuracy(eyes: Eyes, name: Name, rng: np.random.Generator, count: int = 1000) -> Mapping[str, float]:
    """How often the reader is right on renders nobody trained on, in percent, fact by fact."""
    right: dict[str, list[bool]] = {"things": [], "count": [], "floor": [], "relation": [], "digit": []}
    for _ in range(0, count, 100):
        scenes, labels = fresh(100, rng)
        for scene, reading in zip(scenes, read(eyes, labels.pictures), strict=True):
            wanted = {(thing.colour, thing.shape) for thing in scene.things}
            right["things"].append({(thing.colour, thing.shape) for thing in reading.things} == wanted)
            right["count"].append(len(reading.things) == len(scene.things))
            right["floor"].append(reading.floor == scene.floor)
            if scene.card is not None:
                right["digit"].append(reading.digit == scene.card.digit)
            if scene.relation is not None:
                pair = matched(scene, reading)
                right["relation"].append(pair is not None and name(*pair) == scene.relation.kind)
    return {fact: round(100 * sum(facts) / len(facts), 2) for fact, facts in right.items() if facts}


def all_verdicts(eyes: Eyes, name: Name, prompts: Sequence[Prompt], pictures: Tensor) -> list[Verdict]:
    """Read and judge one picture [3, 128, 128] in [-1, 1] a prompt."""
    readings = [reading for start in range(0, len(pictures), 50) for reading in read(eyes, pictures[start : start + 50])]
    return [judge(prompt, reading, name) for prompt, reading in zip(prompts, readings, strict=True)]
