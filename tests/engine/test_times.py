"""A row may be told another time than its network's own noise levels have: rescaled ones, say."""

from __future__ import annotations

from dataclasses import replace

import torch

from tests.engine.making import TINY, local
from webui.engine.batching import call_of
from webui.engine.rows import different
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.protocol import Conditioning, Moment, Row

TEXT = Conditioning(torch.randn(12, 16, generator=torch.Generator().manual_seed(1)), key="text")
X = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(2))
ROW = Row(X, Moment(3.0, 0, 4), TEXT, network="tiny")


def test_the_network_is_told_the_row_s_own_time() -> None:
    own = NoiseTable.from_spec(TINY).t_of(3.0)
    rows = [ROW, replace(ROW, time=own), replace(ROW, time=own / 3)]
    plain, same, other = (local().predict(call_of([row])).rows[0] for row in rows)
    assert torch.equal(plain, same) and not torch.allclose(plain, other)


def test_rows_of_different_times_are_different_inputs_of_one_call() -> None:
    other = replace(ROW, time=100.0)
    assert different([ROW, other, ROW]) == ((ROW, other), (0, 1, 0))
    alone = [local().predict(call_of([row])).rows[0] for row in (ROW, other)]
    together = local().predict(call_of([ROW, other])).rows
    for one, another in zip(alone, together, strict=True):
        torch.testing.assert_close(one, another, rtol=0, atol=1e-5)
