"""Driving generations: sending answers, telling the watchers, ending pictures and jobs. No threads, no networks.

The edge of a job is here: whatever a generator raises, `SystemExit` included, becomes that job's failure and nobody else's.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from webui.engine import events
from webui.engine.device import environment
from webui.engine.events import Pixels
from webui.engine.faults import ends_the_program, sentence
from webui.engine.jobs import Generation, Job, seconds_left
from webui.engine.modes import modes_kept
from webui.errors import JobError, NotANumber, Stopped, UserError, one_line, quoted
from webui.pipeline.generate import Picture
from webui.pipeline.protocol import Ask, Call, Decode, Encode, EncodePicture, Gradient, Interrupted, Read, Rows, Step, Tell
from webui.request import Request

LOGGER = logging.getLogger(__name__)
ASKS = (Rows, Encode, EncodePicture, Decode, Call, Gradient, Read, Step, Tell)
TOLD = (Step, Tell)  # what is said and not asked
WORK = (Rows, Encode, Call, Gradient, Step)  # where an interrupted picture goes no further; the other asks finish it
MOST_THROWN = 8  # a generator that asks for work again this often after its interruption is closed
MOST_STEPS = 8  # steps told in a row before others have their turn
MOST_TOLD = 100  # different sentences of a job
LONGEST_TOLD = 500  # characters

PreviewOf = Callable[[Request, Tensor], Tensor | None]


class Driver:
    """Takes generations from ask to ask. `clock` counts seconds; `preview(request, latent)` gives uint8 [h, w, 3] or None."""

    def __init__(self, *, clock: Callable[[], float], preview: PreviewOf | None, previews_per_second: float) -> None:
        self._clock = clock
        self._preview = preview
        self._between_previews = 1 / previews_per_second
        self.ended: list[Job] = []  # jobs that ended, for whoever keeps the queue to take out

    def begin(self, generation: Generation) -> None:
        """Run a new generation to its first ask."""
        self._run(generation, lambda: next(generation.source))

    def send(self, generation: Generation, answer: object) -> None:
        """Answer a generation's ask and run it to the next."""
        self._run(generation, lambda: generation.source.send(answer))

    def interrupt(self, generation: Generation) -> None:
        """End a generation early, with what it has."""
        generation.interrupted = True
        if isinstance(generation.ask, WORK):
            self._throw(generation)

    def skip(self, generation: Generation) -> None:
        """Drop a generation's picture."""
        self.close(generation)
        self._leave(generation)
        generation.job.log.add(events.Skipped(job=generation.job.id, picture=generation.index))

    def skip_waiting(self, job: Job) -> None:
        """Drop the pictures of a job that nobody wants and that have not begun."""
        for index, source in list(job.sources):
            if index in job.skip:
                job.sources.remove((index, source))
                job.log.add(events.Skipped(job=job.id, picture=index))

    def close(self, generation: Generation) -> None:
        """Let a generator go; what it does while it is closed concerns nobody."""
        generation.over = True
        try:
            with modes_kept():
                generation.source.close()
        except BaseException as error:
            if ends_the_program(error):
                raise
            LOGGER.exception("A generation of job %s raised while it was closed.", generation.job.id)

    def fail(self, job: Job, error: BaseException) -> None:
        """End a job with an error: its other pictures are closed, those delivered stay."""
        if job.ended:
            return
        error_id = uuid.uuid4().hex[:8]
        LOGGER.error("Job %s failed (error %s).", job.id, error_id, exc_info=error)
        by_request = isinstance(error, UserError)
        self.end(job, events.Failed(job=job.id, sentence=sentence(error, error_id), error_id=error_id, by_request=by_request))

    def end(self, job: Job, event: events.Event) -> None:
        """Close what is left of a job and tell its last event, unless it has ended."""
        if job.ended:
            return
        for generation in job.running:
            self.close(generation)
        job.running.clear()
        job.sources.clear()
        job.log.add(event)
        self.ended.append(job)

    def end_if_done(self, job: Job) -> None:
        """End a job none of whose pictures is left to make."""
        if job.prepared and not job.running and not job.sources and not job.ended:
            last = events.Interrupted if job.interrupted else events.Finished
            self.end(job, last(job=job.id, pictures=job.delivered))

    def _run(self, generation: Generation, resume: Callable[[], Ask]) -> None:
        generation.ask = None
        try:
            ask = self._resumed(resume)
            for _ in range(MOST_STEPS):
                if not isinstance(ask, TOLD):
                    break
                self._heard(generation, ask)
                ask = self._resumed(lambda: generation.source.send(None))
            if isinstance(ask, TOLD):  # told now, answered when the others have had their turn
                self._heard(generation, ask)
            if not isinstance(ask, ASKS):
                raise JobError(f"A generation asked for {quoted(repr(ask))}, which is none of the asks of the protocol.")
        except StopIteration as end:
            self._deliver(generation, end.value)
        except (Interrupted, Stopped) as error:
            if not generation.interrupted:
                self.fail(generation.job, error)
                return
            self.skip(generation)
            self.end_if_done(generation.job)
        except BaseException as error:
            if ends_the_program(error):
                raise
            self.fail(generation.job, error)
        else:
            generation.ask = ask
            if generation.interrupted and isinstance(ask, WORK):
                self._throw(generation)

    def _resumed(self, resume: Callable[[], Ask]) -> Ask:
        with modes_kept():
            return resume()

    def _throw(self, generation: Generation) -> None:
        generation.thrown += 1
        generation.parts, generation.answers = [], {}
        if generation.thrown > MOST_THROWN:
            self.skip(generation)
            self.end_if_done(generation.job)
            return
        self._run(generation, lambda: generation.source.throw(Interrupted(generation.denoised)))

    def _heard(self, generation: Generation, said: Step | Tell) -> None:
        if isinstance(said, Step):
            self._stepped(generation, said)
            return
        job = generation.job
        sentence = one_line(str(said.sentence))[:LONGEST_TOLD]
        if sentence not in job.told and len(job.told) < MOST_TOLD:  # all pictures of a job may say the same
            job.told.add(sentence)
            job.log.add(events.Notice(job=job.id, sentence=sentence))

    def _stepped(self, generation: Generation, step: Step) -> None:
        job, at = generation.job, step.at
        generation.at, generation.denoised = at, step.denoised
        job.steps += 1
        now = self._clock()
        left = seconds_left(job, now)
        job.log.add(events.Progress(job=job.id, picture=generation.index, step=at.step + 1, steps=at.steps, seconds_left=left))
        due = now - job.last_preview >= self._between_previews
        if self._preview is not None and job.log.watchers and due and not job.preview_failed:
            job.last_preview = now
            self._show(generation, self._preview, step)

    def _show(self, generation: Generation, preview: PreviewOf, step: Step) -> None:
        job = generation.job
        try:
            with torch.no_grad(), modes_kept():
                shown = preview(job.request, step.denoised)
            if shown is None:
                return
            pixels = shown.cpu().numpy()
        except Exception:
            LOGGER.exception("The preview of job %s failed.", job.id)
            job.preview_failed = True
            job.log.add(events.Notice(job=job.id, sentence="There is no preview of this picture; the log says why."))
            return
        job.log.add(events.Preview(job=job.id, picture=generation.index, step=step.at.step + 1, pixels=pixels))

    def _deliver(self, generation: Generation, picture: Picture) -> None:
        job = generation.job
        try:
            pixels = to_pixels(picture.pixels)
            maps = {name: to_map(each) for name, each in picture.maps.items()}
            request = job.request.picture(generation.index)
        except Exception as error:  # noqa: BLE001  the edge of a job
            self.fail(job, error)
            return
        generation.over = True
        job.delivered += 1
        job.log.add(events.Picture(
            job=job.id, picture=generation.index, pixels=pixels, request=request,
            batched=generation.batched, interrupted=generation.interrupted, computed=" + ".join(generation.computed), maps=maps,
            environment=environment(*generation.computed),
        ))
        self._leave(generation)
        self.end_if_done(job)

    def _leave(self, generation: Generation) -> None:
        if generation in generation.job.running:
            generation.job.running.remove(generation)


def to_pixels(picture: Tensor) -> Pixels:
    """uint8 [H, W, 3] on the host of a picture [3, H, W] in [0, 1]; `NotANumber` if it holds values that are not finite."""
    if picture.dim() != 3 or picture.shape[0] != 3:
        raise JobError(f"The decoded picture has the shape {list(picture.shape)}; expected three colours, height and width.")
    host = picture.detach().float().cpu()
    if not bool(torch.isfinite(host).all()):
        raise NotANumber("The decoded picture holds values that are not numbers. Try another seed or a lower scale.")
    pixels: Pixels = np.ascontiguousarray((host.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
    return pixels


def to_map(values: Tensor) -> NDArray[np.uint16]:
    """uint16 [H, W] on the host of a map [H, W] in [0, 1]; `NotANumber` if it holds values that are not finite."""
    host = values.detach().double().cpu()
    if host.dim() != 2 or not bool(torch.isfinite(host).all()):
        raise NotANumber("The depth map holds values that are not numbers; give another picture or another map.")
    return np.ascontiguousarray((host.clamp(0, 1) * 65535).round().numpy().astype(np.uint16))
