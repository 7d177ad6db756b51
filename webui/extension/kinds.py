"""What hooks are given and return that belongs to no layer below: plain descriptions, read on the page. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webui.params import Params
from webui.pipeline.extended import Files
from webui.request import Request

TASKS = ("txt2img", "img2img", "inpaint", "depth")
PLACES = ("below prompt", "below picture", "picture details", "settings")
METHODS = ("GET", "POST")


@dataclass(frozen=True, kw_only=True, eq=False)
class Home:
    """What is an extension's own: its `name` and `version`, a `folder` to write to, its `settings` by name, as an owner set them.

    `refresh()` has the hooks called again that say what it adds, such as after a schedule was saved under a new name.
    """

    name: str
    version: str
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    refresh: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class PromptContext:
    """For which picture a prompt is transformed: its own `seed`, its `index` in the job, and "prompt" or "negative" as `role`.

    `folders` are those in which an extension's own files may be, such as lists of words: the program's folder and its models'.
    """

    seed: int
    index: int = 0
    role: str = "prompt"
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Section:
    """Parameters of an extension that some tasks have: a fold on the page, under `title`.

    A field whose parameter says `picture=True` holds the SHA-256 of a picture that was brought to the page, "" for none. An
    extension may have several sections; their fields have different names. A job in which all fields of all sections are at their
    defaults is not the extension's.
    """

    title: str
    params: type[Params]
    tasks: Sequence[str] = TASKS


@dataclass(frozen=True, kw_only=True, eq=False)
class Submission:
    """A job that is being submitted: its resolved `request`, the extension's own `values`, and the `files` there are.

    `prompts` and `negatives` are all texts of its pictures, those of the second pass too, each once.
    """

    request: Request
    values: Mapping[str, Any]
    prompts: Sequence[str]
    negatives: Sequence[str]
    files: Files
    home: Home


@dataclass(frozen=True, kw_only=True)
class TagKind:
    """A kind of tag: its `name`, the `folders` of the files it names, and what one means.

    `resolve(arguments, submission)` is given what stands between the colons ("name", "0.8"), and returns plain data, which jobs
    find under `job.noted["tags"]["lora:name:0.8"]`; `UserError` where it means nothing. `help` says how it is written.
    """

    name: str
    resolve: Callable[[tuple[str, ...], Submission], Mapping[str, Any]]
    folders: tuple[str, ...] = ()
    help: str = ""


@dataclass(frozen=True, kw_only=True)
class Tab:
    """A tab of the page: an `element` that the extension's own JavaScript defines, such as "inspector-tab"."""

    name: str
    title: str
    element: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A part of an existing tab: an `element` of the extension's own at one of `PLACES`, in the tabs of these `tasks`."""

    place: str
    element: str
    title: str = ""
    tasks: Sequence[str] = TASKS


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an address was asked: by whom, the words behind `?`, the JSON that was sent, and the extension's own.

    `picture(id)` is the request (plain data) of a picture of theirs, `job(id)` that of a job of theirs; None where there is none.
    """

    user: str
    is_owner: bool
    query: Mapping[str, str]
    body: Any
    home: Home
    files: Files
    picture: Callable[[str], Mapping[str, Any] | None] = lambda _: None
    job: Callable[[str], Mapping[str, Any] | None] = lambda _: None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer that is no JSON: bytes and what they are."""

    content: bytes
    kind: str = "application/octet-stream"


@dataclass(frozen=True, kw_only=True)
class Route:
    """An address /x/extensions/NAME/`path`: what is asked is answered by `answer` with JSON or an `Answer`.

    With `owner` only an owner may ask.
    """

    path: str
    answer: Callable[[Asked], Any]
    method: str = "GET"
    owner: bool = False


@dataclass(frozen=True, kw_only=True)
class Card:
    """A file to choose with the eye: what choosing it puts into the prompt (`insert`), and what is said of it.

    `kind` groups cards ("LoRA"), `words` trigger it, `base` is what it was made for, `preview` is the path of a picture or "".
    `facts` are further lines by label. `problem` says why it cannot be used. `negative`: it goes into the negative prompt.
    """

    kind: str
    name: str
    insert: str
    title: str = ""
    words: Sequence[str] = ()
    base: str = ""
    preview: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    negative: bool = False
