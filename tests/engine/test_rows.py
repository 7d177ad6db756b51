"""What a network call is made of reaches its device without waiting for what the device does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from webui.engine.rows import different, sent
from webui.pipeline.patches import Patches
from webui.pipeline.protocol import Conditioning, Moment, Row

X, AT = torch.zeros(4, 2, 2), Moment(1.0, 0, 1)


def test_numbers_for_a_device_of_its_own_wait_for_nothing_it_does() -> None:
    class Number:
        def pin_memory(self) -> Pinned:
            return Pinned()

    class Pinned:
        def to(self, device: torch.device, non_blocking: bool = False) -> bool:
            return device.type == "cuda" and non_blocking

    assert sent(Number(), torch.device("cuda")) is True
    assert torch.equal(sent(torch.ones(2), torch.device("cpu")), torch.ones(2))


def guided(vector: Tensor | None = None, **changes: object) -> Row:
    """A row with a text of its own."""
    return Row(**{"x": X, "at": AT, "conditioning": Conditioning(torch.zeros(3, 2), vector), **changes})  # type: ignore[arg-type]


def test_rows_that_differ_in_their_text_alone_are_one_input() -> None:
    rows = (guided(), guided(), guided(x=torch.zeros(4, 2, 2)), guided())
    inputs, spread = different(rows)
    assert inputs == (rows[0], rows[2]) and spread == (0, 0, 1, 0)


@pytest.mark.parametrize("changes", [
    {"at": Moment(2.0, 0, 1)}, {"channels": torch.zeros(1, 2, 2)}, {"guidance": 3.0}, {"vector": torch.zeros(2)},
    {"residuals": (torch.zeros(1),)}, {"patches": Patches(residuals=(torch.zeros(1),))},
])  # fmt: skip
def test_what_the_network_sees_before_the_text_is_never_shared_where_it_differs(changes: dict[str, object]) -> None:
    rows = (guided(), guided(**changes))
    assert different(rows) == (rows, (0, 1))


@pytest.mark.parametrize("patches", [Patches(attention=(object(),)), Patches(blocks=(object(),))])
def test_hooks_see_every_row(patches: Patches) -> None:
    rows = (guided(patches=patches), guided(patches=patches))
    assert different(rows) == (rows, (0, 1))
