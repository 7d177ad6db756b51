"""Which upscaler a request means: one of the two that need no weights, or a file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from webui.errors import unknown
from webui.params import NONE
from webui.service.checkpoints import Checkpoint, find_networks
from webui.service.vaes import by_name
from webui.tasks import LANCZOS, LATENT_UPSCALES, NEAREST

FOLDERS = ("upscalers", "upscale_models", "ESRGAN", "RealESRGAN")  # under models/; the others are what other programs call it
PLAIN = (LANCZOS, NEAREST)
RESERVED = (NONE, *LATENT_UPSCALES, *PLAIN)  # names that no file has


def find(models: Path, others: Sequence[Path] = ()) -> tuple[Checkpoint, ...]:
    """The files there are."""
    return find_networks(models, others, FOLDERS, {}, reserved=RESERVED)


def choose(
    name: str, there: Sequence[Checkpoint], more: Collection[str] = (), plain: Collection[str] = PLAIN
) -> Checkpoint | str:
    """The upscaler that a name means: a file, the name of one of `more` or of `plain`, or "" for none.

    `UserError` where there is no such one.
    """
    wanted = name.strip().casefold()
    if wanted in ("", NONE.casefold()):
        return ""
    own = next((each for each in plain if each.casefold() == wanted), None)
    found = own or by_name(name, there) or next((each for each in more if each.casefold() == wanted), None)
    if found is None:
        raise unknown("upscaler", name, [NONE, *plain, *(each.name for each in there), *more])
    return found
