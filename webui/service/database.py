"""The program's one database file: opened once, brought up to date with a copy kept aside, safe from any thread.

SQLite in WAL mode: whoever reads sees whole transactions, and a process that is killed leaves every committed one behind.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from webui.errors import StorageError
from webui.service.schema import STEPS

BUSY_SECONDS = 10.0  # to wait for another process that writes
Value = str | int | float | bytes | None


class Database:
    """A connection that threads take turns with; `write` and `read` are transactions that hold it."""

    def __init__(self, path: Path, steps: Sequence[str] = STEPS) -> None:
        """Open or create; `StorageError` where the file is unreadable, or newer than this program."""
        self.path = path
        self._turn = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"The database {path} cannot be opened ({error}); is its folder writable?") from error
        try:
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._upgrade(steps)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise StorageError(
                f"The database {path} cannot be used ({error}); move it aside and start again: pictures stay where they are."
            ) from error
        except StorageError:
            self._connection.close()
            raise

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is kept when the block ends, and undone when it raises."""
        with self._turn:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def all(self, query: str, values: Sequence[Value] = ()) -> list[sqlite3.Row]:
        """The rows of a query."""
        with self._turn:
            return self._connection.execute(query, values).fetchall()

    def one(self, query: str, values: Sequence[Value] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        with self._turn:
            row: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
            return row

    @property
    def changes(self) -> int:
        """A number that rises with every row that is written: while it stays, so does what was read."""
        return self._connection.total_changes

    def close(self) -> None:
        """Close the file; the log of writes is folded into it."""
        with self._turn:
            self._connection.close()

    def _upgrade(self, steps: Sequence[str]) -> None:
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(steps):
            raise StorageError(
                f"The database {self.path} is of version {version}, this program knows {len(steps)}: update the program, or move "
                "the file aside."
            )
        if 0 < version < len(steps):
            self._copy(self.path.with_name(f"{self.path.name}.version-{version}"))
        for number in range(version, len(steps)):
            # The step and its number in one transaction; a failing statement undoes both.
            script = f"BEGIN IMMEDIATE; {steps[number]}; PRAGMA user_version = {number + 1}; COMMIT;"
            try:
                self._connection.executescript(script)
            except sqlite3.Error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _copy(self, target: Path) -> None:
        """A whole copy beside the file, before anything is changed."""
        part = target.with_suffix(target.suffix + ".part")
        part.unlink(missing_ok=True)
        copy = sqlite3.connect(part)
        try:
            self._connection.backup(copy)
        finally:
            copy.close()
        part.replace(target)
