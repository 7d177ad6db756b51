"""What is taken down while a picture is made: a denoiser around the one there is, which changes nothing and asks a little more.

The picture's own network calls stay as they are, to the bit. The attention of a step is looked at in a call of its own, of the
same row again: a hook in the picture's own calls would change which rows share them, and with that the rounding.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from webui.extension import Ask, Asking, Decode, Denoise, Job, Moment, Patches, Read, Row, Rows

from .attention import Watch, grouping_of
from .keys import key_of, signature_of
from .pictures import Colours, colours_of, png, small
from .store import Store
from .words import words_of

LARGEST_MAP = 64  # cells along the longer side of a heat map
MOST_PARTS = 4  # of a prompt with AND that are looked at
MOST_PASSES = 4  # of one picture that are kept
FULL = 255  # the largest number in a map's file
KINDS = ("noisy", "noise", "clean")
Answered = list[tuple[Row, Tensor]]


@dataclass(kw_only=True, eq=False)
class Recording:
    """One pass of one picture as it is taken down; its generation owns it."""

    job: Job
    store: Store
    key: str
    record: dict[str, Any]
    number: int  # of the pass in the record
    colours: Colours | None = None
    watches: dict[tuple[str, int], tuple[Watch, int]] = field(default_factory=dict)  # by text and part: and which text it is
    full: bool = False

    @property
    def own(self) -> dict[str, Any]:
        """What the record says of this pass."""
        found: dict[str, Any] = self.record["passes"][self.number]
        return found

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Write what there is so far; where there is no room, nothing more is taken down."""
        self.full = not self.store.write(self.key, self.record, files)


def recorded(job: Job, denoise: Denoise, store: Store) -> Denoise:
    """The same denoiser, each first call of a step being taken down."""
    started: list[Recording] = []

    def denoised(x: Tensor, at: Moment) -> Asking:
        answer, rows = yield from overheard(denoise(x, at))
        if at.evaluation == 0 and any(row.role == "cond" for row, _ in rows):
            if not started:
                started.append(begun(job, store, x))
            if not started[0].full:
                yield from taken_down(started[0], x, at, answer[0] if isinstance(answer, tuple) else answer, rows)
        result: Tensor = answer
        return result

    return denoised


def overheard(asks: Generator[Ask, Any, Any]) -> Generator[Ask, Any, tuple[Any, Answered]]:
    """The same asks; the result, and every row that was asked for with its answer."""
    rows: Answered = []
    sent: Any = None
    try:
        while True:
            try:
                ask = asks.send(sent)
            except StopIteration as end:
                return end.value, rows
            sent = yield ask
            if isinstance(ask, Rows):
                rows += zip(ask.rows, sent, strict=True)
    finally:
        asks.close()


def begun(job: Job, store: Store, x: Tensor) -> Recording:
    """A recording in the record of the job's picture: a pass begins it, follows what is there, or takes the place of itself."""
    key, signature = key_of(job.noted["record"], job.request.to_dict()), signature_of(job.request.to_dict())
    record = store.read(key) or {"passes": []}
    passes: list[dict[str, Any]] = record["passes"]
    known = next((number for number, each in enumerate(passes) if each["signature"] == signature), None)
    number = min(len(passes), MOST_PASSES - 1) if known is None else known
    del passes[number:]
    request = job.request
    height, width = x.shape[-2:]
    passes.append({
        "signature": signature, "second": job.second, "width": request.width, "height": request.height, "steps": request.steps,
        "scale": request.scale, "sampler": request.sampler, "schedule": request.schedule, "prediction": job.spec.prediction,
        "latent": [height, width], "map": map_size(height, width), "decoded": bool(job.values["decode"]), "texts": [],
        "taken": [],
    })  # fmt: skip
    return Recording(job=job, store=store, key=key, record=record, number=number)


def map_size(height: int, width: int) -> list[int]:
    """The height and width of the heat maps of a latent."""
    scale = min(LARGEST_MAP / max(height, width), 1)
    return [max(round(height * scale), 1), max(round(width * scale), 1)]


def taken_down(recording: Recording, x: Tensor, at: Moment, clean: Tensor, rows: Answered) -> Generator[Ask, Any, None]:
    """Add a step to a recording."""
    conds = [pair for pair in rows if pair[0].role == "cond"][:MOST_PARTS]
    guidance = yield from guidance_of(x, conds, rows)
    step: dict[str, Any] = {"step": at.step, "sigma": at.sigma, "guidance": guidance, "kept": False}
    recording.own["taken"].append(step)
    files: dict[str, bytes] = {}
    if is_kept(at, recording.job.values["most"]):
        files = yield from pictures_of(recording, x, at, clean)
        step["kept"] = True
        step["maps"] = []
        for part, (row, _) in enumerate(conds):
            maps = yield from maps_of(recording, row, part)
            if maps is not None:
                text, shares = maps
                files[f"{recording.number}-{at.step}-{'abcd'[part]}.maps"], peaks = packed(shares)
                means = shares.flatten(1).mean(dim=1).tolist()
                step["maps"].append({"text": text, "peaks": peaks[:-1], "shares": means[:-1], "rest": means[-1]})
    recording.keep(files)


def is_kept(at: Moment, most: int) -> bool:
    """Whether a step's pictures and maps are kept: evenly spaced ones, the first and the last.

    Where nobody knows how many steps there will be, the first ones are.
    """
    if at.steps is None:
        return at.step < most
    if at.steps <= most or at.step in (0, at.steps - 1):
        return True
    return at.step * (most - 1) // (at.steps - 1) != (at.step - 1) * (most - 1) // (at.steps - 1)


def guidance_of(x: Tensor, conds: Answered, rows: Answered) -> Generator[Ask, Any, float | None]:
    """How far the prompt's prediction of the noise is from that of the negative prompt, as a part of the latter's length."""
    unconds = [answer for row, answer in rows if row.role == "uncond"]
    if not unconds:
        return None
    without = unconds[0]
    pull = torch.stack([answer - without for _, answer in conds]).sum(dim=0)
    lengths = yield Read(torch.stack([pull.float().norm(), (x - without).float().norm()]))
    far, long = lengths.tolist()
    return far / long if long > 0 else None


def pictures_of(recording: Recording, x: Tensor, at: Moment, clean: Tensor) -> Generator[Ask, Any, dict[str, bytes]]:
    """The small pictures of a step, as files by name: what the network was given, and what noise and picture it sees in it."""
    if recording.colours is None:
        recording.colours = yield from colours_of(recording.job.network)
    noise = (x - clean) / at.sigma if at.sigma > 0 else torch.zeros_like(x)
    given = x / (1 + at.sigma**2) ** 0.5
    latents = yield Read(torch.stack([given, noise, clean]).float())
    shown = [recording.colours(each) for each in latents]
    if recording.job.values["decode"]:
        pixels = yield Decode(clean, network=recording.job.network)
        shown[2] = small((yield Read(pixels)).float())
    return {f"{recording.number}-{at.step}-{kind}.png": png(each) for kind, each in zip(KINDS, shown, strict=True)}


def maps_of(recording: Recording, row: Row, part: int) -> Generator[Ask, Any, tuple[int, Tensor] | None]:
    """Which text a row has, and the heat maps of its words and of the rest [words + 1, h, w]; None where it has none."""
    said, length = row.conditioning.said, len(row.conditioning.tokens)
    if said is None:
        return None
    if (said.text, part) not in recording.watches:
        words = words_of(said.text, said.places)
        height, width = recording.own["map"]
        recording.watches[said.text, part] = Watch(grouping_of(words, length), height, width), len(recording.own["texts"])
        recording.own["texts"].append({"part": part, "words": [word.text for word in words]})
    watch, text = recording.watches[said.text, part]
    # Before all others, of which one may answer without letting it have its turn.
    yield Rows(replace(row, patches=Patches(attention=(watch,)) + row.patches))
    taken = watch.taken()
    return None if taken is None else (text, (yield Read(taken)))


def packed(shares: Tensor) -> tuple[bytes, list[float]]:
    """Maps [G, h, w] of all words as bytes, each as parts of its peak, and the peaks of all."""
    peaks = shares.flatten(1).max(dim=1).values
    parts = shares[:-1] / peaks[:-1, None, None].clamp(min=torch.finfo(torch.float32).tiny)
    return (parts * FULL).round().to(torch.uint8).numpy().tobytes(), peaks.tolist()
