"""What the page begins with for one person: models, choices, styles, and their controls as they left them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from webui.drawing import SAME_MODEL, SAME_SAMPLER, SAME_SCHEDULE
from webui.errors import NotFound, quoted
from webui.params import AUTOMATIC, NONE
from webui.service.studio import Studio
from webui.service.users import User
from webui.ui.areas import SETTINGS, STYLES, Area, areas_of
from webui.ui.controls import as_shown

DEFAULTS = " defaults"  # after an area's name: what a person saved as their defaults
CHOSEN_STYLES = " styles"  # which styles were chosen beside the prompt
INPUTS = " inputs"  # which pictures were chosen
FIELDS = " fields"  # before that: those that fields of extensions hold
AUTOMATIC_CHOICES = {"sampler": "samplers", "schedule": "schedules", "vae": "vaes"}  # whose first says what it is for a model
FILE_CHOICES = {
    "model": "models", "vae": "vaes", "refiner": "refiners", "estimator": "estimators", "upscaler": "upscalers",
    "upscaler_2": "upscalers", "hires_upscaler": "hires_upscalers", "hires_sampler": "hires_samplers",
    "hires_schedule": "hires_schedules", "hires_model": "hires_models",
}  # what comes and goes while the program runs
NEWER = "vae"  # a control that older versions did not have
OLD_DEFAULTS = {"steps": 20, "sampler": "DPM++ 2M"}
VAE_LABELS = {NONE: "None: the model's own"}
ESTIMATOR_LABELS = {NONE: "None: no map"}
LONGEST_NAME = 300  # of a picture's file
Plain = dict[str, Any]
Choices = dict[str, list[tuple[str, str]]]
Found = tuple[list[Plain], Choices]  # the models there are, and what can be chosen


def opening(studio: Studio, user: User, *, signed_in: bool) -> Plain:
    """Everything the page asks for once, before its controls are filled; who sits at this machine need not sign in."""
    models, named = found = find(studio)
    areas = {name: area for name, area in areas_of(studio.resolver.extensions).items() if area.run}
    fill = {name: _filled(studio, user, area, found) for name, area in areas.items()}
    return {
        "user": {"name": user.name, "owner": user.owner, "signed_in": signed_in},
        "models": models,
        "choices": {name: named[registry] for name, registry in AUTOMATIC_CHOICES.items()},
        "fill": fill | {SETTINGS.name: _settings(studio, user)},
        "inputs": {name: kept_inputs(studio, user, area) for name, area in areas.items() if area.inputs},
    }


def find(studio: Studio) -> Found:
    """The models there are now, and what can be chosen, by registry, as people read it and as it is meant."""
    resolver = studio.resolver
    found = resolver.models()
    samplers, schedules = resolver.samplers(), resolver.schedules()
    further = [(each["title"], each["name"]) for each in found if not each["problem"]]
    return found, {
        "models": model_choices(found),
        "refiners": [(NONE, NONE), *further],
        "vaes": [(VAE_LABELS.get(name, name), name) for name in resolver.vae_names()],
        "samplers": _same(samplers),
        "schedules": _same(schedules),
        "estimators": [(ESTIMATOR_LABELS.get(name, name), name) for name in resolver.estimator_names()],
        "upscalers": _same(resolver.networks.upscaler_names()),
        "hires_upscalers": [("None: draw once", NONE), *_same(resolver.hires_upscaler_names()[1:])],
        "hires_samplers": _same([SAME_SAMPLER, *(each for each in samplers if each != AUTOMATIC)]),
        "hires_schedules": _same([SAME_SCHEDULE, *(each for each in schedules if each != AUTOMATIC)]),
        "hires_models": [(SAME_MODEL, SAME_MODEL), *further],
        **{registry: _same(names) for registry, names in resolver.further_choices().items()},
    }


def _same(names: Sequence[str]) -> list[tuple[str, str]]:
    """Names that people read as they are meant."""
    return [(name, name) for name in names]


def model_choices(models: list[Plain]) -> list[tuple[str, str]]:
    """The models to choose from; a file that cannot be used is listed too, so that nobody looks for it in vain."""
    return [(f"{each['title']} (cannot be used)" if each["problem"] else each["title"], each["name"]) for each in models]


def kept(studio: Studio, user: User, area: Area, *, defaults_only: bool = False, found: Found | None = None) -> Plain:
    """The values of an area's controls: the program's defaults, over them the person's, over them what they last set.

    What was kept once and can be chosen no more, such as a model whose file is gone, is left out.
    """
    values: Plain = {name: each.default for name, each in area.parameters().items()}
    stored = _as_now(studio.preferences.read(user, area.name + DEFAULTS))
    if not defaults_only:
        stored |= _as_now(studio.preferences.read(user, area.name))
    values |= {name: value for name, value in stored.items() if name in values}
    models, named = find(studio) if found is None else found
    known = {registry: {value for _, value in pairs} for registry, pairs in named.items()}
    usable = [each["name"] for each in models if not each["problem"]]
    suited = [each["name"] for each in models if not each["problem"] and each["beside"] == area.name]  # such as depth models
    known["models"] = set(usable)
    for name, parameter in area.parameters().items():
        if parameter.picture and values[name] and not _is_there(studio, user, values[name]):
            values[name] = ""
        if parameter.choices in known and values[name] not in known[parameter.choices]:
            values[name] = next(iter(suited or usable), None) if parameter.choices == "models" else parameter.default
        values[name] = as_shown(parameter, values[name])
    return values


def _as_now(stored: Plain) -> Plain:
    """Values that an older version kept, without what nobody had set: it kept its own defaults too, which are the model's now."""
    return stored if NEWER in stored else {name: value for name, value in stored.items() if OLD_DEFAULTS.get(name) != value}


def keep(studio: Studio, user: User, area: Area, values: Mapping[str, Any], suffix: str = "") -> None:
    """Remember the values of an area's controls; what is not allowed is left out when they are read."""
    known = area.parameters()
    studio.preferences.write(user, area.name + suffix, {name: value for name, value in values.items() if name in known})
    if pictures := [name for name, each in known.items() if each.picture]:
        held = {name: {"digest": values[name]} for name in pictures if isinstance(values.get(name), str) and values[name]}
        studio.preferences.write(user, area.name + suffix + FIELDS + INPUTS, held)  # what is kept there is not swept away
    if area.styled and not suffix:
        names = values.get(STYLES)
        chosen = [each for each in names if isinstance(each, str)] if isinstance(names, list) else []
        studio.preferences.write(user, area.name + CHOSEN_STYLES, {STYLES: chosen})


def keep_inputs(studio: Studio, user: User, area: Area, inputs: Mapping[str, Any]) -> None:
    """Remember which pictures were chosen: {name: {"digest", "name"}}; what is said of others is left out."""
    chosen = {}
    for name, given in inputs.items():
        if name in area.inputs and isinstance(given, dict) and isinstance(given.get("digest"), str):
            chosen[name] = {"digest": given["digest"], "name": str(given.get("name", ""))[:LONGEST_NAME]}
    studio.preferences.write(user, area.name + INPUTS, chosen)


def kept_inputs(studio: Studio, user: User, area: Area) -> Plain:
    """The pictures that were chosen, with what is known of each; what this person has no more is left out."""
    found: Plain = {}
    for name, given in studio.preferences.read(user, area.name + INPUTS).items():
        if name not in area.inputs:
            continue
        with contextlib.suppress(NotFound):
            known = studio.inputs.get(user, given["digest"])
            found[name] = {"digest": known.digest, "width": known.width, "height": known.height, "name": given["name"]}
    return found


def own_choices(area: Area, known: Choices) -> dict[str, str]:
    """The registries that fields of extensions choose from, by the field's name."""
    return {name: str(each.choices) for name, each in area.parameters().items() if name in area.owners and each.choices in known}


def by_control(studio: Studio, known: Choices) -> Choices:
    """What can be chosen that comes and goes, by the name of the control."""
    registries = FILE_CHOICES | AUTOMATIC_CHOICES
    for area in areas_of(studio.resolver.extensions).values():
        registries = registries | own_choices(area, known)
    return {name: known[registry] for name, registry in registries.items()}


def area_of(studio: Studio, name: str) -> Area:
    """The area of that name whose controls are remembered; `NotFound` where there is none. Settings are kept as settings."""
    areas = areas_of(studio.resolver.extensions)
    if name not in areas or name == SETTINGS.name:
        raise NotFound(f"There are no controls called {quoted(name)}.")
    return areas[name]


def _is_there(studio: Studio, user: User, digest: str) -> bool:
    try:
        studio.inputs.get(user, digest)
    except NotFound:
        return False
    return True


def _filled(studio: Studio, user: User, area: Area, found: Found) -> Plain:
    """What a tab's controls begin with: values, and choices where files may have come."""
    values = kept(studio, user, area, found=found)
    for name, registry in (FILE_CHOICES | own_choices(area, found[1])).items():
        if name in values:
            values[name] = {"choices": found[1][registry], "value": values[name]}
    if area.styled:
        names = [style.name for style in studio.styles.list(user)]
        chosen = studio.preferences.read(user, area.name + CHOSEN_STYLES).get(STYLES, [])
        values[STYLES] = {"choices": [(name, name) for name in names], "value": [each for each in chosen if each in names]}
    return values


def _settings(studio: Studio, user: User) -> Plain:
    settings = studio.preferences.settings(user)
    return {name: getattr(settings, name) for name in SETTINGS.names()}
