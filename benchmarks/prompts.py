"""How fast prompts are parsed: hostile text of any length through the whole grammar, without an exception.

    python -m benchmarks.prompts [--characters 10000000] [--seed 0]

Each document goes once through every stage: comments, tags, AND, choices, the text of the first step, attention. There are
several kinds, for a loose sign makes much of the grammar step aside early:

- half drawn from the signs of the grammar, AND, BREAK and digits, half from letters, spaces, line breaks and Unicode
- the same without `#`, `|` and the backslash
- brackets that are whole, one after another
- brackets nested 100,000 deep
- brackets that are never closed

The time is the processor's, so that what else the machine does counts little.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator

from webui.pipeline.grammar import Timeline, attention, parse

SIGNS = ("(", ")", "[", "]", ":", "|", "\\", "<", ">", "_", "{", "}", "#", ",", "AND", "BREAK", *"0123456789")
LETTERS = (*"abcdefghijklmnopqrstuvwxyz", " ", " ", " ", " ", "\n", "\t", "é", "日", "🐱", "\u0301", "\x00", "\u2028")
QUIET = tuple(sign for sign in SIGNS if sign not in ("#", "|", "\\"))
WHOLE = (
    "(a cat:1.2)", "[dog:wolf:0.5]", "[a|b]", "((x) y:0.9)", " <lora:foo:0.8> ", " AND ", " BREAK ", "[[a|b]:(c:1.1):7] ",
    "\\(no\\) ", "word, ", "tree at night, ",
)  # fmt: skip
DEEP = 100_000
DOCUMENT = 1_000_000
TIMELINE = Timeline(steps=20)


def drawn(length: int, tokens: tuple[str, ...], random_: random.Random) -> str:
    """About so many characters."""
    text = "".join(random_.choices(tokens, k=length))
    return text[:length]


def mixed(length: int, signs: tuple[str, ...], random_: random.Random) -> str:
    """Half signs, half letters, by characters."""
    parts: list[str] = []
    count = [0, 0]
    while sum(count) < length:
        which = count[0] > count[1]
        part = "".join(random_.choices(LETTERS if which else signs, k=random_.randint(1, 40)))
        count[which] += len(part)
        parts.append(part)
    return "".join(parts)[:length]


def documents(characters: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Kind and text of documents that have so many characters together."""
    random_ = random.Random(seed)
    made = 0
    while made < characters:
        length = min(DOCUMENT, characters - made)
        deep = min(DEEP, length // 8)
        for kind, text in (
            ("all signs", mixed(length, SIGNS, random_)),
            ("no sign that ends it early", mixed(length, QUIET, random_)),
            ("whole brackets", drawn(length, WHOLE, random_)),
            ("nested", "[" * deep + "a" + ":b:5]" * deep + "(" * deep + "x" + ")" * deep),
            ("never closed", "".join(random_.choices("([", k=length))),
        ):
            if made < characters:
                made += len(text)
                yield kind, text


def through(text: str) -> int:
    """Read a text as a job's first step does; how many characters its segments have."""
    first = [part.at(1, TIMELINE).text for part in parse(text).parts]
    return sum(len(segment.text) for each in first for segment in attention(each))


def main() -> None:
    """Tell how many characters a second go through, by kind of text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--characters", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    spent: dict[str, tuple[int, float]] = {}
    for kind, text in documents(chosen.characters, chosen.seed):
        begun = time.process_time()
        through(text)
        length, seconds = spent.get(kind, (0, 0.0))
        spent[kind] = (length + len(text), seconds + time.process_time() - begun)
    for kind, (length, seconds) in (*spent.items(), ("together", tuple(map(sum, zip(*spent.values(), strict=True))))):
        print(f"{kind:30} {length:12,} characters {length / seconds / 1e6:8.2f} million a second")


if __name__ == "__main__":
    main()
