"""Cards of LoRA files: a picture, the words that trigger it, for which models it is, and what else its metadata say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from webui.extension import Card, Files

from . import finding
from .bases import base_of

KIND = "LoRA"
MOST_WORDS = 12
SAID = {"modelspec.author": "Author", "modelspec.license": "Licence", "modelspec.date": "Date", "modelspec.usage_hint": "Use"}
SHORT = 300  # characters of a fact


def cards_of(files: Files) -> list[Card]:
    """A card for each file, by name."""
    return [card_of(files, name, path) for name, path in sorted(files.names(finding.FOLDERS).items(), key=_folded)]


def card_of(files: Files, name: str, path: str) -> Card:
    """The card of one file; what people wrote beside it goes before what is in it."""
    shapes, metadata = finding.described(files, path)
    own = finding.beside(path, ".json", ".civitai.info")
    strength = own.get("preferred weight")
    strength = f"{strength:g}" if isinstance(strength, int | float) and 0 < abs(strength) <= 100 else "1"
    activation = str(own.get("activation text") or "").strip()
    alias = metadata.get(finding.ALIAS, "").strip()
    return Card(
        kind=KIND, name=name, insert=f"<lora:{name}:{strength}>" + (f" {activation}" if activation else ""),
        title=str(metadata.get("modelspec.title") or name), words=words_of(own, metadata),
        base=str(own.get("sd version") or own.get("baseModel") or "") or base_of(shapes, metadata),
        preview=finding.preview(path), facts=facts_of(own, metadata, alias if alias != name else ""),
    )  # fmt: skip


def words_of(own: Mapping[str, Any], metadata: Mapping[str, str]) -> Sequence[str]:
    """The words that trigger it: as somebody wrote, as its maker says, or those that most of its pictures were described by."""
    trained = own.get("trainedWords")
    told = [str(own.get("activation text") or ""), *(map(str, trained) if isinstance(trained, list) else ())]
    found = [word.strip() for text in told for word in text.split(",") if word.strip()]
    if not found:
        found = [word.strip() for word in metadata.get("modelspec.trigger_phrase", "").split(",") if word.strip()]
    return tuple(dict.fromkeys(found or commonest(metadata.get("ss_tag_frequency", ""))))[:MOST_WORDS]


def commonest(text: str) -> list[str]:
    """The words by which most pictures were described, of how often each was, by data set."""
    try:
        told = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return []
    counts: Counter[str] = Counter()
    for own in told.values() if isinstance(told, dict) else ():
        if isinstance(own, dict):
            counts.update({str(word).strip(): int(count) for word, count in own.items() if isinstance(count, int)})
    return [word for word, _ in counts.most_common(MOST_WORDS)]


def facts_of(own: Mapping[str, Any], metadata: Mapping[str, str], alias: str) -> dict[str, str]:
    """Further lines of a card."""
    found = {"Trained as": alias, "Notes": str(own.get("notes") or own.get("description") or "")}
    found |= {label: metadata.get(name, "") for name, label in SAID.items()}
    rank, alpha = metadata.get("ss_network_dim", ""), metadata.get("ss_network_alpha", "")
    found["Rank"] = f"{rank}, alpha {alpha}" if rank and alpha else rank
    found["Trained on"] = metadata.get("ss_sd_model_name", "")
    return {label: value.strip()[:SHORT] for label, value in found.items() if value.strip() not in ("", "None")}


def _folded(pair: tuple[str, str]) -> str:
    return pair[0].casefold()
