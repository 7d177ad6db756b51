"""`launch.py parameters`: docs/parameters.md, made from the definitions; `--write` brings the file up to date."""

from __future__ import annotations

from pathlib import Path

from webui.commands.flags import default
from webui.commands.terminal import Parser, say, show
from webui.errors import StorageError
from webui.params import Parameter, Txt2Img, parameters

FILE = Path("docs") / "parameters.md"
HEAD = """# Parameters

What `launch.py txt2img` takes, made by `python -m webui parameters --write` from `webui/params.py`; do not edit it here.
The last column is the key in a picture's text. `--size 512x768` sets width and height at once.

| Parameter | Flag | Allowed | Default | What it does | In a picture's text |
|---|---|---|---|---|---|
"""


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
    return HEAD + "".join(line(parameter) for parameter in parameters(Txt2Img).values())


def line(parameter: Parameter) -> str:
    """A parameter's line of the table."""
    flag = "the text itself" if parameter.name == "prompt" else f"`{parameter.flag}`"
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
