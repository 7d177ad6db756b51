"""Details of a failure are in a file that does not grow for ever; people see a sentence and the id that finds them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from webui.errors import UserError
from webui.service import logs
from webui.service.logs import fault, logging_to


def test_an_unexpected_error_is_found_in_the_log_by_the_id_that_people_see(tmp_path: Path) -> None:
    with logging_to(tmp_path / "cache" / "log.txt"):
        try:
            raise ZeroDivisionError("by zero\nand more")
        except ZeroDivisionError as error:
            told = fault(error, "This job")
    assert told.error and told.error in told.sentence
    assert told.sentence.startswith("This job failed through a fault in the program: ") and "ZeroDivisionError" in told.sentence
    assert "\n" not in told.sentence
    written = (tmp_path / "cache" / "log.txt").read_text()
    assert told.error in written and "Traceback" in written and "test_logs.py" in written


def test_an_error_of_ours_is_told_as_it_is_and_not_logged(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log.txt"):
        told = fault(UserError("Steps was 0."), "This job")
    assert (told.sentence, told.error) == ("Steps was 0.", "")
    assert (tmp_path / "log.txt").read_text() == ""


def test_the_log_turns_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_BYTES", 2000)
    with logging_to(tmp_path / "log.txt"):
        for number in range(500):
            logging.getLogger("webui.test").error("line %s", number)
    assert {path.name for path in tmp_path.iterdir()} == {"log.txt", "log.txt.1"}
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    assert "line 499" in (tmp_path / "log.txt").read_text()


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with logging_to(tmp_path / "file" / "log.txt"):
        logging.getLogger("webui.test").error("nowhere")


def test_after_the_block_nothing_is_left_of_it(tmp_path: Path) -> None:
    before = list(logging.getLogger("webui").handlers)
    with logging_to(tmp_path / "log.txt"):
        assert logging.getLogger("webui").handlers != before
    assert logging.getLogger("webui").handlers == before
