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
TASKS = {
    "img2img": (
        "A picture from a picture",
        "Choose, drop or paste a picture, say what it should become, and press Generate. Denoising strength says how much of it "
        "is made anew: at 0 it comes back unchanged, at 1 nothing of it is left.",
    ),
    "inpaint": (
        "A part made anew",
        "Choose a picture, paint over what should change, say what should be there, and press Generate. Everything that is not "
        "painted over stays exactly as it is.",
    ),
    "depth": (
        "The same space, another picture",
        "Choose a picture, or bring a depth map: what is near and what is far is taken over, and everything else comes from the "
        "prompt.",
    ),
    "extras": ("Larger", "Choose one or several pictures, say how many times as large they should be, and press Enlarge."),
}
"""What the tabs say that start from a picture, while they have made none."""


def hint(models: list[dict[str, Any]]) -> dict[str, Any]:
    """A title, a text, examples to try, and where other models go; `models` are the resolver's. "tasks" are other tabs'."""
    builtin = any(each["name"] == BUILTIN and not each["problem"] for each in models)
    where = f"Other Stable Diffusion checkpoints go into models/{FOLDERS[0]}; they are found without a restart."
    return {
        "title": "Your first picture",
        "text": BUILTIN_TEXT if builtin else OTHER_TEXT,
        "examples": EXAMPLES if builtin else (),
        "models": where,
        "tasks": {task: {"title": title, "text": text} for task, (title, text) in TASKS.items()},
    }
