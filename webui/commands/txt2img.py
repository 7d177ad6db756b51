"""`launch.py txt2img "a red ball"`: pictures from text. Whatever can be refused is refused before torch is imported."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from webui.commands.flags import add_flags, read_flags
from webui.commands.terminal import STOPPED, Bar, Parser, duration, end_at_once, progress_line, say, show
from webui.errors import StorageError
from webui.params import Txt2Img
from webui.request import Request
from webui.service.folders import CACHE, OUTPUTS
from webui.service.gallery import check_folder, save, text_of
from webui.service.logs import LOG, logging_to

if TYPE_CHECKING:
    from webui.engine.events import Event, Picture
    from webui.service.opening import Service

DESCRIPTION = """Make pictures from a description with the built-in model, or another one.

  launch.py txt2img "a red ball on a wooden table" --count 4 --seed 1

Prints the path of each picture. Ctrl+C ends early and keeps what there is; a second one ends at once."""
LOOK_SECONDS = 0.1  # between looks whether Ctrl+C was pressed
DONE, FAILED, WRONG = 0, 1, 2


@dataclass(kw_only=True)
class Outcome:
    """What came of a job so far."""

    request: Request
    folder: Path
    pictures: list[dict[str, Any]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    steps: dict[int, int] = field(default_factory=dict)  # done, by picture
    code: int | None = None


class Stop:
    """Whether Ctrl+C was pressed."""

    pressed = False


def main(arguments: list[str], root: Path) -> int:
    """Carry out the command; returns its exit code."""
    began = time.perf_counter()
    parser = Parser("txt2img", DESCRIPTION)
    add_flags(parser, Txt2Img, "prompt")
    parser.add_argument("--output", metavar="FOLDER", type=Path, help="Where pictures go. Default: outputs/txt2img here.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object instead of paths.")
    parser.add_argument("--memory", type=int, default=0, metavar="MB", help="What models may take. Default: what is sensible.")
    parser.add_argument("--exact", action="store_true", help="Compute in float32 on the CPU: slower, and most alike everywhere.")
    options = parser.read(arguments)
    params = read_flags(options, Txt2Img, "prompt")
    folder = options.output if options.output is not None else root / OUTPUTS
    check_folder(folder)
    bar = Bar()
    bar.show("Starting ...")
    try:
        from webui.service.opening import open_engine  # imports torch, which takes seconds

        memory = max(options.memory, 0)
        with (
            logging_to(root / CACHE / LOG),
            open_engine(root, paths=True, exact=options.exact, memory_megabytes=memory) as service,
        ):
            outcome = Outcome(request=service.request(params), folder=folder)
            try:
                follow(service, outcome, bar, quiet=options.json)
            except StorageError as error:  # what was saved before is told all the same
                outcome.notices.append(str(error))
                outcome.code = FAILED
    except KeyboardInterrupt:  # pressed twice, or before there was anything to keep; Python's end would wait for the engine
        bar.clear()
        end_at_once()
    finally:
        bar.clear()
    report(outcome, time.perf_counter() - began, as_json=options.json)
    return DONE if outcome.code is None else outcome.code


def follow(service: Service, outcome: Outcome, bar: Bar, *, quiet: bool) -> None:
    """Submit the request and take in its events until the last."""
    from webui.engine.events import LAST

    bar.show(f"Loading {outcome.request.model} ...")
    job = service.engine.submit(outcome.request)
    with service.engine.events(job) as events, stopping() as stop:
        told = False
        while True:
            if stop.pressed and not told:
                told = True
                service.engine.interrupt(job)
                bar.clear()
                say("Stopping; what there is will be kept. Press Ctrl+C again to end at once.")
            event = events.next(timeout=LOOK_SECONDS)
            if event is None:
                continue
            take_in(event, outcome, bar, quiet=quiet)
            if isinstance(event, LAST):
                return


def take_in(event: Event, outcome: Outcome, bar: Bar, *, quiet: bool) -> None:
    """Act on one event."""
    from webui.engine import events

    match event:
        case events.Progress():
            outcome.steps[event.picture] = event.step
            total = outcome.request.count * (event.steps or outcome.request.steps)
            bar.show(progress_line(sum(outcome.steps.values()), total, event.seconds_left))
        case events.Picture():
            bar.clear()
            keep(event, outcome)
            if not quiet:
                show(outcome.pictures[-1]["path"])
        case events.Notice():
            outcome.notices.append(event.sentence)
        case events.Failed():
            outcome.notices.append(event.sentence)
            outcome.code = WRONG if event.by_request else FAILED
        case events.Interrupted() | events.Cancelled():
            outcome.notices.append(f"Stopped; {len(outcome.pictures)} of {outcome.request.count} pictures were kept.")
            outcome.code = STOPPED


def keep(event: Picture, outcome: Outcome) -> None:
    """Save a picture; where its folder fails it is kept elsewhere, and the command ends as failed."""
    request: Request = event.request
    text = text_of(request, batched=event.batched, interrupted=event.interrupted, computed=event.computed)
    saved = save(outcome.folder, event.pixels, request.seed, text)
    if saved.notice:
        outcome.notices.append(saved.notice)
        outcome.code = FAILED
    outcome.pictures.append(
        {"path": str(saved.path), "seed": request.seed, "interrupted": event.interrupted, "shared_calls": event.batched}
    )


def report(outcome: Outcome, seconds: float, *, as_json: bool) -> None:
    """Say how it went."""
    for sentence in outcome.notices:
        say(sentence)
    if as_json:
        parameters = outcome.request.to_dict()
        show(json.dumps({
            "pictures": outcome.pictures, "seconds": round(seconds, 3), "parameters": parameters, "notices": outcome.notices,
        }, ensure_ascii=False))  # fmt: skip
    elif outcome.code is None:
        count = len(outcome.pictures)
        say(f"{count} picture{'s' if count != 1 else ''} in {duration(seconds)}.")


@contextmanager
def stopping() -> Iterator[Stop]:
    """Take the first Ctrl+C as a wish to end early, and the second as it always is: KeyboardInterrupt."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def pressed(_signal: int, _frame: FrameType | None) -> None:
        if stop.pressed:
            raise KeyboardInterrupt
        stop.pressed = True

    before = signal.signal(signal.SIGINT, pressed)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
