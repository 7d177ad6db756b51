"""How much one person may ask for: checked before a job is queued, with a sentence for each limit."""

from __future__ import annotations

from dataclasses import dataclass

from webui import params
from webui.errors import TooMany, UserError
from webui.request import Request
from webui.service.sizes import Size, worked_at


@dataclass(frozen=True, kw_only=True)
class UserLimits:
    """The most of each thing: `queue` jobs that have not ended, `pixels` and `steps` of a picture, `count` pictures of a job.

    `cells` are those of a person's groups that have not ended.
    """

    queue: int = 50
    pixels: int = params.MOST_PIXELS
    steps: int = 150
    count: int = 100
    cells: int = 1000

    def check(self, request: Request, waiting: int, shape: Size | None = None) -> None:
        """Raise `UserError` where a request is too large, `TooMany` where its user has `waiting` jobs and may have no more.

        `shape` is that of the picture it begins with. What counts is the size that is worked at.
        """
        pixels = worked_at(request, shape)
        if pixels > self.pixels:
            plain = pixels == request.width * request.height
            said = f"{request.width}x{request.height}, {pixels:,} pixels"
            size = said if plain else f"such that {pixels:,} pixels are worked at"
            raise UserError(f"The size was {size}; here a picture has at most {self.pixels:,}: make it smaller.")
        if request.steps > self.steps:
            raise UserError(f"Steps was {request.steps}; here it is at most {self.steps}.")
        if request.hires and request.hires["steps"] > self.steps:
            raise UserError(f"Hires steps was {request.hires['steps']}; here it is at most {self.steps}.")
        if request.count > self.count:
            raise UserError(f"Count was {request.count}; here a job has at most {self.count} pictures: make several jobs of it.")
        if waiting >= self.queue:
            raise TooMany(
                f"You have {waiting} jobs that have not ended, and may have {self.queue}; wait for one, or cancel some."
            )
