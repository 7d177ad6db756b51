"""Keeping finished pictures: first the file, then its row and the event that tells of it, in one transaction.

What is about to be written is noted before, so that a file whose row was lost with the process is found again at the next start.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.engine.events import Picture
from webui.errors import StorageError
from webui.service.database import Database
from webui.service.gallery import part_of, save, text_of
from webui.service.jobs import Change, Job, Jobs
from webui.service.pictures import Pictures

LOGGER = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Keeper:
    """Saves pictures into `pictures.outputs`, and writes their rows."""

    database: Database
    jobs: Jobs
    pictures: Pictures

    def keep(self, job: Job, place: int, event: Picture) -> None:
        """Save picture number `place` of a job and tell of it; `StorageError` says what is where if that fails."""
        text = text_of(event.request, batched=event.batched, interrupted=event.interrupted, computed=event.computed)
        height, width = event.pixels.shape[:2]
        rows: dict[Path, dict[str, Any]] = {}

        def foretell(path: Path, size: int) -> None:
            rows[path] = self.pictures.row_values(
                user=job.user, job=job.id, place=place, path=path, size=size, width=width, height=height, request=event.request,
                parameters=text, interrupted=event.interrupted,
            )  # fmt: skip
            self._note(path, rows[path])

        saved = save(self.pictures.outputs, event.pixels, event.request.seed, text, foretell=foretell)
        try:
            with self.jobs.change() as change:
                change.connection.executemany("DELETE FROM saving WHERE path = ?", [(str(path),) for path in rows])
                self._tell(change, job, rows[saved.path])
                if saved.notice:
                    change.event(job, "notice", sentence=saved.notice)
        except StorageError as error:
            raise StorageError(f"The picture is in {saved.path}, but the gallery could not be told: {error}") from error

    def recover(self) -> None:
        """Tell of the pictures whose files were finished just before the program was killed; remove what was not finished."""
        for found in self.database.all("SELECT path, row FROM saving"):
            path, row = Path(found["path"]), json.loads(found["row"])
            job = self.jobs.get(row["job"])
            with self.jobs.change() as change:
                change.connection.execute("DELETE FROM saving WHERE path = ?", (found["path"],))
                if path.is_file():
                    if job is not None and row["place"] not in self.jobs.settled(job.id):
                        self._tell(change, job, row)
                else:
                    with contextlib.suppress(OSError):
                        part_of(path).unlink(missing_ok=True)

    def _note(self, path: Path, row: Mapping[str, Any]) -> None:
        try:
            with self.database.write() as connection:
                values = (str(path), json.dumps(row, ensure_ascii=False))
                connection.execute("INSERT OR REPLACE INTO saving (path, row) VALUES (?, ?)", values)
        except StorageError:  # the picture is worth more than the note
            LOGGER.warning("The picture %s could not be noted before it was written.", path, exc_info=True)

    def _tell(self, change: Change, job: Job, row: Mapping[str, Any]) -> None:
        name = self.pictures.insert(change.connection, row)
        present = self.jobs.get(job.id)
        if present is None or not present.open:  # cancelled meanwhile
            return
        size = {"width": row["width"], "height": row["height"]}
        interrupted = bool(row["interrupted"])
        change.event(job, "picture", picture=row["place"], id=name, **size, seed=row["seed"], interrupted=interrupted)
        if present.attempts > 1:  # it does get on, so it is not what ended the program
            change.set(job, attempts=1)
