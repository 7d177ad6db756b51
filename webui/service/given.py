"""The pictures a request names, from where they are kept to what a generation is given.

Whoever starts a generation calls `given(request, open_input)` in the engine's thread; torch is not imported before that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from webui.errors import StorageError, UserError
from webui.request import Request
from webui.service import decoding
from webui.service.folders import DATA
from webui.tasks import TAKES

if TYPE_CHECKING:
    from webui.pipeline.given import Given

FOLDER = "inputs"  # in the folder for data
OpenInput = Callable[[str], bytes]
"""The bytes of a kept picture by its SHA-256; `UserError` where it is gone."""


def nothing(digest: str) -> bytes:
    """There is no picture."""
    raise gone(digest)


def stored(root: Path) -> OpenInput:
    """Those that were brought to the page of the program's folder; who may use which is asked when a job is submitted."""

    def opened(digest: str) -> bytes:
        try:
            content = place(root, digest).read_bytes()
        except OSError as error:
            raise gone(digest) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise StorageError(f"The upload {digest[:10]} is not what it was; upload it again.")
        return content

    return opened


def among(contents: Mapping[str, bytes]) -> OpenInput:
    """Those in a mapping by their SHA-256."""

    def opened(digest: str) -> bytes:
        if digest not in contents:
            raise gone(digest)
        return contents[digest]

    return opened


def place(root: Path, digest: str) -> Path:
    """Where the picture with a SHA-256 is kept."""
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise gone(digest)
    return root / DATA / FOLDER / digest[:2] / digest


def gone(digest: str) -> UserError:
    """The error for a picture that is not there any more."""
    return UserError(f"The uploaded picture {digest[:10]} that this begins with is not here any more; choose it again.")


def given(request: Request, open_input: OpenInput) -> Given:
    """Decode what a request names; `UserError` where a file is gone or broken.

    To inpaint where there is no mask, what is drawn on the picture is what is made anew.
    """
    from torch import from_numpy

    from webui.pipeline.given import Given

    contents = {name: open_input(digest) for name, digest in request.inputs.items() if name in TAKES.get(request.task, ())}
    pictures = {name: decoding.colours(contents[name]) for name in ("picture", "sketch") if name in contents}
    maps = {"mask": decoding.mask(contents["mask"])} if "mask" in contents else {}
    if request.task == "inpaint" and not maps and "sketch" in pictures:
        maps = {"mask": (pictures["sketch"][..., 3] / 255).astype("float32")}
    maps |= {"depth": decoding.depth(contents["depth"])} if "depth" in contents else {}
    return Given(
        **{name: from_numpy(pixels.transpose(2, 0, 1).copy()) for name, pixels in pictures.items()},
        **{name: from_numpy(values) for name, values in maps.items()},
    )
