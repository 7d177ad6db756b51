"""Textual inversions (Gal et al. 2022, arXiv:2208.01618): words that were trained, in files of a few vectors.

A file in models/embeddings is used where its name stands in a prompt or a negative prompt, as any other word: it may have a
weight, or change along the steps. Files: .pt and .bin of A1111 and diffusers, .safetensors, those of SDXL with vectors for both
text towers, and PNG or WebP pictures with an embedding in them. One whose vectors are too wide or too narrow for the model is
skipped, and the job says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from webui.extension import Card, Files, Home, Job, Patches, Request, Submission, hook

from .files import FOLDERS, WEIGHTS, facts_of, named_in, places
from .pictures import PICTURES

HASH_DIGITS = 12
TAG = re.compile(r"<\w+:(?!>)[^>]*>")
PREVIEWS = (".preview.png", ".png", ".preview.jpg", ".jpg", ".jpeg", ".preview.webp", ".webp")


@hook
def resolve(submission: Submission) -> Mapping[str, Any] | None:
    """The embeddings that the prompts name, with their hashes."""
    names = submission.files.names(FOLDERS)
    prompts = (TAG.sub(" ", prompt) for prompt in submission.prompts)  # a file that a tag names is another one
    found = named_in((*prompts, *submission.negatives), names) if names else []
    hashes = {name: submission.files.sha256(names[name]) for name in found}
    return {"embeddings": hashes} if hashes else None


@hook
def metadata(request: Request, values: Mapping[str, Any], noted: Mapping[str, Any]) -> Mapping[str, str]:
    """The hashes of the files."""
    del request, values
    found = noted.get("embeddings", {})
    return {"TI hashes": ", ".join(f"{name}: {digest[:HASH_DIGITS]}" for name, digest in found.items())} if found else {}


@hook
def patches(job: Job) -> Patches | None:
    """Vectors in the place of the names; of a file that does not fit the model, a sentence."""
    from .reading import vectors_for

    tokens = []
    for name, sha256 in job.noted.get("embeddings", {}).items():
        path = job.files.found(FOLDERS, name, sha256)
        own = vectors_for([tower.width for tower in job.spec.text], job.files, path, name, sha256)
        if not isinstance(own, str):
            tokens.append(own)
        elif not job.second:
            job.tell(own)
    return Patches(tokens=tuple(tokens)) if tokens else None


@hook
def cards(home: Home, files: Files) -> Sequence[Card]:
    """A card for each file; one that no model here can read says why."""
    del home
    return [card_of(name, path) for name, path in sorted(files.names(FOLDERS).items(), key=lambda pair: pair[0].casefold())]


def card_of(name: str, path: str) -> Card:
    """The card of a file. Negative ones are known by their names, as people call them."""
    facts = facts_of(path)
    said = {"Vectors": str(facts.count) if facts.count else "", "Width": " and ".join(map(str, facts.widths))}
    words = name.casefold()
    return Card(
        kind="Embedding", name=name, insert=name, base=facts.base, preview=preview(path), problem=facts.problem,
        facts={label: value for label, value in said.items() if value}, negative="neg" in words or "bad" in words,
    )  # fmt: skip


def preview(path: str) -> str:
    """The picture beside a file, or the file where it is one."""
    place = Path(path)
    if place.suffix.lower() in PICTURES:
        return path
    stem = place.with_suffix("")
    return next((str(found) for ending in PREVIEWS if (found := stem.with_name(stem.name + ending)).is_file()), "")


@hook
def prompt_problems(text: str, folders: Sequence[Path]) -> Sequence[tuple[int, int, str]]:
    """Names of embeddings that no model here can read."""
    found = []
    for path in _files(folders):
        if named_in((text,), (path.stem,)) and (problem := facts_of(str(path)).problem):
            found += [(start, end, f"{path.name}: {problem}") for start, end in places(path.stem, text)]
    return sorted(found)


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        for name in FOLDERS:
            try:
                found = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in WEIGHTS and path.is_file())
            except OSError:
                continue
            yield from found
