"""Command-line flags of parameters: there is one for each field, and none is written down here."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from webui.errors import UserError
from webui.params import Parameter, Params, parameters, size

P = TypeVar("P", bound=Params)
SIDES = {"width", "height"}


def add_flags(parser: argparse.ArgumentParser, cls: type[Params], positional: str, *, optional: bool = False) -> None:
    """Add a flag for each parameter of `cls`, the field `positional` as words without a flag, and --size for both sides.

    `optional`: there may be no such words.
    """
    for name, parameter in parameters(cls).items():
        if name == positional:
            parser.add_argument(name, nargs="*" if optional else "+", help=parameter.help)
        elif parameter.kind is bool and parameter.default is not True:
            parser.add_argument(parameter.flag, dest=name, action="store_const", const="true", help=parameter.help)
        elif parameter.kind is bool:
            flag = f"--no-{parameter.flag.removeprefix('--')}"
            parser.add_argument(flag, dest=name, action="store_const", const="false", help=f"Not: {parameter.help}")
        else:
            parser.add_argument(parameter.flag, dest=name, metavar=metavar(parameter), help=escaped(explained(parameter)))
    if parameters(cls).keys() >= SIDES:
        parser.add_argument("--size", metavar="WxH", help="Width and height at once, such as 512x768.")


def read_flags(
    options: argparse.Namespace, cls: type[P], positional: str, read_picture: Callable[[str], str] | None = None
) -> P:
    """The parameters that parsed flags give; `UserError` says in a sentence which is wrong.

    `read_picture` returns the SHA-256 of a picture by the path that a flag gives.
    """
    given = {name: getattr(options, name) for name in parameters(cls) if getattr(options, name) is not None}
    if read_picture is not None:
        named = {name for name, parameter in parameters(cls).items() if parameter.picture}
        given |= {name: read_picture(given[name]) for name in named & given.keys() if given[name]}
    if positional in given:
        given[positional] = " ".join(given[positional])
    if getattr(options, "size", None) is not None:
        if SIDES & given.keys():
            raise UserError("Give either --size or --width and --height, not both.")
        given |= size(options.size)
    return cls.read(given)


def explained(parameter: Parameter) -> str:
    """The help of a parameter, with what is allowed and what it is when it is left out."""
    allowed = f" From {parameter.text(parameter.min)} to {parameter.text(parameter.max)}." if parameter.min is not None else ""
    return f"{parameter.help}{allowed} Default: {default(parameter)}."


def default(parameter: Parameter) -> str:
    """What a parameter is when it is left out, in words."""
    if parameter.default is None:
        return parameter.unset
    return parameter.text(parameter.default) or "none"


def escaped(text: str) -> str:
    """`text` as argparse wants it, which formats help with the % operator."""
    return text.replace("%", "%%")


def metavar(parameter: Parameter) -> str:
    """What stands for the value in the help."""
    return "FILE" if parameter.picture else {int: "N", float: "X"}.get(parameter.kind, "TEXT")
