"""The parameters of tasks together with those that extensions add: one class for each task, made of what is loaded.

A field `strength` of the extension `mine` is the field `mine_strength` there, with the label, range and key in texts that the
extension gave it, so that whatever reads parameters (controls, flags, checks, texts, plots) has it without knowing of extensions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from webui.errors import UserError
from webui.extension.kinds import Section
from webui.params import METADATA_KEY, NONE, Parameter, Params, parameters
from webui.pipeline.extended import Files
from webui.tasks import TASKS

if TYPE_CHECKING:
    from webui.service.extension_snapshot import Extensions

Sections = Mapping[str, Sequence[Section]]  # by extension
FILES = " files"  # behind the name of a folder under models/, a registry of names


@lru_cache(maxsize=8)  # snapshots: few are in use at once
def composed_tasks(extensions: Extensions) -> Mapping[str, type[Params]]:
    """The parameters of every task, those of extensions behind its own; `TASKS` itself where there are none."""
    return composed(extensions.sections)


def composed(sections: Sections) -> Mapping[str, type[Params]]:
    """The parameters of every task with those of `sections`; `UserError` where two have one name, or one key in texts."""
    return MappingProxyType({task: _composed(task, kind, list(placed(sections, task))) for task, kind in TASKS.items()})


def placed(sections: Sections, task: str) -> Iterator[tuple[str, Section, list[str]]]:
    """The sections of a task: whose each is, itself, and the names of its fields among the task's."""
    for extension, own in sections.items():
        for section in own:
            if task in section.tasks:
                yield extension, section, [field_name(extension, name) for name in parameters(section.params)]


def sections_of(extensions: Extensions, task: str) -> list[tuple[str, Section, list[str]]]:
    """The sections of a task, of all extensions that are loaded."""
    return list(placed(extensions.sections, task))


def field_name(extension: str, name: str) -> str:
    """What a field of an extension is called among a task's."""
    return f"{extension}_{name}"


def own_values(params: Params, extensions: Extensions, task: str) -> dict[str, dict[str, Any]]:
    """The values of every extension by field; without those whose fields are all at their defaults."""
    found: dict[str, dict[str, Any]] = {}
    used: set[str] = set()
    for extension, section, names in placed(extensions.sections, task):
        for field, name in zip(parameters(section.params).items(), names, strict=True):
            value = getattr(params, name, field[1].default)
            found.setdefault(extension, {})[field[0]] = value
            if value != field[1].default:
                used.add(extension)
    return {extension: values for extension, values in found.items() if extension in used}


def defaults_of(extensions: Extensions, task: str, name: str) -> dict[str, Any]:
    """The defaults of an extension's own fields in a task."""
    own = [section for extension, section, _ in sections_of(extensions, task) if extension == name]
    return {field: parameter.default for section in own for field, parameter in parameters(section.params).items()}


def taken_back(values: Mapping[str, Mapping[str, Any]], extensions: Extensions, task: str) -> dict[str, Any]:
    """The inverse of `own_values`: fields of the task; what nobody has any more is left out."""
    known = parameters(composed_tasks(extensions).get(task, Params))
    named = {field_name(extension, name): value for extension, own in values.items() for name, value in own.items()}
    return {name: value for name, value in named.items() if name in known}


def pictures_of(params: Params) -> dict[str, str]:
    """The pictures that fields of extensions hold: the SHA-256 of each by the field's name."""
    found = {name: getattr(params, name) for name, parameter in parameters(params).items() if parameter.picture}
    return {name: str(digest) for name, digest in found.items() if digest}


def file_choices(extensions: Extensions, files: Files) -> dict[str, list[str]]:
    """What parameters of extensions choose from by registries such as "ControlNet files": those in models/ControlNet."""
    kinds = [section.params for own in extensions.sections.values() for section in own]
    wanted = {each.choices for kind in kinds for each in parameters(kind).values() if each.choices}
    folders = {registry: registry.removesuffix(FILES) for registry in wanted if registry.endswith(FILES)}
    return {registry: [NONE, *sorted(files.names((folder, folder.lower())))] for registry, folder in folders.items()}


def _composed(task: str, kind: type[Params], added: Sequence[tuple[str, Section, list[str]]]) -> type[Params]:
    if not added:
        return kind
    fields: dict[str, tuple[str, Any, Any]] = {}
    known, keys = parameters(kind), {each.infotext for each in parameters(kind).values() if each.infotext}
    labels = {each.label.casefold() for each in known.values()}
    for extension, section, names in added:
        for parameter, name in zip(parameters(section.params).values(), names, strict=True):
            if name in known or name in fields:
                raise UserError(f"The parameter {parameter.name} of {extension} would be {name} in {task}, which is there.")
            if parameter.infotext in keys:
                raise UserError(f"The key {parameter.infotext!r} of {parameter.label} in {extension} is that of another one.")
            keys |= {parameter.infotext} if parameter.infotext else set()
            hint: Any = parameter.kind | None if parameter.optional else parameter.kind
            fields[name] = (name, hint, _field(parameter, section.title, labels))
    made = dataclasses.make_dataclass(
        kind.__name__, list(fields.values()), bases=(kind,), frozen=True, kw_only=True,
        namespace={"__doc__": kind.__doc__, "__module__": __name__, "check_together": _checker(kind, added)},
    )  # fmt: skip
    assert issubclass(made, kind)
    return made


def _field(parameter: Parameter, title: str, labels: set[str]) -> Any:
    """A field as an extension wrote it, but for a label that another one has: by labels people choose what a plot is over.

    A text that does not have its key says that it is at its default.
    """
    original = parameter.label
    if original.casefold() in labels:
        parameter = dataclasses.replace(parameter, label=f"{title}: {parameter.label}")
    labels.add(parameter.label.casefold())
    if parameter.picture and parameter.infotext is None:  # without its pictures no picture could be made again
        parameter = dataclasses.replace(parameter, infotext=f"{title} {original.casefold()}")
    if parameter.infotext is not None and parameter.default is not None and parameter.unwritten is None:
        parameter = dataclasses.replace(parameter, unwritten=parameter.text(parameter.default))
    return dataclasses.field(default=parameter.default, metadata={METADATA_KEY: parameter})


def _checker(kind: type[Params], added: Sequence[tuple[str, Section, list[str]]]) -> Any:
    """What holds between values: as the task has it, and as each section does."""

    def check_together(self: Params) -> None:
        kind.check_together(self)
        for _, section, names in added:
            section.params(**{own: getattr(self, name) for own, name in zip(parameters(section.params), names, strict=True)})

    return check_together
