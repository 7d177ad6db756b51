"""The routes that help while a prompt is written: what it comes to, and what could come next."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from webui.api.asking import Told, Who, shown, text
from webui.drawing import ORIGINAL_EMPHASIS
from webui.errors import UserError
from webui.service.prompts import Prompts

LONGEST_START = 200  # characters
ROLES = ("prompt", "negative")


class PromptRoutes:
    """What `/x/prompt` and `/x/words` answer."""

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/x/prompt", self.look, methods=["POST"])
        router.add_api_route("/x/words", self.words, methods=["GET"])
        return router

    def look(self, given: Told, user: Who) -> JSONResponse:
        """Tokens, chunks and problems of {"text", "model", "emphasis", "role"}; all but the text may be left out."""
        del user
        model = given.get("model")
        if model is not None and not isinstance(model, str):
            raise UserError(f"model was {shown(model)}; it must be a name, or null.")
        role = text(given, "role", ROLES[0])
        if role not in ROLES:
            raise UserError(f"role was {shown(role)}; it must be one of: {', '.join(ROLES)}.")
        emphasis = text(given, "emphasis", ORIGINAL_EMPHASIS)
        return JSONResponse(self._prompts.look(text(given, "text"), model, emphasis, negative=role == ROLES[1]))

    def words(self, user: Who, kind: str = "", start: str = "") -> JSONResponse:
        """What completes `start`: {"words": [{"name", "kind"}]}."""
        return JSONResponse({"words": self._prompts.words(user, kind, start[:LONGEST_START])})
