"""The page reads pictures' texts as the program does, whatever other programs wrote into them."""

from __future__ import annotations

from collections.abc import Callable

from tests.ui.person import Person
from webui import infotext
from webui.drawing import Txt2Img

TEXTS = (
    infotext.write(Txt2Img(prompt="a ball,\nSteps: red", negative='"blurry"', seed=5, width=64, height=64)),
    "a\nNegative prompt: b\nSteps: 1, Size: 8x8, Note: \"x, y\", Last: 3",
    'a\nSteps: 1, a: 2, b: "\\q", c: 3', 'a\nSteps: 1, a: 2, b: "x\ty", c: 3', 'a\nSteps: 1, a: "b, c", d: "\\u12", e: 5',
    'a\nSteps: 1, a: 2, b: "never ended, c: 3', "only a prompt", "", "\n\n", "a: 1, b: 2",
)  # fmt: skip
READ = "async (texts) => { const { readInfotext } = await import('/x/static/infotext.js'); return texts.map(readInfotext); }"


def test_a_text_means_the_same_here_and_there(people: Callable[..., Person]) -> None:
    found = people().open().evaluate(READ, list(TEXTS))
    for text, read in zip(TEXTS, found, strict=True):
        known = infotext.parse(text)
        assert (read["prompt"], read["negative"]) == (known.prompt, known.negative), text
        assert dict(read["values"]) == dict(known.values), text
