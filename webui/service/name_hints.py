"""What a file's name says of the settings that suit its model; never what the model is, for names lie.

Distilled models look like those they were made from in every weight, and draw badly with the settings of those. The numbers are
their makers': SDXL Turbo (Sauer et al. 2023, arXiv:2311.17042), SDXL-Lightning (Lin et al. 2024, arXiv:2402.13929), LCM (Luo
et al. 2023, arXiv:2310.04378), Hyper-SD (Ren et al. 2024, arXiv:2404.13686).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # also within "realvisV40Turbo"
FEW_STEPS = re.compile(r"(?<!\d)([1-9]|1[0-6])[ _-]?steps?(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Hint:
    """Settings, and the word that they follow from. The scale is that of no guidance, which such models do without."""

    word: str
    steps: int
    sampler: str
    scale: float = 1.0


HINTS: Mapping[str, Hint] = {
    hint.word.casefold(): hint
    for hint in (
        Hint(word="Lightning", steps=4, sampler="Euler"),
        Hint(word="Turbo", steps=4, sampler="Euler a"),
        Hint(word="LCM", steps=4, sampler="Euler a"),
        Hint(word="Hyper", steps=8, sampler="Euler"),
    )
}


def hint_of(name: str) -> Hint | None:
    """The hint in a file's name, with the number of steps that it says; None where it has none of the words."""
    words = [word.casefold() for word in WORD.findall(name)]
    if any(first == "hyper" and second.startswith("real") for first, second in pairwise(words)):
        return None  # "hyper realistic" is praise
    found = next((hint for word, hint in HINTS.items() if word in words), None)
    said = FEW_STEPS.search(name)
    return replace(found, steps=int(said[1])) if found is not None and said is not None else found
