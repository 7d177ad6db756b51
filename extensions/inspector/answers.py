"""What the extension's addresses answer: records of pictures and jobs, to whom those belong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webui.extension import Answer, Asked, Request, Route, UserError, quoted

from .keys import key_in
from .store import Store

PICTURES = ("noisy", "noise", "clean")
PARTS = "abcd"
MOST_ASKED = 200


def routes_of(store: Store) -> list[Route]:
    """The addresses, and what each answers."""
    return [
        Route(path="record", answer=lambda asked: record(asked, store)),
        Route(path="picture", answer=lambda asked: picture(asked, store)),
        Route(path="maps", answer=lambda asked: maps(asked, store)),
        Route(path="inspected", answer=inspected),
    ]


def record(asked: Asked, store: Store) -> dict[str, Any]:
    """What was taken down of a picture, or of picture `number` of a job: {"passes": …}; null where nothing was, or it is gone."""
    key = key_asked(asked)
    return {"record": None if key is None else store.read(key)}


def picture(asked: Asked, store: Store) -> Answer:
    """A small picture of a step: `kind` is noisy, noise or clean."""
    kind = asked.query.get("kind", "")
    if kind not in PICTURES:
        raise UserError(f"The kind of a step's picture was {quoted(kind)}; there are {', '.join(PICTURES)}.")
    return Answer(content=file_asked(asked, store, f"{kind}.png"), kind="image/png")


def maps(asked: Asked, store: Store) -> Answer:
    """The heat maps of a step, a byte a cell, word after word: of the prompt's part number `part`."""
    part = whole(asked.query, "part", most=len(PARTS) - 1)
    return Answer(content=file_asked(asked, store, f"{PARTS[part]}.maps"))


def inspected(asked: Asked) -> dict[str, Any]:
    """Which of one's `pictures` (ids with commas between them) were made with inspection."""
    ids = asked.query.get("pictures", "").split(",")[:MOST_ASKED]
    found = {each: asked.picture(each) for each in ids if each}
    return {"pictures": [each for each, request in found.items() if request is not None and key_in(request)]}


def key_asked(asked: Asked) -> str | None:
    """The key of the record of whoever's picture or job it is; `UserError` where they have none of that name."""
    if "job" in asked.query:
        request = asked.job(asked.query["job"])
        if request is None:
            raise UserError(f"There is no job {quoted(asked.query['job'])} of yours.")
        number = whole(asked.query, "number", most=request["count"] - 1)
        return key_in(Request.from_dict(request).picture(number).to_dict())
    request = asked.picture(asked.query.get("picture", ""))
    if request is None:
        raise UserError(f"There is no picture {quoted(asked.query.get('picture', ''))} of yours.")
    return key_in(request)


def file_asked(asked: Asked, store: Store, what: str) -> bytes:
    """A file of a pass and step; `UserError` where there is none."""
    key, which, step = key_asked(asked), whole(asked.query, "pass"), whole(asked.query, "step")
    found = None if key is None else store.file(key, f"{which}-{step}-{what}")
    if found is None:
        raise UserError("Nothing was kept of this step, or the record is gone; inspect the picture again.")
    return found


def whole(query: Mapping[str, str], name: str, most: int = 99_999) -> int:
    """A number of a query, 0 where it says none; `UserError` where it is none."""
    text = query.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and int(text) <= most):
        raise UserError(f"{name} was {quoted(text)}; it must be a whole number from 0 to {most}.")
    return int(text)
