"""Regional prompts: each part of the picture follows its own text, in one pass, for hardly more work.

Regions are columns and rows, `1,2` for two columns of which the second is twice as wide, `1,1;1` for two columns above and one
below, `2:1,1;1:1` the same with the upper row twice as high; or else masks, which are bright where their text counts. The prompt
has a text for each, parted by BREAK, in the order in which people read; one more in front is for the whole picture.

    a wooden table BREAK a red ball BREAK a blue cube
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webui.extension import ChangeRow, Job, Params, Section, Submission, UserError, hook, param

from .layout import count_of, cut_of, parts_of

MASKS = ("mask_1", "mask_2", "mask_3")


@dataclass(frozen=True, kw_only=True)
class Regional(Params):
    """Which regions there are, and how much the text in front counts in them."""

    regions: str = param(
        "", "Regions", infotext="Regions", longest=200,
        help="Columns as their widths, 1,1 or 1,2,1; rows parted by semicolons, 1,1;1, each perhaps with its height, 2:1,1;1:1. "
        "The prompt has a text for each, parted by BREAK, and perhaps one more in front for the whole picture. Empty: none.",
    )
    whole: float = param(
        0.2, "Whole picture", min=0, max=1, step=0.05, infotext="Regions whole",
        help="How much the text in front counts in every region, beside the region's own.",
    )
    mask_1: str = param("", "Mask 1", picture=True, help="In place of columns: a picture that is bright where text 1 counts.")
    mask_2: str = param("", "Mask 2", picture=True, help="A picture that is bright where text 2 counts.")
    mask_3: str = param("", "Mask 3", picture=True, help="A picture that is bright where text 3 counts.")

    def check_together(self) -> None:
        """Columns and rows have widths and heights."""
        cut_of(self.regions)


@hook
def params() -> Sequence[Section]:
    """One fold."""
    return [Section(title="Regions", params=Regional)]


@hook
def resolve(submission: Submission) -> Mapping[str, Any] | None:
    """`UserError` where the prompt has not as many texts as there are regions, or one more."""
    count = regions_in(submission.values)
    for text in submission.prompts if count else ():
        for part in parts_of(text):
            if part not in (1, count, count + 1):
                raise UserError(
                    f"There are {count} regions, and the prompt has {part} texts: part it by BREAK into {count} of them, or into "
                    f"{count + 1}, of which the first is for the whole picture."
                )
    return {"regions": count} if count else None


@hook
def rows(job: Job) -> ChangeRow | None:
    """What has each row that follows the prompt look at its texts region by region."""
    count = regions_in(job.values)
    if not count:
        return None
    from .looking import looking, weights_of

    masks = [job.pictures[name] for name in MASKS if job.values[name]]
    return looking(job, count, weights_of(job.values["regions"], masks), job.values["whole"])


def regions_in(values: Mapping[str, Any]) -> int:
    """How many regions there are; those that are written count before masks."""
    return count_of(values["regions"]) or sum(bool(values[name]) for name in MASKS)
