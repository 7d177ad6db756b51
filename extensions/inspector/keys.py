"""Whose a record is: found from the request of a picture, which only who has the picture is told."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

NAME = "inspector"
KEY_DIGITS = 32


def new_record() -> str:
    """A name for the records of one job, which nobody can guess."""
    return secrets.token_hex(16)


def key_of(record: str, request: Mapping[str, Any]) -> str:
    """The key of one picture's record among those of its job: pictures of a job differ by a seed."""
    said = [record, request["task"], request["seed"], request["variation_seed"]]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:KEY_DIGITS]


def key_in(request: Mapping[str, Any]) -> str | None:
    """The key of the record that a picture's request speaks of; None where it was made without one."""
    record = noted(request).get("record")
    return key_of(record, request) if isinstance(record, str) else None


def noted(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `resolve` noted of a request."""
    found: Mapping[str, Any] = request.get("extensions", {}).get(NAME, {}).get("noted", {})
    return found


def signature_of(request: Mapping[str, Any]) -> str:
    """What tells the passes of a picture apart; the same where one is made once more."""
    said = {name: value for name, value in request.items() if name != "extensions"}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:KEY_DIGITS]
