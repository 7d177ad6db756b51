"""`launch.py extensions`: which there are, and installing, updating, removing, making and testing them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from webui.commands.model_lines import show_lines
from webui.commands.terminal import Parser, say, show
from webui.errors import UserError, one_line
from webui.service.extension_index import Index
from webui.service.installing import Installer
from webui.service.installing_new import new
from webui.service.installing_states import Examined, State

DESCRIPTION = """List, install, update, remove, make and test extensions.

  launch.py extensions list                          those that are there; --search WORDS: those of a list that is published
  launch.py extensions info NAME
  launch.py extensions new NAME                      a folder to begin with, which works at once
  launch.py extensions install ADDRESS_OR_FILE       a git repository, a zip file, a folder, or a name in the list
  launch.py extensions update [NAME]
  launch.py extensions remove NAME                   with --storage also what it kept
  launch.py extensions enable NAME | disable NAME
  launch.py extensions test NAME_OR_FOLDER           that it does something, and leaves no trace

A program that runs does not notice. In its Extensions tab, Look again shows what is new, Reload reads changed files, and Enable
and Disable do there what they do here."""
NAMELESS, NAMED = ("list", "update"), ("info", "new", "install", "update", "remove", "enable", "disable", "test")
DONE, FAILED = 0, 1
RUNNING = " from the next start on; in a program that runs now, its Extensions tab does the same at once."
Action = Callable[[Installer, argparse.Namespace], int]


def main(arguments: list[str], root: Path) -> int:
    """Carry out the command; returns its exit code."""
    options = read_options(arguments)
    installer = Installer(root)
    installer.recover()
    return ACTIONS[options.action](installer, options)


def read_options(arguments: list[str]) -> argparse.Namespace:
    """What the command line says; `UserError` where it says what cannot be."""
    parser = Parser("extensions", DESCRIPTION)
    add = parser.add_argument
    add("action", choices=list(ACTIONS), nargs="?", default="list")
    add("name", nargs="?", help="the extension's name; for install: where it is; for test: a folder may be named too")
    add("--index", default="", metavar="ADDRESS", help="A list of extensions: the address of a JSON file, or a file. Remembered.")
    add("--search", default="", metavar="WORDS", help="For list: those of the published list that hold these words.")
    add("--commit", default="", metavar="COMMIT", help="For install and update: the commit of the repository.")
    add("--ref", default="", metavar="NAME", help="For install: the branch or tag of the repository.")
    add("--storage", action="store_true", help="For remove: delete what the extension kept as well.")
    add("--yes", action="store_true", help="Do not ask.")
    options = parser.read(arguments)
    if options.name is None and options.action not in NAMELESS:
        parser.error(f"{options.action} needs a name")
    if options.name is not None and options.action not in NAMED:
        parser.error(f"{options.action} takes no name")
    return options


def list_all(installer: Installer, options: argparse.Namespace) -> int:
    """Print a line for each extension that is there, or for those of a published list."""
    if options.index or options.search:
        return list_published(installer.index(options.index), options.search, {state.name for state in installer.states()})
    for state in installer.states():
        version = state.manifest.version if state.manifest else ""
        what = state.manifest.description if state.manifest else f"cannot be used: {state.problem}"
        show(one_line(f"{state.name:<20} {version:<8} {condition(state):<24} {what}"))
    return DONE


def list_published(index: Index, words: str, there: set[str]) -> int:
    """Print a line for each extension of a list."""
    for entry in index.search(words):
        tags = f"  [{', '.join(entry.tags)}]" if entry.tags else ""
        mark = "there" if entry.name in there else ""
        show(one_line(f"{entry.name:<20} {mark:<6} {entry.description}{tags}  {entry.url}"))
    if index.left_out:
        say(f"{index.left_out} entries of the list make no sense and are left out.")
    return DONE


def condition(state: State) -> str:
    """In which condition an extension is, in a few words."""
    origin = "bundled" if state.bundled else "installed" if state.entry else "put there by hand"
    return ", ".join([origin, *([] if state.enabled else ["disabled"]), *(["files changed"] if state.changes else [])])


def info(installer: Installer, options: argparse.Namespace) -> int:
    """Print all that is known of one."""
    state = installer.state(options.name)
    lines = {"Name": state.name, "Condition": condition(state), "Folder": str(state.folder)}
    if state.manifest is not None:
        lines |= declared(state.told())
    if state.entry is not None:
        lines |= {"Source": str(state.entry.source), "Commit": state.entry.source.commit, "SHA-256": state.entry.content}
        lines |= {"Brought": packages(state.entry.packages), "Changed": "; ".join(state.changes)}
    if state.problem:
        lines["Problem"] = state.problem
    show_lines({name: text for name, text in lines.items() if text})
    return FAILED if state.problem else DONE


def declared(told: Mapping[str, object]) -> dict[str, str]:
    """What an extension says of itself, by what it is called on a terminal."""
    lists = {name: ", ".join(map(str, found)) for name, found in told.items() if isinstance(found, list)}
    return {
        "Version": str(told["version"]), "Does": str(told["description"]), "Authors": lists["authors"],
        "Licence": str(told["licence"]), "Declares": lists["permissions"] or "no use of network, files, routes or JavaScript",
        "Requires": ", ".join(filter(None, [lists["packages"], lists["extensions"]])),
    }  # fmt: skip


def packages(found: Mapping[str, str]) -> str:
    """Packages with their versions, on one line."""
    return ", ".join(f"{name} {version}" for name, version in found.items())


def make(installer: Installer, options: argparse.Namespace) -> int:
    """Write a new extension to begin with."""
    show(str(new(options.name, installer.folder)))
    say(f"Test it with: python3 launch.py extensions test {options.name}")
    return DONE


def install(installer: Installer, options: argparse.Namespace) -> int:
    """Look at an extension, show what it is, ask, and install it."""
    if options.index:
        installer.index(options.index)
    return put(installer, installer.examine(options.name, commit=options.commit, ref=options.ref), options)


def update(installer: Installer, options: argparse.Namespace) -> int:
    """Update one, or all that were installed from somewhere; one that fails stays as it is and keeps no other from it."""
    names = [options.name] if options.name else [state.name for state in installer.states() if state.entry]
    code = DONE
    for name in names:
        try:
            found = installer.examine_update(name, commit=options.commit)
            if found.same:
                installer.discard(found)
                say(f"{name} {found.manifest.version} is up to date.")
                continue
            code = max(code, put(installer, found, options))
        except UserError as error:
            if options.name:
                raise
            say(one_line(f"{name}: {error}"))
            code = FAILED
    return code


def put(installer: Installer, found: Examined, options: argparse.Namespace) -> int:
    """Show what would be installed, ask, and install it."""
    told = found.told()
    show_lines({name: text for name, text in {
        "Name": found.name, **declared(told), "Source": str(found.source), "Commit": found.source.commit,
        "SHA-256": found.content, "Files": str(len(found.files)), "Brings": packages(found.plan.packages),
        "Replaces": found.replaces, "Loses": "; ".join(found.lost),
    }.items() if text})  # fmt: skip
    say(told["rights"])
    try:
        agreed = options.yes or asked(f"Install {found.name} {found.manifest.version}?")
    except BaseException:
        installer.discard(found)
        raise
    if not agreed:
        installer.discard(found)
        say("Nothing was installed.")
        return FAILED
    state = installer.install(found)
    say(one_line(f"{found.name} {found.manifest.version} is installed in {state.folder}."))
    return DONE


def remove(installer: Installer, options: argparse.Namespace) -> int:
    """Remove one, after asking where there may be no other copy."""
    state = installer.state(options.name)
    by_hand = state.entry is None and not state.bundled
    question = f"{state.folder} was put there by hand, and there may be no other copy. Delete it?"
    if by_hand and not options.yes and not asked(question):
        say("Nothing was removed.")
        return FAILED
    installer.remove(options.name, storage=options.storage, by_hand=by_hand)
    say(f"{options.name} is removed.")
    return DONE


def enable(installer: Installer, options: argparse.Namespace) -> int:
    """Let one be loaded from now on."""
    installer.enable(options.name)
    say(f"{options.name} is enabled{RUNNING}")
    return DONE


def disable(installer: Installer, options: argparse.Namespace) -> int:
    """Let one be loaded no more."""
    installer.disable(options.name)
    say(f"{options.name} is disabled{RUNNING}")
    return DONE


def test(installer: Installer, options: argparse.Namespace) -> int:
    """Use one with the built-in model and say, check by check, what came of it."""
    from webui.extension.testing import examine

    folder = Path(options.name)
    if not (folder.is_dir() and (len(folder.parts) > 1 or folder.is_absolute())):
        folder = installer.state(options.name).folder
    report = examine(folder, say=lambda line: show(one_line(line)))
    return DONE if report.passed else FAILED


def asked(question: str) -> bool:
    """Ask who sits there; `UserError` where nobody does."""
    if not sys.stdin.isatty():
        raise UserError(f"{question} There is nobody to ask here; add --yes to say so.")
    sys.stderr.write(f"{one_line(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


ACTIONS: Mapping[str, Action] = {
    "list": list_all, "info": info, "new": make, "install": install, "update": update, "remove": remove, "enable": enable,
    "disable": disable, "test": test,
}  # fmt: skip
