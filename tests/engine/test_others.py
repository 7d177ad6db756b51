"""Networks beside those that generate: answered once for equal inputs, counted like all weights, let go when replaced."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.engine.making import SIZE, last, plain, request, run, simple, stepped, tiny_model, told
from tests.in_memory import InMemory
from webui.engine import events
from webui.engine.device import CPU_FLOAT32, Choice
from webui.engine.local import LocalNetworks, Room
from webui.engine.others import Other
from webui.engine.placing import size_of
from webui.errors import JobError, NotANumber, OutOfMemory
from webui.pipeline.protocol import Call, EncodePicture


class Times(nn.Module):
    """A picture times a number."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.empty(4))
        self.calls = 0

    def forward(self, picture: Tensor) -> Tensor:
        assert picture.dim() == 4
        return picture * self.factor[0]


class TimesSource:
    """Where its number comes from; counts how often it is read and called."""

    def __init__(self, factor: float, dtype: torch.dtype = torch.float32) -> None:
        self.factor, self.reads, self.built = factor, 0, Times()

    def shapes(self, part: str) -> dict[str, tuple[tuple[int, ...], int]]:
        assert part == "upscaler"
        return {"factor": ((4,), 4)}

    def build(self, part: str) -> nn.Module:
        return Times().to("meta")

    def read(
        self, part: str, keys: Collection[str] | None = None, dtype: torch.dtype | None = None, channels_last: bool = False
    ) -> Iterator[tuple[str, Tensor]]:
        self.reads += 1
        yield "factor", torch.full((4,), self.factor, dtype=dtype)


def picture(seed: int = 0) -> Tensor:
    return torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(seed))


def networks_of(sources: dict[str, Any], room: Room | None = None, choice: Choice = CPU_FLOAT32) -> LocalNetworks:
    def open_other(name: str) -> Other | Callable[..., Any]:
        source = sources[name]
        return Other(source=source, part="upscaler") if isinstance(source, TimesSource) else source

    return LocalNetworks(lambda _: InMemory(tiny_model()), open_other=open_other, other_choice=choice, room=room or Room())


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry a call of the network."""
    calls: list[int] = []
    real = Times.forward

    def forward(self: Times, picture: Tensor) -> Tensor:
        calls.append(1)
        return real(self, picture)

    monkeypatch.setattr(Times, "forward", forward)
    return calls


def test_a_call_is_answered_and_equal_ones_once(counted: list[int]) -> None:
    source = TimesSource(2.0)
    networks = networks_of({"upscaler:two": source})
    ask = Call("upscaler:two", {"picture": picture()})
    assert not networks.holds(ask)
    first = networks.call(ask)
    assert torch.equal(first, picture() * 2) and first.shape == (3, 6, 5)
    first.zero_()  # an answer is the asker's own
    assert torch.equal(networks.call(Call("upscaler:two", {"picture": picture()})), picture() * 2)
    assert len(counted) == 1 and source.reads == 1 and networks.holds(ask)
    assert torch.equal(networks.call(Call("upscaler:two", {"picture": picture(1)})), picture(1) * 2)
    assert len(counted) == 2 and source.reads == 1
    changed = picture()
    networks.call(Call("upscaler:two", {"picture": changed}))
    changed += 1  # what it is asked with may be written to; then it is another ask
    assert torch.equal(networks.call(Call("upscaler:two", {"picture": changed})), changed * 2)


def test_a_file_that_was_replaced_is_another_network() -> None:
    sources: dict[str, Any] = {"upscaler:u": TimesSource(2.0)}
    networks = networks_of(sources)
    ask = Call("upscaler:u", {"picture": picture()})
    networks.call(ask)
    sources["upscaler:u"] = TimesSource(3.0)
    assert torch.equal(networks.call(ask), picture() * 3)


def test_its_weights_count_and_go_like_all_others() -> None:
    unet = size_of(InMemory(tiny_model()).shapes("unet"), CPU_FLOAT32)
    one, two = TimesSource(1.0), TimesSource(2.0)
    networks = networks_of({"a": one, "b": two}, Room(weights=unet, answers=0))
    for name in "abab":
        networks.call(Call(name, {"picture": picture()}))
    assert (one.reads, two.reads) == (1, 1) and networks.holding.residency.ledger.used == 32
    networks.holding.predictor("tiny")
    assert networks.holding.residency.ledger.used == unet
    networks.call(Call("a", {"picture": picture()}))
    assert one.reads == 2 and networks.holding.residency.ledger.peak <= unet
    with pytest.raises(OutOfMemory, match="upscaler of 'a' needs"):
        networks_of({"a": one}, Room(weights=8)).call(Call("a", {"picture": picture()}))


def test_values_that_are_no_numbers_are_an_error_and_not_kept(counted: list[int]) -> None:
    networks = networks_of({"bad": TimesSource(float("nan"))})
    for _ in range(2):
        with pytest.raises(NotANumber, match="'bad'"):
            networks.call(Call("bad", {"picture": picture()}))
    assert len(counted) == 2


def test_functions_get_their_inputs_as_they_are() -> None:
    networks = networks_of({"double": lambda number: number * 2})
    assert networks.call(Call("double", {"number": 4})) == 8 and networks.holds(Call("double", {"number": 4}))
    with pytest.raises(JobError, match="'double'"):
        LocalNetworks(lambda _: InMemory(tiny_model())).call(Call("double", {"number": 4}))


def test_an_unknown_network_fails_its_job_alone() -> None:
    def unknown(name: str) -> Other:
        raise JobError(f"There is no {name}.")

    def curious() -> Any:
        yield Call("nowhere")
        return (yield from plain(simple()))

    networks = LocalNetworks(lambda _: InMemory(tiny_model()), open_other=unknown)
    engine = stepped(lambda _: [curious()], networks)
    job = engine.submit(request())
    run(engine)
    failed = last(engine, job)
    assert isinstance(failed, events.Failed) and "no nowhere" in failed.sentence
    assert not any(isinstance(event, events.Picture) for event in told(engine, job))


def test_number_type_and_layout_are_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    monkeypatch.setattr(Times, "forward", lambda self, picture: seen.append(picture) or picture * self.factor[0])
    networks = networks_of({"u": TimesSource(1.0)}, choice=Choice(dtype="bfloat16", channels_last=True))
    answer = networks.call(Call("u", {"picture": picture()}))
    assert answer.dtype == torch.float32 and answer.is_contiguous()
    (given,) = seen
    assert given.dtype == torch.bfloat16 and given.is_contiguous(memory_format=torch.channels_last)


def test_a_picture_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = LocalNetworks(lambda _: InMemory(tiny_model()))
    encoded: list[int] = []
    real = networks._decoding.encoded
    monkeypatch.setattr(networks._decoding, "encoded", lambda ask: encoded.append(1) or real(ask))
    whole = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    ask = EncodePicture(whole, network="tiny")
    first = networks.encode_picture(ask)
    assert networks.holds(ask)
    kept = first.clone()
    first.zero_()
    assert torch.equal(networks.encode_picture(EncodePicture(whole.clone(), network="tiny")), kept) and len(encoded) == 1
    networks.encode_picture(EncodePicture(whole.flip(-1), network="tiny"))
    networks.encode_picture(EncodePicture(whole, network="other"))
    assert len(encoded) == 3
    networks.free()
    networks.encode_picture(ask)
    assert len(encoded) == 4


class Several(nn.Module):
    """Several answers, of a picture and a number that is not to be rounded."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.empty(4))

    def forward(self, picture: Tensor, time: Tensor, padding: str = "") -> Any:
        assert time.dtype == torch.float32 and time.shape == (1,) and picture.dtype == self.factor.dtype
        if padding == "bad":
            return "no tensors"
        return picture * self.factor[0], time[:, None] * torch.ones(1, 2)


class SeveralSource(TimesSource):
    """The same weights for another network."""

    def build(self, part: str) -> nn.Module:
        return Several().to("meta")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_answer_of_several_tensors_is_a_tuple_of_ones_own(dtype: Any) -> None:
    source = SeveralSource(2.0)
    networks = networks_of({"a": source}, choice=Choice(dtype=dtype))
    ask = Call("a", {"picture": picture(), "time": torch.tensor(999.123)})
    for _ in range(2):
        large, times = networks.call(ask)
        assert torch.allclose(large, 2 * picture(), atol=1e-2) and torch.equal(times, torch.full((2,), 999.123))
        large.zero_()
    with pytest.raises(JobError, match="'no tensors'"):
        networks.call(Call("a", {"picture": picture(), "time": torch.tensor(1.0), "padding": "bad"}))


def test_what_is_not_to_be_kept_is_asked_again(counted: list[int]) -> None:
    networks = networks_of({"a": TimesSource(2.0)})
    ask = Call("a", {"picture": picture()}, keep=False)
    answers = [networks.call(ask) for _ in range(2)]
    assert torch.equal(*answers) and len(counted) == 2
