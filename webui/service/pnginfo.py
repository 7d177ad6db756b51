"""What the PNG Info tab shows: what a file says of how its picture was made, and in what two texts differ."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from webui import conventions, infotext
from webui.infotext import Infotext
from webui.metadata.reading import Found, read
from webui.params import Params
from webui.service.composed import composed_tasks
from webui.service.extensions import Extensions
from webui.service.picture_texts import REMARKS

LONGEST_CHUNK = 1_000_000  # characters of one text that is shown
FORMATS = {"WEBP": "WebP"}  # whose names are written otherwise
NO_EXTENSIONS = Extensions()
PROMPTS = {"Prompt": "prompt", "Negative prompt": "negative"}


@dataclass(frozen=True, kw_only=True)
class Info:
    """What is shown of a file, as plain data: all of it is text or a list or mapping of texts, but for the size in pixels.

    `source` is the program whose form the parameters are in; `values` are their keys and values in order. `unmapped` are those
    that no control has, and what another program says that has no key; `chunks` are the file's texts as they stand in it.
    """

    format: str
    width: int
    height: int
    source: str
    text: str
    task: str
    prompt: str
    negative: str
    values: list[list[str]] = field(default_factory=list)
    unmapped: dict[str, str] = field(default_factory=dict)
    chunks: dict[str, str] = field(default_factory=dict)


def info_of(content: bytes, extensions: Extensions = NO_EXTENSIONS) -> Info:
    """What a file says; nothing of it raises. What says nothing to us is shown to extensions."""
    found, tasks = read(content), composed_tasks(extensions)
    if not found.text and (told := extensions.read_file(content)):
        found = replace(found, text=told[:LONGEST_CHUNK])
    said = infotext.parse(found.text)
    task = infotext.task_said(said)
    chunks = {name: text[:LONGEST_CHUNK] for name, text in found.others.items() if text != found.text or found.format != "text"}
    return Info(
        format=FORMATS.get(found.format, found.format), width=found.width, height=found.height, source=found.kind,
        text=found.text, task=task, prompt=said.prompt, negative=said.negative, chunks=chunks,
        unmapped=_unmapped(found, said, tasks[task or "txt2img"]), values=[[key, value] for key, value in said.values.items()],
    )  # fmt: skip


def compared(a: str, b: str) -> list[dict[str, Any]]:
    """A row for everything that either text says: the prompts, then the keys in the community's order; None is nothing said."""
    first, second = infotext.parse(a), infotext.parse(b)
    keys = sorted(dict.fromkeys([*first.values, *second.values]), key=conventions.place)
    rows = [(label, getattr(first, name), getattr(second, name)) for label, name in PROMPTS.items()]
    rows += [(key, first.values.get(key), second.values.get(key)) for key in keys]
    return [{"key": key, "a": one, "b": other, "differs": one != other} for key, one, other in rows]


def _unmapped(found: Found, said: Infotext, kind: type[Params]) -> dict[str, str]:
    """What cannot be taken over into a task's controls."""
    _, rest = infotext.raw_parameters(said, kind)
    return {key: value for key, value in rest.items() if key not in REMARKS} | dict(found.unmapped)
