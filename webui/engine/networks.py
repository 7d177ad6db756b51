"""What the engine needs from whoever holds the networks: this process, a child process, another machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from webui.engine.batching import RowCall
from webui.pipeline.protocol import Call, Conditioning, Decode, Encode, EncodePicture, Row


@dataclass(frozen=True, eq=False)
class Predicted:
    """The clean latents of a call's rows, float32 [C, H, W] each, perhaps still being computed.

    `finite()` waits for them and says of each row whether all its values are finite; it may raise what went wrong on the device.
    `by` names the device and number type that compute them.
    """

    rows: tuple[Tensor, ...]
    finite: Callable[[], tuple[bool, ...]]
    by: str = ""


class Networks(Protocol):
    """Whoever answers asks. Every method may raise; `faults.out_of_memory` tells which errors mean "use less"."""

    def predict(self, call: RowCall) -> Predicted:
        """The predicted clean latents of rows that belong together (`batching.group_key`)."""
        ...

    def encode(self, ask: Encode) -> Conditioning:
        """What a text means."""
        ...

    def encode_picture(self, ask: EncodePicture) -> Tensor:
        """The scaled latent of a picture."""
        ...

    def decode(self, ask: Decode) -> Tensor:
        """The picture of a scaled latent."""
        ...

    def call(self, ask: Call) -> Any:
        """The output of any other network."""
        ...

    def ready(self, row: Row) -> bool:
        """Whether a call with this row needs neither another network nor other patched weights than are held now."""
        ...

    def holds(self, ask: object) -> bool:
        """Whether an ask that is not for rows can be answered with the networks that are held now."""
        ...

    def notices(self) -> tuple[str, ...]:
        """What people should be told of the last answers, in sentences; each is told once."""
        ...

    def free(self) -> None:
        """Give back all memory that can be had again."""
        ...
