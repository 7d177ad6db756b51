"""What the community's texts mean beyond what they say: the order of their keys, old names, and what is left out.

Programs have written such texts for years; who reads one today wants the picture it was written for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil, sqrt

ORDER = (
    "Steps", "Sampler", "Schedule type", "CFG scale", "Image CFG scale", "Seed", "Face restoration", "Size", "Model hash",
    "Model", "VAE hash", "VAE", "Variation seed", "Variation seed strength", "Seed resize from", "Denoising strength",
    "Conditional mask weight", "Clip skip", "ENSD", "Init image hash", "RNG", "Tiling", "Mask mode", "Mask blur", "Mask hash",
    "Masked content", "Inpaint area", "Masked area padding", "Hires upscale", "Hires resize", "Hires steps", "Hires upscaler",
    "Hires checkpoint", "Hires sampler", "Hires schedule type", "Hires prompt", "Hires negative prompt", "Hires CFG Scale",
    "Refiner", "Refiner switch at", "Emphasis", "Eta", "Eta DDIM", "Sigma churn", "Sigma tmin", "Sigma tmax", "Sigma noise",
    "Schedule min sigma", "Schedule max sigma", "Schedule rho", "Beta schedule alpha", "Beta schedule beta",
    "Discard penultimate sigma", "SGM noise multiplier", "Noise Schedule", "NGMS", "NGMS all steps", "Skip Early CFG",
    "Old prompt editing timelines",
)  # fmt: skip
"""Of the keys, as A1111's UI writes them; all others follow as they come."""
ZERO_IS_NONE = ("Hires resize", "Seed resize from")  # of these sizes a side that is 0 follows from the other
OLD_NAMES: Mapping[str, str] = {"Soft inpainting enabled": "Soft inpainting", "Eta noise seed delta": "ENSD"}
OLD_TIMELINES = (1, 6)  # the version of A1111's UI before which numbers in [from:to:when] meant something else
UNIPC_VARIANTS: Mapping[str, str] = {"bh1": "UniPC", "bh2": "UniPC bh2", "vary_coeff": "UniPC vary"}
UNIPC_SPACINGS: Mapping[str, str] = {"time_uniform": "UniPC", "time_quadratic": "UniPC quadratic", "logSNR": "UniPC logSNR"}
LATENT_PASS, PLAIN_PASS = "Latent", "Lanczos"  # what enlarged where the key is missing, and where it says "None"
FIRST_PASS_PIXELS, FIRST_PASS_STEP = 512 * 512, 64  # what the first programs with a second pass began with
VERSION = re.compile(r"(?:f[\d.]+)?v?(\d{1,4})\.(\d{1,4})(?:\.\d.*|\D.*)?")
SIDES = re.compile(r"(\d{1,5})x(\d{1,5})")
LAST = len(ORDER)


def place(key: str) -> int:
    """Where a key stands among the others."""
    return ORDER.index(key) if key in ORDER else LAST


def meant(values: Mapping[str, str], prompts: tuple[str, str], *, hires: bool) -> dict[str, str]:
    """The values with what they mean by old names, by what is missing and by their version.

    `hires`: of a second pass, too.
    """
    found = {OLD_NAMES.get(key, key): value for key, value in values.items()}
    version = VERSION.fullmatch(values.get("Version", "").split(" ")[0])
    old = version is not None and (int(version[1]), int(version[2])) < OLD_TIMELINES
    if old and any("[" in prompt for prompt in (*prompts, values.get("Hires prompt", ""))):
        found.setdefault("Old prompt editing timelines", "True")
    found = _unipc(found)
    return _second_pass(found) if hires else found


def _unipc(values: dict[str, str]) -> dict[str, str]:
    """What were settings of one sampler elsewhere and are names of samplers and schedules here."""
    if values.get("Sampler") != "UniPC":
        return values
    if (sampler := UNIPC_VARIANTS.get(values.get("UniPC variant", ""))) is not None:
        values = {**values, "Sampler": sampler}
        del values["UniPC variant"]
    spacing = UNIPC_SPACINGS.get(values.get("UniPC skip type", ""))
    if spacing is not None and values.get("Schedule type", "Automatic") == "Automatic":
        values = {**values, "Schedule type": spacing}
        del values["UniPC skip type"]
    return values


def _second_pass(values: dict[str, str]) -> dict[str, str]:
    """What enlarges, where a text with a second pass does not say; the sizes of one from the time when they had other names."""
    first, size = SIDES.fullmatch(values.get("First pass size", "")), SIDES.fullmatch(values.get("Size", ""))
    if first is not None and size is not None:
        begun = (int(first[1]), int(first[2]))
        begun = begun if all(begun) else _first_pass(int(size[1]), int(size[2]))
        values |= {"Hires resize": values["Size"], "Size": f"{begun[0]}x{begun[1]}"}
    if values.keys() & {"Hires upscale", "Hires resize"}:
        values.setdefault("Hires upscaler", LATENT_PASS)
        if values["Hires upscaler"] == "None":
            values["Hires upscaler"] = PLAIN_PASS
    if values.get("Hires steps") == "0":  # as many as the first
        del values["Hires steps"]
    return values


def _first_pass(width: int, height: int) -> tuple[int, int]:
    """The size that such programs drew first, where the text says 0."""
    scale = sqrt(FIRST_PASS_PIXELS / max(width * height, 1))
    return tuple(ceil(scale * side / FIRST_PASS_STEP) * FIRST_PASS_STEP for side in (width, height))  # type: ignore[return-value]
