"""How well pictures keep the structure of a depth map while the prompt changes the colours: measured on held-out scenes.

What a picture shows is told by the estimator that ships. From its depth that of the empty scene (the same floor, wall and
camera without the things, rendered) is taken off, so that only the things count and not the floor, which all scenes share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from webui.nets.depth_small import SmallDepth

from .captions import caption
from .judge import Name, Verdict, all_verdicts
from .prompts import Prompt, SaidThing
from .reader import Eyes
from .scenes import sample_scene
from .things import Scene, Thing
from .tracer import inverse_depth, render
from .vocabulary import SHOWN

COUNT = 200
SEED = 900_002
"""Seed of the scenes measured on: neither the training set's nor that of the other held-out scenes."""
CHOOSING_SEED = 900_003
"""Seed of the scenes on which the threshold is chosen, which are measured nowhere."""
THRESHOLDS = tuple(round(0.1 + 0.05 * step, 2) for step in range(13))
"""Metres nearer than the empty scene from which a pixel may count as a thing's."""
SMALLEST_DISPARITY = 0.02
"""In 1 / metre: nothing is taken to be farther than 50 metres."""
MOST_TRIES = 1000
Draw = Callable[[Sequence[str], np.ndarray], np.ndarray]
"""Draws prompts from depth maps [N, H, W], from 0 (far) to 1 (near): pictures uint8 [N, 3, H, W]."""


@dataclass(frozen=True, kw_only=True)
class Trials:
    """N scenes, each with a prompt that gives its things other colours.

    `pictures` uint8 [N, 3, H, W] show the scenes as they are; `depth` and `empty` float32 [N, H, W] are metres to the scene and
    to the same scene without things; `masks` bool [N, H, W] is where the things are.
    """

    prompts: tuple[Prompt, ...]
    pictures: Tensor
    depth: Tensor
    empty: Tensor
    masks: Tensor

    @property
    def maps(self) -> Tensor:
        """The scenes' depth maps [N, H, W] as a person would give them: from 0 (far) to 1 (near)."""
        return inverse_depth(self.depth)


def make_trials(count: int = COUNT, seed: int = SEED) -> Trials:
    """Held-out scenes of one to three things, no cards, and prompts with new colours."""
    rng = np.random.default_rng(seed)
    scenes = [_scene_of_things(rng) for _ in range(count)]
    shown, alone = render(scenes), render([replace(scene, things=(), relation=None) for scene in scenes])
    return Trials(
        prompts=tuple(prompt_of(recoloured(scene, rng), rng) for scene in scenes),
        pictures=shown.pictures,
        depth=shown.depth,
        empty=alone.depth,
        masks=shown.masks > 0,
    )


def _scene_of_things(rng: np.random.Generator) -> Scene:
    while not (scene := sample_scene(rng)).things:
        pass
    return scene


def recoloured(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with a colour for each thing that no thing of it had, in combinations that training shows."""
    old = {thing.colour for thing in scene.things}
    for _ in range(MOST_TRIES):
        things = tuple(_repainted(thing, old, rng) for thing in scene.things)
        pairs = {(thing.colour, thing.shape) for thing in things}
        # As the generator has it: no two things alike, and no white thing on a white floor.
        if len(pairs) == len(things) and not (scene.floor == "white" and any(thing.colour == "white" for thing in things)):
            return replace(scene, things=things)
    raise RuntimeError(f"No other colours were found for {scene.things}.")


def _repainted(thing: Thing, old: set[str], rng: np.random.Generator) -> Thing:
    colours = [colour for colour, shape in SHOWN if shape == thing.shape and colour not in old]
    return replace(thing, colour=colours[int(rng.integers(len(colours)))])


def prompt_of(scene: Scene, rng: np.random.Generator) -> Prompt:
    """A scene's caption as a prompt of which only the things are judged."""
    things = tuple(SaidThing(shape=thing.shape, colour=thing.colour, size=None, finish=None) for thing in scene.things)
    return Prompt(
        text=caption(scene, rng), count=len(things), things=things, relation=None, left_to_right=False, floor=None, digit=None,
        withheld=False,
    )  # fmt: skip


@torch.no_grad()
def rise(estimator: SmallDepth, pictures: Tensor, empty: Tensor) -> Tensor:
    """By how many metres pictures uint8 [N, 3, H, W] are nearer than their empty scenes [N, H, W], as the estimator sees it."""
    disparity = torch.cat([estimator(part.float() / 255) for part in torch.split(pictures, 20)])
    return empty - 1 / disparity.clamp(min=SMALLEST_DISPARITY)


def overlap(found: Tensor, true: Tensor) -> Tensor:
    """Intersection over union of each pair of masks [N, H, W]; 0 where both are empty."""
    return (found & true).sum(dim=(1, 2)) / (found | true).sum(dim=(1, 2)).clamp(min=1)


def correlation(found: Tensor, true: Tensor, where: Tensor) -> Tensor:
    """Pearson's correlation of each pair [N, H, W] over the pixels `where`; 0 where one of them does not vary there."""
    weight = where.double()
    count = weight.sum(dim=(1, 2), keepdim=True).clamp(min=1)
    a, b = ((each.double() - (each * weight).sum(dim=(1, 2), keepdim=True) / count) * weight for each in (found, true))
    spread = (a.square().sum(dim=(1, 2)) * b.square().sum(dim=(1, 2))).sqrt()
    return torch.where(spread > 0, (a * b).sum(dim=(1, 2)) / spread.clamp(min=1e-12), 0.0)


def choose_threshold(estimator: SmallDepth, count: int = COUNT) -> float:
    """The rise in metres at which the estimator's masks of true renders agree best with the true ones."""
    trials = make_trials(count, CHOOSING_SEED)
    seen = rise(estimator, trials.pictures, trials.empty)
    return max(THRESHOLDS, key=lambda threshold: float(overlap(seen > threshold, trials.masks).mean()))


def likeness(estimator: SmallDepth, pictures: Tensor, trials: Trials, threshold: float) -> tuple[float, float]:
    """Mean correlation of the rise over the union of true and seen things, and mean IoU of their masks, of pictures."""
    seen = rise(estimator, pictures, trials.empty)
    found = seen > threshold
    alike = correlation(seen, trials.empty - trials.depth, found | trials.masks)
    return round(float(alike.mean()), 3), round(float(overlap(found, trials.masks).mean()), 3)


def relative_error(estimator: SmallDepth, trials: Trials) -> float:
    """Mean absolute relative error of the depth of true renders, in percent."""
    seen = trials.empty - rise(estimator, trials.pictures, trials.empty)
    return round(100 * float(((seen - trials.depth).abs() / trials.depth).mean()), 2)


def measure(draw: Draw, estimator: SmallDepth, eyes: Eyes, name: Name, count: int = COUNT) -> dict[str, float]:
    """All figures of depth, by the words the card has for them."""
    trials, threshold = make_trials(count), choose_threshold(estimator, count)
    texts = [prompt.text for prompt in trials.prompts]
    of_another = trials.maps.roll(1, dims=0)
    drawn, shuffled = (torch.from_numpy(draw(texts, maps.numpy())) for maps in (trials.maps, of_another))
    own = likeness(estimator, drawn, trials, threshold)
    control = likeness(estimator, shuffled, trials, threshold)
    verdicts = all_verdicts(eyes, name, trials.prompts, drawn.float() / 127.5 - 1)
    sure = likeness(estimator, trials.pictures, trials, threshold)
    return {
        "depth above the empty scene, correlation": own[0],
        "object masks, IoU": own[1],
        "depth above the empty scene, correlation, shuffled maps (control)": control[0],
        "object masks, IoU, shuffled maps (control)": control[1],
        "the prompt's new colours are right, %": percent(verdicts, lambda verdict: verdict.colours),
        "the prompt's new colours and the shapes are right, %": percent(verdicts, lambda verdict: verdict.things),
        "the estimator on renders, absolute relative error of depth, %": relative_error(estimator, trials),
        "the estimator on renders, depth above the empty scene, correlation": sure[0],
        "the estimator on renders, object masks, IoU": sure[1],
        "rise from which a pixel is an object's, chosen on other renders, metres": threshold,
    }


def percent(verdicts: Sequence[Verdict], right: Callable[[Verdict], bool]) -> float:
    """In how many of a hundred pictures something is right."""
    return round(100 * sum(right(verdict) for verdict in verdicts) / len(verdicts), 1)
