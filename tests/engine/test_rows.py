"""What a network call is made of reaches its device without waiting for what the device does."""

from __future__ import annotations

import torch

from webui.engine.rows import sent


def test_numbers_for_a_device_of_its_own_wait_for_nothing_it_does() -> None:
    class Number:
        def pin_memory(self) -> Pinned:
            return Pinned()

    class Pinned:
        def to(self, device: torch.device, non_blocking: bool = False) -> bool:
            return device.type == "cuda" and non_blocking

    assert sent(Number(), torch.device("cuda")) is True
    assert torch.equal(sent(torch.ones(2), torch.device("cpu")), torch.ones(2))
