"""A commit of a git repository as a zip file, by the git that is on the machine. Nothing of a repository is ever run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from webui.errors import UserError, quoted
from webui.service.installing_files import MOST_BYTES, MOST_FILES, linked, too_much

SECONDS = 300.0  # for one command of git
NEWEST = "HEAD"
COMMIT = re.compile(r"[0-9a-f]{7,64}")
WHOLE = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
REF = re.compile(r"[A-Za-z0-9_][\w./+@-]*")
LINK, SUBMODULE = "120000", "160000"
LONGEST_LINK = 4096  # bytes of a link's target that are read
# No program of the repository or its server is run, and files are the same bytes on every system.
CONFIGURED = (
    "protocol.allow=never", "protocol.https.allow=always", "protocol.http.allow=always", "protocol.ssh.allow=always",
    "protocol.git.allow=always", "protocol.file.allow=always", f"core.hooksPath={os.devnull}", "core.fsmonitor=false",
    "core.autocrlf=false", "core.eol=lf", "gc.auto=0",
)  # fmt: skip


def check_names(commit: str, ref: str) -> None:
    """Refuse what is no commit, and no name of a branch or tag."""
    if commit and not COMMIT.fullmatch(commit):
        raise UserError(f"The commit was {quoted(commit)}; it must be 7 to 64 of the characters 0-9 and a-f, as git shows it.")
    if ref and not REF.fullmatch(ref):
        raise UserError(f"The branch or tag was {quoted(ref)}; it must be a name, such as main or v1.2.")


def fetched(address: str, commit: str, ref: str, folder: Path) -> tuple[Path, str]:
    """A zip file below `folder` with the files of a commit, and that commit in full.

    Without `commit` it is the newest of `ref`, a branch or tag, or of the repository. `UserError` where there is none, or where
    what it holds is refused.
    """
    check_names(commit, ref)
    repository = folder / "repository"
    _git(["init", "--quiet", "--bare", str(repository)], address)
    found = _commit(repository, address, commit, ref)
    _check_tree(repository, address, found)
    archive = folder / "commit.zip"
    _git(["-C", str(repository), "archive", "--format=zip", "-0", f"--output={archive}", found], address)
    shutil.rmtree(repository, ignore_errors=True)
    return archive, found


def is_repository(path: Path) -> bool:
    """Whether a folder is a git repository, with files or bare."""
    return (path / ".git").exists() or all((path / each).exists() for each in ("HEAD", "objects", "refs"))


def _commit(repository: Path, address: str, commit: str, ref: str) -> str:
    """Fetch what is asked for, as little as the server allows, and name the commit in full."""
    inside = ["-C", str(repository)]
    fetch = [*inside, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules"]
    if not commit:
        _git([*fetch, "--depth=1", "--", address, ref or NEWEST], address)
        return _git([*inside, "rev-parse", "--verify", "FETCH_HEAD^{commit}"], address).strip()
    if WHOLE.fullmatch(commit) and _run([*fetch, "--depth=1", "--", address, commit]).returncode == 0:
        return _git([*inside, "rev-parse", "--verify", f"{commit}^{{commit}}"], address).strip()
    _git([*fetch, "--", address, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"], address)
    done = _run([*inside, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"])
    if done.returncode != 0:
        raise UserError(f"There is no commit {commit} in {quoted(address)}; look it up there and give it as git shows it.")
    return done.stdout.decode().strip()


def _check_tree(repository: Path, address: str, commit: str) -> None:
    """Refuse links, submodules and too much, before anything is written."""
    listed = _git(["-C", str(repository), "ls-tree", "-r", "-l", "-z", "--full-tree", commit], address)
    total = count = 0
    for line in filter(None, listed.split("\0")):
        facts, _, name = line.partition("\t")
        mode, _, blob, size = facts.split()
        if mode == LINK:
            short = int(size) <= LONGEST_LINK
            raise linked(name, _git(["-C", str(repository), "cat-file", "blob", blob], address) if short else "another place")
        if mode == SUBMODULE:
            raise UserError(f"{quoted(name)} in it is a repository of its own (a submodule); extensions hold files only.")
        total, count = total + int(size), count + 1
    if total > MOST_BYTES or count > MOST_FILES:
        raise too_much()


def _git(arguments: Sequence[str], address: str) -> str:
    done = _run(arguments)
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace")
    said = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    told = " ".join(line.removeprefix("fatal: ").strip() for line in said if line.startswith("fatal:")) or " ".join(said[-1:])
    raise UserError(f"git could not fetch {quoted(address)}: {told or 'it said nothing'}. Check the address.")


def _run(arguments: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    options = [part for each in CONFIGURED for part in ("-c", each)]
    dropped = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")  # where this runs in a hook of git
    variables = {name: value for name, value in os.environ.items() if name not in dropped}
    silent = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "SSH_ASKPASS": "", "LC_ALL": "C"}  # nobody is there to be asked
    silent |= {"GIT_SSH_COMMAND": variables.get("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")}
    try:
        return subprocess.run(
            ["git", *options, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, env=variables | silent
        )
    except FileNotFoundError as error:
        raise UserError("This needs the program git, which is not on this machine; install it, or use a zip file.") from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"git did not end within {SECONDS:.0f} seconds; try again, or use a zip file.") from error
