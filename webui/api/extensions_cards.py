"""The cards of extensions: what people choose from with the eye, and their previews in small, by ids that name no path."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from webui.api.asking import Who
from webui.errors import NotFound
from webui.extension import Card, Files
from webui.service.extensions import Extensions
from webui.service.thumbnails import Thumbnails

FOLDER = "card previews"  # in the cache folder
MOST_WORDS = 40  # of one card
LONGEST = 300  # characters of a word, or a line of facts
FOR_EVER = "private, max-age=31536000, immutable"


class CardRoutes:
    """What `/x/cards` answers. A preview is a picture made small anew, never the file itself."""

    def __init__(self, now: Callable[[], Extensions], files: Callable[[], Files], cache: Path) -> None:
        self._now = now
        self._files = files
        self._thumbnails = Thumbnails(cache / FOLDER)
        self._previews: Mapping[str, Path] = {}  # those of the cards that were listed last, by what names them
        self._turn = threading.Lock()

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/x/cards", self.list, methods=["GET"])
        router.add_api_route("/x/cards/{id}/preview", self.preview, methods=["GET"])
        return router

    def list(self, user: Who, kind: str = "") -> JSONResponse:
        """The cards there are now, by kind and title, those that cannot be used last."""
        del user
        found = self._now().cards(self._files())
        previews: dict[str, Path] = {}
        cards = []
        for owner, card in found:
            if kind in ("", card.kind):
                seen = _stamp(card.preview) if card.preview else ""
                if seen:
                    previews[seen] = Path(card.preview)
                cards.append(described(owner, card, f"/x/cards/{seen}/preview" if seen else ""))
        with self._turn:
            self._previews = {**self._previews, **previews} if kind else previews
        cards.sort(key=lambda card: (bool(card["problem"]), card["kind"], (card["title"] or card["name"]).casefold()))
        return JSONResponse({"cards": cards})

    def preview(self, id: str, user: Who) -> Response:  # noqa: A002
        """A card's preview as WebP."""
        del user
        path = self._previews.get(id)
        small = self._thumbnails.of(id, path) if path is not None else None
        if small is None:
            raise NotFound("There is no such preview.")
        return Response(small, media_type="image/webp", headers={"Cache-Control": FOR_EVER})


def described(owner: str, card: Card, preview: str) -> dict[str, Any]:
    """A card as JSON; every text is a text and no longer than can be shown."""
    return {
        "id": hashlib.sha256(f"{owner}\0{card.kind}\0{card.name}\0{card.insert}".encode()).hexdigest()[:24], "extension": owner,
        "kind": str(card.kind)[:LONGEST], "name": str(card.name)[:LONGEST], "insert": str(card.insert),
        "title": str(card.title)[:LONGEST], "words": [str(word)[:LONGEST] for word in list(card.words)[:MOST_WORDS]],
        "base": str(card.base)[:LONGEST], "facts": {str(label): str(value)[:LONGEST] for label, value in card.facts.items()},
        "problem": str(card.problem), "negative": bool(card.negative), "preview": preview,
    }  # fmt: skip


def _stamp(path: str) -> str:
    """What names a preview as its file is now; "" where there is none."""
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):
        return ""
    return hashlib.sha256(f"{path}\0{stat.st_mtime_ns}\0{stat.st_size}".encode()).hexdigest()[:32]
