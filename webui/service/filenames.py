"""What a picture's file is called: a pattern of words in brackets, filled in, and made a name that every system takes.

    [date]/[seed]-[prompt_words]   ->   2026-11-21/7-a red ball on a table

What is filled in can be nothing but a part of a name: it never begins a folder, leaves one, or hides a file.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import PurePath
from typing import Any
from zoneinfo import ZoneInfo

from webui.request import SHORT_HASH, Request

TOKEN = re.compile(r"\[([a-z_]{1,40})((?:<[^<>\[\]]{0,100}>){0,8})\]")
ARGUMENT = re.compile(r"<([^<>]*)>")
SEPARATORS = re.compile(r"[/\\]")
FORBIDDEN = re.compile(r'[<>:"|?*#/\\]')  # somewhere, or in links
RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])", re.IGNORECASE)  # on Windows, whatever follows
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # kinds of signs that no name has
LONGEST_FOLDER, LONGEST_NAME = 40, 100  # bytes; Windows takes 260 signs for a whole path
LONGEST_VALUE = 100  # characters of what is filled in
DEEPEST = 3  # folders
WORDS = 8  # of a prompt
HASH = 8  # digits
DAY, MOMENT = "%Y-%m-%d", "%Y%m%d%H%M%S"
LONGEST_FORMAT = 60
LOWEST_TIME, HIGHEST_TIME = 0.0, 4_102_444_800.0  # seconds: 1970 and 2100


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a name is made of: the `picture`'s request and the whole `job`'s, its number in it from 0, and its pixels.

    `now` and `begun` are in seconds; `zone` is the one that times are told in, None for the machine's.
    """

    picture: Request
    job: Request
    place: int
    seed: int
    pixels: Any
    now: float
    begun: float
    user: str = ""
    zone: tzinfo | None = None


def name_of(pattern: str, facts: Facts) -> str:
    """The name behind the number, without a suffix and with `/` between folders; "" for the number alone."""
    *folders, last = SEPARATORS.split(_filled(pattern, facts))
    plain = [each for each in (_part(folder, LONGEST_FOLDER) for folder in folders) if each]
    return "/".join([*plain[:DEEPEST], _part(last, LONGEST_NAME)])


def _filled(pattern: str, facts: Facts) -> str:
    """The pattern with its words filled in; what stands before one that says nothing is left out too."""
    found, at = "", 0
    for match in TOKEN.finditer(pattern):
        before, at = pattern[at : match.start()], match.end()
        value = VALUES.get(match[1])
        if value is None:
            found += before + match[0]
            continue
        said = value(facts, ARGUMENT.findall(match[2]))
        found += before[: len(before) - len(SEPARATORS.split(before)[-1])] if said is None else before + _plain(said)
    return found + pattern[at:]


def _plain(value: str) -> str:
    """What is filled in, without what separates folders."""
    return FORBIDDEN.sub("_", value)[:LONGEST_VALUE].strip()


def _part(text: str, longest: int) -> str:
    """A name that Windows, macOS and Linux all take; "" where nothing is left of it."""
    plain = unicodedata.normalize("NFC", "".join(" " if each in "\t\r\n" else each for each in text))
    plain = "".join(each for each in plain if unicodedata.category(each) not in UNSEEN)
    plain = FORBIDDEN.sub("_", plain).encode()[:longest].decode(errors="ignore").strip(" .")
    return f"_{plain}" if RESERVED.fullmatch(plain.partition(".")[0].strip()) else plain


def _time(seconds: float, zone: tzinfo | None, arguments: list[str], usual: str) -> str:
    written = arguments[0][:LONGEST_FORMAT] if arguments and arguments[0] else usual
    try:
        zone = ZoneInfo(arguments[1]) if len(arguments) > 1 else zone
    except (ValueError, OSError, KeyError):  # there is none of that name
        zone = UTC
    moment = datetime.fromtimestamp(min(max(seconds, LOWEST_TIME), HIGHEST_TIME), zone or UTC)
    moment = moment if zone is not None else moment.astimezone()
    try:
        return moment.strftime(written)
    except ValueError:
        return moment.strftime(usual)


def _digits(text: str | bytes, arguments: list[str], usual: int) -> str:
    content = text.encode(errors="replace") if isinstance(text, str) else text
    count = int(arguments[0]) if arguments and arguments[0].isdecimal() and len(arguments[0]) < 4 else usual
    return hashlib.sha256(content).hexdigest()[:count]


def _words(prompt: str) -> str:
    return " ".join(re.findall(r"\w+", prompt)[:WORDS]) or "empty"


def _has(facts: Facts, arguments: list[str]) -> str | None:
    """Each word that occurs in the prompt, else what stands behind its bar."""
    found = ""
    for each in arguments:
        word, _, otherwise = each.partition("|")
        found += word if word and word.casefold() in facts.picture.prompt.casefold() else otherwise
    return found or None


def _stem(name: str) -> str:
    return PurePath(name.replace("\\", "/")).name.removesuffix(".safetensors").removesuffix(".ckpt").removesuffix(".pt")


def _denoising(facts: Facts) -> str | None:
    second = facts.picture.hires.get("strength")
    own = facts.picture.strength if facts.picture.inputs.get("picture") and facts.picture.task != "extras" else second
    return None if own is None else f"{own:g}"


def _counted(number: int, facts: Facts) -> str | None:
    """A number where there are several."""
    return None if facts.job.count == 1 else str(number)


Value = Callable[[Facts, list[str]], str | None]
VALUES: Mapping[str, Value] = {
    "seed": lambda facts, _: str(facts.seed),
    "seed_first": lambda facts, _: str(facts.job.seed),
    "seed_last": lambda facts, _: str(facts.job.picture(facts.job.count - 1).seed),
    "steps": lambda facts, _: str(facts.picture.steps),
    "cfg": lambda facts, _: f"{facts.picture.scale:g}",
    "width": lambda facts, _: str(facts.pixels.shape[1]),
    "height": lambda facts, _: str(facts.pixels.shape[0]),
    "styles": lambda *_: "None",  # they are part of the prompt by the time there is a job
    "sampler": lambda facts, _: facts.picture.sampler,
    "scheduler": lambda facts, _: facts.picture.schedule,
    "sampler_scheduler": lambda facts, _: f"{facts.picture.sampler} {facts.picture.schedule}",
    "model_hash": lambda facts, _: facts.picture.model_hash[:SHORT_HASH],
    "model_name": lambda facts, _: _stem(facts.picture.model),
    "date": lambda facts, _: _time(facts.now, facts.zone, [], DAY),
    "datetime": lambda facts, given: _time(facts.now, facts.zone, given, MOMENT),
    "job_timestamp": lambda facts, _: _time(facts.begun, facts.zone, [], MOMENT),
    "prompt_hash": lambda facts, given: _digits(facts.picture.prompt, given, HASH),
    "negative_prompt_hash": lambda facts, given: _digits(facts.picture.negative, given, HASH),
    "full_prompt_hash": lambda facts, given: _digits(f"{facts.picture.prompt} {facts.picture.negative}", given, HASH),
    "prompt": lambda facts, _: "_".join(facts.picture.prompt.split()),
    "prompt_no_styles": lambda facts, _: "_".join(facts.picture.prompt.split()),
    "prompt_spaces": lambda facts, _: " ".join(facts.picture.prompt.split()),
    "prompt_words": lambda facts, _: _words(facts.picture.prompt),
    "batch_number": lambda facts, _: _counted(facts.place + 1, facts),
    "batch_size": lambda facts, _: str(facts.job.count),
    "generation_number": lambda facts, _: _counted(facts.place + 1, facts),
    "hasprompt": _has,
    "clip_skip": lambda facts, _: None if facts.picture.clip_skip is None else str(facts.picture.clip_skip),
    "denoising": lambda facts, _: _denoising(facts),
    "user": lambda facts, _: facts.user or None,
    "vae_filename": lambda facts, _: _stem(facts.picture.vae) or "None",
    "none": lambda *_: None,
    "image_hash": lambda facts, given: _digits(facts.pixels.tobytes(), given, 64),
    "basename": lambda *_: None,  # uploads are kept by what is in them, not by their names
}
"""By the words of A1111's UI; None is nothing, which takes what stands before it away too."""
