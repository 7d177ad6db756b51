"""What is done now and then without anybody asking: new files are taken in, and what is old or nobody's is removed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from webui.errors import StorageError
from webui.service.intake import Intake
from webui.service.studio import Studio

LOGGER = logging.getLogger(__name__)
DAY = 86400.0


class Upkeep:
    """Looks after a studio's pictures. For one thread at a time."""

    def __init__(self, studio: Studio, clock: Callable[[], float] = time.time) -> None:
        self._studio = studio
        self._clock = clock
        self._intake = Intake(studio.database, studio.pictures)
        self._swept = 0.0

    def once(self) -> None:
        """Do what is to be done now."""
        self._intake.look()
        if self._clock() >= self._swept + DAY:
            self._studio.inputs.sweep()
            self._swept = self._clock()
        for user in self._studio.users.all():
            days = self._studio.preferences.settings(user).trash_days
            if days:
                try:
                    self._studio.pictures.empty_trash(user.id, self._clock() - days * DAY)
                except StorageError as error:
                    LOGGER.warning("The trash of %s stays as it is: %s", user.name, error)
