"""What can be an axis: every parameter of a task, and what is done to the prompt. Each value of one is a `Change`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

from webui.extension import (
    LONGEST_PROMPT,
    RANDOM_SEED,
    AxisKind,
    Base,
    Parameter,
    Params,
    UserError,
    Value,
    parameters,
    quoted,
    size,
    unknown,
)

from .values import listed, numbers

NOTHING = AxisKind(label="Nothing", kind="nothing")
REPLACE = AxisKind(
    label="Prompt S/R", kind="replace", help="A text of the prompt, and what is put in its place; the first value is the text."
)
ORDER = AxisKind(label="Prompt order", kind="order", help="Texts of the prompt, which take each other's places in every order.")
STYLES = AxisKind(label="Styles", kind="text", choices="styles", help="Styles by name, put around the prompt.")
SIZE = AxisKind(label="Size", kind="size", help="Width and height, such as 512x768.")
LABELS = {  # of parameters that people know by another name here
    "sampler": "Sampler", "model": "Checkpoint", "strength": "Denoising", "width": "Width", "height": "Height",
    "variation_seed": "Variation seed", "variation_strength": "Variation seed strength",
}  # fmt: skip
FIRST = ("seed", "variation_seed", "variation_strength", "steps", "scale")  # in the list, where such lists have them
ALIASES = {  # other programs' labels, and older ones, for ours
    "checkpoint name": "model", "model": "model", "sampling method": "sampler", "cfg": "scale", "denoising strength": "strength",
    "denoising": "hires_strength",
    "var. seed": "variation_seed", "var. strength": "variation_strength", "extra seed": "variation_seed",
    "negative guidance minimum sigma": "ngms", "sigma min": "s_tmin", "sigma max": "s_tmax", "rng source": "rng",
    "schedule min sigma": "sigma_min", "schedule max sigma": "sigma_max", "schedule rho": "rho",
    "refiner checkpoint": "refiner", "always discard next-to-last sigma": "discard_penultimate",
    "sgm noise multiplier": "sgm_noise", "hires steps": "hires_steps", "hires upscaler": "hires_upscaler",
    "hires sampler": "hires_sampler",
}  # fmt: skip
NEVER = ("prompt", "negative", "count", "model_hash", "vae_hash")  # parameters that are no axes
MOST_ORDERED = 6  # texts, which have 720 orders
SEEDS = ("seed", "variation_seed")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One value of an axis: what the legend says, the parameters, and what becomes of the prompts; `drawn` by chance."""

    label: str
    changes: Mapping[str, Value]
    replaced: tuple[str, str] = ("", "")
    order: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    drawn: bool = False

    def prompt(self, text: str) -> str:
        """A prompt with what this value makes of it; `UserError` where that gets too long."""
        if self.replaced[0]:
            wanted, new = self.replaced
            length = len(text) + text.count(wanted) * (len(new) - len(wanted))
            if length > LONGEST_PROMPT:  # said before it is made, for one after the other may make texts of gigabytes
                raise UserError(
                    f"With {quoted(new)} in place of {quoted(wanted)} the prompt would have {length:,} characters; it must have "
                    f"at most {LONGEST_PROMPT:,}."
                )
            text = text.replace(wanted, new)
        return reordered(text, self.order) if self.order else text


def kinds(params: type[Params]) -> dict[str, AxisKind]:
    """Everything that can be an axis, in the order of the list; parameters are under their names, the others their labels."""
    known = parameters(params)
    ordered = [*(name for name in FIRST if name in known), *(name for name in known if name not in FIRST)]
    found = {NOTHING.label: NOTHING}
    for name in ordered:
        if name not in NEVER:
            found[name] = of_parameter(known[name])
        if name == FIRST[-1] and "prompt" in known:
            found |= {REPLACE.label: REPLACE, ORDER.label: ORDER, STYLES.label: STYLES}
    return found | ({SIZE.label: SIZE} if {"width", "height"} <= known.keys() else {})


def of_parameter(parameter: Parameter) -> AxisKind:
    """A parameter as an axis."""
    kind = {bool: "flag", int: "integer", float: "number"}.get(parameter.kind, "text")
    label = LABELS.get(parameter.name, parameter.label)
    return AxisKind(
        label=label, kind=kind, choices=parameter.choices or "", one_of=parameter.one_of, help=parameter.help
    )


def find(label: str, params: type[Params]) -> tuple[str, AxisKind]:
    """The axis that a label means, and the name it goes by; `UnknownName` where there is none."""
    known = kinds(params)
    wanted = " ".join(label.split()).casefold() or NOTHING.label.casefold()
    labels = {each.label.casefold(): name for name, each in reversed(known.items())}
    own = {parameter.label.casefold(): name for name, parameter in parameters(params).items() if name in known}
    named = {name.casefold(): name for name in known}
    name = {**named, **own, **{each: name for each, name in ALIASES.items() if name in known}, **labels}.get(wanted)
    if name is None:
        raise unknown("axis", label, [each.label for each in known.values()])
    return name, known[name]


def changes(name: str, kind: AxisKind, text: str, base: Base, *, keep_random: bool) -> list[Change]:
    """The values of an axis; `UserError` says which of them means nothing, and why."""
    if kind is NOTHING:
        return [Change(label="", changes={})]
    whole = kind.kind == "integer"
    given = numbers(text, whole=whole) if kind.kind in ("integer", "number") else listed(text)
    given = [value for value in given if value or kind is REPLACE]
    if not given:
        raise UserError("there are no values; write them with commas between them, such as 1, 2, 3.")
    if kind is REPLACE:
        return _replacing(given, base)
    if kind is ORDER:
        return _ordering(given, base)
    return [_change(name, kind, value, base, keep_random) for value in given]


def _change(name: str, kind: AxisKind, value: str, base: Base, keep_random: bool) -> Change:
    if kind is SIZE:
        sides = size(value)
        known = parameters(base.params)
        return Change(label=value, changes={side: known[side].parse(number) for side, number in sides.items()})
    if kind is STYLES:
        there = {each.casefold(): each for each in base.choices("styles")}
        names = listed(value)
        for each in names:
            if each.casefold() not in there:
                raise unknown("style", each, there.values())
        return Change(label=value, changes={}, styles=tuple(there[each.casefold()] for each in names))
    parameter = parameters(base.params)[name]
    known_as = {each.casefold(): each for each in (base.choices(kind.choices) if kind.choices else ())}
    meant = parameter.parse(known_as.get(value.casefold(), value))
    drawn = name in SEEDS and meant == RANDOM_SEED and not keep_random
    meant = base.seed() if drawn else meant
    shown = parameter.text(meant)
    return Change(label=shown if kind.kind == "text" else f"{kind.label}: {shown}", changes={name: meant}, drawn=drawn)


def _replacing(given: Sequence[str], base: Base) -> list[Change]:
    wanted = given[0]
    if not wanted:
        raise UserError("the first value is empty; it is the text of the prompt that the others take the place of.")
    if not any(wanted in text for text in prompts(base.params).values()):
        raise UserError(f"{quoted(wanted)} is neither in the prompt nor in the negative one, so nothing can take its place.")
    return [Change(label=value, changes={}, replaced=(wanted, value)) for value in given]


def _ordering(given: Sequence[str], base: Base) -> list[Change]:
    if len(given) > MOST_ORDERED:
        raise UserError(f"there are {len(given)} texts to order; at most {MOST_ORDERED} can be, which have 720 orders.")
    prompt = prompts(base.params).get("prompt", "")
    for value in given:
        if value not in prompt:
            raise UserError(f"{quoted(value)} is not in the prompt, so it has no place there to change.")
    if not apart(prompt, given):
        raise UserError("the texts to order overlap in the prompt, or one of them is given twice; each must stand alone.")
    return [Change(label=", ".join(each), changes={}, order=each) for each in permutations(given)]


def prompts(params: Params) -> dict[str, str]:
    """The prompt and the negative prompt, as far as there are any."""
    return {name: str(getattr(params, name)) for name in ("prompt", "negative") if hasattr(params, name)}


def apart(text: str, parts: Sequence[str]) -> bool:
    """Whether the first occurrences of texts do not overlap."""
    places = sorted((text.find(each), len(each)) for each in parts)
    return all(at + long <= following for (at, long), (following, _) in pairwise(places))


def reordered(text: str, parts: Sequence[str]) -> str:
    """A text with its `parts` in the order in which they are given, on the places that they have together."""
    there = [each for each in parts if each in text]
    if not apart(text, there):
        return text
    made, at = "", 0
    for place, (start, old) in enumerate(sorted((text.find(each), each) for each in there)):
        made += text[at:start] + there[place]
        at = start + len(old)
    return made + text[at:]
