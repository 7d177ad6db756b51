"""Text as CLIP saw it in training, with the place in the user's own text that every character came from.

OpenAI's tokenizer repairs text with the `ftfy` package, resolves HTML entities twice and lowers the case before it
splits words. The same repairs are made here, one small rule each, so that spans can be kept and no package is needed.
Left out: guessing the encoding of text decoded wrongly ("cafÃ©") and HTML entities misspelt in capitals ("&NTILDE;").
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

PLAIN = re.compile(r"[\t\n\f -%'-~]*")  # ASCII without control characters, carriage returns and "&": nothing to repair
ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
LOOSE_ENTITY = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)")


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """Text of which character `i` came from `source[starts[i]:ends[i]]`."""

    text: str
    starts: tuple[int, ...] | range
    ends: tuple[int, ...] | range


def _windows(match: re.Match[str]) -> str:
    return match.group().encode("latin-1").decode("windows-1252", errors="ignore") or match.group()


def _standard_form(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match.group())


def _one_entity(match: re.Match[str]) -> str:
    resolved = html.unescape(match.group())
    return match.group() if ";" in resolved else resolved


def _any_entity(match: re.Match[str]) -> str:
    return html.unescape(match.group())


def _surrogate(match: re.Match[str]) -> str:
    return match.group().encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")[:1]


REPAIRS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"[\x80-\x9f]"), _windows),
    (re.compile("[ĲĳŉǱǲǳǄǅǆǇǈǉǊǋǌﬀﬁﬂﬃﬄﬆ]"), _standard_form),
    (re.compile("ﬅ"), lambda _: "ſt"),
    (re.compile("[\u3000\uff01-\uffef]"), _standard_form),
    (re.compile("[\u201c-\u201f]"), lambda _: '"'),
    (re.compile("[\u02bc\u2018-\u201b]"), lambda _: "'"),
    (re.compile("\r\n|[\r\u2028\u2029\u0085]"), lambda _: "\n"),
    (re.compile("[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]"), _surrogate),
    (re.compile("\033\\[[\\d;]*[a-zA-Z]"), lambda _: ""),
    (re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]"), lambda _: ""),
)


def substitute(tracked: Tracked, pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str]) -> Tracked:
    """Return `tracked` with every match replaced; new characters come from the whole of what they replace."""
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for match in pattern.finditer(tracked.text):
        new = replace(match)
        if new == match.group():
            continue
        first, last = match.span()
        parts += [tracked.text[done:first], new]
        starts += [*tracked.starts[done:first], *[tracked.starts[first]] * len(new)]
        ends += [*tracked.ends[done:first], *[tracked.ends[last - 1]] * len(new)]
        done = last
    if done == 0:
        return tracked
    text = "".join([*parts, tracked.text[done:]])
    return Tracked(text=text, starts=(*starts, *tracked.starts[done:]), ends=(*ends, *tracked.ends[done:]))


def _composable(character: str) -> bool:
    return unicodedata.category(character)[0] == "M" or "\u1160" <= character <= "\u1175" or "\u11a8" <= character <= "\u11c2"


def compose(tracked: Tracked) -> Tracked:
    """Return `tracked` in Unicode's composed form (NFC), unit by unit so that spans stay narrow."""
    text = tracked.text
    if unicodedata.is_normalized("NFC", text):
        return tracked
    firsts = [index for index, character in enumerate(text) if index == 0 or not _composable(character)]
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for first, last in zip(firsts, [*firsts[1:], len(text)], strict=True):
        unit = unicodedata.normalize("NFC", text[first:last])
        parts.append(unit)
        if len(unit) == last - first == 1:
            starts.append(tracked.starts[first])
            ends.append(tracked.ends[first])
        else:
            starts += [tracked.starts[first]] * len(unit)
            ends += [tracked.ends[last - 1]] * len(unit)
    return Tracked(text="".join(parts), starts=tuple(starts), ends=tuple(ends))


def repair(tracked: Tracked) -> Tracked:
    """Apply the repairs again and again until none changes the text (HTML entities only where no tag may be meant)."""
    entities = "<" not in tracked.text
    while True:
        before = tracked.text
        if entities:
            tracked = substitute(tracked, ENTITY, _one_entity)
        for pattern, replace in REPAIRS:
            tracked = substitute(tracked, pattern, replace)
        tracked = compose(tracked)
        if tracked.text == before:
            return tracked


def lower(tracked: Tracked) -> Tracked:
    """Return `tracked` in lower case, as the whole text's `str.lower` (a Greek sigma at a word's end differs)."""
    text = tracked.text.lower()
    if len(text) == len(tracked.text):
        return Tracked(text=text, starts=tracked.starts, ends=tracked.ends)
    origin = [index for index, character in enumerate(tracked.text) for _ in character.lower()]
    return Tracked(text=text, starts=tuple(tracked.starts[i] for i in origin), ends=tuple(tracked.ends[i] for i in origin))


def clean(text: str) -> Tracked:
    """Return `text` repaired, with HTML entities resolved and in lower case; white space is left as it is.

    Source: `basic_clean` of OpenAI's CLIP (Radford et al. 2021, arXiv:2103.00020), which calls ftfy (Speer 2019).
    """
    tracked = Tracked(text=text, starts=range(len(text)), ends=range(1, len(text) + 1))
    if not PLAIN.fullmatch(text):
        tracked = repair(tracked)
        for _ in range(2):
            tracked = substitute(tracked, LOOSE_ENTITY, _any_entity)
    return lower(tracked)
