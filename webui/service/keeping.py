"""Keeping finished pictures: first the file, then its row and the event that tells of it, in one transaction.

What is about to be written is noted before, so that a file whose row was lost with the process is found again at the next start.
What a picture was made to, such as a depth map, is kept among the inputs of its user, so that it can be given again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from webui.engine.events import Picture
from webui.errors import StorageError, UserError
from webui.request import Request
from webui.service.database import Database
from webui.service.extensions import Extensions
from webui.service.filenames import Facts, name_of
from webui.service.gallery import Form, loses, part_of, save
from webui.service.inputs import Inputs
from webui.service.jobs import Change, Job, Jobs
from webui.service.picture_texts import seed_said, source_text, text_of, with_pixels
from webui.service.pictures import Pictures
from webui.settings import Settings
from webui.tasks import MAP

LOGGER = logging.getLogger(__name__)
COMPRESSION = 3  # zlib's level for maps, which are smooth


@dataclass(kw_only=True, eq=False)
class Keeper:
    """Saves pictures into `pictures.outputs`, and writes their rows; maps go into `inputs`.

    `settings` tells a user's by their number; `extensions` gives those that are loaded.
    """

    database: Database
    jobs: Jobs
    pictures: Pictures
    inputs: Inputs
    settings: Callable[[int], Settings] = lambda _: Settings()
    extensions: Callable[[], Extensions] = Extensions
    clock: Callable[[], float] = time.time

    def keep(self, job: Job, place: int, event: Picture) -> None:
        """Save picture number `place` of a job and tell of it; `StorageError` says what is where if that fails."""
        if job.kind == MAP:
            self._keep_map(job, place, event)
            return
        extensions = self.extensions()
        maps, trouble = self._maps(job, event)
        source = self._source(event.request)
        text = text_of(
            event.request, batched=event.batched, interrupted=event.interrupted, computed=event.computed, maps=maps,
            source=source, environment=event.environment, extensions=extensions,
        )  # fmt: skip
        seed = seed_said(event.request, text)
        form = self._form(job, place, event, seed)
        text = with_pixels(text, event.pixels) if loses(form) else text
        height, width = event.pixels.shape[:2]
        rows: dict[Path, dict[str, Any]] = {}

        def foretell(path: Path, size: int) -> None:
            rows[path] = self.pictures.row_values(
                user=job.user, job=job.id, place=place, path=path, size=size, width=width, height=height, request=event.request,
                parameters=text, interrupted=event.interrupted, maps=maps,
            )  # fmt: skip
            self._note(path, rows[path])

        saved = save(self.pictures.outputs, event.pixels, seed, text, foretell=foretell, form=form)
        try:
            with self.jobs.change() as change:
                change.connection.executemany("DELETE FROM saving WHERE path = ?", [(str(path),) for path in rows])
                self._tell(change, job, rows[saved.path])
                for sentence in (saved.notice, saved.remark, trouble):
                    if sentence:
                        change.event(job, "notice", sentence=sentence)
        except StorageError as error:
            raise StorageError(f"The picture is in {saved.path}, but the gallery could not be told: {error}") from error
        for name in event.request.extensions:
            extensions.picture_saved(name, event.request, saved.path, text)

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

    def _keep_map(self, job: Job, place: int, event: Picture) -> None:
        """Keep the map that is all a job makes: no picture of the gallery, but one that can be given."""
        values = event.maps["depth"]
        digest = self.inputs.keep_made(job.user, encoded_map(values))
        height, width = values.shape
        with self.jobs.change() as change:
            present = self.jobs.get(job.id)
            if present is not None and present.open:
                change.event(job, MAP, picture=place, digest=digest, width=width, height=height)

    def _form(self, job: Job, place: int, event: Picture, seed: int) -> Form:
        """What the picture is kept as: as its user has set it."""
        settings = self.settings(job.user)
        row = self.database.one("SELECT name FROM users WHERE id = ?", (job.user,))
        name = name_of(settings.filename_pattern, Facts(
            picture=event.request, job=Request.from_dict(job.request), place=place, seed=seed, pixels=event.pixels,
            now=self.clock(), begun=job.created, user=row["name"] if row else "",
        ))  # fmt: skip
        return Form(format=settings.save_format, quality=settings.save_quality, name=name)

    def _maps(self, job: Job, event: Picture) -> tuple[dict[str, str], str]:
        """The digests of a picture's maps, which are kept; a sentence where they cannot be: the picture is worth more."""
        try:
            return {name: self.inputs.keep_made(job.user, encoded_map(values)) for name, values in event.maps.items()}, ""
        except StorageError as error:
            return {}, f"The depth map could not be kept: {error}"

    def _source(self, request: Request) -> str:
        """The text of the picture that is made larger, which goes on with it."""
        if request.task != "extras":
            return ""
        try:
            return source_text(self.inputs.read(request.inputs["picture"]))
        except (UserError, StorageError):  # gone meanwhile; the picture is there all the same
            return ""

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
        maps = json.loads(row.get("maps", "{}"))
        more = {"maps": maps} if maps else {}
        change.event(job, "picture", picture=row["place"], id=name, **size, seed=row["seed"], interrupted=interrupted, **more)
        if present.attempts > 1:  # it does get on, so it is not what ended the program
            change.set(job, attempts=1)


def digest_of(content: bytes) -> str:
    """The SHA-256 by which a file is known."""
    return hashlib.sha256(content).hexdigest()


def encoded_map(values: NDArray[np.uint16]) -> bytes:
    """A greyscale PNG of 16 bits of uint16 [H, W]."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=COMPRESSION)
    return buffer.getvalue()
