"""What a model holds without its weights, whether it is one file or a diffusers folder. Needs no torch, but for pickles."""

from __future__ import annotations

from pathlib import Path

from webui.weights import files, folders
from webui.weights.files import Header


def read_header(path: Path) -> Header:
    """Return the header of a weight file; of a folder, that of the single file which would hold the same.

    Raises `ModelFileError`, which says what is wrong with it.
    """
    return folders.header_of(path) if folders.is_folder(path) else files.read_header(path)


def is_pickle(path: Path) -> bool:
    """Whether torch has to be imported to read the header; `ModelFileError` where a file cannot be opened."""
    return any(map(files.is_pickle, folders.files_of(path) if folders.is_folder(path) else (path,)))
