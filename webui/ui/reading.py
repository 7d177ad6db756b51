"""From a picture's text to values of the controls: what is known here is taken over, the rest is named."""

from __future__ import annotations

import contextlib
from typing import Any

from webui import infotext
from webui.errors import UserError
from webui.params import Parameter, Txt2Img, parameters
from webui.pipeline.samplers import resolve as resolve_sampler
from webui.service.checkpoints import choose
from webui.service.requests import Resolver
from webui.ui.areas import STYLES, TXT2IMG
from webui.ui.controls import as_shown

SAYS_NOTHING = {"Version", "User", "Shared calls", "Interrupted", "Computed on", "Model hash"}  # keys that change no picture
KEEPS = {"count", "model"}  # what stays as it is where the text does not say it
MOST_NAMED = 6


def read(text: str, resolver: Resolver) -> tuple[dict[str, Any], list[str]]:
    """Values for the controls by name, and sentences about what could not be taken over."""
    info = infotext.parse(text)
    if not info.values:
        return {"prompt": info.prompt, "negative": info.negative}, ["It holds no values, so only the prompt was taken."]
    raw, unknown = infotext.raw_parameters(info)
    values: dict[str, Any] = {}
    notes = []
    if "sampler" in raw:  # old names hold a schedule too
        raw.setdefault("schedule", Txt2Img.schedule)
    for name, parameter in parameters(Txt2Img).items():
        if name not in raw:
            if name not in KEEPS:
                values[name] = parameter.default
            continue
        try:
            values[name] = _value(name, parameter, raw, resolver)
        except UserError as error:
            notes.append(str(error))
    notes += _model(values, raw, resolver)
    sides = {str(each.infotext).removesuffix("-1") for each in parameters(Txt2Img).values()}  # "Size", of which both are known
    left = [key for key in unknown if key not in SAYS_NOTHING | sides]
    if left:
        notes.append(f"Not known here: {', '.join(left[:MOST_NAMED])}{' and more' if len(left) > MOST_NAMED else ''}.")
    shown = {name: as_shown(each, values[name]) for name, each in TXT2IMG.parameters().items() if name in values}
    return shown | {STYLES: []}, notes  # the text holds what styles added already


def _value(name: str, parameter: Parameter, raw: dict[str, str], resolver: Resolver) -> Any:
    if name in ("sampler", "schedule"):
        info, schedule = resolve_sampler(
            raw.get("sampler", Txt2Img.sampler), raw.get("schedule", Txt2Img.schedule),
            samplers=resolver.sampler_infos, schedules=resolver.schedule_functions,
        )  # fmt: skip
        return info.name if name == "sampler" else schedule
    return parameter.parse(raw[name])


def _model(values: dict[str, Any], raw: dict[str, str], resolver: Resolver) -> list[str]:
    """Put the model's name here into `values`; a sentence where it is not here, or is another one."""
    name, digits = values.pop("model", None), values.pop("model_hash", None)
    if name is None and digits is None:
        return []
    there = resolver.checkpoints()
    if digits:
        with contextlib.suppress(UserError):  # what was never read whole has no hash, and is told by its name
            values["model"] = choose(there, name, digits, resolver.known_hash).name
            return []
    try:
        named = choose(there, name, None, lambda _: "")
    except UserError:
        return [f"The model {raw.get('model', digits)} is not here; the one that was chosen stays."]
    own = resolver.known_hash(named.path) if digits else ""
    if own:
        hashes = f"its hash is {own[:10]}, not {digits}"
        return [f"The model {named.name} here is another one: {hashes}; the one that was chosen stays."]
    values["model"] = named.name
    return [f"The model {named.name} was taken by its name; whether it is the same is known once it was used."] if digits else []
