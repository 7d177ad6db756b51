"""`launch.py replay PICTURE`: a picture made again from its own text, and whether it is the same."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from webui.commands import making
from webui.commands.from_pictures import SINGLE
from webui.commands.tasks import read, unreadable
from webui.commands.terminal import STOPPED, Bar, Parser, duration, say, show
from webui.errors import StorageError, UserError, WebUIError, one_line, quoted
from webui.metadata import reading
from webui.request import InputFacts
from webui.service.decoding import FAILURES, facts_of
from webui.service.folders import DATA
from webui.service.gallery import read_text
from webui.service.given import FOLDER, OpenInput, among, stored
from webui.service.inputs import LARGEST
from webui.service.replaying import Verdict, request_of, verdict

if TYPE_CHECKING:
    from webui.service.opening import Service

DESCRIPTION = """Make pictures again from the text in their own files, of this program or of another one.

  launch.py replay outputs/txt2img/00012-7.png --verify

With --verify nothing is kept; what is printed is `identical`, or how far the two are apart (PSNR in dB) and what of the
environment differs. Files that lose pixels (JPEG, WebP, AVIF) say what these were, so that they can be verified too.

Exit codes: 0 made (with --verify: all are identical), 1 it failed, 2 the command or a picture's text cannot be carried out,
3 at least one picture differs (--verify), 130 stopped by Ctrl+C."""
DIFFERS = 3
LOSSLESS = ("PNG",)
HEXADECIMAL = frozenset("0123456789abcdef")
SHORTEST = 6  # digits of a hash by which a file is looked for


def main(arguments: list[str], root: Path) -> int:
    """Carry out the command; returns its exit code."""
    began = time.perf_counter()
    parser = Parser("replay", DESCRIPTION)
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="The files of the pictures to make again.")
    parser.add_argument("--verify", action="store_true", help="Say whether they come out the same, and keep nothing.")
    parser.add_argument("--picture", dest="picture_file", metavar="FILE", help="What they were made of, if it is not kept here.")
    for name, (flag, _) in SINGLE.items():
        parser.add_argument(flag, dest=f"{name}_file", metavar="FILE", help=f"The {name} they were made with, likewise.")
    parser.add_argument(
        "--input", action="append", default=[], metavar="FILE", help="A picture that an extension was given, likewise."
    )
    making.add_options(parser)
    options = parser.read(arguments)
    making.saving(options)
    texts = {path: text_of(path) for path in map(Path, options.pictures)}
    kept: dict[str, bytes] = {}
    given = {name: read(Path(file), kept) for name in ("picture", *SINGLE) if (file := getattr(options, f"{name}_file"))}
    further = [read(Path(file), kept) for file in options.input]
    opened = either(among(kept), stored(root))
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside) if options.verify else making.output_folder(options, root)
        results = making.run(
            options, root,
            lambda service, bar: replay_all(service, bar, texts, finder(root, given, further), opened, folder, options), opened,
        )  # fmt: skip
    return report(results, options, time.perf_counter() - began)


def text_of(path: Path) -> str:
    """The text of a picture's file; `UserError` where there is none."""
    text = read_text(path)
    if not text:
        raise UserError(f"{quoted(str(path))} holds no parameters; only pictures that do can be made again.")
    return text


def finder(
    root: Path, given: dict[str, InputFacts], further: Sequence[InputFacts] = ()
) -> Callable[[str, str], InputFacts | None]:
    """Looks for a picture that another was made of: what was given by its name, else what is known by its hash."""

    def find(name: str, digits: str) -> InputFacts | None:
        if name in given:
            if not given[name].digest.startswith(digits):
                raise UserError(f"The {name} that was given is another one than it was made of, whose hash begins with {digits}.")
            return given[name]
        if len(digits) < SHORTEST or not set(digits) <= HEXADECIMAL:
            return None
        for facts in further:
            if facts.digest.startswith(digits):
                return facts
        for path in sorted((root / DATA / FOLDER / digits[:2]).glob(f"{digits}*")):
            return facts_of(path.name, path.read_bytes())
        return None

    return find


def either(first: OpenInput, second: OpenInput) -> OpenInput:
    """The bytes of a picture from where it is first found."""

    def opened(digest: str) -> bytes:
        try:
            return first(digest)
        except UserError:
            return second(digest)

    return opened


def replay_all(
    service: Service, bar: Bar, texts: dict[Path, str], find: Callable[[str, str], InputFacts | None], opened: OpenInput,
    folder: Path, options: argparse.Namespace,
) -> list[dict[str, Any]]:  # fmt: skip
    """One picture after the other; one that cannot be made again does not keep the rest."""
    results: list[dict[str, Any]] = []
    with making.stopping() as stop:
        for path, text in texts.items():
            result: dict[str, Any] = {"source": str(path)}
            results.append(result)
            try:
                request = request_of(text, service.resolver, find)
                content = opened(request.inputs["picture"]) if request.task == "extras" else b""
                outcome = making.Outcome(request=request, folder=folder, content=content, settings=settings_of(options))
                making.make(service, outcome, bar, quiet=True, stop=stop)
                result |= {"code": outcome.code, "notices": outcome.notices}
                if outcome.pictures:
                    again = Path(outcome.pictures[0]["path"])
                    found = compared(path, again, text)
                    result |= {"identical": found.identical, "psnr": found.psnr, "differences": list(found.differences)}
                    result |= {"sentence": found.sentence} | ({} if options.verify else {"path": str(again)})
            except StorageError:
                raise
            except WebUIError as error:
                result |= {"code": making.WRONG if isinstance(error, UserError) else making.FAILED, "notices": [str(error)]}
            if stop.pressed:
                break
    return results


def settings_of(options: argparse.Namespace) -> Any:
    """What pictures are kept as: to be compared, with all their pixels."""
    settings = making.saving(options)
    return replace(settings, save_format="PNG") if options.verify else settings


def compared(path: Path, again: Path, text: str) -> Verdict:
    """How a picture's file and that of the one made again compare."""
    found = reading.read(path.read_bytes()[:LARGEST], pixels=False)
    lossless = found.format in LOSSLESS
    return verdict(pixels_of(path), pixels_of(again), (text, read_text(again)), lossless=lossless)


def pixels_of(path: Path) -> Any:
    """The pixels of a file, uint8 [H, W, 3]."""
    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP", "AVIF")) as picture:
            return np.asarray(picture.convert("RGB"))
    except FAILURES as error:
        raise unreadable(path, error) from error


def report(results: list[dict[str, Any]], options: argparse.Namespace, seconds: float) -> int:
    """Say how it went; returns the exit code."""
    codes = [result["code"] for result in results if result.get("code") is not None]
    if options.json:
        plain = [{name: value for name, value in result.items() if name not in ("code", "sentence")} for result in results]
        show(json.dumps({"pictures": plain, "seconds": round(seconds, 3)}, ensure_ascii=False))
    for result in results:
        for sentence in result.get("notices", ()):
            say(one_line(f"{result['source']}: {sentence}"))
        if not options.json and "sentence" in result:
            show(one_line(f"{result['source']}: {result['sentence']}") if options.verify else result["path"])
        if not options.verify and "sentence" in result:
            say(one_line(f"{result['source']}: {result['sentence']}"))
    say(f"{sum('sentence' in result for result in results)} of {len(options.pictures)} pictures in {duration(seconds)}.")
    if codes:
        return STOPPED if STOPPED in codes else making.FAILED if making.FAILED in codes else making.WRONG
    return DIFFERS if options.verify and not all(result.get("identical") for result in results) else making.DONE
