"""What is loaded of extensions at one moment: an immutable snapshot, which loading and unloading never touch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from webui.errors import WebUIError
from webui.extension import Card, Files, Home, Panel, PromptContext, Route, SamplerInfo, Schedule, Script, Section, Tab, TagKind
from webui.extension.kinds import Submission
from webui.params import Params
from webui.pipeline.extended import Job, JobHooks
from webui.pipeline.picture import Picture
from webui.pipeline.samplers import SAMPLERS
from webui.pipeline.schedules import SCHEDULES
from webui.request import Request
from webui.service.extension_manifest import Manifest

Detector = Callable[[Job, Picture], Generator[Any, Any, Any]]
Source = Generator[Any, Any, Any]
Functions = Mapping[str, Mapping[str, Callable[..., Any]]]
LOG = logging.getLogger(__name__)


def alone(_job: object, source: Source) -> Source:
    """A generation of a job where nobody watches."""
    return source


@dataclass(frozen=True, kw_only=True, eq=False)
class Extensions:
    """A snapshot of what is loaded, each in the order in which extensions follow each other.

    `problems` says by folder why something is not loaded; `versions` are those of what is. `owners` are extensions by the "kind
    name" of what they added ("sampler UniPC", "tag lora"). `sections`, `settings`, `tabs`, `panels`, `routes`, `excludes`,
    `homes` and `manifests` are by extension; `networks` by the prefix of their names; `tags` say whose they are. `functions` are
    the hooks that are called while people work, by hook and extension, to be called with all of the hook's arguments by name:
    they name their extension where it fails or takes too long. `packages` are the names under which extensions' code is known.
    """

    samplers: Mapping[str, SamplerInfo] = field(default_factory=lambda: SAMPLERS)
    schedules: Mapping[str, Schedule] = field(default_factory=lambda: SCHEDULES)
    scripts: Mapping[str, Script] = field(default_factory=dict)
    sections: Mapping[str, Sequence[Section]] = field(default_factory=dict)
    settings: Mapping[str, type[Params]] = field(default_factory=dict)
    tags: Mapping[str, tuple[str, TagKind]] = field(default_factory=dict)
    networks: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)
    detectors: Mapping[str, Detector] = field(default_factory=dict)
    tabs: Mapping[str, Sequence[Tab]] = field(default_factory=dict)
    panels: Mapping[str, Sequence[Panel]] = field(default_factory=dict)
    routes: Mapping[str, Sequence[Route]] = field(default_factory=dict)
    job_hooks: Sequence[JobHooks] = ()
    excludes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    homes: Mapping[str, Home] = field(default_factory=dict)
    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    functions: Functions = field(default_factory=dict)
    during: Callable[[object, Source], Source] = alone  # a generation of a job, whose hooks are then known to be at work for it
    unhurried: Callable[[], AbstractContextManager[None]] = nullcontext  # entered while a hook waits for what may take long

    def with_hook(self, hook: str) -> tuple[str, ...]:
        """The extensions that have a hook of those in `functions`, in order."""
        return tuple(self.functions.get(hook, ()))

    def without(self, *hooks: str) -> Self:
        """The same without some hooks of those in `functions`."""
        return replace(self, functions={hook: own for hook, own in self.functions.items() if hook not in hooks})

    def transform_prompt(self, text: str, context: PromptContext) -> str:
        """The prompt that a text means for one picture, by all extensions, one after another."""
        for function in self.functions.get("transform_prompt", {}).values():
            text = function(text=text, context=context)
        return text

    def resolve(self, name: str, submission: Submission) -> Mapping[str, Any] | None:
        """What an extension notes of a job that is submitted; None where it has nothing to say."""
        function = self.functions.get("resolve", {}).get(name)
        return None if function is None else function(submission=submission)

    def metadata(self, name: str, request: Request, values: Mapping[str, Any], noted: Mapping[str, Any]) -> Mapping[str, str]:
        """What an extension adds to a picture's text, by key."""
        function = self.functions.get("metadata", {}).get(name)
        return {} if function is None else dict(function(request=request, values=values, noted=noted) or {})

    def picture_saved(self, name: str, request: Request, path: Path, text: str) -> None:
        """Tell an extension of a picture that it took part in; where it fails, that is logged."""
        function = self.functions.get("picture_saved", {}).get(name)
        if function is not None:
            self._tried("picture_saved", name, partial(
                function, home=self.homes[name], request=request, path=path, text=text
            ))  # fmt: skip

    def read_file(self, content: bytes) -> str | None:
        """What a file says of how it was made, by the first extension that can read it."""
        for _, said in self._answers("read_file", content=content):
            if said:
                return str(said)
        return None

    def cards(self, files: Files, name: str = "") -> list[tuple[str, Card]]:
        """The cards of one extension, or of all, each with the name of its extension."""
        found: list[tuple[str, Card]] = []
        for owner, function in self.functions.get("cards", {}).items():
            if name in ("", owner):
                own = self._tried("cards", owner, partial(function, home=self.homes[owner], files=files))
                found += [(owner, card) for card in own or ()]
        return found

    def prompt_words(self, folders: Sequence[Path]) -> dict[str, list[str]]:
        """Words that complete what is being typed, by kind."""
        words: dict[str, list[str]] = {}
        for _, found in self._answers("prompt_words", folders=folders):
            for kind, own in found.items():
                words.setdefault(kind, []).extend(own)
        return {kind: sorted(set(own), key=str.casefold) for kind, own in words.items()}

    def prompt_problems(self, text: str, folders: Sequence[Path]) -> list[tuple[int, int, str]]:
        """What extensions cannot make sense of in a prompt, from its beginning to its end."""
        answers = self._answers("prompt_problems", text=text, folders=folders)
        return sorted((begin, end, sentence) for _, own in answers for begin, end, sentence in own)

    def _answers(self, hook: str, **given: Any) -> Iterator[tuple[str, Any]]:
        """What each extension answers; one that fails says nothing, which is logged: the others still have their say."""
        for name, function in self.functions.get(hook, {}).items():
            answer = self._tried(hook, name, partial(function, **given))
            if answer is not None:
                yield name, answer

    def _tried(self, hook: str, name: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except WebUIError:
            LOG.warning("The extension %s said nothing in %s.", name, hook, exc_info=True)
            return None
