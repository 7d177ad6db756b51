"""Keeping grids: drawn of a group's pictures, written as a picture of the gallery with what it is a grid of, exactly once.

The file is noted before it is written, and its row and the group's end are one transaction: a killed program draws it anew, or
finds that it was finished.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import numpy as np
from PIL import Image

from webui.errors import UserError
from webui.infotext import compose, parse
from webui.service.database import Database
from webui.service.gallery import Form, part_of, save
from webui.service.grids import Layout, Size, draw
from webui.service.groups_kept import CellRow, Group, GroupRows
from webui.service.picture_texts import PIXELS_KEY
from webui.service.pictures import Pictures
from webui.settings import Settings

LOGGER = logging.getLogger(__name__)
GONE = "The file of its picture is gone."
NO_PICTURE = "There is no picture."
NONE_LEFT = "All of its pictures were deleted before they were drawn into one; resume it to make them again."
LAST = ("Version",)
MARK = "group"  # among the values of a note in the table `saving`: it is of a grid, and of which group
Clock = Callable[[], float]


class Closing(Exception):
    """The program ends before a grid is finished."""


class GridKeeper:
    """Draws grids, and keeps them in `pictures.outputs`; `settings` tells a user's by their number. For one thread at a time."""

    def __init__(
        self, database: Database, rows: GroupRows, pictures: Pictures, clock: Clock, settings: Callable[[int], Settings]
    ) -> None:
        self._database = database
        self._rows = rows
        self._pictures = pictures
        self._clock = clock
        self._settings = settings

    def keep(self, group: Group, cells: Sequence[CellRow], *, stop: Callable[[], bool] = lambda: False) -> None:
        """Draw a group's grid and end the group; nothing happens where the program ends meanwhile (`stop`)."""
        files = self._files(group.id)
        first = next((cell for cell in cells if cell.place in files), None)
        if first is None:
            raise UserError(NONE_LEFT)
        try:
            grid = draw(
                group.layout, [_size(files.get(cell.place)) for cell in cells], [", ".join(cell.labels) for cell in cells],
                lambda place: _opened(files.get(place), cells[place], stop),
            )  # fmt: skip
        except Closing:
            return
        self._save(group, first, grid, text_of(str(files[first.place]["parameters"]), group.layout))

    def recover(self) -> None:
        """Take in the grids whose files were finished when the program was killed; remove what was not finished."""
        query = f"SELECT path, row FROM saving WHERE json_extract(row, '$.{MARK}') IS NOT NULL"
        for found in self._database.all(query):
            path, row = Path(found["path"]), json.loads(found["row"])
            if not path.is_file():
                with contextlib.suppress(OSError):
                    part_of(path).unlink(missing_ok=True)
            with self._database.write() as connection:
                connection.execute("DELETE FROM saving WHERE path = ?", (found["path"],))
                if path.is_file():
                    self._end(connection, row)

    def _files(self, group: str) -> dict[int, Mapping[str, Any]]:
        """The paths, sizes and texts of the pictures of a group's cells, by place; those in the trash too."""
        query = (
            "SELECT cells.place, path, width, height, parameters FROM cells JOIN pictures ON pictures.id = cells.picture "
            "WHERE cells.grouped = ?"
        )
        rows = self._database.all(query, (group,))
        return {
            row["place"]: {**{name: row[name] for name in ("width", "height", "parameters")},
                           "path": self._pictures.whole(row["path"])} for row in rows
        }  # fmt: skip

    def _save(self, group: Group, first: CellRow, grid: Image.Image, text: str) -> None:
        request = self._rows.request(group.id, first.place)
        if request is None:  # the group was deleted meanwhile, with its user
            return
        rows: dict[Path, dict[str, Any]] = {}

        def foretell(path: Path, size: int) -> None:
            rows[path] = self._pictures.row_values(
                user=group.user, job=None, place=0, path=path, size=size, width=grid.width, height=grid.height, request=request,
                parameters=text,
            ) | {MARK: group.id}  # fmt: skip
            with self._database.write() as connection:
                values = (str(path), json.dumps(rows[path], ensure_ascii=False))
                connection.execute("INSERT OR REPLACE INTO saving (path, row) VALUES (?, ?)", values)

        form = form_of(self._settings(group.user), request.seed)
        saved = save(self._pictures.outputs, np.asarray(grid), request.seed, text, foretell=foretell, form=form)
        if saved.notice or saved.remark:
            LOGGER.warning("%s", saved.notice or saved.remark)
        with self._database.write() as connection:
            connection.executemany("DELETE FROM saving WHERE path = ?", [(str(path),) for path in rows])
            self._end(connection, rows[saved.path])

    def _end(self, connection: Connection, row: Mapping[str, Any]) -> None:
        """Write a grid's row, and that its group has ended, in one transaction."""
        group = row[MARK]
        name = self._pictures.insert(connection, {key: value for key, value in row.items() if key != MARK})
        connection.execute("UPDATE groups SET grid = ? WHERE id = ?", (name, group))
        values = (self._clock(), group)
        connection.execute("UPDATE groups SET state = 'done', ended = ? WHERE id = ? AND state = 'drawing'", values)
        kept = connection.execute("SELECT layout FROM groups WHERE id = ?", (group,)).fetchone()
        if kept is not None and not Layout.from_dict(json.loads(kept["layout"])).parts:
            connection.execute(
                "UPDATE pictures SET trashed = COALESCE(trashed, ?) WHERE starred = 0 AND job IN "
                "(SELECT job FROM cells WHERE grouped = ?)", values,
            )  # fmt: skip


def text_of(text: str, layout: Layout) -> str:
    """The text of a grid: that of its first picture, with what the grid is of behind it, as the field has it."""
    info = parse(text)
    own = {key: value for key, value in info.values.items() if key not in (PIXELS_KEY, *LAST)}
    last = {key: value for key, value in info.values.items() if key in LAST}
    return compose(replace(info, values={**own, **layout.said, **last}))


def form_of(settings: Settings, seed: int) -> Form:
    """What a grid is kept as: as whoever it belongs to has set it for pictures, under a name that says what it is."""
    return Form(format=settings.save_format, quality=settings.save_quality, name=f"grid-{seed}")


def _size(file: Mapping[str, Any] | None) -> Size | None:
    return None if file is None else (int(file["width"]), int(file["height"]))


def _opened(file: Mapping[str, Any] | None, cell: CellRow, stop: Callable[[], bool]) -> Image.Image | str:
    """A cell's picture, or why there is none."""
    if stop():
        raise Closing
    if file is None:
        return cell.sentence or NO_PICTURE
    try:
        with Image.open(file["path"]) as picture:
            picture.load()
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        LOGGER.warning("The picture %s cannot be drawn into a grid.", file["path"], exc_info=True)
        return GONE
