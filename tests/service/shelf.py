"""A database with people and pictures, for tests of everything that is about pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from webui import infotext
from webui.request import Request, parameters_of
from webui.service import gallery
from webui.service.database import Database
from webui.service.pictures import Pictures
from webui.service.users import User

OWNER = User(id=1, name="owner", owner=True)
ANNA = User(id=2, name="Anna", owner=False)
BOB = User(id=3, name="Bob", owner=False)


class Clock:
    """A time that passes when told."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass(kw_only=True)
class Shelf:
    """The database, the pictures, and how to make some."""

    root: Path
    database: Database
    pictures: Pictures
    clock: Clock

    def add(
        self, user: User, prompt: str = "a ball", *, seed: int = 7, job: str | None = None, place: int = 0, side: int = 8
    ) -> str:
        """A picture with its file and row; returns its id."""
        wanted = request(prompt, seed, side)
        text = infotext.write(parameters_of(wanted))
        saved = gallery.save(self.pictures.outputs, pixels(side, seed), seed, text)
        return self.note(user, wanted, text, saved.path, job=job, place=place)

    def note(self, user: User, wanted: Request, text: str, path: Path, *, job: str | None = None, place: int = 0) -> str:
        """A picture's row; returns its id."""
        row = self.pictures.row_values(
            user=user.id, job=job, place=place, path=path, size=path.stat().st_size, width=wanted.width, height=wanted.height,
            request=wanted, parameters=text,
        )  # fmt: skip
        with self.database.write() as connection:
            return self.pictures.insert(connection, row)

    def job(self, user: User, name: str) -> str:
        """A job's row."""
        with self.database.write() as connection:
            connection.execute(
                "INSERT INTO jobs (id, user, kind, request, state, place, pictures, created) "
                "VALUES (?, ?, 'txt2img', '{}', 'done', 1, 1, 0)", (name, user.id),
            )  # fmt: skip
        return name

    def ids(self, user: User, text: str = "", **more: object) -> list[str]:
        """What a search finds."""
        return [picture.id for picture in self.pictures.search(user, text, **more)]  # type: ignore[arg-type]


def shelf(root: Path) -> Shelf:
    """An empty one, with an owner, Anna and Bob."""
    database = Database(root / "data" / "webui.sqlite3")
    clock = Clock()
    with database.write() as connection:
        for user in (ANNA, BOB):
            connection.execute("INSERT INTO users (id, name, created) VALUES (?, ?, 0)", (user.id, user.name))
    pictures = Pictures(database, root / "outputs", clock, thumbnails=root / "cache" / "thumbnails")
    return Shelf(root=root, database=database, pictures=pictures, clock=clock)


def request(prompt: str, seed: int = 7, side: int = 8) -> Request:
    """What a picture was made of."""
    return Request(
        model="builtin", prompt=prompt, negative="blurry", steps=20, sampler="Euler", schedule="Karras", scale=4.0, seed=seed,
        width=max(side, 64), height=max(side, 64),
    )  # fmt: skip


def pixels(side: int, seed: int) -> np.ndarray:
    """uint8 [side, side, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
