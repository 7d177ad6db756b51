"""The pictures in the making: one ask of one of them is answered at a turn, rows of many in one call. For one thread.

Whatever goes wrong is charged to the job it belongs to; `_failed` finds out whose a call is that raised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import torch

from webui.engine.batching import Waiting, choose, divide, pieces
from webui.engine.calls import Fits, Flight, begin, jobs_of
from webui.engine.checks import check
from webui.engine.driving import Driver
from webui.engine.events import Notice
from webui.engine.faults import ends_the_program, not_a_number, not_enough, out_of_memory, without_frames
from webui.engine.jobs import Generation, Job, Source
from webui.engine.limits import Limits
from webui.engine.modes import modes_kept
from webui.engine.networks import Networks
from webui.errors import OutOfMemory
from webui.pipeline.protocol import Ask, Call, Decode, Encode, EncodePicture, Gradient, Read, Rows, Step, Tell

MOST_LIGHT = 4  # asks of one picture that are answered in a row while rows of others wait
ASKS = 16  # asks of anybody that count as one call for rows where patience is counted; usually fewer lie between two calls
TRIES = 2  # of an ask that runs out of memory, the second with all of it
PURPOSES: Mapping[type, str] = MappingProxyType({
    Encode: "to read the prompt", EncodePicture: "to read a picture of this size", Decode: "to decode a picture of this size",
})


class Work:
    """Takes turns for `running` generations; `calls` counts the network calls for rows begun so far."""

    def __init__(self, networks: Networks, driver: Driver, limits: Limits) -> None:
        self.running: list[Generation] = []
        self.calls = 0
        self._networks = networks
        self._driver = driver
        self._limits = limits
        self._tickets = 0
        self._in_flight: deque[Flight] = deque()
        self._fits = Fits(limits.counts)

    def begin(self, job: Job, index: int, source: Source) -> None:
        """Begin a picture, up to its first ask."""
        generation = Generation(job=job, index=index, source=source)
        job.running.append(generation)
        self.running.append(generation)
        self._driver.begin(generation)
        self._asked(generation)

    def turn(self) -> bool:
        """Answer one ask that is for one picture alone, or begin one call for rows; False where nothing is asked."""
        light = self._light()
        if light is not None:
            self._answer(light)
        elif self.running:
            self._predict()
        else:
            return False
        return True

    def sweep(self) -> None:
        """Let go of generations that are over, and with the last of them of what only mattered while they ran."""
        self.running = [generation for generation in self.running if not generation.over]
        if not self.running:
            self._settle(0)
            self._fits.clear()

    def drop(self) -> None:
        """Forget everything: the jobs have been told that they failed."""
        self.running.clear()
        self._in_flight.clear()

    def _light(self) -> Generation | None:
        """Whose ask is to be answered by itself: who needs no swap and asked first; nobody goes on for ever while rows wait."""
        rows = [part for generation in self.running for part in generation.parts]
        waiting = [each for each in self.running if each.light and (not rows or each.answered < MOST_LIGHT)]
        first = min(waiting, key=lambda each: (self._swaps(each), each.asked), default=None)
        if first is not None and self._swaps(first) and any(self._ready(part) for part in rows):
            return None
        return first

    def _swaps(self, generation: Generation) -> bool:
        """Whether an answer would push out what others use, and has not been waited for long enough to be worth that.

        An ask of which not even that can be said is answered: what it then raises is its own job's failure.
        """
        waited = max(self.calls - generation.call, (self._tickets - generation.asked) // ASKS)
        if waited >= self._limits.patience:
            return False
        try:
            return not self._networks.holds(generation.ask)
        except Exception:  # noqa: BLE001  the edge of a job
            return False

    def _asked(self, generation: Generation) -> None:
        """Put what a generation asks for in line; a malformed ask fails its job here, before it meets others."""
        self._tickets += 1
        generation.asked, generation.call = self._tickets, self.calls
        if generation.over or not isinstance(generation.ask, Rows) or generation.light:
            return
        rows = generation.ask.rows
        fits = self._fits.known(self.calls)
        try:
            check(rows)
            whole = Waiting(
                generation=generation, job=generation.job, rows=rows, positions=tuple(range(len(rows))),
                ticket=self._tickets, call=self.calls, alone=generation.job.request.reproducible,
            )
            parts = divide(whole, self._limits.counts[-1])
            generation.parts = [piece for part in parts for piece in pieces(part, fits.get(part.key, len(part.rows)))]
        except Exception as error:  # noqa: BLE001  the edge of a job
            self._driver.fail(generation.job, error)

    def _send(self, generation: Generation, answer: object) -> None:
        self._driver.send(generation, answer)
        self._asked(generation)

    # Asks for one picture alone.

    def _answer(self, generation: Generation) -> None:
        """Answer an ask that is for one picture alone; where memory does not suffice, once more with all of it."""
        ask = generation.ask
        assert ask is not None
        generation.answered += 1
        self._settle(0)
        for left in reversed(range(TRIES)):
            if generation.over:
                return
            try:
                with torch.no_grad(), modes_kept():
                    answer = self._carry_out(ask)
                notices = self._networks.notices()
            except BaseException as error:
                if ends_the_program(error):
                    raise
                self._unanswered(generation, ask, error, left)
            else:
                for sentence in notices:
                    generation.job.log.add(Notice(job=generation.job.id, sentence=sentence))
                self._send(generation, answer)
                return

    def _unanswered(self, generation: Generation, ask: Ask, error: BaseException, left: int) -> None:
        if out_of_memory(error):
            without_frames(error)
            self._networks.free()
            if left:
                return
            purpose = PURPOSES.get(type(ask), "for a step of this job")
            error = OutOfMemory(f"There is not enough memory {purpose}; use a smaller picture.")
        self._driver.fail(generation.job, error)

    def _carry_out(self, ask: Ask) -> object:
        match ask:
            case Rows():
                return ()  # of no rows
            case Step() | Tell():
                return None
            case Encode():
                return self._networks.encode(ask)
            case EncodePicture():
                return self._networks.encode_picture(ask)
            case Decode():
                return self._networks.decode(ask)
            case Call():
                return self._networks.call(ask)
            case Read():
                return ask.tensor.cpu()
            case Gradient():
                with torch.enable_grad():
                    x = ask.x.detach().requires_grad_()
                    return torch.autograd.grad(ask.function(x), x)[0]

    # Calls for rows.

    def _predict(self) -> None:
        """Begin the next call for rows and hand its predictions to the generations they complete."""
        ready = {part: self._ready(part) for generation in self.running for part in generation.parts}
        waiting = [part for part in ready if not part.generation.over]
        if not waiting:
            return
        limits, fits = self._limits, self._fits.known(self.calls)
        chosen = choose(
            waiting, calls=self.calls, ready=ready.__getitem__, most=limits.counts[-1], fits=fits, patience=limits.patience
        )
        self.calls += 1
        for generation in self.running:
            generation.answered = 0
        try:
            flight = begin(chosen, self._networks, limits.counts)
            finite = flight.predicted.finite() if limits.in_flight == 1 else None
        except BaseException as error:
            if ends_the_program(error):
                raise
            self._failed(chosen, error)
            return
        if finite is None:
            self._in_flight.append(flight)
            self._settle(limits.in_flight - 1)
        else:
            self._judge(flight, finite)
        for part, rows in flight.shares():
            self._hand_over(part, rows, flight)

    def _ready(self, part: Waiting) -> bool:
        """Whether a part needs no swap of weights; one about which not even that can be said fails its job."""
        try:
            return self._networks.ready(part.rows[0])
        except Exception as error:  # noqa: BLE001  the edge of a job
            self._driver.fail(part.job, error)
            return False

    def _failed(self, parts: Sequence[Waiting], error: BaseException) -> None:
        """Try again what a call could not do, in later turns: without memory in smaller calls, else job by job.

        So people are heard in between, and what fails alone is its own job's failure.
        """
        key = parts[0].key
        if out_of_memory(error):
            without_frames(error)
            self._networks.free()
            rows = sum(len(part.rows) for part in parts)
            if rows > 1:
                most = self._fits.learn(key, rows, self.calls)
                for generation in self.running:
                    generation.parts = [
                        piece for part in generation.parts for piece in (pieces(part, most) if part.key == key else (part,))
                    ]
                return
            self._fits.forget(key)  # what does not fit at all says nothing about the others
            error = not_enough(parts[0])
        jobs = jobs_of(parts)
        if len(jobs) == 1:
            self._driver.fail(jobs[0], error)
            return
        for part in parts:
            own = part.generation.parts
            own[own.index(part)] = replace(part, apart=True)

    def _settle(self, most: int) -> None:
        """Wait until at most `most` calls are in flight.

        Their answers are in use by now: where the device says only here that a call went wrong, all who shared it fail.
        """
        while len(self._in_flight) > most:
            flight = self._in_flight.popleft()
            try:
                self._judge(flight, flight.predicted.finite())
            except BaseException as error:
                if ends_the_program(error):
                    raise
                for part in flight.parts:
                    self._driver.fail(part.job, not_enough(part) if out_of_memory(error) else error)

    def _judge(self, flight: Flight, finite: Sequence[bool]) -> None:
        """Fail the jobs whose predictions are not finite."""
        for part, rows in flight.shares():
            if not all(finite[rows]):
                self._driver.fail(part.job, not_a_number(part))

    def _hand_over(self, part: Waiting, rows: slice, flight: Flight) -> None:
        generation: Generation = part.generation
        if generation.over:
            return
        generation.batched = generation.batched or flight.batched
        generation.computed[flight.predicted.by] = None
        complete = generation.answer(part, flight.predicted.rows[rows])
        if complete is not None:
            self._send(generation, complete)
