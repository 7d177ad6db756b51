"""The program's one database file: opened once, brought up to date with a copy kept aside, safe from any thread.

SQLite in WAL mode: whoever reads sees whole transactions and waits for nobody, and a process that is killed leaves every
committed one behind.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from webui.errors import StorageError
from webui.service.schema import STEPS

BUSY_SECONDS = 10.0  # to wait for another process that writes
MOST_TRIES = 20  # to switch to WAL while other processes open the file
Value = str | int | float | bytes | None


class Database:
    """Two connections that threads take turns with: one to write, and one to read what has been written."""

    def __init__(self, path: Path, steps: Sequence[str] = STEPS) -> None:
        """Open or create; `StorageError` where the file is unreadable, or newer than this program."""
        self.path = path
        self._turn = threading.RLock()
        self._reading = threading.Lock()
        self._writer: int | None = None  # the thread that writes, which reads what it has written
        opened: list[sqlite3.Connection] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(path, opened)
            self._prepare(steps)
            self._reader = _connect(path, opened)
            self._reader.execute("PRAGMA query_only = ON")
        except (OSError, sqlite3.Error, StorageError) as error:
            for connection in opened:
                connection.close()
            if isinstance(error, StorageError):
                raise
            raise StorageError(_unusable(path, error)) from error

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is kept when the block ends, and undone when it raises; `StorageError` where the disk fails."""
        with self._turn:
            try:
                with _transaction(self._connection):
                    self._writer = threading.get_ident()
                    yield self._connection
            except sqlite3.OperationalError as error:
                raise StorageError(f"The database {self.path} cannot be written ({error}); is the disk full?") from error
            finally:
                self._writer = None

    def all(self, query: str, values: Sequence[Value] = ()) -> list[sqlite3.Row]:
        """The rows of a query."""
        with self._reads() as connection:
            return connection.execute(query, values).fetchall()

    def one(self, query: str, values: Sequence[Value] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        with self._reads() as connection:
            row: sqlite3.Row | None = connection.execute(query, values).fetchone()
            return row

    def close(self) -> None:
        """Close the file; the log of writes is folded into it."""
        with self._reading:
            self._reader.close()
        with self._turn:
            self._connection.close()

    @contextmanager
    def _reads(self) -> Iterator[sqlite3.Connection]:
        if self._writer == threading.get_ident():
            yield self._connection
            return
        with self._reading:
            try:
                yield self._reader
            except sqlite3.OperationalError as error:
                raise StorageError(f"The database {self.path} cannot be read ({error}).") from error

    def _prepare(self, steps: Sequence[str]) -> None:
        connection = self._connection
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = OFF")  # a step may put a table in another's place
        with _transaction(connection):  # another process that opens the file now waits, then finds it up to date
            self._upgrade(steps)
        connection.execute("PRAGMA foreign_keys = ON")
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise sqlite3.DatabaseError(str(problem).replace("\n", " "))

    def _upgrade(self, steps: Sequence[str]) -> None:
        """Every step that is missing, or none; the caller holds the transaction."""
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(steps):
            raise StorageError(
                f"The database {self.path} is of version {version}, this program knows {len(steps)}: update the program, or move "
                "the file aside."
            )
        if version == len(steps):
            return
        if version > 0:
            self._copy(self.path.with_name(f"{self.path.name}.version-{version}"))
        for step in steps[version:]:
            for statement in _statements(step):
                self._connection.execute(statement)
        broken = self._connection.execute("PRAGMA foreign_key_check").fetchone()
        if broken is not None:
            raise sqlite3.IntegrityError(f"the new version would leave rows of {broken[0]} that belong to nothing")
        self._connection.execute(f"PRAGMA user_version = {len(steps)}")

    def _copy(self, target: Path) -> None:
        """A whole copy beside the file, before anything is changed."""
        part = target.with_name(target.name + ".part")
        try:
            part.unlink(missing_ok=True)
            with contextlib.closing(sqlite3.connect(self.path)) as source, contextlib.closing(sqlite3.connect(part)) as copy:
                source.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
            part.replace(target)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"The database {self.path} has to be brought up to date, but the copy to be kept of it, {target}, cannot be "
                f"written ({error}); make room and start again."
            ) from error


def _connect(path: Path, opened: list[sqlite3.Connection]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    opened.append(connection)
    connection.row_factory = sqlite3.Row
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL, which SQLite refuses at once, without waiting, while another process has just opened the file too."""
    for attempt in range(1, MOST_TRIES + 1):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if attempt == MOST_TRIES:
                raise
            with _transaction(connection):  # waits until the other is done
                pass


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """The single statements of a script, for a whole script cannot be run inside a transaction."""
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _unusable(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) or "unable to open" in str(error) or "readonly" in str(error):
        return f"The database {path} cannot be opened ({error}); is its folder writable?"
    return f"The database {path} cannot be used ({error}); move it aside and start again: pictures stay where they are."
