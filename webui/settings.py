"""Every setting of the program, each defined once: what it is called, which values it takes, and who may change it.

A setting that nothing reads is a lie to whoever changes it: a test looks for the place that reads each one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webui.errors import UserError, quoted
from webui.params import MOST_PIXELS, Params, Value, param, parameters

LONGEST_PATTERN = 200  # characters
PLACE_KEY = "place"
CHOICES: Mapping[str, Sequence[tuple[str, str]]] = {
    "themes": (("As the system", "system"), ("Light", "light"), ("Dark", "dark")),
    "formats": (("PNG", "PNG"), ("JPEG", "JPEG"), ("WebP", "WebP"), ("AVIF", "AVIF")),
    "tiles": (("Small", "small"), ("Medium", "medium"), ("Large", "large")),
}
"""What people read and the value it stands for, for the settings that are a choice."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a setting is shown, and whether it holds for everybody, so that only an owner may change it."""

    group: str
    owner: bool


def setting(default: Value, label: str, *, group: str, owner: bool = False, **more: Any) -> Any:
    """A field of `Settings`; `more` are attributes of `Parameter`."""
    field = param(default, label, **more)
    return dataclasses.field(default=default, metadata={**field.metadata, PLACE_KEY: Place(group=group, owner=owner)})


@dataclass(frozen=True, kw_only=True)
class Settings(Params):
    """How the program works for one person: their own settings, and those that an owner made for everybody."""

    theme: str = setting("system", "Theme", group="Page", choices="themes", help="Light or dark.")
    previews: bool = setting(
        True, "Live previews", group="Page", help="Show pictures while they are made. Without, they are done a little sooner.")
    previews_per_second: float = setting(
        4.0, "Previews a second", group="Page", min=0.2, max=8, step=0.2, help="How often a picture's preview changes at most.")
    tiles: str = setting(
        "medium", "Size of the gallery's tiles", group="Gallery", choices="tiles", help="How large pictures are listed.")
    confirm_deleting: bool = setting(
        True, "Ask before deleting", group="Gallery", help="Ask once more before pictures are deleted for good.")
    trash_days: int = setting(
        30, "Days in the trash", group="Gallery", min=0, max=3650, step=1,
        help="Pictures that have been in the trash for longer are deleted for good; 0 keeps them until you delete them.")
    save_format: str = setting(
        "PNG", "Format of the pictures", group="Saving", choices="formats",
        help="What finished pictures are kept as. PNG and WebP at quality 100 keep every pixel; all hold the parameters.")
    save_quality: int = setting(
        90, "Quality", group="Saving", min=1, max=100, step=1,
        help="Of JPEG, WebP and AVIF: more is closer to what was drawn, and takes more room.")
    filename_pattern: str = setting(
        "[seed]", "Names of the files", group="Saving", longest=LONGEST_PATTERN,
        help="What comes behind the number; words in brackets such as [seed], [date], [model_name] or [prompt_words] are filled "
             "in, and a / makes folders: [date]/[seed]. [none] is the number alone.")
    memory_megabytes: int = setting(
        0, "Memory for models", group="Models", owner=True, min=0, max=1_000_000, step=1,
        help="Megabytes that models may take on the device; 0 takes what is sensible of what is free. With less than a model "
             "needs, its parts take turns, which is slower and draws the same. Holds from the next start.")
    most_jobs: int = setting(
        50, "Jobs of one account", group="Limits", owner=True, min=1, max=10_000, step=1,
        help="How many jobs of one account may wait or run at the same time.")
    most_pixels: int = setting(
        MOST_PIXELS, "Pixels of a picture", group="Limits", owner=True, min=64 * 64, max=MOST_PIXELS, step=1,
        help="How large a picture may be asked for: width times height.")
    most_steps: int = setting(
        150, "Steps of a picture", group="Limits", owner=True, min=1, max=150, step=1, help="How many steps may be asked for.")
    most_count: int = setting(
        100, "Pictures of a job", group="Limits", owner=True, min=1, max=100, step=1, help="How many pictures a job may ask for.")
    most_cells: int = setting(
        1000, "Cells of one account's plots", group="Limits", owner=True, min=1, max=10_000, step=1,
        help="How many cells the plots of one account may have that have not ended. A plot counts as one job.")
    upload_megabytes: int = setting(
        1024, "Uploads of one account", group="Limits", owner=True, min=1, max=1_000_000, step=1,
        help="How much disk the uploaded pictures of one account may take, in megabytes.")
    session_days: int = setting(
        30, "Days until signing in again", group="Limits", owner=True, min=1, max=30, step=1,
        help="How long somebody who signs in stays signed in at most.")

    def check_together(self) -> None:
        """What is a choice is one of those there are."""
        for name, parameter in parameters(self).items():
            known = [value for _, value in CHOICES.get(parameter.choices or "", ())]
            if known and getattr(self, name) not in known:
                raise UserError(f"{parameter.label} was {quoted(getattr(self, name))}; it must be one of: {', '.join(known)}.")


def places() -> dict[str, Place]:
    """Where each setting belongs, by name."""
    return {field.name: field.metadata[PLACE_KEY] for field in dataclasses.fields(Settings)}
