"""From a form and a script to what is to be made: cells with whole requests, each of them checked before any is queued."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from webui.drawing import SAME_MODEL, SAME_SAMPLER, SAME_SCHEDULE
from webui.errors import UserError, unknown
from webui.params import AUTOMATIC, NONE, Params, Value, parameters
from webui.request import NO_INPUTS, InputFacts, Request
from webui.scripts import AxisKind, Plan, Script
from webui.service.inputs import Inputs
from webui.service.limits import UserLimits
from webui.service.requests import Resolver, at_most
from webui.service.styles import PAIRS, styled
from webui.service.task_inputs import shape_of
from webui.service.users import User
from webui.tasks import INPUTS, LATENT_UPSCALES

PROMPTS = ("prompt", "negative")
DRAWN = ("prompts", "negatives")
NO_DIGESTS: Mapping[str, str] = MappingProxyType({})
MOST_CHARACTERS = 10_000_000  # of all prompts of a group, which are in memory while it is planned, and then kept
Styled = Callable[[Sequence[str], str, str], tuple[str, str]]
"""The prompt and the negative prompt with styles of those names around them."""


def unstyled(names: Sequence[str], prompt: str, negative: str) -> tuple[str, str]:
    """The prompts, where there are no styles."""
    for name in names:
        raise unknown("style", name, ())
    return prompt, negative


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """What somebody filled in, as scripts see it: a `webui.scripts.Base`."""

    task: str
    params: Params
    resolver: Resolver
    facts: Mapping[str, InputFacts] = field(default_factory=lambda: NO_INPUTS)
    styles: Sequence[str] = ()
    style_names: Sequence[str] = ()
    styled: Styled = unstyled
    limits: UserLimits = field(default_factory=UserLimits)

    @property
    def most_cells(self) -> int:
        """How many cells there may be."""
        return self.limits.cells

    def choices(self, registry: str) -> Sequence[str]:
        """The names that a parameter with `choices=registry` may have."""
        return self.style_names if registry == "styles" else names(self.resolver, registry)

    def check(self, changes: Mapping[str, Value], styles: Sequence[str] = ()) -> None:
        """Raise `UserError` where the form could not be carried out with these changes."""
        self.request(changes, styles)

    def seed(self) -> int:
        """A random seed."""
        return self.resolver.seed()

    def request(self, changes: Mapping[str, Value], styles: Sequence[str] = ()) -> Request:
        """What the form means with these changes and further styles; `UserError` where that cannot be, or is too much."""
        request = self.resolver.outline(self._changed(changes, styles), self.facts, self.task)
        self.limits.check(at_most(request), 0, shape_of(self.facts))
        return request

    def _changed(self, changes: Mapping[str, Value], styles: Sequence[str]) -> Params:
        known = parameters(self.params)
        for name in changes:
            if name not in known:
                raise unknown("parameter", name, known)
        filled = {
            name: known[name].default if value is None and not known[name].optional else value for name, value in changes.items()
        }
        changed = replace(self.params, **filled)
        if not (self.styles or styles) or not known.keys() >= set(PROMPTS):
            return changed
        given = {name: str(getattr(changed, name)) for pair in PAIRS for name in pair if name in known}
        return replace(changed, **styled(given, partial(self.styled, [*self.styles, *styles])))


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan, and the request of each of its cells."""

    plan: Plan
    requests: tuple[Request, ...]


def plan_of(script: Script, values: Mapping[str, object], form: Form) -> Plan:
    """The cells that a script makes of a form; `UserError` says which value means nothing, or that there are too many."""
    plan = script.plan(script.params.read(values), form)
    if not plan.cells:
        raise UserError(f"{script.title} has nothing to make; fill in its fields.")
    if len(plan.cells) > form.most_cells:
        raise UserError(
            f"{script.title} would have {len(plan.cells):,} cells; here it may have at most {form.most_cells:,}: "
            "use fewer values."
        )
    return plan


def planned(script: Script, values: Mapping[str, object], form: Form) -> Planned:
    """What a script makes of a form; `UserError` says which value means nothing, or which cell could not be made."""
    plan = plan_of(script, values, form)
    requests: list[Request] = []
    written = 0
    for cell in plan.cells:
        try:
            requests.append(form.request(cell.changes, cell.styles))
        except UserError as error:
            where = ", ".join(label for label in cell.labels if label)
            raise UserError(f"{where or 'A cell'}: {error}") from error
        written += characters_of(requests[-1])
        if written > MOST_CHARACTERS:
            raise UserError(
                f"The prompts of all {len(plan.cells):,} cells have more than {MOST_CHARACTERS:,} characters together; use fewer "
                "cells, fewer pictures in each, or shorter prompts."
            )
    return Planned(plan=plan, requests=tuple(requests))


def characters_of(request: Request) -> int:
    """How long the texts of a request are together."""
    second = [request.hires.get(name, "") for name in PROMPTS]
    many = [*request.prompts, *request.negatives, *(text for name in DRAWN for text in request.hires.get(name, ()))]
    return sum(map(len, [request.prompt, request.negative, *second, *many]))


def turns(requests: Sequence[Request]) -> list[int]:
    """The places of requests in the order that changes models least often."""
    seen: dict[tuple[str, ...], int] = {}
    rank = []
    for request in requests:
        files = (request.model_hash or request.model, request.refiner_hash or request.refiner, request.vae_hash or request.vae)
        rank.append(seen.setdefault(files, len(seen)))
    return sorted(range(len(requests)), key=lambda place: (rank[place], place))


def names(resolver: Resolver, registry: str) -> list[str]:
    """The names in a registry, as a person may choose them now."""
    models = [each.name for each in resolver.checkpoints()] if registry in ("models", "refiners", "hires_models") else []
    match registry:
        case "models":
            return models
        case "refiners":
            return [NONE, *models]
        case "samplers":
            return resolver.samplers()
        case "schedules":
            return resolver.schedules()
        case "vaes":
            return resolver.vae_names()
        case "upscalers":
            return resolver.networks.upscaler_names()
        case "estimators":
            return resolver.estimator_names()
        case "hires_upscalers":
            return [NONE, *LATENT_UPSCALES, *(each for each in resolver.networks.upscaler_names() if each != NONE)]
        case "hires_samplers":
            return [SAME_SAMPLER, *(each for each in resolver.samplers() if each != AUTOMATIC)]
        case "hires_schedules":
            return [SAME_SCHEDULE, *(each for each in resolver.schedules() if each != AUTOMATIC)]
        case "hires_models":
            return [SAME_MODEL, *models]
    return list(resolver.further_choices().get(registry, ()))


def brought(
    inputs: Inputs | None, user: User, digests: Mapping[str, str], further: Mapping[str, str] = NO_DIGESTS
) -> Mapping[str, InputFacts]:
    """What is known of a user's own uploads; `NotFound` where one is not theirs. `further` ones are those of extensions."""
    for name in digests:
        if name not in INPUTS:
            raise unknown("input", name, INPUTS)
    wanted = {**digests, **further}
    return NO_INPUTS if not wanted or inputs is None else {name: inputs.get(user, each).facts for name, each in wanted.items()}


def explained(script: Script, kind: type[Params], choices: Callable[[str], Sequence[str]]) -> dict[str, Any]:
    """A script as whoever draws a page needs it: its fields, and what can be an axis with the names it may be set to."""
    axes = [_axis(each, choices) for each in (script.axes(kind) if script.axes is not None else ())]
    labels = [each["label"] for each in axes]
    fields = [
        {
            "name": name, "label": each.label, "help": each.help, "kind": each.kind.__name__, "default": each.default,
            "min": each.min, "max": each.max, "step": each.step, "longest": each.longest, "optional": each.optional,
            "expected": each.expected, "one_of": list(each.one_of), "registry": each.choices or "",
            "choices": labels if each.choices == "axes" else list(choices(each.choices)) if each.choices else [],
        }
        for name, each in parameters(script.params).items()
    ]  # fmt: skip
    return {"name": script.name, "title": script.title, "fields": fields, "axes": axes}


def _axis(kind: AxisKind, choices: Callable[[str], Sequence[str]]) -> dict[str, Any]:
    named = choices(kind.choices) if kind.choices else kind.one_of
    return asdict(kind) | {"choices": list(named), "registry": kind.choices, "one_of": list(kind.one_of)}
