"""`launch.py parameters`: docs/parameters.md, made from the definitions; `--write` brings the file up to date."""

from __future__ import annotations

from pathlib import Path

from webui.commands.flags import default
from webui.commands.terminal import Parser, say, show
from webui.errors import StorageError
from webui.params import Parameter, Params, parameters
from webui.service.composed import composed_tasks, sections_of
from webui.service.extensions import bundled
from webui.tasks import TASKS

FILE = Path("docs") / "parameters.md"
HEAD = """# Parameters

What `launch.py txt2img` and the others take, made by `python -m webui parameters --write` from `webui/drawing.py` and
`webui/tasks.py`; do not edit it here. The last column is the key in a picture's text. `--size 512x768` sets width and height at
once. Pictures to begin with are given by `--picture` (files or folders), `--sketch`, `--mask` and `--depth-map`.
"""
TABLE = """
| Parameter | Flag | Allowed | Default | What it does | In a picture's text |
|---|---|---|---|---|---|
"""
ADDED = """What the extensions that come with the program add to tasks, each in a fold of its own on the page. An extension takes
part in a picture only where one of its parameters is not at its default."""


def main(arguments: list[str], root: Path) -> int:
    """Carry out the command; returns its exit code."""
    parser = Parser("parameters", "Print what can be set, as docs/parameters.md has it.")
    parser.add_argument("--write", action="store_true", help=f"bring {FILE.as_posix()} up to date instead")
    options = parser.read(arguments)
    if not options.write:
        show(document().rstrip("\n"))
        return 0
    try:
        (root / FILE).write_text(document(), encoding="utf-8", newline="\n")
    except OSError as error:
        raise StorageError(f"{root / FILE} could not be written ({error.strerror}).") from error
    say(f"Wrote {FILE.as_posix()}.")
    return 0


def document() -> str:
    """The whole file."""
    return HEAD + "".join(section(task, cls) for task, cls in TASKS.items()) + added()


def added() -> str:
    """What the extensions that come with the program add, each section once."""
    extensions = bundled()
    told: dict[str, list[str]] = {}
    for task, cls in composed_tasks(extensions).items():
        known = parameters(cls)
        for extension, section, names in sections_of(extensions, task):
            table = TABLE + "".join(line(known[name]) for name in names)
            told.setdefault(f"### {section.title} (`{extension}`)\n\n{{tasks}}\n{table}", []).append(task)
    parts = [text.replace("{tasks}", f"For {', '.join(tasks)}.") for text, tasks in told.items()]
    return f"\n## Of extensions\n\n{ADDED}\n" + "".join(f"\n{part}" for part in parts) if parts else ""


def section(task: str, cls: type[Params]) -> str:
    """What a task takes, without what another one, which it says, has alike."""
    before = next((name for name, kind in TASKS.items() if kind in cls.__bases__), "")
    known = parameters(TASKS[before]) if before else {}
    own = [each for name, each in parameters(cls).items() if known.get(name) != each]
    words = f"\nWhat {before} takes, and:\n" if before else ""
    return f"\n## {task}\n{words}{TABLE}" + "".join(line(parameter) for parameter in own)


def line(parameter: Parameter) -> str:
    """A parameter's line of the table."""
    plain = parameter.flag if parameter.default is not True else f"--no-{parameter.name.replace('_', '-')}"
    flag = "the text itself" if parameter.name == "prompt" else f"`{plain}`"
    cells = (parameter.label, flag, allowed(parameter), default(parameter), parameter.help, key(parameter))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def allowed(parameter: Parameter) -> str:
    """What values there are."""
    if parameter.choices is not None:
        return f"one of the {parameter.choices}"
    return parameter.expected


def key(parameter: Parameter) -> str:
    """Where a picture's text has the value."""
    if parameter.infotext is None:
        return {"prompt": "first lines", "negative": "`Negative prompt`"}.get(parameter.name, "–")
    others = (f"; `{name}` with {sampler}" for sampler, name in parameter.infotext_by_sampler.items())
    return f"`{parameter.infotext.removesuffix('-1').removesuffix('-2')}`" + "".join(others)
