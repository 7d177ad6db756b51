"""Answers to what is not let through: a status and a sentence, as a page's text or as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.formparsers import MultiPartException
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Scope

from webui.api.headers import wants_page


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why something is not let through."""

    status: int
    sentence: str
    headers: dict[str, str] = field(default_factory=dict)
    elsewhere: str = ""  # where a person is sent instead

    def response(self, scope: Scope) -> Response:
        """The answer."""
        if scope["method"] in ("GET", "HEAD") and wants_page(scope):
            if self.elsewhere:
                return RedirectResponse(self.elsewhere, 303)
            return PlainTextResponse(f"{self.sentence}\n", self.status, self.headers)
        return JSONResponse({"error": self.sentence}, self.status, self.headers)


class Refused(MultiPartException):
    """Raised where a refusal comes up; of this kind so that whoever reads a form removes its temporary files."""

    def __init__(self, status: int, sentence: str, **more: Any) -> None:
        super().__init__(sentence)
        self.refusal = Refusal(status=status, sentence=sentence, **more)
