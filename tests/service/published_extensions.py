"""Extensions, repositories and packages made for tests: small, real, on this disk."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import ZipFile

CODE = "from webui.extension import hook\n\n\n@hook\ndef transform_prompt(text):\n    return text + {mark!r}\n"


def manifest(name: str, version: str = "1.0", more: str = "") -> str:
    return f'name = "{name}"\nversion = "{version}"\napi = "1"\ndescription = "Made for a test."\n{more}'


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return folder


def extension(folder: Path, name: str = "mine", version: str = "1.0", more: str = "", mark: str = "!") -> Path:
    """A folder with an extension that adds `mark` to prompts."""
    return write(folder, {"extension.toml": manifest(name, version, more), "__init__.py": CODE.format(mark=mark)})


def git(folder: Path, *arguments: str) -> str:
    settings = ("user.name=Test", "user.email=test@127.0.0.1", "init.defaultBranch=main", "commit.gpgsign=false")
    who = [part for each in settings for part in ("-c", each)]
    done = subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, text: str = "A change") -> str:
    """Commit all that is in a folder, a repository from now on; returns the commit."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", text)
    return git(folder, "rev-parse", "HEAD")


def zipped(folder: Path, target: Path, top: str = "") -> Path:
    with ZipFile(target, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and ".git" not in path.parts:
                file.write(path, top + path.relative_to(folder).as_posix())
    return target


def wheel(folder: Path, name: str, version: str, needs: Sequence[str] = ()) -> Path:
    """A wheel of a package with one module, which holds its version."""
    folder.mkdir(exist_ok=True)
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {each}\n" for each in needs)
    with ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return path
