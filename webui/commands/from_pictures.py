"""What the commands that begin with pictures do: one job for each file, and a summary of what failed and why."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from webui.commands import making
from webui.commands.flags import add_flags
from webui.commands.making import Outcome, Stop
from webui.commands.tasks import Kept, parameters_of_task, pictures, read, read_task, unreadable
from webui.commands.terminal import STOPPED, Bar, Parser, duration, say, show
from webui.errors import StorageError, UserError, WebUIError, one_line, quoted
from webui.params import Params
from webui.request import InputFacts
from webui.service.given import among
from webui.tasks import TAKES

if TYPE_CHECKING:
    from webui.service.opening import Service

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif")  # of what is taken from a folder
SINGLE = {  # further inputs: flags and what they are
    "sketch": ("--sketch", "A picture with transparent parts, laid over the first one before anything else."),
    "mask": ("--mask", "What is made anew: white in an opaque picture, or what is drawn in one with transparent parts."),
    "depth": ("--depth-map", "A depth map to take instead of one of the picture; white is near. 8 or 16 bits."),
}
OPTIONAL = ("depth",)  # tasks that can do without a picture


@dataclass(kw_only=True)
class Batch:
    """What came of the files so far: the jobs, and what failed and why."""

    total: int
    outcomes: list[Outcome] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def code(self) -> int:
        """The exit code: of a single file its own, else whether any failed."""
        codes = [outcome.code for outcome in self.outcomes if outcome.code is not None]
        if STOPPED in codes:
            return STOPPED
        if self.total == 1 and codes:
            return codes[0]
        return making.FAILED if codes or self.failures else making.DONE


def main(task: str, description: str, arguments: list[str], root: Path) -> int:
    """Carry out a command; returns its exit code."""
    began = time.perf_counter()
    parser = Parser(task, description)
    cls = parameters_of_task(task, root)
    positional = add_arguments(parser, task, cls)
    options = parser.read(arguments)
    of_extensions: Kept = {}
    params = read_task(options, cls, positional, of_extensions)
    files = [Path(name) for name in [*(options.picture or []), *(getattr(options, "pictures", None) or [])]]
    paths = list(found(files))
    if not paths and task not in OPTIONAL:
        where = "" if task == "extras" else " after --picture"
        raise UserError(f"{task} needs a picture: name its file, such as photo.png{where}.")
    folder = making.output_folder(options, root)
    making.saving(options)  # what cannot be is told before the work
    kept: Kept = dict(of_extensions)
    others = {name: read(Path(given), kept) for name in SINGLE if (given := getattr(options, f"{name}_file", None)) is not None}
    others |= pictures(params, of_extensions)
    batch = making.run(
        options, root, lambda service, bar: make_all(service, bar, params, paths, others, kept, folder, options), among(kept)
    )
    return report(batch, time.perf_counter() - began, as_json=options.json)


def add_arguments(parser: Parser, task: str, cls: type[Params]) -> str:
    """Add the flags of a task; returns the name of the parameter that is given as words, "" where there is none."""
    positional = "" if task == "extras" else "prompt"
    add_flags(parser, cls, positional, optional=True)
    if not positional:
        parser.add_argument("pictures", nargs="*", metavar="FILE", help="Pictures to begin with, and folders of such.")
    parser.add_argument(
        "--picture", nargs="+", action="extend", metavar="FILE",
        help="The picture to begin with; several files, or a folder, make one result each.",
    )  # fmt: skip
    for name, (flag, words) in SINGLE.items():
        if name in TAKES[task]:
            parser.add_argument(flag, dest=f"{name}_file", metavar="FILE", help=words)
    if task == "depth":
        parser.add_argument("--save-map", action="store_true", help="Save the depth map next to each picture, 16 bits deep.")
    making.add_options(parser)
    return positional


def found(files: Sequence[Path]) -> Iterator[Path]:
    """The files, and those in folders by name; `UserError` where there is no such file."""
    for path in files:
        try:
            inside = sorted(each for each in path.iterdir() if _is_picture(each)) if path.is_dir() else None
            there = path.is_file()
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error
        if inside is None and not there:
            raise UserError(f"There is no picture file {quoted(str(path))}; put the prompt before --picture.")
        if inside is not None and not inside:
            raise UserError(f"The folder {quoted(str(path))} holds no pictures ({', '.join(SUFFIXES)}).")
        yield from [path] if inside is None else inside


def make_all(
    service: Service, bar: Bar, params: Params, paths: Sequence[Path], others: Mapping[str, InputFacts], kept: Kept,
    folder: Path, options: argparse.Namespace,
) -> Batch:  # fmt: skip
    """One job after the other; a file that fails does not keep the rest."""
    batch = Batch(total=max(len(paths), 1))
    with making.stopping() as stop:
        for number, path in enumerate(paths or [None]):
            before = f"{number + 1}/{batch.total} " if batch.total > 1 else ""
            try:
                _make_one(service, bar, params, path, others, kept, folder, options, batch, before, stop)
            except StorageError:
                raise
            except WebUIError as error:
                if batch.total == 1:
                    raise
                batch.failures.append((str(path), str(error)))
            if stop.pressed:
                break
    return batch


def _make_one(
    service: Service, bar: Bar, params: Params, path: Path | None, others: Mapping[str, InputFacts], kept: Kept,
    folder: Path, options: argparse.Namespace, batch: Batch, before: str, stop: Stop,
) -> None:  # fmt: skip
    for digest in kept.keys() - {each.digest for each in others.values()}:  # of the file before
        del kept[digest]
    own = {} if path is None else {"picture": read(path, kept)}
    request = service.resolver.request(params, {**own, **others})
    outcome = Outcome(
        request=request, folder=folder, source="" if path is None else str(path), before=before,
        content=kept[own["picture"].digest] if own else b"", save_map=getattr(options, "save_map", False),
        settings=making.saving(options),
    )  # fmt: skip
    batch.outcomes.append(outcome)
    making.make(service, outcome, bar, quiet=options.json, stop=stop)
    if outcome.code not in (None, STOPPED) and batch.total > 1:
        batch.failures.append((str(path), " ".join(outcome.notices)))


def report(batch: Batch, seconds: float, *, as_json: bool) -> int:
    """Say how it went; returns the exit code."""
    if batch.total == 1:
        return making.report(batch.outcomes[0], seconds, as_json=as_json)
    pictures = [picture for outcome in batch.outcomes for picture in outcome.pictures]
    failed = {name for name, _ in batch.failures}
    notices = [sentence for outcome in batch.outcomes if outcome.code is None for sentence in outcome.notices]
    for sentence in dict.fromkeys(notices):
        say(sentence)
    if as_json:
        show(json.dumps({
            "pictures": pictures, "failed": [{"file": name, "why": why} for name, why in batch.failures],
            "seconds": round(seconds, 3), "parameters": [outcome.request.to_dict() for outcome in batch.outcomes],
            "notices": notices,
        }, ensure_ascii=False))  # fmt: skip
    say(f"{len(pictures)} pictures of {batch.total} files in {duration(seconds)}; {len(failed) or 'none'} failed.")
    for why, names in _grouped(batch.failures):
        say(one_line(f"  {', '.join(names)}: {why}"))
    left = batch.total - len(batch.outcomes) - sum(name not in _begun(batch) for name in failed)
    if batch.code == STOPPED and left > 0:
        say(f"Stopped; {left} files were not begun.")
    return batch.code


def _begun(batch: Batch) -> set[str]:
    return {outcome.source for outcome in batch.outcomes}


def _grouped(failures: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """The files by why they failed, without their names in the sentences."""
    grouped: dict[str, list[str]] = {}
    for name, why in failures:
        grouped.setdefault(why.removeprefix(f"{Path(name).name}: "), []).append(name)
    return list(grouped.items())


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
