"""A task's parameters on the command line: its own and those of extensions, whose pictures are named by their files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from webui.commands.flags import read_flags
from webui.errors import UserError, quoted
from webui.params import Params
from webui.request import InputFacts
from webui.service.composed import composed_tasks, pictures_of
from webui.service.decoding import facts_of
from webui.service.extensions import Extensions, of_folder
from webui.service.inputs import LARGEST, checked_head
from webui.service.keeping import digest_of

Kept = dict[str, bytes]
"""What files hold that a job is given, by SHA-256."""


@cache
def extensions_of(root: Path) -> Extensions:
    """The extensions that commands of a program's folder use."""
    return of_folder(root)


def parameters_of_task(task: str, root: Path) -> type[Params]:
    """The parameters of a task, those of extensions too."""
    return composed_tasks(extensions_of(root))[task]


def read_task(options: argparse.Namespace, cls: type[Params], positional: str, kept: Kept) -> Params:
    """The parameters that flags give; files that they name are read into `kept`."""
    return read_flags(options, cls, positional, lambda path: read(Path(path), kept).digest)


def pictures(params: Params, kept: Mapping[str, bytes]) -> dict[str, InputFacts]:
    """What is known of the pictures that extensions are given."""
    return {name: facts_of(digest, kept[digest]) for name, digest in pictures_of(params).items()}


def read(path: Path, kept: Kept) -> InputFacts:
    """Read and check a picture file into `kept`; `UserError` where it is none that can be used."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    try:
        checked_head(content)
        facts = facts_of(digest_of(content), content)
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from error
    kept[facts.digest] = content
    return facts


def unreadable(path: Path, error: Exception) -> UserError:
    """The error for a file that the system does not give."""
    return UserError(f"{quoted(str(path))} cannot be read ({getattr(error, 'strerror', None) or 'no such name'}).")
