"""What a model holds without its weights, whether it is one file or a diffusers folder. Needs no torch, but for pickles."""

from __future__ import annotations

from pathlib import Path

from webui.weights import depth_layouts, files, folders
from webui.weights.files import Header


def read_header(path: Path) -> Header:
    """Return the header of a weight file; of a folder, that of the single file which would hold the same.

    Folders are diffusers' with a whole model, and those of transformers with a depth estimator.

    Raises `ModelFileError`, which says what is wrong with it.
    """
    if folders.is_folder(path):
        return folders.header_of(path)
    return depth_layouts.header_of(path) if depth_layouts.is_estimator_folder(path) else files.read_header(path)


def is_pickle(path: Path) -> bool:
    """Whether torch has to be imported to read the header; `ModelFileError` where a file cannot be opened."""
    if depth_layouts.is_estimator_folder(path):
        return any(map(files.is_pickle, folders.weight_files(path, path)))
    return any(map(files.is_pickle, folders.files_of(path) if folders.is_folder(path) else (path,)))
