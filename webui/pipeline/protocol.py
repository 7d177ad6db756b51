"""What a generation and the engine say to each other.

A generation is a generator: it yields asks and is sent the answers. It never calls a network, so the engine may answer
the asks of many generations with one network call. Everything here is frozen plain data; tensors in it are never written to.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from webui.pipeline.patches import NO_PATCHES, Patches

if TYPE_CHECKING:  # so that the page can list samplers before torch is there
    from torch import Tensor


Padding = Literal["zeros", "circular"]  # of convolutions; circular for pictures whose opposite edges fit


@dataclass(frozen=True)
class Moment:
    """Where in the schedule a network call is.

    `sigma` is the noise level (standard deviation against data of scale 1), `step` counts from 0, `steps` is the number of
    steps or None for adaptive samplers, `evaluation` counts the calls within a step (a second-order sampler makes two).
    """

    sigma: float
    step: int
    steps: int | None
    evaluation: int = 0


@dataclass(frozen=True)
class Said:
    """A text that a conditioning is of, and where in it each of the first tokens stands: from one character to another.

    None is for a place that stands for no text: start, end and padding.
    """

    text: str
    places: tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What a text means to a network: `tokens` [length, width] for cross-attention, `vector` [width] (SDXL) or None.

    `key` names the content (equal keys, equal tensors); the engine may keep what it derives from the tensors under it. `said` is
    the text, where it is known.
    """

    tokens: Tensor
    vector: Tensor | None = None
    key: str = ""
    said: Said | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """One sample of one network call.

    `x` [C, H, W] is data + sigma * noise, float32. `channels` [K, H, W] are put behind the (scaled) x for networks with more
    input channels; `residuals` are added to the network's blocks; `role` says what the row is for ("cond", "uncond", ...).
    `guidance` is the guidance scale that networks distilled from guided ones take as an input (LCM), None for all others.
    `time` is the training step that the network is told, None for the one its own noise levels have for that of the moment.
    """

    x: Tensor
    at: Moment
    conditioning: Conditioning
    network: str = "model"
    channels: Tensor | None = None
    residuals: tuple[Tensor, ...] = ()
    patches: Patches = NO_PATCHES
    role: str = "cond"
    guidance: float | None = None
    time: float | None = None


MakeRow = Callable[["Tensor", Moment, Conditioning, str], Row]  # the last is the row's role


@dataclass(frozen=True, eq=False, init=False)
class Rows:
    """Ask: the predicted clean latent of each row; answered with a tuple of float32 tensors [C, H, W], in order."""

    rows: tuple[Row, ...]

    def __init__(self, *rows: Row) -> None:
        object.__setattr__(self, "rows", rows)


@dataclass(frozen=True)
class TokenChunk:
    """One window of a text tower: token ids with start, end and padding, and a weight for each.

    `vectors` says at which places a vector of the patches' tokens stands in: the place, the vectors' content and which of them.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    vectors: tuple[tuple[int, str, int], ...] = ()


@dataclass(frozen=True)
class Encode:
    """Ask: the conditioning of a text; answered with a `Conditioning`.

    `chunks[i]` are the windows for text tower i of the network; windows are encoded separately and joined along the tokens.
    `norm`: each window is scaled back to the mean it had before its weights.
    """

    chunks: tuple[tuple[TokenChunk, ...], ...]
    network: str = "model"
    clip_skip: int | None = None
    patches: Patches = NO_PATCHES
    norm: bool = True


@dataclass(frozen=True, eq=False)
class EncodePicture:
    """Ask: the scaled latent [C, h, w] (mean of the posterior) of a picture [3, H, W] in [0, 1].

    `vae` names the autoencoder to use in place of the network's own; `padding` is that of its convolutions.
    """

    picture: Tensor
    network: str = "model"
    vae: str = ""
    padding: Padding = "zeros"


@dataclass(frozen=True, eq=False)
class Decode:
    """Ask: the picture [3, H, W], float32 in [0, 1], of a scaled latent [C, h, w].

    `vae` names the autoencoder to use in place of the network's own; `padding` is that of its convolutions.
    """

    latent: Tensor
    network: str = "model"
    vae: str = ""
    padding: Padding = "zeros"


@dataclass(frozen=True, eq=False)
class Call:
    """Ask: the output of any other network (depth estimator, ControlNet, upscaler) for named inputs.

    Tensors are given without a batch in front and answered so: a tensor, or a tuple of them where the network returns several.
    Equal calls are answered once, for which the inputs are read on the host; with `keep` false, as for what differs in every
    step, neither happens.
    """

    network: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    keep: bool = True


@dataclass(frozen=True, eq=False)
class Gradient:
    """Ask: the gradient at `x` of a scalar `function(x)` that may itself use networks the engine holds."""

    function: Callable[[Tensor], Tensor]
    x: Tensor


@dataclass(frozen=True, eq=False)
class Read:
    """Ask: a tensor's values on the host (a CPU tensor): the only host synchronisation a sampler may cause."""

    tensor: Tensor


@dataclass(frozen=True, eq=False)
class Step:
    """Told, not asked, once a step: the state and the predicted clean latent; answered with None."""

    at: Moment
    x: Tensor
    denoised: Tensor


@dataclass(frozen=True)
class Tell:
    """Told, not asked: a sentence that whoever started the job should read; answered with None."""

    sentence: str


class Interrupted(Exception):
    """Thrown into a generation at its current ask when the user wants the picture as it is now.

    `latent` is the last predicted clean latent, or None where no step has finished yet. Only `generate()` catches it.
    """

    def __init__(self, latent: Tensor | None) -> None:
        super().__init__("interrupted")
        self.latent = latent


Ask = Rows | Encode | EncodePicture | Decode | Call | Gradient | Read | Step | Tell

# The type of an answer depends on the ask, which the single send type of a generator cannot say: hence Any.
Asking = Generator[Ask, Any, "Tensor"]
Denoise = Callable[["Tensor", Moment], Asking]
Noise = Callable[[Moment, float], "Tensor"]
Sampler = Callable[..., Asking]


def answer_all(generation: Generator[Ask, Any, Any], answer: Callable[[Ask], Any]) -> Any:
    """Drive one generation to its end with `answer(ask)` and return its result: the engine in one line, for tests."""
    sent: Any = None
    while True:
        try:
            ask = generation.send(sent)
        except StopIteration as end:
            return end.value
        sent = None if isinstance(ask, (Step, Tell)) else answer(ask)
