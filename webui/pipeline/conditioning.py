"""From a request's texts to what guides a network: tokens, and for SDXL and its refiner a vector of sizes beside them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

import torch

from webui.drawing import NO_NORM
from webui.errors import UserError
from webui.nets.unet import timestep_embedding
from webui.pipeline import grammar
from webui.pipeline.grammar import Timeline, parse
from webui.pipeline.model import Model
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.patches import Patches
from webui.pipeline.prompt import matcher, places, segments_of, windows
from webui.pipeline.protocol import Ask, Conditioning, Encode, Said, TokenChunk
from webui.pipeline.texts import Course, Part, Texts, levelled, nowhere
from webui.request import Request

Chunks = tuple[tuple[TokenChunk, ...], ...]
SIZE_WIDTH = 256  # each of SDXL's numbers is shown to the network as so many sines and cosines
AESTHETIC_SCORE = 6.0  # what the refiner is told the picture would be rated, out of 10
NEGATIVE_SCORE = 2.5  # the same beside the negative prompt
MOST_NUMBERS = 2**28  # that a picture's texts come to, all steps together: a gigabyte in 32 bits
CROP = (0.0, 0.0)  # top and left: nothing is cut off


Encoding = Generator[Ask, Any, Conditioning]


def conditionings(
    request: Request, model: Model, patches: Patches, *, evaluations: int = 1, hires: bool = False, first_steps: int = 0
) -> Generator[Ask, Any, Texts]:
    """What prompt and negative prompt mean to the network from step to step; each different text is encoded once.

    Prompts count the calls of the network, of which a step has so many `evaluations`. `hires`: the request is that of hires fix's
    second pass, after `first_steps` of them in the first. An embedding's vectors are found by their names. Prompts that AND joins
    are equally long, as A1111 stretches them; others need not be.

    Beside an SDXL model an empty negative prompt is no text at all: zeros, as the model was trained. A1111, Forge and diffusers
    (`negative_prompt=None`, `force_zeros_for_empty_prompt`) have it so; `negative_prompt=""` and diffusers' refiner encode "".
    """
    timeline = Timeline(steps=request.steps * evaluations, before=first_steps if hires else None, old=request.old_schedules)
    reader = _Reader(request, model, patches)
    prompt, (written,) = parse(request.prompt), parse(request.negative, negative=True).parts
    place = way_of(request, model) if any(part.choices for part in (*prompt.parts, written)) else nowhere
    parts: list[Part] = []
    for part in prompt.parts:
        course = yield from _course(part, timeline, place, lambda text: reader.encoded(text, AESTHETIC_SCORE))
        parts.append(Part(course=replace(course, evaluations=evaluations), weight=part.weight))
    check_levels([part.course for part in parts])
    levels = levelled([part.course for part in parts])
    parts = [replace(part, course=course) for part, course in zip(parts, levels, strict=True)]
    negative = yield from _course(written, timeline, place, lambda text: reader.encoded(text, NEGATIVE_SCORE, negative=True))
    return Texts(parts=tuple(parts), course=replace(negative, evaluations=evaluations))


def meaning(request: Request, model: Model, patches: Patches, text: str) -> Encoding:
    """What one text means to the network beside a request's own, which it is as if it stood in."""
    return _Reader(request, model, patches).encoded(text, AESTHETIC_SCORE)


def _course(
    part: grammar.Part, timeline: Timeline, place: Callable[[float], float], encoded: Callable[[str], Encoding]
) -> Generator[Ask, Any, Course]:
    """A part's text from step to step; or, where nobody knows how many there are, from `place` to place."""
    until = part.ends(timeline)
    means = []
    for step in until:
        means.append((yield from encoded(part.at(step, timeline).text)))
    return Course(until=until, means=tuple(means), place=place)


def way_of(request: Request, model: Model) -> Callable[[float], float]:
    """The part of the training steps, from the noisiest, that lies behind a noise level."""
    table = NoiseTable.asked(request.noise_schedule, model.spec) or NoiseTable.from_spec(model.spec)
    return lambda sigma: 1 - table.t_of(sigma) / (len(table.sigmas) - 1)


class _Reader:
    """Has texts encoded for one request, each different one once."""

    def __init__(self, request: Request, model: Model, patches: Patches) -> None:
        self._request, self._model, self._patches = request, model, patches
        towers = zip(model.tokenizers, model.spec.text, strict=True)
        self._towers = [(tokenizer, tower, matcher(tokenizer, patches.tokens)) for tokenizer, tower in towers]
        self._cut: dict[str, Chunks] = {}
        self._known: dict[Chunks, Conditioning] = {}
        self._numbers = 0

    def encoded(self, text: str, score: float, *, negative: bool = False) -> Encoding:
        """What a text means, sizes and all, for the model; `score` is what a refiner is told beside it."""
        told = self._model.spec.unet.label_width is not None
        chunks = self._chunks(text)
        if told and negative and chunks == self._chunks("") and self._known:
            found = zeros_like(next(iter(self._known.values())))
        else:
            found = yield from self._asked(chunks)
            found = replace(found, said=self._said(text))
        return with_sizes(found, self._request, self._model, score) if told else found

    def _asked(self, chunks: Chunks) -> Encoding:
        if chunks not in self._known:
            plain = all(weight == 1 for tower in chunks for chunk in tower for weight in chunk.weights)
            self._known[chunks] = yield Encode(
                chunks, network=self._model.name, clip_skip=self._request.clip_skip, patches=self._patches,
                norm=plain or self._request.emphasis != NO_NORM,
            )  # fmt: skip
            self._numbers += self._known[chunks].tokens.numel()
            check_room(self._numbers)
        return self._known[chunks]

    def _said(self, text: str) -> Said:
        return Said(text, places(segments_of(text, self._request.emphasis), *self._towers[0]))

    def _chunks(self, text: str) -> Chunks:
        if text not in self._cut:
            segments = segments_of(text, self._request.emphasis)
            self._cut[text] = tuple(windows(segments, *tower) for tower in self._towers)
        return self._cut[text]


def check_levels(courses: Sequence[Course]) -> None:
    """Raise `UserError` where texts that are made equally long would take more memory than a picture's may."""
    sizes = {meaning.tokens.numel() for course in courses for meaning in course.means}
    if len(sizes) > 1:
        check_room(max(sizes) * len(courses) * len({call for course in courses for call in course.until}))


def check_room(numbers: int) -> None:
    """Raise `UserError` where texts would take more memory than a picture's may."""
    if numbers > MOST_NUMBERS:
        raise UserError(
            "The prompts are too long for how often they change along the steps, or for how many AND joins: what they mean would "
            "take more memory than a picture's prompts may. Use shorter ones, fewer changes or fewer parts."
        )


def zeros_like(text: Conditioning) -> Conditioning:
    """No text, in the shape of another."""
    vector = None if text.vector is None else torch.zeros_like(text.vector)
    return Conditioning(torch.zeros_like(text.tokens), vector, key=f"zeros {tuple(text.tokens.shape)}")


def with_sizes(text: Conditioning, request: Request, model: Model, score: float) -> Conditioning:
    """A text whose vector, so far its pooled output, goes on with the sizes that the network was trained to be told.

    SDXL (Podell et al. 2023, arXiv:2307.01952, section 2.2): height and width of the original, top and left of the crop, height
    and width of the picture. Its refiner: an aesthetic `score` in place of the last two. The network's label width tells which.
    """
    assert text.vector is not None and model.spec.unet.label_width is not None
    original = (float(request.height), float(request.width), *CROP)
    known = {len(numbers) * SIZE_WIDTH: numbers for numbers in ((*original, *original[:2]), (*original, score))}
    room = model.spec.unet.label_width - text.vector.shape[-1]
    if room not in known:
        raise UserError(
            f"The model {model.name!r} wants {room} numbers beside the pooled text; known are those of SDXL and its refiner, "
            f"{' and '.join(map(str, known))}. Choose another model."
        )
    numbers = known[room]
    sizes = timestep_embedding(torch.tensor(numbers), SIZE_WIDTH).flatten().to(text.vector.device)
    return replace(text, vector=torch.cat([text.vector, sizes]), key=text.key and f"{text.key} {numbers}")
