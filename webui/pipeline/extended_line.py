"""Extensions in the line from a request to a picture: who takes part, what each is told, and how they follow each other.

Where nobody takes part, `generate` passes by all of this: nothing is asked, wrapped or computed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from torch import Tensor

from webui.errors import ExtensionError, Stopped, UserError, quoted
from webui.pipeline.conditioning import meaning
from webui.pipeline.extended import ChangeRow, Detector, Files, Guide, Job, JobHooks
from webui.pipeline.grammar import parse
from webui.pipeline.hires import Stages
from webui.pipeline.loops import intercepted
from webui.pipeline.model import Model
from webui.pipeline.patches import NO_PATCHES, Patches
from webui.pipeline.picture import Picture
from webui.pipeline.protocol import Ask, Asking, Conditioning, Denoise, Interrupted, Moment, Read, Rows, Step, Tell
from webui.request import Request

T = TypeVar("T")
MOST_NESTED = 3  # pictures within pictures; an extension that takes part in its own would never come to an end
DIGEST = 64  # hexadecimal digits of a SHA-256


class NoFiles:
    """No file is here."""

    def __getattr__(self, name: str) -> Any:
        raise UserError("There are no weight files for extensions here.")


def no_picture(digest: str) -> Tensor:
    """There is no picture."""
    raise UserError(f"There is no picture {quoted(digest[:10])} here.")


def no_network(name: str) -> str:
    """There is no network."""
    raise UserError(f"There is no network {quoted(name)} here.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reach:
    """What extensions reach in their jobs that is not the pipeline's; whoever opens models gives it.

    `picture` gives uint8 RGBA [4, H, W] by SHA-256, `weights` names and shapes of a network's weights (`Job.weights`), `network`
    the name for asks of a network that an extension brought; `detectors` are those of all. `nested` counts the pictures that this
    one is made within.
    """

    files: Files = field(default_factory=lambda: cast("Files", NoFiles()))
    picture: Callable[[str], Tensor] = no_picture
    weights: Callable[[str], Mapping[str, tuple[int, ...]]] = lambda _: {}
    network: Callable[[str], str] = no_network
    detectors: Mapping[str, Detector] = field(default_factory=dict)
    nested: int = 0

    def within(self) -> Reach:
        """What is reached from a picture within this one; `UserError` where there are too many."""
        if self.nested >= MOST_NESTED:
            raise UserError(
                f"An extension made a picture within a picture {MOST_NESTED} times; it must leave itself out of what it makes."
            )
        return replace(self, nested=self.nested + 1)


NOTHING_IN_REACH = Reach()
Nested = Callable[[Request, Mapping[str, Tensor]], Generator[Ask, Any, Picture]]


class Pictures(Mapping[str, Tensor]):
    """An extension's input pictures by field name: those values that are the SHA-256 of one, decoded when they are looked at."""

    def __init__(self, values: Mapping[str, Any], opened: Callable[[str], Tensor]) -> None:
        self._digests = {name: value for name, value in values.items() if is_digest(value)}
        self._opened = opened

    def __getitem__(self, name: str) -> Tensor:
        return self._opened(self._digests[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._digests)

    def __len__(self) -> int:
        return len(self._digests)


def is_digest(value: object) -> bool:
    """Whether a value is a SHA-256 in hexadecimal digits."""
    return isinstance(value, str) and len(value) == DIGEST and set(value) <= set("0123456789abcdef")


@dataclass(kw_only=True, eq=False)
class Pass:
    """One pass of one picture, and who takes part in it, in order. One generation owns it.

    `patches` are all of the pass, as soon as they are known: texts that are asked for are read with them.
    """

    takers: Sequence[tuple[JobHooks, Job]] = ()
    patches: Patches = NO_PATCHES

    def patched(self, own: Patches) -> Patches:
        """The patches of the pass: its own, and those of all who take part."""
        self.patches = own
        if not self.takers:
            return own
        found = [hooks.patches(job) for hooks, job in self.takers if hooks.patches is not None]
        for each in found:
            self.patches = self.patches if each is None else self.patches + each
        return self.patches

    def guides(self) -> list[Guide]:
        """What makes the guided answer of each step, one after the other."""
        found = [hooks.guide(job) for hooks, job in self.takers if hooks.guide is not None]
        return [each for each in found if each is not None]

    def around(self, denoise: Denoise, *, paired: bool = False) -> Denoise:
        """The denoiser as they have it: wrapped by one after the other, and every row that comes out of it changed by each.

        Where it answers pairs (`SamplerInfo.cfg_pp`), who wraps it has to do with the guided latents alone.
        """
        wrapping = [(hooks.denoiser, job) for hooks, job in self.takers if hooks.denoiser is not None]
        if wrapping:
            def wrapped(inner: Denoise) -> Denoise:
                for wrap, job in wrapping:
                    inner = wrap(job, inner)
                return inner

            denoise = with_pairs(denoise, wrapped) if paired else wrapped(denoise)
        found = [hooks.rows(job) for hooks, job in self.takers if hooks.rows is not None]
        changes = [each for each in found if each is not None]
        return with_rows_changed(denoise, changes) if changes else denoise


@dataclass(frozen=True, kw_only=True, eq=False)
class Extended:
    """Who takes part in a picture, what they reach, and the `sentences` they want told. One generation owns it."""

    hooks: Sequence[JobHooks] = ()
    reach: Reach = NOTHING_IN_REACH
    device: str = "cpu"
    sentences: list[str] = field(default_factory=list)
    stages: Stages = field(default_factory=Stages)

    @classmethod
    def of(cls, request: Request, hooks: Sequence[JobHooks], reach: Reach, device: str) -> Extended:
        """Those whom the request names, in the order of the hooks."""
        return cls(hooks=[each for each in hooks if each.name in request.extensions], reach=reach, device=device)

    def started(self, request: Request, said: Request, model: Model, nested: Nested, *, second: bool) -> Pass:
        """A pass of the picture; `said` is its request as its texts are read."""
        return self._pass(request, said, model, lambda child, given: quiet(nested(child, given)), second=second)

    def finished(
        self, line: Generator[Ask, Any, Picture], request: Request, model: Model, nested: Nested
    ) -> Generator[Ask, Any, Picture]:
        """The picture as those leave it who finish pictures, or where somebody interrupts that, as it was before.

        `request` is the whole picture's, whose last pass is by `model`. What they want told is told, and the steps of pictures
        that they make on the way are counted on.
        """
        return (yield from telling(self._finished(line, request, model, nested), self.sentences))

    def _finished(
        self, line: Generator[Ask, Any, Picture], request: Request, model: Model, nested: Nested
    ) -> Generator[Ask, Any, Picture]:
        picture = yield from self.stages.next(line)
        if all(hooks.finish is None for hooks in self.hooks):
            return picture
        picture = replace(picture, pixels=(yield Read(picture.pixels)))

        def counted(child: Request, pictures: Mapping[str, Tensor]) -> Generator[Ask, Any, Picture]:
            return self.stages.next(nested(child, pictures))

        last = request.second() if request.hires else request
        for hooks, job in self._pass(last, last, model, counted, second=bool(request.hires)).takers:
            if hooks.finish is None:
                continue
            try:
                made = yield from hooks.finish(job, picture)
            except (Interrupted, Stopped):
                return picture
            if not isinstance(made, Picture):
                raise ExtensionError(f"The extension {hooks.name} made {quoted(repr(made))} of a picture, which is no picture.")
            picture = made
        return picture

    def _pass(self, request: Request, said: Request, model: Model, nested: Nested, *, second: bool) -> Pass:
        made = Pass()

        def encode(text: str) -> Generator[Ask, Any, Conditioning]:
            return (yield from meaning(said, model, made.patches, text))

        def generate(child: Request, pictures: Mapping[str, Tensor] | None = None) -> Generator[Ask, Any, Picture]:
            return nested(child, pictures or {})

        def job(hooks: JobHooks) -> Job:
            # Of its own: what an extension writes into what it is told must reach nobody else.
            own = copy.deepcopy(request)
            told = own.extensions[hooks.name]
            values, noted = {**hooks.defaults, **told.get("values", {})}, told.get("noted", {})
            return Job(
                request=own, values=values, noted=noted, tags=tags_of(request.prompt, noted), second=second, spec=model.spec,
                network=model.name, device=self.device, pictures=Pictures(values, self.reach.picture),
                weights=lambda: self.reach.weights(model.name), files=self.reach.files, encode=encode, generate=generate,
                network_of=self.reach.network, tell=self.sentences.append, detectors=self.reach.detectors,
                home=hooks.home,
            )

        made.takers = [(hooks, job(hooks)) for hooks in self.hooks]
        return made


def tags_of(prompt: str, noted: Mapping[str, Any]) -> tuple[str, ...]:
    """The tags of a prompt that an extension noted something of, as "name:arguments", in order."""
    known = noted.get("tags", {})
    found = (f"{tag.name}:{tag.args}" for tag in parse(prompt).tags) if known else ()
    return tuple(text for text in found if text in known)


def with_pairs(denoise: Denoise, wrapped: Callable[[Denoise], Denoise]) -> Denoise:
    """A denoiser of pairs, the first of which are wrapped; the second is that of the last look within."""
    seen: list[Tensor] = []

    def first(x: Tensor, at: Moment) -> Asking:
        answer: tuple[Tensor, Tensor] = yield from denoise(x, at)  # type: ignore[assignment]  # as samplers of pairs have it
        seen[:] = [answer[1]]
        return answer[0]

    outer = wrapped(first)

    def pair(x: Tensor, at: Moment) -> Generator[Ask, Any, Any]:
        seen.clear()
        answer = yield from outer(x, at)
        return answer, seen[0] if seen else answer

    return pair


def with_rows_changed(denoise: Denoise, changes: Sequence[ChangeRow]) -> Denoise:
    """The same denoiser, each of whose rows passes through all changes before anybody sees it."""

    def change(ask: Ask) -> Generator[Ask, Any, Ask]:
        if not isinstance(ask, Rows):
            return ask
        rows = []
        for row in ask.rows:
            for each in changes:
                row = yield from each(row)
            rows.append(row)
        return Rows(*rows)

    def changed(x: Tensor, at: Moment) -> Asking:
        return (yield from intercepted(denoise(x, at), change))

    return changed


def quiet(generation: Generator[Ask, Any, T]) -> Generator[Ask, Any, T]:
    """The same generation, whose steps nobody is told: they are not those of the picture it is made for."""

    def change(ask: Ask) -> Generator[Ask, Any, Ask | None]:
        yield from ()
        return None if isinstance(ask, Step) else ask

    return intercepted(generation, change, lambda _: Interrupted(None))  # its last prediction is not the picture's


def telling(generation: Generator[Ask, Any, T], sentences: list[str]) -> Generator[Ask, Any, T]:
    """The same generation, and all that was meanwhile put among the sentences."""

    def said() -> Generator[Ask, Any, None]:
        while sentences:
            yield Tell(sentences.pop(0))

    def change(ask: Ask) -> Generator[Ask, Any, Ask]:
        yield from said()
        return ask

    result = yield from intercepted(generation, change)
    yield from said()
    return result
