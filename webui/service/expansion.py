"""What extensions make of a prompt, such as words drawn from lists: once, when its job is submitted, for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from webui.errors import UserError
from webui.extension import PromptContext
from webui.params import LONGEST_PROMPT
from webui.request import Request
from webui.service.extensions import Extensions

MOST_CHARACTERS = 500_000  # of the texts of all pictures of a job, for each of its prompts: they are kept with the job


def expanded(request: Request, extensions: Extensions, folders: Sequence[Path]) -> Request:
    """The request with a text of its own for each picture, and what the person wrote; as it was where that is all the same.

    `UserError` where a text, or all of them together, would become too long.
    """
    if request.hires:
        roles = {"prompts": "prompt", "negatives": "negative"}
        own = {name: list(_texts(request, request.hires[role], role, extensions, folders)) for name, role in roles.items()}
        request = replace(request, hires={**request.hires, **{name: texts for name, texts in own.items() if texts}})
    prompts = _texts(request, request.prompt, "prompt", extensions, folders)
    negatives = _texts(request, request.negative, "negative", extensions, folders)
    if prompts:
        request = replace(request, prompts=prompts, template=request.prompt)
    return replace(request, negatives=negatives, negative_template=request.negative) if negatives else request


def _texts(
    request: Request, text: str, role: str, extensions: Extensions, folders: Sequence[Path]
) -> tuple[str, ...]:
    """What a text means for each picture, () where it means itself for all of them."""
    if not text:
        return ()
    found: list[str] = []
    size = 0
    for index in range(request.count):
        picture = request.picture(index)
        seed = picture.seed if picture.variation_seed is None else picture.variation_seed  # what is not the same for all
        context = PromptContext(seed=seed, index=index, role=role, folders=tuple(folders))
        found.append(extensions.transform_prompt(text, context))
        if "\0" in found[-1]:
            raise UserError(f"The {role} got a NUL character from an extension, which no text can have.")
        if len(found[-1]) > LONGEST_PROMPT:
            raise UserError(
                f"The {role} became {len(found[-1]):,} characters long when its words were drawn; it must be at most "
                f"{LONGEST_PROMPT:,}. Use shorter lists, or fewer of them."
            )
        size += len(found[-1]) if found[-1] != text else 0
        if size > MOST_CHARACTERS:
            raise UserError(
                f"The {role} of all {request.count} pictures became more than {MOST_CHARACTERS:,} characters long when its words "
                "were drawn; make several jobs of it, or the text shorter."
            )
    return () if all(own == text for own in found) else tuple(found)
