"""A picture's parameters as the community writes them into its file, and back.

    a red ball on a table
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5, Seed: 1, Size: 128x128, Model: builtin, RNG: CPU, ...

The last line holds the values; one that has a comma, colon or newline is quoted as JSON. The form has no way to say that a
prompt itself begins a line with "Negative prompt:", or ends with spaces; such a text is written once more among the values.
Which values there are, and how each is written, is said where the parameters are defined.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from webui import __version__
from webui.drawing import Txt2Img
from webui.params import Params, parameters

PNG_KEY = "parameters"  # of the PNG text chunk
# With a name before the number: readers take a bare "v0.1" for an old version of the first such program, with its habits.
VERSION = f"ssd-webui {__version__}"
ALWAYS = {"RNG": "CPU"}  # true of every picture: its noise is drawn on the CPU; readers take a text without it to mean a GPU's
NEGATIVE = "Negative prompt:"
EXACT = {"prompt": "Exact prompt", "negative": "Exact negative prompt"}
FEWEST_VALUES = 3  # in a line for it to be the values' and not the prompt's
KEY = re.compile(r"\s*(\w[\w \-/]*):\s*")
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
    """The text of a picture made with `params`; `extra` values come after theirs, the version last.

    `before` is what the text of the picture it was made of says: its prompts and values stay where `params` have none.
    """
    values = {**(before.values if before else {}), **_in_order(params), **(extra or {})}
    values = {**{key: value for key, value in values.items() if key != "Version"}, "Version": version}
    given = {name: str(getattr(params, name, getattr(before, name, ""))) for name in EXACT}
    text = _joined(given, values)
    plain = parse(text)
    lost = {EXACT[name]: original for name, original in given.items() if getattr(plain, name) != original}
    return _joined(given, values | lost) if lost else text


def parse(text: str) -> Infotext:
    """Read a picture's text, ours or another program's; where there are no values, all of it is prompt."""
    lines = text.strip("\n").split("\n")
    values = _values(lines[-1])
    if len(values) < FEWEST_VALUES:
        values = {}
    else:
        lines.pop()
    starts = [index for index, line in enumerate(lines) if line.strip().startswith(NEGATIVE)]
    first = starts[0] if starts else len(lines)
    negative = "\n".join(lines[first:]).strip().removeprefix(NEGATIVE)
    read = {"prompt": "\n".join(lines[:first]).strip(), "negative": negative.strip()}
    exact = {name: values.pop(key) for name, key in EXACT.items() if key in values}
    return Infotext(**read | exact, values=values)


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
    """The values by field name, ready for `cls.read`, and by key those that `cls` has no field for and are not `ALWAYS` so.

    What a text with values says by leaving it out, such as that no other VAE was used, is among the former.
    """
    rest = _sides(info.values)
    raw = {name: getattr(info, name) for name in EXACT if name in parameters(cls)}
    for name, parameter in parameters(cls).items():
        for key in (parameter.infotext, *parameter.infotext_by_sampler.values()):
            if key is not None and key in rest:
                raw[name] = rest.pop(key)
        if info.values and parameter.unwritten is not None:
            raw.setdefault(name, parameter.unwritten)
    return raw, {key: value for key, value in rest.items() if key in info.values and ALWAYS.get(key) != value}


def encoded(params: Params) -> dict[str, str]:
    """The values of `params` as text by key, but for what is None, off, said by leaving it out, or one number of two."""
    values: dict[str, str] = {}
    for name, parameter in parameters(params).items():
        value = getattr(params, name)
        key = parameter.infotext_by_sampler.get(getattr(params, "sampler", ""), parameter.infotext)
        off = value is False and parameter.default is not True
        if key is not None and value is not None and not off and parameter.text(value) != parameter.unwritten:
            values[key] = parameter.text(value)
    return _together(values)


def _in_order(params: Params) -> dict[str, str]:
    """The values with those that are always so where the community has them: before the samplers' options."""
    options = {parameter.infotext for parameter in parameters(params).values() if parameter.option}
    options |= {key for parameter in parameters(params).values() for key in parameter.infotext_by_sampler.values()}
    values = encoded(params)
    last = {key: value for key, value in values.items() if key in options}
    always = ALWAYS if "seed" in parameters(params) else {}
    return {**{key: value for key, value in values.items() if key not in options}, **always, **last}


def quote(value: str) -> str:
    """`value` as it stands among the values: as JSON where it could be misread."""
    return json.dumps(value, ensure_ascii=False) if NEEDS_QUOTES.search(value) else value


def _joined(given: Mapping[str, str], values: Mapping[str, str]) -> str:
    negative = [f"{NEGATIVE} {given['negative']}"] if given["negative"] else []
    for key in values:
        if not KEY.fullmatch(key + ":"):
            raise ValueError(f"The key {key!r} could not be read back; use letters, digits, spaces, '-' and '/'.")
    line = ", ".join(f"{key}: {quote(value)}" for key, value in values.items())
    return "\n".join([*([given["prompt"]] if given["prompt"] else []), *negative, line])


def _values(line: str) -> dict[str, str]:
    return dict(_scan(line))


def _scan(line: str) -> Iterator[tuple[str, str]]:
    """Each key and value of the last line; what is not `key: value` is passed over up to the next comma."""
    at = 0
    while at < len(line):
        key = KEY.match(line, at)
        if key is None:
            at = _comma(line, at) + 1
            continue
        value, end = _quoted(line, key.end()) or _plain(line, key.end())
        yield key[1].strip(), value
        at = end + 1


def _quoted(line: str, at: int) -> tuple[str, int] | None:
    """A JSON string that begins at `at`, and where the comma after it is; None where there is none."""
    if not line.startswith('"', at):
        return None
    try:
        value, end = json.JSONDecoder().raw_decode(line, at)
    except ValueError:
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
    """The values with Size-1 and Size-2 as `Size: 1x2`; one without the other is left out."""
    found: dict[str, str] = {}
    for key, value in values.items():
        side = SIDE.fullmatch(key)
        if side is None:
            found[key] = value
        elif side[2] == "1" and (other := values.get(f"{side[1]}-2")) is not None:
            found[side[1]] = f"{value}x{other}"
    return found


def _sides(values: Mapping[str, str]) -> dict[str, str]:
    """The values, with `Size: 1x2` also as Size-1 and Size-2."""
    found = dict(values)
    for key, value in values.items():
        if match := TWO_NUMBERS.fullmatch(value):
            found |= {f"{key}-1": match[1], f"{key}-2": match[2]}
    return found
