"""A picture's parameters as the community writes them into its file, and back.

    a red ball on a table
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5, Seed: 1, Size: 128x128, Model: builtin, RNG: CPU, ...

The last line holds the values; one that has a comma, colon or newline is quoted as JSON. The form has no way to say that a
prompt itself begins a line with "Negative prompt:", or ends with spaces; such a text is written once more among the values.
Which values there are, and how each is written, is said where the parameters are defined; what a text means by what it leaves
out, by old names, or by its version, is said in `webui.conventions`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from webui import __version__, conventions
from webui.drawing import Txt2Img
from webui.params import NONE, Params, parameters

PNG_KEY = "parameters"  # of the PNG text chunk
# With a name before the number: readers take a bare "v0.1" for an old version of the first such program, with its habits.
VERSION = f"ssd-webui {__version__}"
NEGATIVE = "Negative prompt:"
EXACT = {"prompt": "Exact prompt", "negative": "Exact negative prompt"}
FEWEST_VALUES = 3  # in a line for it to be the values' and not the prompt's
FIRST = "Steps: "  # what the values begin with, in a text that goes on behind them
MOST_LINES = 200  # behind the values
MOST_GUESSES = 1000  # of values that look like JSON and are none
MOST_PIECES = 20_000  # between commas, of the values' line
KEY = re.compile(r"\w[\w \-/]*")
NOT_KEY = re.compile(r"[^\w \-/]")
SPACE = re.compile(r"\s*")
TAIL = re.compile(r"(\w[\w \-/]{0,60}): ?(.*)")
JSON = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
SIDE = re.compile(r"(.+)-([12])")
TWO_NUMBERS = re.compile(r"(-?\d+)x(-?\d+)")
NEEDS_QUOTES = re.compile(r'[,:\x00-\x1f\x7f-\x9f\u2028\u2029]|^[\s"]|\s$|^$')


@dataclass(frozen=True, kw_only=True)
class Infotext:
    """What a picture's text says: the prompts, and the values of its last line by key, as text and in order."""

    prompt: str = ""
    negative: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


def write(
    params: Params, extra: Mapping[str, str] | None = None, version: str = VERSION, before: Infotext | None = None
) -> str:
    """The text of a picture made with `params` and `extra` values, in the community's order, the version last.

    `before` is what the text of the picture it was made of says: its prompts and values stay where `params` have none.
    """
    kept = before.values if before else {}
    values = {**kept, **dict(sorted((encoded(params) | dict(extra or {})).items(), key=lambda each: conventions.place(each[0])))}
    values = {**{key: value for key, value in values.items() if key != "Version"}, "Version": version}
    return compose(Infotext(**{name: str(getattr(params, name, getattr(before, name, ""))) for name in EXACT}, values=values))


def compose(info: Infotext) -> str:
    """The text that says it; a prompt that the form cannot hold is written once more among the values."""
    given = {name: str(getattr(info, name)) for name in EXACT}
    text = _joined(given, info.values)
    plain = parse(text)
    lost = {EXACT[name]: original for name, original in given.items() if getattr(plain, name) != original}
    return _joined(given, {**info.values, **lost}) if lost else text


def parse(text: str) -> Infotext:
    """Read a picture's text, ours or another program's; where there are no values, all of it is prompt."""
    lines = text.strip("\n").split("\n")
    count, values = _found(lines)
    lines = lines[: len(lines) - count]
    starts = [index for index, line in enumerate(lines) if line.strip().startswith(NEGATIVE)]
    first = starts[0] if starts else len(lines)
    negative = "\n".join(lines[first:]).strip().removeprefix(NEGATIVE)
    read = {"prompt": "\n".join(lines[:first]).strip(), "negative": negative.strip()}
    exact = {name: values.pop(key) for name, key in EXACT.items() if key in values}
    return Infotext(**read | exact, values=values)


def is_ours(info: Infotext) -> bool:
    """Whether this program wrote the text."""
    return info.values.get("Version", "").startswith(VERSION.partition(" ")[0])


def task_said(info: Infotext) -> str:
    """The task that a text is of, by the values that only its pictures have; "" where it has no values."""
    said = info.values.keys()
    if not said:
        return ""
    if said & {"Depth estimator", "Depth map"}:
        return "depth"
    if said & {"Mask blur", "Mask mode", "Mask hash", "Masked content", "Inpaint area"}:
        return "inpaint"
    if "Postprocess upscaler" in said and "Steps" not in said:  # else it says how the picture was made that was enlarged
        return "extras"
    # Pictures from text that were enlarged on the way (hires fix) have a strength too.
    return "img2img" if "Denoising strength" in said and not any(key.startswith("Hires") for key in said) else "txt2img"


def raw_parameters(info: Infotext, cls: type[Params] = Txt2Img) -> tuple[dict[str, str], dict[str, str]]:
    """The values by field name, ready for `cls.read`, and by key those that `cls` has no field for.

    What a text with values says by leaving it out, such as that no other VAE was used, is among the former.
    """
    has_hires = "hires_upscaler" in parameters(cls)
    rest = _sides(conventions.meant(info.values, (info.prompt, info.negative), hires=has_hires))
    given = set(rest)
    raw = {name: getattr(info, name) for name in EXACT if name in parameters(cls)}
    for name, parameter in parameters(cls).items():
        for key in (parameter.infotext, *parameter.infotext_by_sampler.values()):
            if key is not None and key in rest:
                raw[name] = rest[key]
                given.discard(key)
        if info.values and parameter.unwritten is not None:
            raw.setdefault(name, parameter.unwritten)
    sides = {key: {f"{key}-1", f"{key}-2"} & rest.keys() for key in given}
    given -= {key for key, each in sides.items() if each and not each & given}  # both sides are known, so the size is
    if has_hires and raw.get("hires_upscaler", NONE) == NONE:  # a strength alone is that of a picture from a picture
        raw = {name: value for name, value in raw.items() if not name.startswith("hires_") or name == "hires_upscaler"}
        given |= {"Denoising strength"}
    return raw, {key: value for key, value in info.values.items() if key in given}


def encoded(params: Params) -> dict[str, str]:
    """The values of `params` as text by key, but for what is None, off, said by leaving it out, or one number of two."""
    values: dict[str, str] = {}
    hires = getattr(params, "hires_upscaler", NONE) != NONE
    for name, parameter in parameters(params).items():
        value = getattr(params, name)
        key = parameter.infotext_by_sampler.get(getattr(params, "sampler", ""), parameter.infotext)
        off = (value is False and parameter.default is not True) or (name.startswith("hires_") and not hires)
        if key is not None and value is not None and not off and parameter.text(value) != parameter.unwritten:
            values[key] = parameter.text(value)
    return _together(values)


def quote(value: str) -> str:
    """`value` as it stands among the values: as JSON where it could be misread."""
    return json.dumps(value, ensure_ascii=False) if NEEDS_QUOTES.search(value) else value


def _joined(given: Mapping[str, str], values: Mapping[str, str]) -> str:
    negative = [f"{NEGATIVE} {given['negative']}"] if given["negative"] else []
    for key in values:
        if not KEY.fullmatch(key):
            raise ValueError(f"The key {key!r} could not be read back; use letters, digits, spaces, '-' and '/'.")
    line = ", ".join(f"{key}: {quote(value)}" for key, value in values.items())
    return "\n".join([*([given["prompt"]] if given["prompt"] else []), *negative, line])


def _found(lines: list[str]) -> tuple[int, dict[str, str]]:
    """How many of the last lines hold values, and these: the last one, or an earlier one with `Key: text` lines behind it."""
    values = dict(_scan(lines[-1]))
    if len(values) >= FEWEST_VALUES:
        return 1, values
    for count in range(2, min(len(lines), MOST_LINES) + 1):
        if lines[-count].startswith(FIRST) and TAIL.fullmatch(lines[1 - count]):
            values = dict(_scan(lines[-count]))
            return (count, {**dict(_tail(lines[1 - count :])), **values}) if len(values) >= FEWEST_VALUES else (0, {})
    return 0, {}


def _tail(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Values that some extensions write behind the others, each from a line of its own on: templates of prompts."""
    key, said = "", list[str]()
    for line in lines:
        match = TAIL.fullmatch(line)
        if match is None:
            said.append(line)
            continue
        if key:
            yield key, "\n".join(said)
        key, said = match[1].strip(), [match[2]]
    yield key, "\n".join(said)


def _scan(line: str) -> Iterator[tuple[str, str]]:
    """Each key and value of the last line; what is not `key: value` is passed over up to the next comma."""
    at, comma, guesses = 0, -1, 0
    for _ in range(MOST_PIECES):
        if at >= len(line):
            return
        comma = comma if comma >= at else _comma(line, at)
        colon = line.find(":", at, comma)
        if colon < 0:
            at = comma + 1
            continue
        key = NOT_KEY.split(line[at:colon])[-1].strip(" -/")
        begin = SPACE.match(line, colon + 1).end()  # type: ignore[union-attr]  # it matches anywhere
        if not key:
            at = colon + 1
            continue
        found = None
        if guesses < MOST_GUESSES:
            found = _quoted(line, begin)
            guesses += found is None and line.startswith(('"', "[", "{"), begin)
        value, end = found or _plain(line, begin)
        yield key, value
        at = end + 1


def _quoted(line: str, at: int) -> tuple[str, int] | None:
    """A JSON string that begins at `at`, or a list or object as its text, and where the comma after it is; None where none is."""
    try:
        if match := JSON.match(line, at):
            value, end = str(json.loads(match[0])), match.end()
        elif line.startswith(("[", "{"), at):
            _, end = json.JSONDecoder().raw_decode(line, at)
            value = line[at:end]
        else:
            return None
    except (ValueError, RecursionError):
        return None
    return (value, _comma(line, end)) if not line[end : _comma(line, end)].strip() else None


def _plain(line: str, at: int) -> tuple[str, int]:
    """What stands before the next comma, and where that is."""
    end = _comma(line, at)
    return line[at:end].strip(), end


def _comma(line: str, at: int) -> int:
    """Where the next comma is, or the line's end."""
    found = line.find(",", at)
    return len(line) if found < 0 else found


def _together(values: Mapping[str, str]) -> dict[str, str]:
    """The values with Size-1 and Size-2 as `Size: 1x2`; one without the other is left out, or 0 where that is a custom."""
    found: dict[str, str] = {}
    for key, value in values.items():
        side = SIDE.fullmatch(key)
        if side is None:
            found[key] = value
            continue
        zero = "0" if side[1] in conventions.ZERO_IS_NONE else None
        both = [values.get(f"{side[1]}-{each}", zero) for each in (1, 2)]
        if None not in both:
            found[side[1]] = f"{both[0]}x{both[1]}"
    return found


def _sides(values: Mapping[str, str]) -> dict[str, str]:
    """The values, with `Size: 1x2` also as Size-1 and Size-2."""
    found = dict(values)
    for key, value in values.items():
        if match := TWO_NUMBERS.fullmatch(value):
            none = "0" if key in conventions.ZERO_IS_NONE else None
            found |= {f"{key}-{side}": match[side] for side in (1, 2) if match[side] != none}
    return found
