"""Which extensions take part in a job, and with what: found out once, when it is submitted, and kept in its request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from webui.errors import UserError
from webui.extension.kinds import Submission
from webui.params import Params
from webui.pipeline.extended import Files
from webui.pipeline.grammar import Tag, parse
from webui.request import Request
from webui.service.composed import defaults_of, own_values
from webui.service.extensions import Extensions

MOST_TAGS, MOST_OF_ALL = 100, 500  # of extensions: different ones in one prompt, and in all prompts of a job
Noted = dict[str, dict[str, Any]]


def with_extensions(request: Request, params: Params, extensions: Extensions, files: Files) -> Request:
    """The request with all that extensions take part in it with; as it was where none does.

    `extensions` of a request: `values` by field of those whose parameters are not at their defaults, and what was `noted` by
    those whose tags stand in a prompt (under "tags", by the tag's text) and by those that look at every job. `UserError` where a
    value, a tag or a file it names means nothing, and where two extensions that exclude each other would both take part.
    """
    values = own_values(params, extensions, request.task)
    prompts, negatives = texts_of(request, "prompt"), texts_of(request, "negative")

    def submission(name: str) -> Submission:
        return Submission(
            request=request, values=values.get(name) or defaults_of(extensions, request.task, name), prompts=prompts,
            negatives=negatives, files=files, home=extensions.homes[name],
        )  # fmt: skip

    noted: Noted = {name: {} for name in values}
    for text, tag in known_tags(prompts, extensions).items():
        owner, kind = extensions.tags[tag.name]
        plain = kind.resolve(tuple(tag.args.split(":")), submission(owner))
        noted.setdefault(owner, {}).setdefault("tags", {})[text] = dict(plain)
    for name in extensions.with_hook("resolve"):
        found = extensions.resolve(name, submission(name))
        if found is not None:
            noted[name] = {**found, **noted.get(name, {})}
    check_excludes(noted, extensions)
    if not noted:
        return request
    plain = {name: {"values": values.get(name, {}), "noted": noted[name]} for name in sorted(noted)}
    return replace(request, extensions=plain)


def texts_of(request: Request, role: str) -> tuple[str, ...]:
    """All texts of a request's pictures, each once: "prompt" or "negative" is the role."""
    own: tuple[str, ...] = tuple(getattr(request, f"{role}s")) or (getattr(request, role),)
    found = [*own, *request.hires.get(f"{role}s", ()), request.hires.get(role, "")]
    return tuple(dict.fromkeys(text for text in found if text))


def known_tags(prompts: tuple[str, ...], extensions: Extensions) -> dict[str, Tag]:
    """The tags that extensions read; `UserError` where there are so many that others would have to wait for their files."""
    found: dict[str, Tag] = {}
    for prompt in prompts:
        own = {text: tag for text, tag in _tags(prompt) if tag.name in extensions.tags}
        found |= own
        for tags, most, where in ((own, MOST_TAGS, "a prompt"), (found, MOST_OF_ALL, "all prompts of a job together")):
            if len(tags) > most:
                shown = f"<{next(iter(tags))[:40]}>"
                raise UserError(f"There are more than {most} different tags such as {shown} in {where}; use fewer.")
    return found


def _tags(prompt: str) -> Iterator[tuple[str, Tag]]:
    for tag in parse(prompt).tags:
        yield f"{tag.name}:{tag.args}", tag


def check_excludes(taking_part: Mapping[str, Any], extensions: Extensions) -> None:
    """Raise `UserError` where two extensions take part of which one excludes the other."""
    for name in taking_part:
        for other in sorted(extensions.excludes.get(name, ())):
            if other in taking_part:
                raise UserError(f"The extensions {name} and {other} cannot take part in the same picture; leave one of them out.")
