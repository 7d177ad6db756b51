"""What a request says: who asks, the JSON object it brings, and the values in that, each with a sentence where it is wrong."""

from __future__ import annotations

import json
from typing import Annotated, Any, NoReturn, TypeVar

from fastapi import Depends, Request

from webui.api.guard import USER
from webui.errors import UserError, quoted
from webui.params import Params
from webui.service.users import User

LARGEST_BODY = 2**20  # bytes of a JSON object
MOST_IDS = 1000
LONGEST_ID = 100
Plain = dict[str, Any]
P = TypeVar("P", bound=Params)


class TooLarge(UserError):
    """More was sent than is taken (HTTP 413)."""


class NobodyAsks(UserError):
    """Nobody has signed in (HTTP 401); the guard lets no such request come this far."""


def who(request: Request) -> User:
    """The user who asks, as the guard found."""
    user = request.scope.get(USER)
    if not isinstance(user, User):
        raise NobodyAsks("Sign in first.")
    return user


async def told(request: Request) -> Plain:
    """The JSON object in the body; an empty body is an empty object."""
    return read_object(await body(request, LARGEST_BODY))


async def body(request: Request, most: int) -> bytes:
    """The body; `TooLarge` as soon as it is more than `most` bytes."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLarge(f"That is too large; at most {most:,} bytes are taken here.")
        parts.append(part)
    return b"".join(parts)


def read_object(content: bytes) -> Plain:
    """The JSON object that bytes mean; `UserError` where they mean none."""
    if not content.strip():
        return {}
    try:
        found = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UserError("What was sent is no JSON.") from error
    if not isinstance(found, dict):
        raise UserError("What was sent is no JSON object.")
    try:
        if b"\\u" in content:  # JSON has a way to write halves of signs, which are no text anywhere else
            json.dumps(found, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise UserError("What was sent holds a text that is not Unicode.") from error
    return found


def text(given: Plain, name: str, default: str | None = None) -> str:
    """A text of the object."""
    value = given.get(name, default)
    if not isinstance(value, str):
        raise UserError(f"{name} was {shown(value)}; it must be a text.")
    return value


def whole(given: Plain, name: str) -> int | None:
    """A whole number of the object, or None."""
    value = given.get(name)
    if value is not None and (type(value) is not int or not 0 <= value < 2**31):
        raise UserError(f"{name} was {shown(value)}; it must be a whole number, 0 or more.")
    return value


def flag(given: Plain, name: str) -> bool:
    """Whether something is so; it is not where nothing is said of it."""
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise UserError(f"{name} was {shown(value)}; it must be true or false.")
    return value


def mapping(given: Plain, name: str) -> Plain:
    """An object in the object; an empty one where nothing is said of it."""
    value = given.get(name, {})
    if not isinstance(value, dict):
        raise UserError(f"{name} was {shown(value)}; it must be an object.")
    return value


def texts(given: Plain, name: str, *, longest: int = LONGEST_ID, most: int = MOST_IDS) -> list[str]:
    """A list of texts of the object."""
    value = given.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) and len(each) <= longest for each in value):
        raise UserError(f"{name} was {shown(value)}; it must be a list of texts.")
    if len(value) > most:
        raise UserError(f"{name} has {len(value):,} entries; name at most {most:,} at once.")
    return value


def asked(request: Request, kind: type[P]) -> P:
    """The values in the address; 1 and 0 stand for true and false too."""
    names = {"1": "true", "0": "false"}
    given = dict(request.query_params)
    flags = {name for name, value in given.items() if isinstance(getattr(kind, name, None), bool) and value in names}
    return kind.read({name: names[value] if name in flags else value for name, value in given.items()})


def shown(value: object) -> str:
    """A value as it is repeated in a sentence."""
    return quoted(value) if isinstance(value, str) else quoted(json.dumps(value, ensure_ascii=False))[1:-1]


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


Who = Annotated[User, Depends(who)]
Told = Annotated[Plain, Depends(told)]
