"""Whether a task has the pictures it needs, and the model suits it: a sentence for each thing that is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from webui.errors import UserError
from webui.params import Params
from webui.request import InputFacts, ModelFacts
from webui.tasks import MAP, MASKED, TAKES, Inpaint

MOST_NAMED = 5  # models in a sentence
Inputs = Mapping[str, InputFacts]
WORDS = {"picture": "a picture", "sketch": "a sketch", "mask": "a mask", "depth": "a depth map"}


def check_inputs(task: str, params: Params, inputs: Inputs) -> None:
    """Raise `UserError` where a task is given too little or too much."""
    for name in inputs:
        if name not in TAKES[task]:
            takes = " and ".join(WORDS[each] for each in TAKES[task]) or "no pictures"
            raise UserError(f"{task} was given {WORDS.get(name, repr(name))}; it takes {takes}: leave the other out.")
    if task in ("img2img", "inpaint", "extras") and "picture" not in inputs:
        raise UserError(f"{task} needs a picture: choose one, drop it there, or paste it.")
    if "sketch" in inputs and "picture" not in inputs:
        raise UserError(f"{task} was given a sketch without a picture to draw it on: choose a picture too.")
    if task == MAP and not inputs:
        raise UserError("A depth map needs a picture to be made of: choose one.")
    if isinstance(params, Inpaint) and not _has_mask(params, inputs):
        raise UserError(
            "inpaint needs a mask: paint over what is to be made anew, choose a mask's file or a picture that is transparent "
            "there, or set pixels to add at a side."
        )


def check_model(task: str, facts: ModelFacts, with_depth: Iterable[str]) -> None:
    """Raise `UserError` where a model cannot do what a task wants; `with_depth` names those that take depth maps."""
    if facts.beside in ("edit", "unknown"):
        needs = "a picture to be edited by an instruction" if facts.beside == "edit" else "something unknown here"
        raise UserError(f"The model {facts.name} takes {needs} beside the noise, which cannot be given yet; choose another one.")
    if task == "depth" and facts.beside != "depth":
        names = list(with_depth)
        listed = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
        none = "none of those here does; put one, such as Stable Diffusion 2 depth, into models/checkpoints"
        others = f"these do: {listed}" if names else none
        raise UserError(f"The model {facts.name} takes no depth map; {others}.")


def shape_of(inputs: Inputs) -> tuple[int, int] | None:
    """Width and height of the picture a task begins with, or else of its map; None where it begins with neither."""
    first = inputs.get("picture") or inputs.get("depth")
    return None if first is None else (first.width, first.height)


def _has_mask(params: Inpaint, inputs: Inputs) -> bool:
    grown = params.outpaint_left + params.outpaint_right + params.outpaint_top + params.outpaint_bottom
    given = "mask" in inputs or "sketch" in inputs or inputs["picture"].transparent
    return given or grown > 0 or params.mask_mode != MASKED
