"""What is said before the first picture."""

from __future__ import annotations

from typing import Any

from webui.service.checkpoints import BUILTIN, FOLDERS

BUILTIN_TEXT = (
    "The model that comes with the program draws small still lifes: a ball, cube, cylinder, cone, ring or pyramid, in nine "
    "colours, matte, shiny, metal or striped, alone or left of, right of, behind, in front of or on top of another, on a white, "
    "grey, sand, wooden, teal or pink floor. It knows these words and no others."
)
OTHER_TEXT = (
    "Say what should be in it and press Generate, or Ctrl+Enter. It is shown here while it is being drawn, and is kept in the "
    "gallery."
)
EXAMPLES = ("a large blue cube on a sand floor", "a green cone left of an orange cylinder", "a red ball on a wooden table")


def hint(models: list[dict[str, Any]]) -> dict[str, Any]:
    """A title, a text, examples to try, and where other models go; `models` are those of the resolver."""
    builtin = any(each["name"] == BUILTIN and not each["problem"] for each in models)
    where = f"Other Stable Diffusion checkpoints go into models/{FOLDERS[0]}; they are found without a restart."
    return {
        "title": "Your first picture",
        "text": BUILTIN_TEXT if builtin else OTHER_TEXT,
        "examples": EXAMPLES if builtin else (),
        "models": where,
    }
