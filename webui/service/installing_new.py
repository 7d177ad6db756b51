"""A new extension to begin with: a folder that works at once, made of the one in `webui/extension/template`."""

from __future__ import annotations

import keyword
import shutil
import tempfile
from pathlib import Path

from webui.errors import StorageError, UserError, quoted
from webui.service.extension_lock import WITH_PROGRAM
from webui.service.extension_manifest import NAME

TEMPLATE = Path(__file__).resolve().parents[1] / "extension" / "template"


def new(name: str, folder: Path) -> Path:
    """Write an extension into `folder`/name; `UserError` where one is there, or the name cannot be one."""
    if not NAME.fullmatch(name):
        raise UserError(f"The name was {quoted(name)}; it must be up to 40 of a-z, 0-9 and _, beginning with a letter.")
    if name in WITH_PROGRAM or (folder / name).exists():
        raise UserError(f"An extension {name} is there already; choose another name.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder, prefix="."))
        try:
            for path in sorted(each for each in TEMPLATE.iterdir() if each.is_file()):
                target = beside / path.name.replace("template", name)
                target.write_text(renamed(path.read_text("utf-8"), name), "utf-8")
            beside.chmod(0o755)  # temporary folders are for nobody else
            beside.rename(folder / name)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"{folder / name} could not be written ({error.strerror}).") from error
    return folder / name


def renamed(text: str, name: str) -> str:
    """The template's text for an extension of another name: `template` in code, `Template` for classes and people."""
    words = name.split("_")
    spoken, written = " ".join([words[0].capitalize(), *words[1:]]), "".join(word.capitalize() for word in words)
    written += "Values" if keyword.iskeyword(written) else ""  # such as None
    text = text.replace("class Template(", f"class {written}(").replace("params=Template)", f"params={written})")
    return text.replace("Template", spoken).replace("template", name)
