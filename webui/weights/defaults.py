"""Which steps, scale, sampler and schedule suit a model: what its file says itself."""

from __future__ import annotations

import json
from dataclasses import dataclass

from webui.errors import ModelFileError, UserError
from webui.params import Txt2Img
from webui.weights.files import Header

DEFAULTS_KEY = "webui.defaults"  # in a file's metadata: JSON such as {"scale": 5, "steps": 4}, what suits the model


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What suits a model where a person chose nothing; None where the usual does.

    Sampler and schedule are names as people know them, which need not be registered here.
    """

    steps: int | None = None
    scale: float | None = None
    sampler: str | None = None
    schedule: str | None = None


def defaults_of(header: Header) -> Defaults:
    """What a file says suits it; `ModelFileError` where that is nothing a person could set."""
    try:
        plain = json.loads(header.metadata.get(DEFAULTS_KEY, "{}"))
        if not isinstance(plain, dict):
            raise ValueError
        given = {name: plain[name] for name in Defaults.__dataclass_fields__ if plain.get(name) is not None}
        read = Txt2Img(**given)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"Its {DEFAULTS_KEY} are not JSON of the form {{'scale': 5}}.") from error
    except UserError as error:
        raise ModelFileError(f"Its {DEFAULTS_KEY} cannot be used: {error}") from error
    return Defaults(**{name: getattr(read, name) for name in given})
