"""Which steps, scale, sampler and schedule suit a model: what its file says itself, by its metadata or its layers."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields

from webui.drawing import Drawing
from webui.errors import ModelFileError, UserError
from webui.params import LONGEST_NAME
from webui.weights import layouts
from webui.weights.files import Header
from webui.weights.hints import hint_of

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


NAMES = tuple(field.name for field in fields(Defaults))
LCM = Defaults(steps=4, scale=8.0, sampler="Euler a")  # Luo et al. 2023, arXiv:2310.04378: the scale is an input of the network
SD_TURBO = Defaults(steps=4, scale=1.0, sampler="Euler a")  # Sauer et al. 2023, arXiv:2311.17042
TITLES = ("modelspec.title", "modelspec.architecture", "ss_output_name")  # where training programs note what it is called


def defaults_of(header: Header) -> Defaults:
    """What a file says suits it; `ModelFileError` where that is nothing a person could set.

    What it says outright counts most, then what its layers show, then the words in the title that its maker gave it.
    """
    return _joined(_own(header), _of_layers(header), _of_titles(header))


def _own(header: Header) -> Defaults:
    try:
        plain = json.loads(header.metadata.get(DEFAULTS_KEY, "{}"))
        if not isinstance(plain, dict):
            raise ValueError
        given = {name: plain[name] for name in NAMES if plain.get(name) is not None}
        read = Drawing(**given)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"Its {DEFAULTS_KEY} are not JSON of the form {{'scale': 5}}.") from error
    except UserError as error:
        raise ModelFileError(f"Its {DEFAULTS_KEY} cannot be used: {error}") from error
    return Defaults(**{name: getattr(read, name) for name in given})


def _of_layers(header: Header) -> Defaults:
    """LCM takes the guidance scale as an input; SD Turbo is a Stable Diffusion 2 whose tower lies where SDXL has its first."""
    if layouts.UNET + "time_embedding.cond_proj.weight" in header.tensors:
        return LCM
    tower = layouts.text_prefix(0, "open_clip", conditioner=True)
    turbo = any(key.startswith(tower) for key in header.tensors) and layouts.UNET + "label_emb.0.0.weight" not in header.tensors
    return SD_TURBO if turbo else Defaults()


def _of_titles(header: Header) -> Defaults:
    hint = next((found for title in TITLES if (found := hint_of(header.metadata.get(title, "")[:LONGEST_NAME]))), None)
    return Defaults() if hint is None else Defaults(steps=hint.steps, scale=hint.scale, sampler=hint.sampler)


def _joined(*rows: Defaults) -> Defaults:
    """What the first row says of each, or the next."""
    return Defaults(**{name: next((value for row in rows if (value := getattr(row, name)) is not None), None) for name in NAMES})
