"""What all commands that make pictures do: options, following a job's events, keeping its pictures, telling how it went."""

from __future__ import annotations

import argparse
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from webui.commands.tasks import extensions_of
from webui.commands.terminal import STOPPED, Bar, duration, end_at_once, progress_line, say, show
from webui.errors import StorageError
from webui.params import parameters
from webui.request import Request
from webui.service.extensions import Extensions
from webui.service.filenames import Facts, name_of
from webui.service.folders import CACHE, OUTPUTS
from webui.service.gallery import Form, check_folder, loses, save
from webui.service.given import OpenInput, among
from webui.service.keeping import digest_of, encoded_map
from webui.service.logs import LOG, logging_to
from webui.service.picture_texts import seed_said, source_text, text_of, with_pixels
from webui.settings import Settings

if TYPE_CHECKING:
    from webui.engine.events import Event, Picture
    from webui.service.opening import Service

LOOK_SECONDS = 0.1  # between looks whether Ctrl+C was pressed
DONE, FAILED, WRONG = 0, 1, 2
SAVING = {"save_format": "--format", "save_quality": "--quality", "filename_pattern": "--name"}  # settings, by their flags
T = TypeVar("T")


@dataclass(kw_only=True)
class Outcome:
    """What came of a job so far; `source` is the file of the picture it begins with, and `content` what is in it."""

    request: Request
    folder: Path
    source: str = ""
    content: bytes = b""
    save_map: bool = False
    settings: Settings = field(default_factory=Settings)  # what pictures are kept as
    extensions: Extensions = field(default_factory=Extensions)  # that may have had a part
    before: str = ""  # in front of what is told of its progress
    pictures: list[dict[str, Any]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.time)
    steps: dict[int, int] = field(default_factory=dict)  # done, by picture
    code: int | None = None


class Stop:
    """Whether Ctrl+C was pressed."""

    pressed = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is no parameter of a picture."""
    parser.add_argument("--output", metavar="FOLDER", type=Path, help="Where pictures go. Default: outputs/txt2img here.")
    for name, flag in SAVING.items():
        parameter = parameters(Settings)[name]
        words = f"{parameter.help} Default: {parameter.default}."
        parser.add_argument(flag, metavar="N" if parameter.kind is int else "TEXT", help=words)
    parser.add_argument("--json", action="store_true", help="Print one JSON object instead of paths.")
    parser.add_argument("--memory", type=int, default=0, metavar="MB", help="What models may take. Default: what is sensible.")
    parser.add_argument("--exact", action="store_true", help="Compute in float32 on the CPU: slower, and most alike everywhere.")


def saving(options: argparse.Namespace) -> Settings:
    """What pictures are kept as; `UserError` where that cannot be."""
    given = {name: getattr(options, flag.removeprefix("--")) for name, flag in SAVING.items()}
    return Settings.read({name: value for name, value in given.items() if value is not None})


def output_folder(options: argparse.Namespace, root: Path) -> Path:
    """Where pictures go; `UserError` where nothing can be written there."""
    folder: Path = options.output if options.output is not None else root / OUTPUTS
    check_folder(folder)
    return folder


def run(
    options: argparse.Namespace, root: Path, work: Callable[[Service, Bar], T], open_input: OpenInput | None = None
) -> T:
    """Open the engine for `work`; who presses Ctrl+C twice leaves at once."""
    bar = Bar()
    bar.show("Starting ...")
    try:
        from webui.service.opening import open_engine  # imports torch, which takes seconds

        memory = max(options.memory, 0)
        brought = among({}) if open_input is None else open_input
        with (
            logging_to(root / CACHE / LOG),
            open_engine(
                root, paths=True, exact=options.exact, memory_megabytes=memory, open_input=brought,
                extensions=extensions_of(root),
            ) as service,
        ):
            return work(service, bar)
    except KeyboardInterrupt:  # pressed twice, or before there was anything to keep; Python's end would wait for the engine
        bar.clear()
        end_at_once()
    finally:
        bar.clear()


def make(service: Service, outcome: Outcome, bar: Bar, *, quiet: bool, stop: Stop | None = None) -> Outcome:
    """Carry out a request; a disk that fails is told with what was saved before."""
    outcome.extensions = service.resolver.extensions
    try:
        follow(service, outcome, bar, quiet=quiet, stop=stop)
    except StorageError as error:
        outcome.notices.append(str(error))
        outcome.code = FAILED
    return outcome


def follow(service: Service, outcome: Outcome, bar: Bar, *, quiet: bool, stop: Stop | None = None) -> None:
    """Submit the request and take in its events until the last."""
    from webui.engine.events import LAST

    bar.show(f"{outcome.before}Loading {outcome.request.model} ..." if outcome.request.model else outcome.before)
    job = service.engine.submit(outcome.request)
    with service.engine.events(job) as events, stopping() if stop is None else nullcontext(stop) as pressed:
        told = False
        while True:
            if pressed.pressed and not told:
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
            bar.show(outcome.before + progress_line(sum(outcome.steps.values()), total, event.seconds_left))
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
    maps = {name: encoded_map(values) for name, values in event.maps.items()}
    digests = {name: digest_of(content) for name, content in maps.items()}
    source = source_text(outcome.content) if request.task == "extras" else ""
    text = text_of(
        request, batched=event.batched, interrupted=event.interrupted, computed=event.computed, maps=digests, source=source,
        environment=event.environment, extensions=outcome.extensions,
    )  # fmt: skip
    seed, settings = seed_said(request, text), outcome.settings
    name = name_of(settings.filename_pattern, Facts(
        picture=request, job=outcome.request, place=event.picture, seed=seed, pixels=event.pixels, now=time.time(),
        begun=outcome.begun,
    ))  # fmt: skip
    form = Form(format=settings.save_format, quality=settings.save_quality, name=name)
    saved = save(outcome.folder, event.pixels, seed, with_pixels(text, event.pixels) if loses(form) else text, form=form)
    outcome.notices += [saved.remark] if saved.remark else []
    if saved.notice:
        outcome.notices.append(saved.notice)
        outcome.code = FAILED
    picture = {
        "path": str(saved.path), "seed": request.seed, "interrupted": event.interrupted, "shared_calls": event.batched
    }  # fmt: skip
    picture |= {"source": outcome.source} if outcome.source else {}
    outcome.pictures.append(picture)
    if outcome.save_map:
        for name, content in maps.items():
            picture[name] = str(beside(saved.path, name, content))


def beside(path: Path, name: str, content: bytes) -> Path:
    """Write a map next to its picture; returns its path."""
    target = path.with_name(f"{path.stem}-{name}.png")
    try:
        target.write_bytes(content)
    except OSError as error:
        raise StorageError(f"{target} could not be written ({error.strerror}); make room and try again.") from error
    return target


def report(outcome: Outcome, seconds: float, *, as_json: bool) -> int:
    """Say how it went; returns the exit code."""
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
    return DONE if outcome.code is None else outcome.code


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
