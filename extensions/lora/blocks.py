"""Factors by block of the noise predictor, as lists of 12, 17, 20 or 26 numbers or presets by name say them.

The first number is that of the text towers; the others are those of the blocks on the way in, the middle, and the way out. The
lists of 17 and 12 name only blocks with attention, of Stable Diffusion 1 and XL; what a list does not name stays out. What is in
no block, such as what reads the time, is as strong as the tag says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from webui.extension import UserError, quoted

TEXT = "BASE"
MIDDLE = "M00"


def _ins(*numbers: int) -> tuple[str, ...]:
    return tuple(f"IN{number:02}" for number in numbers)


def _outs(*numbers: int) -> tuple[str, ...]:
    return tuple(f"OUT{number:02}" for number in numbers)


LISTS: Mapping[int, tuple[str, ...]] = {
    12: (TEXT, *_ins(4, 5, 7, 8), MIDDLE, *_outs(*range(6))),
    17: (TEXT, *_ins(1, 2, 4, 5, 7, 8), MIDDLE, *_outs(*range(3, 12))),
    20: (TEXT, *_ins(*range(9)), MIDDLE, *_outs(*range(9))),
    26: (TEXT, *_ins(*range(12)), MIDDLE, *_outs(*range(12))),
}
PRESETS = ("NONE", "ALL", "ALL0.5", "INS", "IND", "INALL", "MIDD", "OUTD", "OUTS", "OUTALL")
DEEP = {12: (5, 7), 9: (6, 3)}  # where the inner part begins on the way in and ends on the way out, by the number of blocks
BLOCK = re.compile(r"model\.diffusion_model\.(input_blocks|middle_block|output_blocks)\.(\d+)\.")


def is_blocks(text: str, presets: Mapping[str, Sequence[float]]) -> bool:
    """Whether a part of a tag says something of blocks: a preset's name, or a list of as many numbers as there are lists for."""
    known = {name.upper() for name in (*PRESETS, *presets)}
    return text.upper() in known or ("@" not in text and text.count(",") + 1 in LISTS)


def blocks_of(text: str, presets: Mapping[str, Sequence[float]]) -> tuple[float, ...] | str:
    """The factors that a text says, or the name of a preset that depends on the model; () for all."""
    named = {name.upper(): tuple(factors) for name, factors in presets.items()}
    if not text or text.upper() in named:
        return named.get(text.upper(), ())
    if text.upper() in PRESETS:
        return text.upper()
    try:
        factors = tuple(float(each) for each in text.split(","))
    except ValueError:
        known = ", ".join((*PRESETS, *presets))
        raise UserError(f"The blocks of a LoRA were {quoted(text)}; they are numbers with commas, or one of {known}.") from None
    if len(factors) not in LISTS or not all(abs(factor) <= 100 for factor in factors):
        wanted = ", ".join(map(str, LISTS))
        raise UserError(f"The blocks of a LoRA have {len(factors)} numbers; there are lists of {wanted} numbers up to 100.")
    return factors


def own_presets(text: str) -> dict[str, tuple[float, ...]]:
    """A person's own presets: lines such as `FACE:1,0,0,...`; what says nothing is passed over."""
    found = {}
    for line in text.replace("|", "\n").splitlines():
        name, _, factors = line.partition(":")
        if name.strip() and factors.strip():
            made = blocks_of(factors.strip(), {})
            found[name.strip()] = made if isinstance(made, tuple) else ()
    return found


def factors_of(blocks: Sequence[float] | str, in_blocks: int) -> Mapping[str, float] | None:
    """Factors by block of a model with so many blocks on the way in; None where all are 1. A block that is not named has 0."""
    if isinstance(blocks, str):
        return preset(blocks, in_blocks)
    return dict(zip(LISTS[len(blocks)], blocks, strict=True)) if blocks else None


def preset(name: str, in_blocks: int) -> Mapping[str, float]:
    """A preset, by what is meant: all on the way in (INALL) or out (OUTALL), the outer part of it (S) or the inner (D)."""
    deep, end = DEEP.get(in_blocks, (in_blocks // 2, in_blocks - in_blocks // 2))
    ins, outs = _ins(*range(in_blocks)), _outs(*range(in_blocks))
    inner_in, inner_out = ins[deep:], outs[:end]
    chosen = {
        "NONE": (), "ALL": (TEXT, *ins, MIDDLE, *outs), "ALL0.5": (TEXT, *ins, MIDDLE, *outs),
        "INS": (TEXT, *ins[:deep]), "IND": (TEXT, *inner_in), "INALL": (TEXT, *ins),
        "MIDD": (TEXT, *inner_in, MIDDLE, *inner_out), "OUTD": (TEXT, *inner_out), "OUTS": (TEXT, *outs[end:]),
        "OUTALL": (TEXT, *outs),
    }[name]  # fmt: skip
    return dict.fromkeys(chosen, 0.5 if name == "ALL0.5" else 1.0)


def block_of(key: str) -> str:
    """The block of a weight of the noise predictor; "" for none."""
    match = BLOCK.match(key)
    if match is None:
        return ""
    side = {"input_blocks": "IN", "middle_block": "M", "output_blocks": "OUT"}[match[1]]
    return MIDDLE if side == "M" else f"{side}{int(match[2]):02}"
