"""Which rows go together: properties of the pure functions."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.making import conditioning
from webui.engine.batching import (
    MOST_REPEATS,
    ROW_COUNTS,
    Waiting,
    call_of,
    choose,
    common_length,
    divide,
    group_key,
    padded_count,
    pieces,
)
from webui.pipeline.patches import Patches, WeightPatch
from webui.pipeline.protocol import Conditioning, Moment, Row

AT = Moment(1.0, 0, 10)
X = torch.zeros(4, 2, 2)


def row(length: int = 3, **changes) -> Row:
    return replace(Row(X, AT, conditioning(length)), **changes)


def ask(*rows: Row, ticket: int = 0, **changes) -> Waiting:
    return Waiting(
        **{"generation": ticket, "job": ticket, "rows": rows, "positions": tuple(range(len(rows))), "ticket": ticket} | changes
    )


def parts(*asks: Waiting) -> list[Waiting]:
    return [part for each in asks for part in divide(each)]


def ready(part: Waiting) -> bool:
    return True


@settings(deadline=None)
@given(st.lists(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 9, 12]), min_size=1, max_size=4))
def test_a_common_length_is_a_small_multiple_of_all(lengths: list[int]) -> None:
    length = common_length(lengths)
    if length is not None:
        assert all(length % each == 0 and length // each <= MOST_REPEATS for each in lengths)
    else:
        assert not any(all(n % each == 0 for each in lengths) for n in range(1, MOST_REPEATS * min(lengths) + 1))


@settings(deadline=None)
@given(st.integers(1, 40))
def test_row_counts_are_few_and_hold_the_rows(rows: int) -> None:
    count = padded_count(rows)
    assert count >= rows
    assert count in ROW_COUNTS or rows > ROW_COUNTS[-1]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([2, 3, 4, 6, 12, 77])), min_size=1, max_size=40))
def test_an_ask_is_divided_into_parts_that_fit_and_together_are_all_of_it(rows: list[tuple[str, int]]) -> None:
    whole = ask(*(row(length, network=network) for network, length in rows))
    divided = divide(whole, most=8)
    assert sorted(position for part in divided for position in part.positions) == list(range(len(rows)))
    for part in divided:
        assert len(part.rows) <= 8
        assert all(whole.rows[position] is each for position, each in zip(part.positions, part.rows, strict=True))
        assert len({each.network for each in part.rows}) == 1
        assert call_of(part.rows).length % max(len(each.conditioning.tokens) for each in part.rows) == 0


@pytest.mark.parametrize("change", [
    {"network": "refiner"}, {"x": torch.zeros(4, 4, 2)}, {"channels": torch.zeros(5, 2, 2)}, {"residuals": (torch.zeros(1),)},
    {"patches": Patches(padding="circular")}, {"patches": Patches(attention=(object(),))},
    {"patches": Patches(weights=(WeightPatch("key", lambda w: w, "hash"),))}, {"patches": Patches(residuals=(torch.zeros(1),))},
    {"conditioning": conditioning(3, width=5)}, {"conditioning": Conditioning(torch.zeros(3, 2), torch.zeros(4))},
])
def test_rows_that_differ_in_what_a_call_has_one_of_never_share_it(change) -> None:
    assert group_key(row(**change)) != group_key(row())
    chosen = choose(parts(ask(row()), ask(row(**change), ticket=1)), calls=0, ready=ready)
    assert len(chosen) == 1


def test_rows_that_differ_in_values_share_a_call() -> None:
    one, two = row(), row(6, x=X + 1, at=Moment(3.0, 4, None), role="uncond")
    chosen = choose(parts(ask(one), ask(two, ticket=1)), calls=0, ready=ready)
    assert [part.rows for part in chosen] == [(one,), (two,)]
    assert call_of([one, two]).length == 6


def test_contexts_without_a_short_common_length_take_two_calls() -> None:
    waiting = parts(ask(row(2)), ask(row(3), ticket=1), ask(row(10), ticket=2), ask(row(2), ticket=3))
    assert [part.ticket for part in choose(waiting, calls=0, ready=ready)] == [0, 1, 3]
    assert [part.ticket for part in choose(waiting[2:], calls=0, ready=ready)] == [2]


def test_who_is_first() -> None:
    def cold(part: Waiting) -> bool:
        return part.rows[0].network == "model"

    waiting = parts(ask(row(network="other"), ticket=0, call=3), ask(row(), ticket=1, call=3))
    assert choose(waiting, calls=4, ready=cold, patience=8)[0].ticket == 1
    assert choose(waiting, calls=11, ready=cold, patience=8)[0].ticket == 0
    assert choose(waiting, calls=4, ready=ready, patience=8)[0].ticket == 0


def test_a_call_has_a_most_and_rows_that_want_to_be_alone_are() -> None:
    waiting = parts(*(ask(row(), row(), ticket=ticket) for ticket in range(5)))
    assert len(choose(waiting, calls=0, ready=ready, most=6)) == 3
    lonely = parts(*(ask(row(), ticket=ticket, alone=ticket == 1) for ticket in range(3)))
    assert [part.ticket for part in choose(lonely, calls=0, ready=ready)] == [0, 2]
    assert [part.ticket for part in choose(lonely[1:2], calls=0, ready=ready)] == [1]


def test_rows_are_not_gathered_that_do_not_fit_where_their_key_is_known() -> None:
    waiting = parts(*(ask(row(), row(), ticket=ticket) for ticket in range(5)))
    assert len(choose(waiting, calls=0, ready=ready, fits={waiting[0].key: 5})) == 2
    assert len(choose(waiting, calls=0, ready=ready, fits={"another": 1})) == 5
    assert len(choose(waiting, calls=0, ready=ready, most=4, fits={waiting[0].key: 8})) == 2


def test_parts_set_apart_share_calls_with_their_own_job_only() -> None:
    waiting = parts(*(ask(row(), ticket=ticket, job=ticket // 2, apart=ticket in (0, 1, 4)) for ticket in range(6)))
    assert [part.ticket for part in choose(waiting, calls=0, ready=ready)] == [0, 1]
    assert [part.ticket for part in choose(waiting[2:], calls=0, ready=ready)] == [2, 3, 5]
    assert [part.ticket for part in choose(waiting[4:], calls=0, ready=ready)] == [4, 5]


@settings(deadline=None)
@given(st.integers(1, 16), st.integers(0, 20))
def test_pieces_fit_and_together_are_the_part(rows: int, most: int) -> None:
    (part,) = parts(ask(*(row() for _ in range(rows))))
    cut = pieces(part, most)
    assert [position for piece in cut for position in piece.positions] == list(range(rows))
    assert all(1 <= len(piece.rows) <= max(most, 1) and piece.key == part.key for piece in cut)
    assert all(piece.cut for piece in cut) == (len(cut) > 1)
    assert all(part.rows[at] is each for piece in cut for at, each in zip(piece.positions, piece.rows, strict=True))
