"""LoRA and its relatives: files that change a model, named by a tag such as `<lora:name:0.8>`; `strengths` has all it can say.

Files are .safetensors, .pt and the like in models/Lora, loras and LyCORIS, found by their names or those they were trained under.
Nothing is written to a model: what a tag asks for goes into patches that belong to the picture. What of a file has no place in
the model is told with the picture. Numbers and formats: `changes` and `keys`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webui.extension import (
    Card,
    ChangeRow,
    Files,
    Home,
    Job,
    Params,
    Patches,
    Request,
    Submission,
    TagKind,
    hook,
    param,
)

from . import finding
from .blocks import own_presets
from .reading import prompt_of
from .showing import cards_of
from .strengths import wished

TEXT_FIRST = "text, noise predictor"
HELP = "<lora:name:0.8>, <lora:name:unet:te>, <lora:name:0@0,1@0.5>, <lora:name:1:lbw=OUTALL:start=5>"


@dataclass(frozen=True, kw_only=True)
class Settings(Params):
    """What an owner sets for all."""

    order: str = param(
        "noise predictor, text", "Order of two strengths", one_of=("noise predictor, text", TEXT_FIRST),
        help="What <lora:name:0.8:0.5> means; A1111 has the text's first. Named ones, te=0.5, mean the same everywhere.",
    )  # fmt: skip
    presets: str = param(
        "", "Presets for blocks", help="Such as FACE:1,0,0,... with 12, 17, 20 or 26 numbers; several are parted by |."
    )

    def check_together(self) -> None:
        """Presets that mean nothing are refused here, and not with every picture."""
        own_presets(self.presets)


@hook
def settings() -> type[Params]:
    """Presets, and the order of two strengths."""
    return Settings


@hook
def tags() -> Sequence[TagKind]:
    """`<lora:...>`, and `<lyco:...>`, which means the same."""
    return [TagKind(name=name, resolve=resolved, folders=finding.FOLDERS, help=HELP) for name in ("lora", "lyco")]


def resolved(arguments: tuple[str, ...], submission: Submission) -> Mapping[str, Any]:
    """What a tag names: the file with its hashes, and what is asked of it."""
    own = submission.home.settings
    presets = own_presets(str(own.get("presets", "")))
    wish = wished(arguments[1:], presets, text_first=own.get("order") == TEXT_FIRST)
    path, name = finding.find(submission.files, arguments[0].strip() if arguments else "")
    _, metadata = finding.described(submission.files, path)
    return {
        "name": name, "sha256": submission.files.sha256(path), "hash": finding.known_hash(submission.files, path, metadata),
        "wish": wish.plain(), "adapter": finding.adapter_settings(path),
    }  # fmt: skip


@hook
def read_file(content: bytes) -> str | None:
    """The prompt that uses a LoRA file, for who drops one on PNG Info."""
    return prompt_of(content)


@hook
def metadata(request: Request, values: Mapping[str, Any], noted: Mapping[str, Any]) -> Mapping[str, str]:
    """The hashes of the files, as sites know them."""
    del request, values
    found = {each["name"]: each["hash"] for each in noted.get("tags", {}).values()}
    return {"Lora hashes": ", ".join(f"{name}: {digest}" for name, digest in found.items())} if found else {}


@hook
def cards(home: Home, files: Files) -> Sequence[Card]:
    """A card for each file."""
    del home
    return cards_of(files)


@hook
def patches(job: Job) -> Patches | None:
    """All that does not change along the steps."""
    from .job import merged_patches

    return merged_patches(job) if job.tags else None


@hook
def rows(job: Job) -> ChangeRow | None:
    """What changes along the steps, beside the layers."""
    from .job import changing

    return changing(job) if job.tags else None
