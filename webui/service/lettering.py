"""Writing into a picture: text of any length and language, wrapped and made smaller until it fits where it is to stand."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from PIL import ImageDraw, ImageFont

SMALLEST = 6  # pixels
LONGEST = 300  # characters of one text that are written
LINE = 1.25  # of the letters' size, from one line to the next
MORE = "…"
MISSING = "\uffff"  # no font has this sign: what it looks like is what every missing sign looks like
FURTHER = (  # fonts that systems bring, for what the one that ships has no signs for
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "ArialUnicode.ttf", "arial.ttf",
    "msyh.ttc", "msgothic.ttc", "malgun.ttf", "Hiragino Sans GB.ttc",
)  # fmt: skip
Box = tuple[int, int, int, int]  # x, y, width and height
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Lettering:
    """Texts in Pillow's own font, or another one of the system's where that has no signs for them. For one thread."""

    def __init__(self) -> None:
        self._fonts: dict[tuple[str, int], Font | None] = {}
        self._known: dict[tuple[str, str], bool] = {}

    def write(self, draw: ImageDraw.ImageDraw, text: str, box: Box, size: int, colour: str) -> None:
        """Write into the middle of a box, at most `size` pixels large; what does not fit even in the smallest letters is cut."""
        x, y, width, height = box
        if not text.strip() or min(width, height) < SMALLEST:
            return
        size = max(min(size, int(height / LINE)), SMALLEST)
        lines = self.lines(text, width, size)
        while size > SMALLEST and (
            len(lines) * size * LINE > height or self._broken(text, lines) or self.width("\n".join(lines), size) > width
        ):
            size -= 1
            lines = self.lines(text, width, size)
        fitting = max(int(height / (size * LINE)), 1)
        if len(lines) > fitting:
            lines = [*lines[: fitting - 1], lines[fitting - 1][:-1].rstrip() + MORE]
        step = size * LINE
        top = y + (height - step * len(lines)) / 2
        for number, line in enumerate(lines):
            middle = (x + width / 2, top + step * (number + 0.5))
            draw.text(middle, line, fill=colour, font=self._font(line, size), anchor="mm")

    def width(self, text: str, size: int) -> int:
        """How wide the widest line of a text is."""
        return max((round(self._length(line, size)) for line in self._plain(text).split("\n")), default=0)

    def height(self, texts: Sequence[str], width: int, size: int, *, most: int) -> int:
        """How high the highest of texts is in boxes of a width; 0 where there are none."""
        lines = max((len(self.lines(text, width, size)) for text in texts if text.strip()), default=0)
        return min(round((lines + 0.5) * size * LINE), most) if lines else 0

    def lines(self, text: str, width: int, size: int) -> list[str]:
        """A text in lines of at most a width, broken between words, and inside one where it is too long by itself."""
        found: list[str] = []
        for paragraph in self._plain(text).split("\n"):
            line = ""
            for word in paragraph.split():
                joined = f"{line} {word}" if line else word
                if self._length(joined, size) <= width:
                    line = joined
                    continue
                *whole, line = [*([line] if line else []), *self._pieces(word, width, size)]
                found += whole
            found += [line] if line else []
        return found

    def _pieces(self, word: str, width: int, size: int) -> Iterator[str]:
        """A word in pieces of at most a width, of one letter at least."""
        piece = ""
        for letter in word:
            if piece and self._length(piece + letter, size) > width:
                yield piece
                piece = ""
            piece += letter
        yield piece

    @staticmethod
    def _broken(text: str, lines: Sequence[str]) -> bool:
        """Whether a word stands in two lines, which is the last resort."""
        return len(" ".join(lines).split()) > len(text[:LONGEST].split())

    def _plain(self, text: str) -> str:
        cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + MORE
        plain = "".join(each if each.isprintable() or each == "\n" else " " for each in cut)
        return plain if self._name(plain) is not None else "".join(self._alike(each) for each in plain)

    def _alike(self, sign: str) -> str:
        """A sign that no font has as it is without its accents."""
        base = unicodedata.normalize("NFKD", sign)[:1]
        return base if sign != "\n" and not self._has("", sign) and self._has("", base) else sign

    def _length(self, text: str, size: int) -> float:
        return self._font(text, size).getlength(text)

    def _font(self, text: str, size: int) -> Font:
        """The font that ships where it has every sign, else the first of the system's that has, else the one that ships."""
        found = self._load(self._name(text) or "", size)
        assert found is not None
        return found

    def _name(self, text: str) -> str | None:
        """The name of the first font that has every sign of a text, None where there is none."""
        signs = {each for each in text if not each.isspace()}
        return next((name for name in ("", *FURTHER) if all(self._has(name, sign) for sign in signs)), None)

    def _has(self, name: str, sign: str) -> bool:
        key = (name, sign)
        if key not in self._known:
            font = self._load(name, 16)
            self._known[key] = font is not None and bytes(font.getmask(sign)) != bytes(font.getmask(MISSING))
        return self._known[key]

    def _load(self, name: str, size: int) -> Font | None:
        if (name, size) not in self._fonts:
            try:
                found: Font | None = ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
            except OSError:
                found = None
            self._fonts[name, size] = found
        return self._fonts[name, size]

