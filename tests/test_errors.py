"""Errors are sentences, and an unknown name comes with its neighbours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.errors import ModelFileError, OutOfMemory, UnknownName, UserError, WebUIError, quoted, unknown


def test_unknown_name_lists_near_ones_first_and_all_known() -> None:
    error = unknown("sampler", "eular", ["Euler", "Heun", "Euler a", "DDIM"])
    assert error.near == ("Euler", "Euler a")
    assert str(error) == "Unknown sampler 'eular'; did you mean Euler or Euler a? Known: Euler, Heun, Euler a, DDIM."
    assert isinstance(error, UserError)


def test_unknown_name_without_neighbours_or_without_any_known_name() -> None:
    assert str(unknown("schedule", "qqq", ["uniform"])) == "Unknown schedule 'qqq'. Known: uniform."
    assert str(unknown("model", "x", [])) == "Unknown model 'x': there is none yet."


@given(st.text(max_size=300), st.lists(st.text(max_size=10), max_size=40))
def test_any_name_makes_a_short_message(given_name: str, known: list[str]) -> None:
    error = unknown("thing", given_name, known)
    assert isinstance(error, UnknownName)
    assert len(str(error)) < 2000 and set(error.near) <= set(known)


def test_long_text_is_cut_and_kept_on_one_line() -> None:
    assert quoted("a" * 500, 10) == "'aaaaaaaaa…'"
    assert "\n" not in quoted("two\nlines")


@pytest.mark.parametrize(("kind", "user"), [(ModelFileError, True), (OutOfMemory, False)])
def test_only_the_users_own_mistakes_are_user_errors(kind: type[WebUIError], user: bool) -> None:
    assert issubclass(kind, WebUIError) and issubclass(kind, UserError) == user
