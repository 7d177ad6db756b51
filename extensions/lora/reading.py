"""What a LoRA file says when it is dropped where pictures are read: the prompt that uses it."""

from __future__ import annotations

import json

from .finding import ALIAS
from .showing import words_of

LONGEST_HEADER = 100 * 2**20  # bytes
LENGTH = 8  # bytes before a safetensors header, which say how long it is
PAIRS = ("lora_", "lora.", "hada_", "lokr_", "oft_", "lycoris_")  # some key of such a file holds one of these


def prompt_of(content: bytes) -> str | None:
    """The tag of a safetensors LoRA by the name that it was trained under, and its words; None for any other file."""
    length = int.from_bytes(content[:LENGTH], "little")
    if not 2 <= length <= min(LONGEST_HEADER, len(content) - LENGTH) or content[LENGTH : LENGTH + 1] != b"{":
        return None
    try:
        header = json.loads(content[LENGTH : LENGTH + length])
    except (ValueError, RecursionError):
        return None
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not any(mark in key for key in header for mark in PAIRS):
        return None
    told = {str(key): str(value) for key, value in metadata.items()}
    name = told.get(ALIAS, "").strip()
    words = ", ".join(words_of({}, told))
    return f"<lora:{name}:1> {words}".strip() if name else words or None
