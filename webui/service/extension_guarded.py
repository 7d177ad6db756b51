"""What extensions add, guarded: samplers, schedules, tags, networks and the rest as others call them, and hooks in jobs."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from webui.extension import Card, parameters
from webui.pipeline.extended import ChangeRow, Guide, Job, JobHooks
from webui.pipeline.picture import Picture
from webui.pipeline.protocol import Ask, Asking, Denoise, Moment, Row
from webui.service.extension_guard import Guard, copied, guarded_result
from webui.service.extension_loading import Loaded

CALLED_LATER: Mapping[str, type | tuple[type, ...]] = {  # hooks that are called while people work, and what they may return
    "cards": (list, tuple), "prompt_words": Mapping, "prompt_problems": (list, tuple), "read_file": str, "transform_prompt": str,
    "resolve": Mapping, "metadata": Mapping, "picture_saved": object,
}  # fmt: skip
JOB_HOOKS = ("patches", "rows", "guide", "denoiser", "finish")


def added_guarded(loaded: Loaded, guard: Guard) -> dict[str, Any]:
    """What an extension adds, by hook, with every function in it guarded."""
    added = dict(loaded.added)
    ways: dict[str, Callable[[Any], Any]] = {
        "samplers": lambda each: replace(each, function=guard.generating(f"the sampler {each.name}", each.function)),
        "scripts": lambda each: replace(each, plan=guard.page(f"the script {each.name}", each.plan), axes=_axes(guard, each)),
        "tags": lambda each: replace(each, resolve=_noting(guard, f"the tag {each.name}", each.resolve)),
        "routes": lambda each: replace(each, answer=guard.page(f"the address {each.path}", each.answer)),
    }
    for hook, way in ways.items():
        if hook in added:
            added[hook] = tuple(way(each) for each in added[hook])
    named: dict[str, Callable[[str, Any], Any]] = {
        "schedules": lambda name, each: guard.page(f"the schedule {name}", each),
        "networks": lambda name, each: _opener(guard, f"the network {name}", each),
        "detectors": lambda name, each: guard.generating(f"the detector {name}", each),
    }
    for hook, named_way in named.items():
        if hook in added:
            added[hook] = {name: named_way(name, each) for name, each in added[hook].items()}
    return added


@dataclass(frozen=True, kw_only=True, eq=False)
class Ready:
    """An extension that can be taken into a snapshot: what it adds and its hooks, all of them guarded."""

    loaded: Loaded
    added: Mapping[str, Any]
    functions: Mapping[str, Callable[..., Any]]
    job_hooks: JobHooks | None


def ready(loaded: Loaded, guard: Guard) -> Ready:
    """An extension with a guard around everything of it."""
    added, functions = added_guarded(loaded, guard), functions_guarded(loaded, guard)
    return Ready(loaded=loaded, added=added, functions=functions, job_hooks=job_hooks(loaded, guard))


def functions_guarded(loaded: Loaded, guard: Guard) -> dict[str, Callable[..., Any]]:
    """The hooks that are called while people work, each of which returns what it should."""
    own = {hook: kinds for hook, kinds in CALLED_LATER.items() if hook in loaded.hooks}
    return {hook: _checked(guard, hook, guard.page(hook, loaded.hooks[hook]), kinds) for hook, kinds in own.items()}


def job_hooks(loaded: Loaded, guard: Guard) -> JobHooks | None:
    """What an extension does in jobs; None where that is nothing."""
    own = {hook: guard.direct(hook, loaded.hooks[hook]) for hook in JOB_HOOKS if hook in loaded.hooks}
    if not own:
        return None
    defaults = {name: each.default for section in loaded.added.get("params", ())
                for name, each in parameters(section.params).items()}  # fmt: skip
    ways = {"patches": _patches, "rows": _rows, "guide": _guide, "denoiser": _denoiser, "finish": _finish}
    made: dict[str, Any] = {hook: ways[hook](guard, function) for hook, function in own.items()}
    return JobHooks(
        name=loaded.name, version=loaded.manifest.version, defaults=MappingProxyType(defaults), home=loaded.home, **made
    )


def _patches(guard: Guard, hook: Callable[..., Any]) -> Callable[[Job], Any]:
    return lambda job: guard.patches(hook(job=guard.job(job)))


def _rows(guard: Guard, hook: Callable[..., Any]) -> Callable[[Job], ChangeRow | None]:
    def rows(job: Job) -> ChangeRow | None:
        made = _function(guard, "rows", hook(job=guard.job(job)))
        if made is None:
            return None
        begin = guard.generating("rows", made)

        def change(row: Row) -> Generator[Ask, Any, Row]:
            if guard.trusted:
                return guard.row((yield from begin(row)))
            given = replace(row, conditioning=copied(row.conditioning))
            found = guard.row((yield from begin(given)))
            return replace(found, conditioning=row.conditioning) if found.conditioning is given.conditioning else found

        return change

    return rows


def _guide(guard: Guard, hook: Callable[..., Any]) -> Callable[[Job], Guide | None]:
    def guide(job: Job) -> Guide | None:
        made = _function(guard, "guide", hook(job=guard.job(job)))
        return None if made is None else guard.generating("guide", made)

    return guide


def _denoiser(guard: Guard, hook: Callable[..., Any]) -> Callable[[Job, Denoise], Denoise]:
    def denoiser(job: Job, denoise: Denoise) -> Denoise:
        made = _function(guard, "denoiser", hook(job=guard.job(job), denoise=denoise))
        if made is None or made is denoise:
            return denoise
        begin = guard.generating("denoiser", made)

        def around(x: Any, at: Moment) -> Asking:
            return begin(x, at)

        return around

    return denoiser


def _finish(guard: Guard, hook: Callable[..., Any]) -> Callable[[Job, Picture], Generator[Ask, Any, Picture]]:
    return lambda job, picture: guard.steps("finish", hook(job=guard.job(job), picture=picture))


def _function(guard: Guard, hook: str, made: Any) -> Any:
    if made is not None and not callable(made):
        raise guard.wrong(hook, made, "a function is wanted")
    return made


def _opener(guard: Guard, hook: str, opener: Callable[[str], Any]) -> Callable[[str], Any]:
    opened = guard.direct(hook, opener)
    return lambda rest: guarded_result(guard, hook, opened(rest))


def _axes(guard: Guard, script: Any) -> Any:
    return None if script.axes is None else guard.page(f"the script {script.name}", script.axes)


def _kinds(kinds: Any) -> str:
    return " or ".join(each.__name__ for each in (kinds if isinstance(kinds, tuple) else (kinds,)))


def _checked(guard: Guard, hook: str, function: Callable[..., Any], kinds: Any) -> Callable[..., Any]:
    """The same function; `ExtensionError` where it returns something else. None is nothing, but where a text is wanted."""

    @functools.wraps(function)
    def called(**given: Any) -> Any:
        found = function(**given)
        if not isinstance(found, kinds) and (found is not None or hook == "transform_prompt"):
            raise guard.wrong(hook, found, f"{_kinds(kinds)} is wanted")
        fits, wanted = CONTENT.get(hook, (None, ""))
        if fits is not None and found is not None and not fits(found):
            raise guard.wrong(hook, found, f"{wanted} wanted")
        return found

    return called


def _noting(guard: Guard, hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that says what is noted with a job, which is kept as JSON."""
    asked = guard.page(hook, function)

    @functools.wraps(function)
    def called(*given: Any, **named: Any) -> Any:
        found = asked(*given, **named)
        if not isinstance(found, Mapping) or not _is_plain(dict(found)):
            raise guard.wrong(hook, found, "a mapping of plain data is wanted")
        return found

    return called


def _is_plain(value: Any) -> bool:
    """Whether something can be kept and sent as JSON."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value and _is_plain(value)


def _are_texts(values: Any) -> bool:
    return isinstance(values, Collection) and not isinstance(values, str | bytes) and all(map(_is_text, values))


def _is_problem(each: Any) -> bool:
    return isinstance(each, tuple | list) and len(each) == 3 and type(each[0]) is type(each[1]) is int and _is_text(each[2])


def _is_card(each: Any) -> bool:
    if not isinstance(each, Card) or not isinstance(each.facts, Mapping):
        return False
    named = (each.kind, each.name, each.insert, each.title, each.base, each.preview, each.problem)
    return all(map(_is_text, named)) and _are_texts(each.words) and _are_texts([*each.facts, *map(str, each.facts.values())])


def _are_words(found: Mapping[Any, Any]) -> bool:
    return _are_texts(list(found)) and all(map(_are_texts, found.values()))


CONTENT: Mapping[str, tuple[Callable[[Any], bool], str]] = {  # what is in it: one that is wrong would spoil the others' answers
    "cards": (lambda found: all(map(_is_card, found)), "a list of cards, whose fields are texts, is"),
    "prompt_words": (_are_words, "lists of texts by kind are"),
    "prompt_problems": (lambda found: all(map(_is_problem, found)), "a list of two whole numbers and a text each is"),
    "read_file": (_is_text, "a text is"),
    "transform_prompt": (_is_plain, "Unicode text is"),
    "resolve": (lambda found: _is_plain(dict(found)), "a mapping of plain data is"),
    "metadata": (lambda found: _are_texts(list(found)) and _are_texts(list(found.values())), "texts by key are"),
}
