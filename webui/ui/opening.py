"""What the page begins with for one person: models, choices, styles, and their controls as they left them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webui.errors import NotFound, quoted
from webui.params import NONE
from webui.service.studio import Studio
from webui.service.users import User
from webui.ui.areas import AREAS, SETTINGS, STYLES, TXT2IMG, Area
from webui.ui.controls import as_shown

DEFAULTS = " defaults"  # after an area's name: what a person saved as their defaults
CHOSEN_STYLES = " styles"  # which styles were chosen beside the prompt
AUTOMATIC_CHOICES = {"sampler": "samplers", "schedule": "schedules", "vae": "vaes"}  # whose first says what it is for a model
FILE_CHOICES = {"model": "models", "vae": "vaes", "refiner": "refiners"}  # what comes and goes while the program runs
NEWER = "vae"  # a control that older versions did not have
OLD_DEFAULTS = {"steps": 20, "sampler": "DPM++ 2M"}
VAE_LABELS = {NONE: "None: the model's own"}
Plain = dict[str, Any]
Choices = dict[str, list[tuple[str, str]]]


def opening(studio: Studio, user: User, *, signed_in: bool) -> Plain:
    """Everything the page asks for once, before its controls are filled; who sits at this machine need not sign in."""
    models = studio.resolver.models()
    named = choices(studio, models)
    return {
        "user": {"name": user.name, "owner": user.owner, "signed_in": signed_in},
        "models": models,
        "choices": {name: named[registry] for name, registry in AUTOMATIC_CHOICES.items()},
        "fill": {TXT2IMG.name: _txt2img(studio, user, models), SETTINGS.name: _settings(studio, user)},
    }


def choices(studio: Studio, models: list[Plain] | None = None) -> Choices:
    """What can be chosen, by registry, as people read it and as it is meant; `models` spares looking for them again."""
    found = studio.resolver.models() if models is None else models
    return {
        "models": model_choices(found),
        "refiners": [(NONE, NONE), *((each["title"], each["name"]) for each in found if not each["problem"])],
        "vaes": [(VAE_LABELS.get(name, name), name) for name in studio.resolver.vae_names()],
        "samplers": [(name, name) for name in studio.resolver.samplers()],
        "schedules": [(name, name) for name in studio.resolver.schedules()],
    }


def model_choices(models: list[Plain]) -> list[tuple[str, str]]:
    """The models to choose from; a file that cannot be used is listed too, so that nobody looks for it in vain."""
    return [(f"{each['title']} (cannot be used)" if each["problem"] else each["title"], each["name"]) for each in models]


def kept(studio: Studio, user: User, area: Area, *, defaults_only: bool = False) -> Plain:
    """The values of an area's controls: the program's defaults, over them the person's, over them what they last set.

    What was kept once and can be chosen no more, such as a model whose file is gone, is left out.
    """
    values: Plain = {name: each.default for name, each in area.parameters().items()}
    stored = _as_now(studio.preferences.read(user, area.name + DEFAULTS))
    if not defaults_only:
        stored |= _as_now(studio.preferences.read(user, area.name))
    values |= {name: value for name, value in stored.items() if name in values}
    models = studio.resolver.models()
    known = {registry: {value for _, value in pairs} for registry, pairs in choices(studio, models).items()}
    usable = [each["name"] for each in models if not each["problem"]]
    known["models"] = set(usable)
    for name, parameter in area.parameters().items():
        if parameter.choices is not None and values[name] not in known[parameter.choices]:
            values[name] = next(iter(usable), None) if parameter.choices == "models" else parameter.default
        values[name] = as_shown(parameter, values[name])
    return values


def _as_now(stored: Plain) -> Plain:
    """Values that an older version kept, without what nobody had set: it kept its own defaults too, which are the model's now."""
    return stored if NEWER in stored else {name: value for name, value in stored.items() if OLD_DEFAULTS.get(name) != value}


def keep(studio: Studio, user: User, area: Area, values: Mapping[str, Any], suffix: str = "") -> None:
    """Remember the values of an area's controls; what is not allowed is left out when they are read."""
    known = area.parameters()
    studio.preferences.write(user, area.name + suffix, {name: value for name, value in values.items() if name in known})
    if area.styled and not suffix:
        names = values.get(STYLES)
        chosen = [each for each in names if isinstance(each, str)] if isinstance(names, list) else []
        studio.preferences.write(user, area.name + CHOSEN_STYLES, {STYLES: chosen})


def area_of(name: str) -> Area:
    """The area of that name whose controls are remembered; `NotFound` where there is none. Settings are kept as settings."""
    if name not in AREAS or name == SETTINGS.name:
        raise NotFound(f"There are no controls called {quoted(name)}.")
    return AREAS[name]


def _txt2img(studio: Studio, user: User, models: list[Plain]) -> Plain:
    values = kept(studio, user, TXT2IMG)
    names = [style.name for style in studio.styles.list(user)]
    chosen = studio.preferences.read(user, TXT2IMG.name + CHOSEN_STYLES).get(STYLES, [])
    styles = {"choices": [(name, name) for name in names], "value": [each for each in chosen if each in names]}
    known = choices(studio, models)
    files = {name: {"choices": known[registry], "value": values[name]} for name, registry in FILE_CHOICES.items()}
    return values | files | {STYLES: styles}


def _settings(studio: Studio, user: User) -> Plain:
    settings = studio.preferences.settings(user)
    return {name: getattr(settings, name) for name in SETTINGS.names()}
