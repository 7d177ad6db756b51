"""What any file says of how a picture was made: its texts wherever the format keeps them, in one form.

Content never raises, and never takes much time or memory: `bounds.py` says how much is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from webui import infotext
from webui.infotext import PNG_KEY
from webui.metadata import avif, gif, jpeg, png, riff
from webui.metadata.bounds import LONGEST_TEXT, bounded, clean
from webui.metadata.dialects import Dialect, flat, translated
from webui.metadata.heads import read_head
from webui.metadata.stealth import hidden_text

POSTPROCESSING = "postprocessing"  # the keyword of what A1111's Extras tab writes
PLACES = (PNG_KEY, "UserComment", "Comment", "ImageDescription", "XPComment")  # where a text may be, the likely ones first
WHOLE = (PNG_KEY, POSTPROCESSING, "UserComment")  # where a text is one even without values
HIDDEN = "hidden in the pixels"  # the name of a text that is in no place of its own
OURS, A1111, FORGE, SDNEXT = "Stable Diffusion web UI", "A1111", "Forge", "SD.Next"
NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a file says.

    `text` is a picture's text in the community's form, translated where the file has it in another one; `kind` the program whose
    form that is, "" where there is none. `others` are all texts of the file as they stand there, by their places. `unmapped` is
    what the other form says that the text has no key for. `format` is the file's, such as "PNG"; "" where it is none that is
    known; sizes are in pixels, 0 where the file does not say.
    """

    text: str = ""
    kind: str = ""
    others: Mapping[str, str] = field(default_factory=dict)
    unmapped: Mapping[str, str] = field(default_factory=dict)
    width: int = 0
    height: int = 0
    format: str = ""


def read(content: bytes, *, pixels: bool = True) -> Found:
    """Read a file of any kind; with `pixels` also what is hidden in them, for which the picture must be decoded."""
    kind, width, height = _head(content)
    if not kind:
        return _of_text(content)
    others: dict[str, str] = {}
    for name, text in bounded(TEXTS[kind](content)):
        others[_free(name, others)] = text
    found = _said(others)
    if pixels and found is None and kind in ("PNG", "WEBP") and (text := hidden_text(content)):
        others[HIDDEN] = text
        found = _hidden(text)
    if found is None:
        return Found(others=others, width=width, height=height, format=kind)
    text, program, unmapped = found
    return Found(text=text, kind=program, others=others, unmapped=unmapped, width=width, height=height, format=kind)


def written_by(text: str) -> str:
    """The program that wrote a text in the community's form; "" where it is a mere prompt."""
    info = infotext.parse(text)
    if not info.values:
        return ""
    version = info.values.get("Version", "")
    if infotext.is_ours(info):
        return OURS
    if info.values.get("App", "").startswith(SDNEXT) or ("Backend" in info.values and "Parser" in info.values):
        return SDNEXT
    return FORGE if version[:1] == "f" and version[1:2].isdecimal() else A1111


def _head(content: bytes) -> tuple[str, int, int]:
    """The format of a file, and the size it says; "" where it is no picture."""
    head = read_head(content)
    if head is not None:
        return head.kind, head.width, head.height
    if content.startswith(gif.SIGNATURES):
        return ("GIF", *gif.size(content))
    if avif.is_avif(content):
        return ("AVIF", *avif.size(content))
    starts = {"PNG": content.startswith(png.SIGNATURE), "JPEG": content.startswith(jpeg.SIGNATURE), "WEBP": riff.is_webp(content)}
    return next((kind for kind, true in starts.items() if true), ""), 0, 0


TEXTS: Mapping[str, Callable[[bytes], Iterator[tuple[str, str]]]] = MappingProxyType(
    {"PNG": png.texts, "JPEG": jpeg.texts, "WEBP": riff.texts, "AVIF": avif.texts, "GIF": gif.texts}
)


def _said(others: Mapping[str, str]) -> tuple[str, str, Mapping[str, str]] | None:
    """The text in the community's form, the program it is from, and what has no place in it."""
    plain = next((others[name] for name in PLACES if infotext.parse(others.get(name, "")).values), None)
    if plain is None or plain.lstrip().startswith("{"):
        dialect = translated(others)
        if dialect is not None:
            return _composed(dialect)
    if plain is None:
        plain = next((others[name] for name in WHOLE if others.get(name)), None)
    return (plain, written_by(plain), NONE) if plain else None


def _hidden(text: str) -> tuple[str, str, Mapping[str, str]]:
    """What pixels hide: a text as elsewhere, or NovelAI's chunks as one JSON object."""
    dialect = translated({**flat(text), PNG_KEY: text})
    return _composed(dialect) if dialect is not None else (text, written_by(text), NONE)


def _composed(dialect: Dialect) -> tuple[str, str, Mapping[str, str]]:
    known = dialect.info.values or dialect.info.prompt
    return infotext.compose(dialect.info) if known else "", dialect.program, dialect.unmapped


def _of_text(content: bytes) -> Found:
    """A file that is a text, as is written beside pictures; nothing where it is none."""
    content = content[: 4 * LONGEST_TEXT]
    marks = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
    encoding = next((name for mark, name in marks if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return Found()
    if "\0" in text or not text.strip():
        return Found()
    text = clean(text.replace("\r\n", "\n"))
    dialect = translated({PNG_KEY: text, "prompt": text, "invokeai_metadata": text})
    if dialect is not None:
        said, program, unmapped = _composed(dialect)
        return Found(text=said, kind=program, others={"text": text}, unmapped=unmapped, format="text")
    return Found(text=text, kind=written_by(text), others={"text": text}, format="text")


def _free(name: str, taken: Mapping[str, str]) -> str:
    """The name, or one like it that is not taken: a file may have several comments."""
    count, chosen = 1, name
    while chosen in taken:
        count += 1
        chosen = f"{name} {count}"
    return chosen
