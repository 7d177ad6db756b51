"""Hypernetworks: `<hypernet:name:0.7>` in a prompt bends what attention looks at, by a file in models/hypernetworks.

Attention compares pixels with a context: the text, or the picture itself. A hypernetwork puts a small network before the keys
that are made of that context and another one before the values, for each width that contexts have:

    context + strength * network(context)

No weight of the model is touched, so there is nothing to put back. Tags may be several, in any order; 1 is the usual strength.

`network` reads files and does the arithmetic, `cards` shows what there is. This page has what the program calls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from webui.extension import Card, Files, Home, Job, Patches, Request, Submission, TagKind, UserError, hook, quoted

from .cards import card_of

if TYPE_CHECKING:
    from .network import Bend

FOLDERS = ("hypernetworks",)
SHORT_HASH = 10  # digits by which the community names a file
LARGEST = 100.0  # strengths beyond it are slips of the keyboard


@hook
def tags() -> Sequence[TagKind]:
    """The tag `<hypernet:name:strength>`."""
    meaning = "applies the hypernetwork of that name in models/hypernetworks at a strength of 0.7; 1 if none is said."
    return [TagKind(name="hypernet", resolve=resolved, folders=FOLDERS, help=f"<hypernet:name:0.7> {meaning}")]


def resolved(arguments: tuple[str, ...], submission: Submission) -> Mapping[str, Any]:
    """The file that a tag means, by its hash, and how strongly it is applied; `UserError` where it means none."""
    name, *others = arguments
    path = submission.files.find(FOLDERS, name.strip())
    return {"name": name.strip(), "sha256": submission.files.sha256(path), "strength": strength_of(name, others)}


def strength_of(name: str, said: Sequence[str]) -> float:
    """The strength that follows a hypernetwork's name, 1 where nothing does."""
    try:
        (strength,) = map(float, said or ["1"])
    except ValueError:
        strength = math.inf  # no number, or more than one
    if not abs(strength) <= LARGEST:
        raise UserError(
            f"The strength of the hypernetwork {quoted(name)} was {quoted(':'.join(said))}; "
            f"it must be a number from {-LARGEST:g} to {LARGEST:g}, such as 0.7."
        )
    return strength


@hook
def patches(job: Job) -> Patches | None:
    """The hook that stands before the attention layers in this job, where one of its tags has a strength."""
    tagged = [job.noted["tags"][tag] for tag in job.tags if tag in job.noted["tags"]]
    # By content, so that the order of the tags does not matter: one network sees what another has made.
    wanted = sorted((each["sha256"], each["strength"], each["name"]) for each in tagged if each["strength"] != 0)
    if not wanted:
        return None
    bend = bend_of(job, wanted)
    for network, _ in bend.networks:
        if not job.second and (sentence := network.unfit(job.weights())):
            job.tell(sentence)
    return Patches(attention=(bend,))


def bend_of(job: Job, wanted: Sequence[tuple[str, float, str]]) -> Bend:
    """The hook object for some files by hash, with their strengths and names."""
    from .network import Bend, Hypernetwork  # they need torch

    key = (job.device, *(each[:2] for each in wanted))
    found = in_use().get(key)
    if found is None:
        networks = []
        for sha256, strength, name in wanted:
            read = Hypernetwork.read(job.files.tensors(job.files.found(FOLDERS, name, sha256)), name)
            networks.append((read.to(job.device), strength))
        found = in_use()[key] = Bend(networks)
    return found


@lru_cache(maxsize=1)
def in_use() -> WeakValueDictionary[tuple[Any, ...], Bend]:
    """The hook objects of pictures that are being made: those with the same one may share calls of the model."""
    return WeakValueDictionary()


@hook
def metadata(request: Request, values: Mapping[str, Any], noted: Mapping[str, Any]) -> Mapping[str, str]:
    """The hash of each file, so that a picture's text says with which one it was made."""
    del request, values
    hashes = {each["name"]: each["sha256"][:SHORT_HASH] for each in noted.get("tags", {}).values()}
    return {"Hypernet hashes": ", ".join(f"{name}: {short}" for name, short in sorted(hashes.items()))} if hashes else {}


@hook
def cards(home: Home, files: Files) -> Sequence[Card]:
    """Every hypernetwork there is."""
    del home
    return [card_of(name, path) for name, path in files.names(FOLDERS).items()]
