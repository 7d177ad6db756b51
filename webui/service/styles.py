"""Styles: prompts with a name that people put around what they write. Files of other programs can be read, and written too."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection

from webui.errors import NotFound, TooMany, UserError, quoted, unknown
from webui.params import LONGEST_PROMPT
from webui.pipeline.grammar import uncommented
from webui.service.database import Database
from webui.service.users import User

HOLE = "{prompt}"  # in a style: where the person's own prompt goes
LONGEST_NAME = 100  # characters
MOST_STYLES = 1000  # of one person
MOST_APPLIED = 50  # at once
LARGEST_FILE = 4 * 2**20  # bytes
MOST_REMARKS = 50  # about rows that were left out
MOST_BROKEN = 1000  # rows of a file that cannot be read
COLUMNS = ("name", "prompt", "negative_prompt")
ALSO = {"text": "prompt", "negative": "negative_prompt", "negative prompt": "negative_prompt"}  # older names of the columns
SEPARATORS = ",;\t"
PAIRS = (("prompt", "negative"), ("hires_prompt", "hires_negative"))  # parameters that styles are put around


@dataclass(frozen=True, kw_only=True)
class Style:
    """A prompt and a negative prompt with a name."""

    name: str
    prompt: str = ""
    negative: str = ""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of a file: the names that are new, those that were there and have new prompts, and what was left out and why."""

    added: tuple[str, ...]
    replaced: tuple[str, ...]
    left_out: tuple[str, ...]


def styled(texts: Mapping[str, str], apply: Callable[[str, str], tuple[str, str]]) -> dict[str, str]:
    """The prompts among `texts`, by their parameters' names, as `apply` makes them of a pair.

    An empty one of a second pass stays so, for it means that of the first, which has its styles.
    """
    found = {}
    for names in PAIRS:
        given = [texts.get(name, "") for name in names]
        if names == PAIRS[0] or any(given):
            made = zip(names, given, apply(*given), strict=True)
            found.update({name: after for name, before, after in made if before or names == PAIRS[0]})
    return found


class Styles:
    """Everybody's styles. Safe from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, user: User) -> list[Style]:
        """A person's styles by name."""
        query = "SELECT name, prompt, negative FROM styles WHERE user = ? ORDER BY name COLLATE NOCASE, name"
        rows = self._database.all(query, (user.id,))
        return [Style(name=row["name"], prompt=row["prompt"], negative=row["negative"]) for row in rows]

    def put(self, user: User, style: Style, instead_of: str | None = None) -> None:
        """Keep a style, in place of the one with its name, or, renamed, of the one called `instead_of`."""
        style = checked(style)
        with self._database.write() as connection:
            if instead_of is not None and instead_of != style.name:
                if not _is_there(connection, user, instead_of):
                    raise NotFound(f"There is no style {quoted(instead_of)}.")
                if _is_there(connection, user, style.name):
                    raise UserError(f"There is a style {quoted(style.name)} already; choose another name.")
                connection.execute("DELETE FROM styles WHERE user = ? AND name = ?", (user.id, instead_of))
            _keep(connection, user, style)

    def remove(self, user: User, name: str) -> None:
        """Forget a style."""
        with self._database.write() as connection:
            if not connection.execute("DELETE FROM styles WHERE user = ? AND name = ?", (user.id, name)).rowcount:
                raise NotFound(f"There is no style {quoted(name)}.")

    def apply(self, user: User, names: Sequence[str], prompt: str, negative: str) -> tuple[str, str]:
        """The prompt and the negative prompt with styles around them, one after the other.

        All comments go first, for what is written behind one on its line would be part of it.
        """
        if len(names) > MOST_APPLIED:
            raise UserError(f"Those are {len(names)} styles; use at most {MOST_APPLIED} at once.")
        known = {style.name: style for style in self.list(user)} if names else {}
        for name in names:
            if name not in known:
                raise unknown("style", name, known)
            style = known[name]
            prompt = around(uncommented(style.prompt), uncommented(prompt))
            negative = around(uncommented(style.negative), uncommented(negative))
        return prompt, negative

    def import_csv(self, user: User, content: bytes) -> Imported:
        """Take in a file as other programs write it; what can be kept is kept, and the rest is told of."""
        styles, remarks = read_csv(content)
        added: list[str] = []
        replaced: list[str] = []
        with self._database.write() as connection:
            for style in styles.values():
                there = _is_there(connection, user, style.name)
                try:
                    _keep(connection, user, style)
                except TooMany as error:
                    remarks.append(f"{quoted(style.name)}: {error}")
                else:
                    (replaced if there else added).append(style.name)
        return Imported(added=tuple(added), replaced=tuple(replaced), left_out=_shortened(remarks))

    def export_csv(self, user: User) -> bytes:
        """All styles of a person, as other programs read them."""
        return as_csv(self.list(user))


def as_csv(styles: Iterable[Style]) -> bytes:
    """Styles as other programs read them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows((style.name, style.prompt, style.negative) for style in styles)
    return text.getvalue().encode("utf-8-sig")


def _is_there(connection: Connection, user: User, name: str) -> bool:
    row = connection.execute("SELECT COUNT(*) FROM styles WHERE user = ? AND name = ?", (user.id, name)).fetchone()
    return bool(row[0])


def _keep(connection: Connection, user: User, style: Style) -> None:
    """Write a style; `TooMany` where it would be one more than may be."""
    count = connection.execute("SELECT COUNT(*) FROM styles WHERE user = ?", (user.id,)).fetchone()[0]
    if count >= MOST_STYLES and not _is_there(connection, user, style.name):
        raise TooMany(f"There are {MOST_STYLES:,} styles, which is the most; remove some first.")
    connection.execute(
        "INSERT INTO styles (user, name, prompt, negative) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (user, name) DO UPDATE SET prompt = excluded.prompt, negative = excluded.negative",
        (user.id, style.name, style.prompt, style.negative),
    )


def around(style: str, prompt: str) -> str:
    """A prompt in a style: where the style has a hole, else before the style; `UserError` where that gets too long."""
    if HOLE in style:
        length = len(style) + style.count(HOLE) * (len(prompt) - len(HOLE))
    else:
        length = len(style) + len(prompt) + 2
    if length > LONGEST_PROMPT:
        raise UserError(f"With its styles the prompt would have {length:,} characters; it must have at most {LONGEST_PROMPT:,}.")
    return style.replace(HOLE, prompt) if HOLE in style else ", ".join(part for part in (prompt, style) if part.strip())


def checked(style: Style) -> Style:
    """The style as it is kept; `UserError` where it cannot be one."""
    name = style.name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise UserError(f"A style's name has 1 to {LONGEST_NAME} characters on one line; {quoted(style.name)} is none.")
    for text in (style.prompt, style.negative):
        if len(text) > LONGEST_PROMPT:
            raise UserError(f"The style {quoted(name)} has {len(text):,} characters; it must have at most {LONGEST_PROMPT:,}.")
        if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
            raise UserError(f"The style {quoted(name)} must be Unicode text without NUL characters.")
    return Style(name=name, prompt=style.prompt, negative=style.negative)


def read_csv(content: bytes) -> tuple[dict[str, Style], list[str]]:
    """The styles of a file by name, the last of each name, and why what is not among them is not."""
    if len(content) > LARGEST_FILE:
        raise UserError(f"The file has {len(content):,} bytes; it must have at most {LARGEST_FILE:,}.")
    lines = list(io.StringIO(_text(content), newline=""))  # a prompt may hold other signs that end lines
    columns, separator, first = _header(lines)
    styles: dict[str, Style] = {}
    remarks: list[str] = []
    for line, row, problem in _rows(lines, first, separator):
        fields = dict(zip(columns, row, strict=False))
        name, prompt, negative = (fields.get(column, "") for column in COLUMNS)
        if problem:
            remarks.append(f"Line {line}: {problem}")
        elif len(row) > len(columns) and any(each.strip() for each in row[len(columns):]):
            remarks.append(f"Line {line}: there are {len(row)} fields instead of {len(columns)}.")
        elif name.strip() or prompt.strip() or negative.strip():
            try:
                style = checked(Style(name=name, prompt=prompt, negative=negative))
                styles[style.name] = style
            except UserError as error:
                remarks.append(f"Line {line}: {error}")
    return styles, remarks


def _text(content: bytes) -> str:
    """What the bytes say: UTF-8, UTF-16 where they begin so, or what Windows programs of the West write."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _header(lines: Sequence[str]) -> tuple[list[str], str, int]:
    """The names of the columns, what separates them, and the number of the first line after them."""
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        for separator in SEPARATORS:
            try:
                row = next(csv.reader([line], delimiter=separator))
            except csv.Error:
                continue
            named = [each.strip().casefold() for each in row]
            columns = [ALSO.get(each, each) for each in named]
            if "name" in columns and "prompt" in columns:
                return columns, separator, number + 1
        break
    raise UserError("The file does not begin with the columns name,prompt,negative_prompt, as a styles.csv does.")


def _rows(lines: Sequence[str], first: int, separator: str) -> Iterator[tuple[int, list[str], str]]:
    """Each row: the number of its first line, its fields, and what is wrong. After a broken one it goes on with the next line.

    After `MOST_BROKEN` of them it ends, for each may be found out only many lines later.
    """
    start, left = first, MOST_BROKEN
    while start < len(lines):
        reader = csv.reader((lines[at] for at in range(start, len(lines))), delimiter=separator, strict=True)
        begun = start
        try:
            for row in reader:
                yield begun + 1, row, ""
                begun = start + reader.line_num
            return
        except csv.Error as error:
            left -= 1
            yield begun + 1, [], f"it cannot be read ({error}){'' if left else '; neither is what follows'}."
            start = begun + 1 if left else len(lines)


def _shortened(remarks: Sequence[str]) -> tuple[str, ...]:
    rest = len(remarks) - MOST_REMARKS
    return (*remarks[:MOST_REMARKS], *([f"And {rest} more."] if rest > 0 else []))
