"""Whether the inspector's heat maps point at what their words name: with the built-in model, on 100 scenes each way.

    python benchmarks/inspector.py [--scenes 100]

1. Rendered scenes of one to three things, which the model was not trained on, whose masks are exact: the latent of each under the
   noise of 12 levels between the first and the last step's, shown to the network with the scene's true caption.
2. Pictures that the model draws of one thing, by the program's own line with "Inspect" on, read from the record that this leaves;
   where the thing is, its colour tells, for floor and wall are grey.

A word's map is that of all noise levels or steps together. Measured is the part of it inside the word's thing, divided by the
part of the picture that the thing covers: 1 is what a map without any idea would have. Words that name two things of a scene are
left out. The word "a" is the control.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

sys.path.pop(0)  # this folder, which has an extensions.py of its own
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import extensions.inspector as inspector
from extensions.inspector.attention import Watch, grouping_of
from extensions.inspector.keys import key_in
from extensions.inspector.words import words_of
from models.builtin.recipe.captions import COLOUR_WORDS, SHAPE_WORDS, caption
from models.builtin.recipe.scenes import sample_scene
from models.builtin.recipe.things import Scene
from models.builtin.recipe.tracer import render
from models.builtin.recipe.vocabulary import SHOWN
from webui.engine.batching import call_of
from webui.engine.local import LocalNetworks
from webui.extension import Home, parameters
from webui.pipeline.conditioning import meaning
from webui.pipeline.extended import JobHooks
from webui.pipeline.generate import Model, Registry, generate
from webui.pipeline.patches import NO_PATCHES, Patches
from webui.pipeline.protocol import Conditioning, Decode, Encode, EncodePicture, Moment, Read, Row, Rows, answer_all
from webui.request import Request
from webui.weights.source import open_model

ROOT = Path(__file__).resolve().parents[1]
SEED = 900_011  # of the scenes: neither the training set's nor that of other measurements
LEVELS = tuple(float(level) for level in np.geomspace(14.6, 0.1, 12))
WANTED, ENOUGH = 2.0, 0.8
SIDE = 16  # cells of a heat map along a side
SMALLEST = 0.01  # of the picture: what is hidden behind others, or was not drawn, is no place to look at
COLOURFUL = 50  # how far a thing's pixels are from grey, of 255
CHANNELS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
Ratios = dict[str, list[float]]


class Drawing:
    """The built-in model, and whatever answers what pictures ask for."""

    def __init__(self) -> None:
        source = open_model(ROOT / "models" / "builtin" / "model.safetensors")
        self.networks = LocalNetworks({"builtin": source}.__getitem__)
        self.model = Model(name="builtin", spec=source.spec, tokenizers=source.tokenizers)

    def answer(self, ask: Any) -> Any:
        """The answer of an ask."""
        if isinstance(ask, Rows):
            return self.networks.predict(call_of(ask.rows)).rows
        if isinstance(ask, Read):
            return ask.tensor
        known: dict[type, Callable[[Any], Any]] = {
            Encode: self.networks.encode, Decode: self.networks.decode, EncodePicture: self.networks.encode_picture,
        }  # fmt: skip
        return known[type(ask)](ask)


def request_of(prompt: str, seed: int = 0, steps: int = 20, **more: Any) -> Request:
    """A picture of the built-in model's size."""
    return Request(
        model="builtin", prompt=prompt, steps=steps, sampler="DPM++ 2M", schedule="Karras", scale=4.0, seed=seed, width=128,
        height=128, **more,
    )  # fmt: skip


def inside(heat: Tensor, mask: Tensor) -> float:
    """The part of a map [h, w] inside a mask [H, W], divided by the part of the picture that this covers."""
    cells = functional.adaptive_avg_pool2d(mask[None].float(), heat.shape)[0]
    return float((heat * cells).sum() / heat.sum() / mask.float().mean())


def of_scenes(drawing: Drawing, count: int) -> Iterator[Ratios]:
    """For each rendered scene, the ratios of its words: of those that name a thing, of its colours, and of "a"."""
    rng = np.random.default_rng(SEED)
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = sample_scene(rng)
        scenes += [scene] if scene.things and has_words(scene) else []
    shown = render(scenes)
    for number, scene in enumerate(scenes):
        text = caption(scene, rng)
        said = answer_all(meaning(request_of(text), drawing.model, NO_PATCHES, text), drawing.answer)
        latent = drawing.answer(EncodePicture(shown.pictures[number].float() / 255, network="builtin"))
        heat, words = maps_of(drawing, latent, said, number)
        found: Ratios = {"names": [], "colours": [], "a": []}
        for place, thing in enumerate(scene.things):
            mask = shown.masks[number] == place + 1
            if mask.float().mean() < SMALLEST:
                continue
            for kind, names in (("names", SHAPE_WORDS[thing.shape]), ("colours", COLOUR_WORDS[thing.colour]), ("a", ("a",))):
                own = [index for index, word in enumerate(words) if word in names]
                if len(own) == 1 or (own and kind == "a"):
                    found[kind].append(inside(heat[own[0]], mask))
        yield found


def has_words(scene: Scene) -> bool:
    """Whether some shape of the scene is that of one thing alone."""
    shapes = [thing.shape for thing in scene.things]
    return any(shapes.count(shape) == 1 for shape in shapes)


def maps_of(drawing: Drawing, latent: Tensor, said: Conditioning, seed: int) -> tuple[Tensor, list[str]]:
    """The maps [words + 1, h, w] of a text over a latent under noise of all levels, and the words."""
    assert said.said is not None
    words = words_of(said.said.text, said.said.places)
    watch = Watch(grouping_of(words, len(said.tokens)), SIDE, SIDE)
    generator = torch.Generator().manual_seed(seed)
    beside = torch.zeros(drawing.model.spec.unet.in_channels - len(latent), *latent.shape[1:])
    for level in LEVELS:
        x = latent + level * torch.randn(latent.shape, generator=generator)
        row = Row(x, Moment(level, 0, 1), said, network="builtin", channels=beside, patches=Patches(attention=(watch,)))
        drawing.answer(Rows(row))
    taken = watch.taken()
    assert taken is not None
    return taken, [word.text for word in words]


def of_pictures(drawing: Drawing, count: int) -> Iterator[Ratios]:
    """For each picture that is drawn, the ratios of its words, from its record; {} of those that do not show the thing."""
    rng = np.random.default_rng(SEED + 1)
    known = [(colour, shape) for colour, shape in SHOWN if colour in CHANNELS]
    with tempfile.TemporaryDirectory() as folder:
        home = Home(name="inspector", version="", folder=Path(folder))
        defaults = {name: each.default for name, each in parameters(inspector.Inspected).items()}
        registry = Registry(hooks=[JobHooks(name="inspector", denoiser=inspector.denoiser, defaults=defaults, home=home)])
        for number in range(count):
            colour, shape = known[int(rng.integers(len(known)))]
            name = SHAPE_WORDS[shape][0]
            noted = {"record": f"{number:032x}", "task": "txt2img"}
            taking_part = {"inspector": {"values": {"inspect": True, "decode": False}, "noted": noted}}
            request = request_of(f"a large {colour} {name} on a grey floor", seed=number, extensions=taking_part)
            pixels = answer_all(generate(request, drawing.model, registry), drawing.answer).pixels
            mask = coloured(pixels, colour)
            if mask.float().mean() < SMALLEST:
                yield {}
                continue
            heat, words = of_record(home, request)
            said = (("names", name), ("colours", colour), ("a", "a"))
            yield {kind: [inside(heat[words.index(word)], mask)] for kind, word in said}


def of_record(home: Home, request: Request) -> tuple[Tensor, list[str]]:
    """The maps [words, h, w] of all steps of a record together, as the page adds them up, and the words."""
    store, key = inspector.limited(home), key_in(request.to_dict())
    record = store.read(key) if key else None
    assert key and record
    (own,) = record["passes"]
    total = torch.zeros(len(own["texts"][0]["words"]), *own["map"])
    for step in own["taken"]:
        content = store.file(key, f"0-{step['step']}-a.maps")
        if content is not None:
            parts = torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(total.shape) / 255
            total += parts * torch.tensor(step["maps"][0]["peaks"])[:, None, None]
    return total, own["texts"][0]["words"]


def coloured(pixels: Tensor, colour: str) -> Tensor:
    """Where a picture [3, H, W] has a colour: bool [H, W]."""
    wanted = torch.tensor(CHANNELS[colour], dtype=torch.bool)
    far: Tensor = pixels[wanted].amin(dim=0) - pixels[~wanted].amax(dim=0)
    return far > COLOURFUL / 255


def told(title: str, found: Sequence[Ratios]) -> bool:
    """Print what was found; whether it is enough."""
    measured = [each for each in found if each.get("names")]
    right = [min(each["names"]) >= WANTED for each in measured]
    print(f"{title}: {len(measured)} of {len(found)} measured")
    print(f"  every name of a thing at least {WANTED:g} x its share: in {100 * np.mean(right):.0f} % of them")
    for kind in ("names", "colours", "a"):
        ratios = np.array([ratio for each in measured for ratio in each[kind]])
        print(
            f"  {kind:8} {len(ratios):4} words: at least {WANTED:g} x in {100 * np.mean(ratios >= WANTED):3.0f} %, "
            f"median {np.median(ratios):.1f} x, tenth {np.quantile(ratios, 0.1):.1f} x"
        )
    return bool(np.mean(right) >= ENOUGH)


def main() -> int:
    """Measure, print, and fail where the maps do not point at their things."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", type=int, default=100, help="How many scenes, and pictures. [100]")
    count = parser.parse_args().scenes
    torch.manual_seed(0)
    drawing = Drawing()
    enough = told("Rendered scenes, exact masks", list(of_scenes(drawing, count)))
    enough = told("Pictures that the model draws, with Inspect", list(of_pictures(drawing, count))) and enough
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
