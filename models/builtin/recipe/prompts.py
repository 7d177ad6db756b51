"""The published evaluation: 300 prompts with the facts that their pictures must show, made once from a fixed seed.

prompts.json is the list; it was made before the model was trained and never changes. Evaluation reads the file; this code
tells how it came about, and a test keeps the two equal.

    python -m models.builtin.recipe.prompts
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from .captions import COUNT_WORDS, FINISH_WORDS, FLOOR_WORDS, RELATION_WORDS, SIZE_WORDS, article, noun
from .scenes import sample_scene
from .things import Relation, Scene, Thing
from .vocabulary import RELATIONS, SHOWN, WITHHELD

SEED = 20260
PATH = Path(__file__).with_name("prompts.json")
COUNTS = {1: (105, 30), 2: (96, 24), 3: (24, 6), 0: (15, 0)}
"""How many prompts have so many things: of combinations that training shows, and with a withheld one."""

FLOOR_CHANCE = 0.6


@dataclass(frozen=True, kw_only=True)
class SaidThing:
    """What a prompt says of one thing; size and finish are None where it doesn't say."""

    shape: str
    colour: str
    size: str | None
    finish: str | None


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt and its facts.

    `count` is the number of things (0 for a card), `relation` says which of `things` is where, `left_to_right` whether the
    things are told in that order, `digit` is the card's. None stands for what the prompt doesn't say.
    """

    text: str
    count: int
    things: tuple[SaidThing, ...]
    relation: Relation | None
    left_to_right: bool
    floor: str | None
    digit: int | None
    withheld: bool


def make_prompts(seed: int = SEED) -> tuple[Prompt, ...]:
    """The 300 prompts of a seed; combinations and relations come round equally often."""
    rng = np.random.default_rng(seed)
    made: dict[str, Prompt] = {}
    for count, (shown, withheld) in COUNTS.items():
        for special, number, pairs in ((False, shown, SHOWN), (True, withheld, WITHHELD)):
            order = [pairs[i] for _ in range(-(-number // len(pairs))) for i in rng.permutation(len(pairs))]
            for index in range(number):
                relation = RELATIONS[index % len(RELATIONS)] if count == 2 else None
                prompt = None
                while prompt is None or prompt.text in made:
                    prompt = _prompt(rng, _scene(rng, count, relation, special, order[index], index % 10), special)
                made[prompt.text] = prompt
    return tuple(made.values())


def _scene(
    rng: np.random.Generator, count: int, relation: str | None, withheld: bool, pair: tuple[str, str], digit: int
) -> Scene:
    """A scene that has the pair, or a card with the digit."""
    colour, shape = pair
    for _ in range(2000):
        scene = sample_scene(rng, count=count, relation=relation, withheld=withheld)
        if scene.card is not None:
            return replace(scene, card=replace(scene.card, digit=digit))
        for index, thing in enumerate(scene.things):
            # Painting a thing of the right shape is quicker than waiting for the right colour as well.
            if thing.shape == shape and ((thing.colour, shape) in WITHHELD) == withheld:
                things = (*scene.things[:index], replace(thing, colour=colour), *scene.things[index + 1 :])
                if len({(one.colour, one.shape) for one in things}) == count and (colour, scene.floor) != ("white", "white"):
                    return replace(scene, things=things)
    raise RuntimeError(f"No scene of {count} things has {pair}.")


def _said(thing: Thing, phrase: str) -> SaidThing:
    """What a noun phrase says of the thing."""
    words = set(phrase.split())
    return SaidThing(
        shape=thing.shape,
        colour=thing.colour,
        size=thing.size if words & set(SIZE_WORDS[thing.size]) else None,
        finish=thing.finish if words & set(FINISH_WORDS[thing.finish]) else None,
    )


def _prompt(rng: np.random.Generator, scene: Scene, withheld: bool) -> Prompt:
    """Word a scene, and note what the words say."""
    floor = scene.floor if rng.random() < FLOOR_CHANCE else None
    things = scene.things
    ordered = len(things) == 3 and rng.random() < 0.5
    if len(things) == 3:
        order = np.argsort([thing.position[0] for thing in things]) if ordered else rng.permutation(3)
        things = tuple(things[i] for i in order)
    phrases = [noun(thing, rng) for thing in things]
    named = [article(phrase) for phrase in phrases]
    ending = f" on a {FLOOR_WORDS[floor][0]} {rng.choice(('floor', 'table', 'ground'))}" if floor else ""
    if scene.card is not None:
        text = f"a card with a handwritten {scene.card.digit}"
    elif len(things) == 1:
        text = named[0]
    elif len(things) == 2:
        assert scene.relation is not None
        text = f"{named[0]} {RELATION_WORDS[scene.relation.kind][0]} {named[1]}"
        ending = ending.replace(" on a ", ", ") if scene.relation.kind == "on top of" else ending
    else:
        text = f"{named[0]}, {named[1]} and {named[2]}"
        text = f"from left to right: {text}" if ordered else f"{COUNT_WORDS[3][0]}: {text}"
    return Prompt(
        text=text + ending,
        count=len(things),
        things=tuple(_said(thing, phrase) for thing, phrase in zip(things, phrases, strict=True)),
        relation=scene.relation,
        left_to_right=ordered,
        floor=floor,
        digit=scene.card.digit if scene.card else None,
        withheld=withheld,
    )


def as_json(prompts: Sequence[Prompt]) -> str:
    """The list as the text of prompts.json, one prompt a line."""
    return "[\n" + ",\n".join(json.dumps(asdict(prompt)) for prompt in prompts) + "\n]\n"


def load_prompts(path: Path = PATH) -> tuple[Prompt, ...]:
    """The published list."""
    return tuple(
        Prompt(
            **{
                **values,
                "things": tuple(SaidThing(**thing) for thing in values["things"]),
                "relation": Relation(**values["relation"]) if values["relation"] else None,
            }
        )
        for values in json.loads(path.read_text(encoding="utf-8"))
    )


if __name__ == "__main__":
    PATH.write_text(as_json(make_prompts()), encoding="utf-8", newline="\n")
