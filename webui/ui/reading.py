"""From a picture's text to values of the controls: what is known here is taken over, the rest is named."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webui import infotext
from webui.drawing import SAME_MODEL, SAME_SAMPLER, SAME_SCHEDULE, Drawing
from webui.errors import UserError
from webui.metadata import reading as metadata
from webui.params import AUTOMATIC, NONE, Parameter, parameters
from webui.pipeline.samplers import resolve as resolve_sampler
from webui.request import ModelFacts
from webui.service import vaes
from webui.service.checkpoints import Checkpoint, choose
from webui.service.overrides import in_words
from webui.service.picture_texts import REFINER_SET_KEY, REMARKS, SET_KEY
from webui.service.requests import Resolver
from webui.tasks import TASKS
from webui.ui.areas import MODEL, STYLES, Area, areas_of
from webui.ui.controls import as_shown

KEEPS = {"count", "model", "vae", "refiner", "estimator", "upscaler"}  # what stays as it is where the text does not say it
PROMPTS = {"prompt", "negative"}
ALWAYS_SAID = {"schedule"}  # by old names of samplers
SAME = {"hires_sampler": SAME_SAMPLER, "hires_schedule": SAME_SCHEDULE}  # what stands for that of the first pass
MOST_NAMED = 6


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a text says: values for the controls of `area` by name, and sentences about what could not be taken over."""

    area: str
    values: dict[str, Any]
    notes: list[str]


def read(text: str, resolver: Resolver, area: Area | None = None, *, keep: bool = False) -> Read:
    """Read a picture's text for an area, or for that whose task made the picture.

    With `keep` what the text does not say stays as it is, and of another task only what all pictures from text have is taken.
    """
    info = infotext.parse(_translated(text))
    task = infotext.task_said(info) or "txt2img"
    wanted = areas_of(resolver.extensions)[task] if area is None else area
    if not info.values:
        words = {name: value for name, value in (("prompt", info.prompt), ("negative", info.negative)) if name in wanted.names()}
        return Read(area=wanted.name, values=words, notes=["It holds no values, so only the prompt was taken."])
    raw, unknown = infotext.raw_parameters(info, wanted.params)
    if "sampler" in raw:  # old names hold a schedule too
        raw.setdefault("schedule", Drawing.schedule)
    left_out = _unsaid(info, wanted, task) if keep else KEEPS
    values: dict[str, Any] = {}
    notes = []
    for name, parameter in parameters(wanted.params).items():
        if name in left_out and (keep or name not in raw):
            continue
        if name not in raw:
            values[name] = parameter.default
            continue
        try:
            values[name] = _value(name, parameter, raw, resolver)
        except UserError as error:
            notes.append(str(error))
    ours = infotext.is_ours(info)
    if MODEL in wanted.groups:
        notes += _model(values, raw, resolver)
        notes += _vae(values, "VAE" in info.values, ours, resolver)
        notes += _further_model("refiner", "refiner", NONE, values, resolver)
        notes += _further_model("hires_model", "hires checkpoint", SAME_MODEL, values, resolver)
        notes += _set(unknown, values, resolver) if ours else []
    notes += _networks(values, resolver)
    if not keep:
        notes += _left_over(unknown, wanted, task)
    shown = {name: as_shown(each, values[name]) for name, each in wanted.parameters().items() if name in values}
    styles: dict[str, Any] = {STYLES: []} if wanted.styled else {}  # the text holds what styles added already
    return Read(area=wanted.name, values=shown | styles, notes=notes)


def _translated(text: str) -> str:
    """The text; where it is what another program writes in a form of its own, what that means in ours."""
    return metadata.read(text.encode(errors="replace")).text or text if text.lstrip().startswith("{") else text


def _unsaid(info: infotext.Infotext, area: Area, task: str) -> set[str]:
    """Parameters that a text says nothing of, or that mean something else for another task."""
    said = {key for side in ("", "-1", "-2") for key in (f"{each}{side}" for each in info.values)}
    shared = parameters(Drawing)
    unsaid = set()
    for name, each in parameters(area.params).items():
        keys = {each.infotext, *each.infotext_by_sampler.values()}
        foreign = area.name != task and name not in shared
        if (name not in PROMPTS and not keys & said and name not in ALWAYS_SAID) or foreign:
            unsaid.add(name)
    return unsaid


def _networks(values: dict[str, Any], resolver: Resolver) -> list[str]:
    """Leave out estimators and upscalers that are not here; a sentence for each."""
    notes = []
    for name, there, what in (
        ("estimator", resolver.estimator_names, "depth estimator"), ("upscaler", resolver.networks.upscaler_names, "upscaler"),
        ("upscaler_2", resolver.networks.upscaler_names, "upscaler"),
        ("hires_upscaler", lambda: [NONE, *resolver.hires_upscaler_names()], "upscaler"),
    ):  # fmt: skip
        named = {each.casefold(): each for each in there()} if name in values else {}
        if name in values and values[name].strip().casefold() in named:
            values[name] = named[values[name].strip().casefold()]
        elif name in values:
            notes.append(f"The {what} {values.pop(name)} is not here; the one that was chosen stays.")
    return notes


def _left_over(unknown: Mapping[str, str], area: Area, task: str) -> list[str]:
    """Name what a text says and nobody here knows; what only another task's tab has is said as such."""
    sides = {str(each.infotext).removesuffix("-1") for each in parameters(area.params).values()}  # "Size": both are known
    foreign = {str(each.infotext) for each in parameters(TASKS[task]).values()} if task != area.name else set()
    left = [key for key in unknown if key not in {*REMARKS, *sides, *foreign}]
    notes = []
    if task != area.name and foreign & set(unknown):
        notes.append(f"The picture was made by {task}; what only that has was left out.")
    if left:
        notes.append(f"Not known here: {', '.join(left[:MOST_NAMED])}{' and more' if len(left) > MOST_NAMED else ''}.")
    return notes


def _value(name: str, parameter: Parameter, raw: dict[str, str], resolver: Resolver) -> Any:
    if name in ("sampler", "schedule"):
        info, schedule = resolve_sampler(
            raw.get("sampler", ModelFacts.sampler), raw.get("schedule", Drawing.schedule),
            samplers=resolver.extensions.samplers, schedules=resolver.extensions.schedules,
        )  # fmt: skip
        return info.name if name == "sampler" else schedule
    if name in SAME:
        return _second_pass(name, raw, resolver)
    return parameter.parse(raw[name])


def _second_pass(name: str, raw: Mapping[str, str], resolver: Resolver) -> str:
    """The sampler or schedule of the second pass by its name here; old names of samplers hold a schedule too."""
    said = {each: "" if raw.get(each, own).strip().casefold() == own.casefold() else raw[each] for each, own in SAME.items()}
    info, schedule = resolve_sampler(
        said["hires_sampler"] or ModelFacts.sampler, said["hires_schedule"] or AUTOMATIC,
        samplers=resolver.extensions.samplers, schedules=resolver.extensions.schedules,
    )  # fmt: skip
    if name == "hires_sampler":
        return info.name if said[name] else SAME_SAMPLER
    plain = said["hires_sampler"].strip().casefold() in {each.casefold() for each in ("", info.name, *info.aliases)}
    return schedule if said[name] or not plain else SAME_SCHEDULE


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


def _vae(values: dict[str, Any], said: bool, ours: bool, resolver: Resolver) -> list[str]:
    """Put the VAE's name here into `values`: by its hash, else by its name; a sentence where it is not here, or another one.

    Programs that say nothing of it may have used one all the same; ours says by it that there was none.
    """
    name, digits = values.pop("vae", NONE), (values.pop("vae_hash", None) or "").strip().casefold()
    near = _beside(values, resolver)
    if not said and not digits:
        values["vae"] = NONE if ours and near is not None else AUTOMATIC
        return []
    there = resolver.vaes()
    for each in (*([near] if near else []), *there) if digits else ():
        with contextlib.suppress(UserError):
            if resolver.known_hash(each.path).startswith(digits):
                values["vae"] = AUTOMATIC if each is near else each.name
                return []
    if name.casefold() in (NONE.casefold(), AUTOMATIC.casefold()):
        values["vae"] = name.capitalize()
        return []
    named = vaes.by_name(name, there) or (near if near and vaes.by_name(name, [near]) else None)
    if named is None:
        return [f"The VAE {name} is not here; the one that was chosen stays."]
    own = resolver.known_hash(named.path) if digits else ""
    if own:
        return [f"The VAE {named.name} here is another one: its hash is {own[:10]}, not {digits}; the one that was chosen stays."]
    values["vae"] = AUTOMATIC if named is near else named.name
    return [f"The VAE {named.name} was taken by its name; whether it is the same is known once it was used."] if digits else []


def _set(said: dict[str, str], values: dict[str, Any], resolver: Resolver) -> list[str]:
    """A sentence where an owner had set another thing for a model's file than now, for then another picture is made."""
    notes = []
    for key, name in ((SET_KEY, "model"), (REFINER_SET_KEY, "refiner")):
        found = next((each for each in resolver.checkpoints() if each.name == values.get(name)), None)
        if found is None:
            continue
        now = in_words(resolver.overrides.of(resolver.known_hash(found.path)).network())
        if said.get(key, "") != now:
            then, here = (f"set to {each!r}" if each else "as its file says" for each in (said.get(key), now))
            notes.append(f"{found.name} was {then} for this picture, and is {here} here.")
    return notes


def _beside(values: dict[str, Any], resolver: Resolver) -> Checkpoint | None:
    """The VAE that lies beside the text's model."""
    found = next((each for each in resolver.checkpoints() if each.name == values.get("model")), None)
    return None if found is None else vaes.beside(found.path)


def _further_model(name: str, what: str, none: str, values: dict[str, Any], resolver: Resolver) -> list[str]:
    """Put the name that another model of the picture has here into `values`; a sentence where it is not here."""
    said = values.pop(name, None)
    if said is None or said.strip().casefold() in (none.casefold(), ""):
        values |= {} if said is None else {name: none}
        return []
    try:
        values[name] = choose(resolver.checkpoints(), said, None, resolver.known_hash).name
    except UserError:
        plain = said.partition(" [")[0]
        with contextlib.suppress(UserError):
            values[name] = choose(resolver.checkpoints(), plain, None, lambda _: "").name
            return [f"The {what} {plain} was taken by its name; whether it is the same is known once it was used."]
        return [f"The {what} {said} is not here; the one that was chosen stays."]
    return []
