"""One file that several threads and processes use, that is brought up to date whole or not at all, and kept a copy of."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from webui.errors import StorageError
from webui.service.database import Database
from webui.service.schema import STEPS

ROOT = Path(__file__).parents[2]
TOYS = "CREATE TABLE toys (name TEXT PRIMARY KEY); INSERT INTO toys VALUES ('ball; -- red');"
COLOURS = "ALTER TABLE toys ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'; -- one; two\nINSERT INTO toys VALUES ('cube', 'blue')"
BROKEN = "CREATE TABLE more (name TEXT); INSERT INTO toys VALUES ('half', 'done'); INSERT INTO nowhere VALUES (1);"


def names(database: Database) -> list[str]:
    return [row["name"] for row in database.all("SELECT name FROM toys ORDER BY name")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "webui.sqlite3"


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def test_a_new_database_has_every_table_and_an_owner(path: Path) -> None:
    database = Database(path)
    tables = {row["name"] for row in database.all("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables >= {"users", "sessions", "jobs", "events", "pictures", "inputs", "styles", "preferences"}
    owner = database.one("SELECT * FROM users")
    assert owner is not None and (owner["id"], owner["owner"], owner["password"]) == (1, 1, None)
    assert database.one("PRAGMA journal_mode")[0] == "wal"  # type: ignore[index]
    database.close()
    assert version(path) == len(STEPS)


def test_a_transaction_is_kept_whole_or_undone_whole(path: Path) -> None:
    database = Database(path, [TOYS])
    with pytest.raises(KeyError), database.write() as connection:
        connection.execute("INSERT INTO toys VALUES ('lost')")
        raise KeyError
    with database.write() as connection:
        connection.execute("INSERT INTO toys VALUES ('kept')")
    assert names(database) == ["ball; -- red", "kept"]
    database.close()


def test_who_writes_reads_what_is_written_and_nobody_else_does_before_it_is_kept(path: Path) -> None:
    database = Database(path, [TOYS])
    seen: list[list[str]] = []
    with database.write() as connection:
        connection.execute("INSERT INTO toys VALUES ('new')")
        assert "new" in names(database)
        other = threading.Thread(target=lambda: seen.append(names(database)))
        other.start()
        other.join(10)
    assert seen == [["ball; -- red"]]
    assert "new" in names(database)
    database.close()


def test_reading_never_changes_anything(path: Path) -> None:
    database = Database(path, [TOYS])
    with pytest.raises(StorageError, match="read"):
        database.all("DELETE FROM toys")
    assert names(database) == ["ball; -- red"]
    database.close()


def test_a_newer_program_brings_the_file_up_to_date_and_keeps_a_copy_of_the_old(path: Path) -> None:
    Database(path, [TOYS]).close()
    database = Database(path, [TOYS, COLOURS])
    assert names(database) == ["ball; -- red", "cube"]
    database.close()
    copy = path.with_name(path.name + ".version-1")
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, copy.name]
    old = Database(copy, [TOYS])
    assert names(old) == ["ball; -- red"]
    old.close()


def test_a_step_that_fails_leaves_the_old_version_whole(path: Path) -> None:
    Database(path, [TOYS]).close()
    with pytest.raises(StorageError, match="no such table: nowhere"):
        Database(path, [TOYS, COLOURS, BROKEN])
    assert version(path) == 1
    old = Database(path, [TOYS])
    assert names(old) == ["ball; -- red"]
    assert old.one("SELECT 1 FROM sqlite_master WHERE name = 'more'") is None
    old.close()


def test_a_step_that_would_orphan_rows_is_undone(path: Path) -> None:
    children = "CREATE TABLE children (toy TEXT REFERENCES toys); INSERT INTO children VALUES ('ball; -- red');"
    Database(path, [TOYS, children]).close()
    with pytest.raises(StorageError, match="children"):
        Database(path, [TOYS, children, "DELETE FROM toys;"])
    old = Database(path, [TOYS, children])
    assert names(old) == ["ball; -- red"]
    old.close()


def test_an_update_without_room_for_the_copy_is_not_begun(path: Path) -> None:
    Database(path, [TOYS]).close()
    path.with_name(path.name + ".version-1.part").mkdir()
    with pytest.raises(StorageError, match="make room"):
        Database(path, [TOYS, COLOURS])
    assert version(path) == 1


def test_a_newer_database_is_refused_and_left_alone(path: Path) -> None:
    Database(path, [TOYS, COLOURS]).close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="version 2, this program knows 1"):
        Database(path, [TOYS])
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_gets_a_sentence(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is a text and no database" * 100)
    with pytest.raises(StorageError, match="move it aside"):
        Database(path, [TOYS])
    assert path.read_bytes().startswith(b"this is a text")


def test_a_damaged_database_gets_a_sentence_when_it_is_opened(path: Path) -> None:
    database = Database(path, [TOYS])
    with database.write() as connection:
        connection.executemany("INSERT INTO toys VALUES (?)", [(f"{number:0200}",) for number in range(500)])
    database.close()
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 4 * 4096] = bytes([7]) * 4096
    path.write_bytes(content)
    with pytest.raises(StorageError, match="move it aside"):
        Database(path, [TOYS])


def test_a_folder_that_cannot_be_made_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="writable"):
        Database(tmp_path / "file" / "webui.sqlite3")


def test_a_disk_that_is_full_gets_a_sentence_and_undoes_the_transaction(path: Path) -> None:
    database = Database(path, [TOYS])
    with database.write() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="disk full"), database.write() as connection:
        connection.execute("INSERT INTO toys VALUES ('first')")
        connection.executemany("INSERT INTO toys VALUES (?)", [(f"{number:0500}",) for number in range(100)])
    assert names(database) == ["ball; -- red"]
    database.close()


OPEN_AND_WRITE = """
import sys
from pathlib import Path
from webui.service.database import Database
from webui.service.schema import STEPS
print("ready", flush=True)
sys.stdin.readline()
database = Database(Path(sys.argv[1]))
with database.write() as connection:
    connection.execute("INSERT INTO users (name, created) VALUES (?, 0)", (sys.argv[2],))
database.close()
"""


def test_processes_that_open_it_at_once_for_the_first_time_all_find_it_whole(path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AND_WRITE, str(path), f"user {number}"], cwd=ROOT, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(4)
    ]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    assert [child.communicate(timeout=60)[1] for child in children] == [""] * 4
    database = Database(path)
    assert len(database.all("SELECT * FROM users")) == 5
    assert not list(path.parent.glob("*.version-*"))
    database.close()
