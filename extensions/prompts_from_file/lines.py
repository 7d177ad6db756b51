"""A line of a file of prompts: a prompt, or options as other programs write them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from webui.extension import Base, UserError, Value, parameters, unknown

SETS = ("prompt", "negative")
NAMES = {  # other programs' names for ours
    "negative_prompt": "negative", "sampler_name": "sampler", "scheduler": "schedule", "cfg_scale": "scale", "n_iter": "count",
    "batch_size": "count", "sd_model": "model", "subseed": "variation_seed", "subseed_strength": "variation_strength",
    "seed_resize_from_w": "seed_width", "seed_resize_from_h": "seed_height", "denoising_strength": "strength",
    "hr_scale": "hires_scale", "hr_upscaler": "hires_upscaler", "hr_second_pass_steps": "hires_steps",
}  # fmt: skip
PASSED_OVER = ("outpath_samples", "outpath_grids", "prompt_for_display", "do_not_save_samples", "do_not_save_grid")
"""Options of other programs that mean nothing here: pictures are always kept, and where they are kept is for owners to say."""
LONGEST_LINE = 50_000  # characters


def changes(line: str, base: Base) -> tuple[dict[str, Value], tuple[str, ...]]:
    """The parameters that a line sets, and its styles; `UserError` where it means nothing."""
    if len(line) > LONGEST_LINE:
        raise UserError(f"it has {len(line):,} characters; a line has at most {LONGEST_LINE:,}.")
    if not line.startswith("--"):
        return {"prompt": line}, ()
    known = parameters(base.params)
    found: dict[str, Value] = {}
    styles: list[str] = []
    for given, value in _options(line):
        plain = given.replace("-", "_")
        name = NAMES.get(plain, plain)
        if name == "styles":
            styles += [each.strip() for each in value.split(",") if each.strip()]
        elif name in known:
            one = known[name].parse(value or "true" if known[name].kind is bool else value)
            found[name] = _times(found.get(name), one) if name == "count" and plain != "count" else one
        elif plain not in PASSED_OVER:
            raise unknown("option", f"--{given}", [f"--{each}" for each in (*known, *NAMES, "styles")])
    for each in styles:
        if each not in base.choices("styles"):
            raise unknown("style", each, base.choices("styles"))
    return found, tuple(styles)


def _times(before: Value, value: Value) -> int:
    """Batches of several pictures are as many pictures."""
    return int(before or 1) * int(value or 1)


def _options(line: str) -> Iterator[tuple[str, str]]:
    """Each option of a line and its value; words that follow each other without quotes are one value."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UserError(f"a quote is not closed ({error}); put texts with spaces in quotes.") from error
    option: str | None = None
    value: list[str] = []
    for word in words:
        if word.startswith("--") and len(word) > 2:
            if option is not None:
                yield option, " ".join(value)
            name, sign, rest = word.removeprefix("--").partition("=")
            option, value = name, [rest] if sign else []
        else:
            value.append(word)
    if option is not None:
        yield option, " ".join(value)
