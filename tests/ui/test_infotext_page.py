"""The page reads pictures' texts as the program does, whatever other programs wrote into them."""

from __future__ import annotations

import random
from collections.abc import Callable

from playwright.sync_api import Page

from tests.ui.person import Person
from webui import infotext
from webui.drawing import Txt2Img

TEXTS = (
    infotext.write(Txt2Img(prompt="a ball,\nSteps: red", negative='"blurry"', seed=5, width=64, height=64)),
    infotext.write(Txt2Img(prompt="Negative prompt: not one ", negative=" spaces ", seed=5)),
    "a\nNegative prompt: b\nSteps: 1, Size: 8x8, Note: \"x, y\", Last: 3",
    'a\nSteps: 1, a: 2, b: "\\q", c: 3', 'a\nSteps: 1, a: 2, b: "x\ty", c: 3', 'a\nSteps: 1, a: "b, c", d: "\\u12", e: 5',
    'a\nSteps: 1, a: 2, b: "never ended, c: 3', "only a prompt", "", "\n\n", "a: 1, b: 2",
    'a\nSteps: 1, a: 2, Civitai resources: [{"type": "lora", "weight": 0.8}, {"x": "]}"}], Metadata: {"a": [1, 2]}, c: 3',
    "a\nSteps: 1, a: [1, 2, b: {3, c: 4", "a\nSteps: 1, -a-: 2, b(c: 3, : 4, x/y: 5, ä_1: 6",
    "a\nSteps: 1, Sampler: Euler, Seed: 3\nTemplate: a, b: c\nand more\nNegative Template: d",
    "a\nSteps: 1, Seed: 3\nTemplate: a", "a\nSteps: 1, Sampler: Euler, Seed: 3\nno key here",
)  # fmt: skip
READ = "async (texts) => { const { readInfotext } = await import('/x/static/infotext.js'); return texts.map(readInfotext); }"
PIECES = (
    "Steps: ", "Seed", ": ", ":", ", ", ",", '"', "\\", "[", "]", "{", "}", "\n", "Negative prompt: ", "a", " ", "-", "7", "é",
    "x: 1, y: 2, z: 3",
)  # fmt: skip
MANY = 1000


def compare(page: Page, texts: list[str]) -> None:
    """Both readers say the same of each."""
    for text, read in zip(texts, page.evaluate(READ, texts), strict=True):
        known = infotext.parse(text)
        assert (read["prompt"], read["negative"]) == (known.prompt, known.negative), text
        assert dict(read["values"]) == dict(known.values), text


def test_a_text_means_the_same_here_and_there(people: Callable[..., Person]) -> None:
    compare(people().open(), list(TEXTS))


def test_a_text_of_whatever_pieces_means_the_same_here_and_there(people: Callable[..., Person]) -> None:
    chance = random.Random(6)
    texts = ["".join(chance.choices(PIECES, k=chance.randrange(1, 30))) for _ in range(MANY)]
    assert sum(bool(infotext.parse(text).values) for text in texts) > MANY // 10, "most say nothing"
    compare(people().open(), texts)
