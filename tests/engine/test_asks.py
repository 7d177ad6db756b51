"""Every ask is answered, in turn; malformed ones, and what foreign code leaves behind, are their own job's trouble."""
from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.engine.making import (
    Exact,
    alone,
    conditioning,
    last,
    local,
    pictures,
    pictures_of,
    plain,
    plain_pictures,
    request,
    run,
    simple,
    stepped,
    tiny_model,
)
from tests.in_memory import InMemory
from webui.engine import events
from webui.engine.local import LocalNetworks
from webui.engine.work import ASKS, MOST_LIGHT
from webui.pipeline.generate import Picture
from webui.pipeline.patches import Patches, WeightPatch
from webui.pipeline.protocol import Call, Conditioning, Decode, Encode, EncodePicture, Gradient, Moment, Read, Row, Rows


def test_every_other_ask_is_answered() -> None:
    answers = []

    def curious():
        answers.append((yield Encode(((),))))
        answers.append((yield EncodePicture(torch.full((3, 4, 4), 0.25))))
        answers.append((yield Call("depth", {"picture": 3})))
        answers.append((yield Gradient(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))))
        answers.append((yield Read(torch.tensor([5.0]))))
        answers.append((yield Rows()))
        return (yield from plain(simple()))

    engine = stepped(lambda wanted: [curious()], Exact())
    job = engine.submit(request())
    run(engine)
    assert isinstance(last(engine, job), events.Finished)
    text, latent, called, gradient, read, none = answers
    assert text.tokens.shape == (3, 2)
    assert torch.equal(latent, torch.full((4, 2, 2), 0.25))
    assert called == {"picture": 3}
    assert torch.equal(gradient, torch.tensor([3.0, 12.0]))
    assert torch.equal(read, torch.tensor([5.0]))
    assert none == ()


def test_asks_that_are_none_and_pictures_that_are_none_fail() -> None:
    def nonsense():
        yield "a picture, please"

    def nothing():
        return None
        yield

    engine = stepped(lambda wanted: [nonsense() if wanted.seed else nothing()], Exact())
    jobs = [engine.submit(request(seed=seed)) for seed in (0, 1)]
    run(engine)
    assert "none of the asks" in last(engine, jobs[1]).sentence
    assert isinstance(last(engine, jobs[0]), events.Failed)


def test_a_decoded_picture_that_is_not_numbers_and_a_decode_that_raises() -> None:
    class Bad(Exact):
        def decode(self, ask):
            if ask.network == "raise":
                raise ValueError("broken file")
            return torch.full((3, 4, 4), float("nan"))

    engine = stepped(lambda wanted: [plain(wanted, network=wanted.prompt)], Bad())
    jobs = [engine.submit(request(prompt=prompt)) for prompt in ("nan", "raise")]
    run(engine)
    assert "not numbers" in last(engine, jobs[0]).sentence
    assert "broken file" in last(engine, jobs[1]).sentence


def test_a_picture_of_the_wrong_shape_fails() -> None:
    class Bad(Exact):
        def decode(self, ask):
            return torch.zeros(4, 4, 4)

    engine = stepped(plain_pictures, Bad())
    job = engine.submit(simple())
    run(engine)
    assert "shape [4, 4, 4]" in last(engine, job).sentence


ROW = Row(torch.ones(4, 2, 2), Moment(1.0, 0, 1), conditioning())
TEXT = conditioning()
HALF = WeightPatch("key", lambda weight: weight, 5)  # its content is no text


@pytest.mark.parametrize("row", [
    "a row", None, replace(ROW, x=None), replace(ROW, x=3.0), replace(ROW, x=torch.ones(2, 2)),
    replace(ROW, x=torch.ones(1, 4, 2, 2)),
    replace(ROW, x=torch.ones(4, 2, 2, dtype=torch.int64)), replace(ROW, x=torch.ones(4, 0, 2)), replace(ROW, at=None),
    replace(ROW, at=Moment("1", 0, 1)), replace(ROW, at=Moment(1.0, None, 1)), replace(ROW, conditioning=None),
    replace(ROW, conditioning=TEXT.tokens), replace(ROW, conditioning=Conditioning(torch.ones(2))),
    replace(ROW, conditioning=Conditioning(torch.ones(0, 2))), replace(ROW, conditioning=Conditioning([[1.0, 2.0]])),
    replace(ROW, conditioning=replace(TEXT, vector=torch.ones(1, 2))), replace(ROW, conditioning=replace(TEXT, key=None)),
    replace(ROW, channels=torch.ones(1, 2, 3)), replace(ROW, channels=2), replace(ROW, residuals=[torch.ones(1)]),
    replace(ROW, residuals=(1,)), replace(ROW, patches=None), replace(ROW, patches=Patches(residuals=(None,))),
    replace(ROW, network=["model"]), replace(ROW, role=None),
], ids=range(26))
@pytest.mark.parametrize("place", [0, 1])
def test_a_malformed_row_fails_its_job_alone_with_a_sentence(row, place: int) -> None:
    def start(wanted):
        return [asking(row, place)] if wanted.prompt == "bad" else plain_pictures(wanted)

    engine = stepped(start, Exact())
    good, bad = engine.submit(simple(count=2)), engine.submit(request(prompt="bad"))
    run(engine)
    failed = last(engine, bad)
    assert isinstance(failed, events.Failed)
    assert "malformed row: " in failed.sentence
    assert "fault in the program" not in failed.sentence
    expected = alone(simple(count=2), Exact(), plain_pictures)
    assert all(np.array_equal(a.pixels, b) for a, b in zip(pictures(engine, good), expected, strict=True))


def asking(row, place: int):
    """Ask for a row, beside a sound one and after a sound call."""
    yield Rows(ROW)
    yield Rows(*([ROW, row] if place else [row, ROW]))


@pytest.mark.parametrize("patches", [
    Patches(weights=(HALF, replace(HALF, content="a"))), Patches(weights=(3,)), Patches(weights=None), Patches(attention=3),
    Patches(padding=[1]),
], ids=range(5))
def test_patches_that_cannot_be_named_or_compared_fail_their_job_alone(patches: Patches) -> None:
    def start(wanted):
        return [plain(wanted, patches=patches if wanted.prompt == "bad" else Patches())]

    engine = stepped(start, Exact())
    good, bad = engine.submit(request()), engine.submit(request(prompt="bad"))
    run(engine)
    assert isinstance(last(engine, bad), events.Failed)
    assert isinstance(last(engine, good), events.Finished)


@pytest.mark.parametrize("change", [
    {"conditioning": Conditioning(torch.ones(12, 5))}, {"channels": torch.ones(3, 8, 8)},
    {"residuals": (torch.ones(16, 8, 8),)}, {"patches": Patches(residuals=(torch.ones(3),))}, {"network": "unknown"},
    {"patches": Patches(padding="round")}, {"patches": Patches(blocks=(3,), attention=(None,), residuals=(torch.ones(1),))},
], ids=range(7))
def test_a_row_that_its_real_network_cannot_take_fails_its_job_alone(change) -> None:
    def start(wanted):
        return [changed(each, change) if wanted.prompt == "bad" else each for each in pictures_of(wanted)]

    def changed(source, change):
        answer = None
        while True:
            ask = source.send(answer)
            if isinstance(ask, Rows):
                ask = Rows(*[replace(row, **change) for row in ask.rows])
            answer = yield ask

    def load(name):
        if name == "unknown":
            raise FileNotFoundError(name)
        return InMemory(tiny_model())

    engine = stepped(start, LocalNetworks(load))
    good, bad = engine.submit(request()), engine.submit(request(prompt="bad"))
    run(engine)
    assert isinstance(last(engine, bad), events.Failed)
    assert np.array_equal(pictures(engine, good)[0].pixels, alone(request())[0])


def test_a_row_of_which_cannot_be_said_whether_it_needs_a_swap_fails_its_job_alone() -> None:
    class Unsure(Exact):
        def ready(self, row):
            if row.role == "bad":
                raise KeyError("no such network")
            return True

    engine = stepped(plain_pictures, Unsure())
    bad, good = engine.submit(simple("bad")), engine.submit(simple())
    run(engine)
    assert "no such network" in last(engine, bad).sentence
    assert isinstance(last(engine, good), events.Finished)


@pytest.mark.parametrize("asked", ["holds", "notices"])
def test_an_ask_of_which_cannot_be_said_what_it_needs_or_did_fails_its_job_alone(asked: str) -> None:
    class Unsure(Exact):
        network = ""

        def holds(self, ask):
            if asked == "holds" and getattr(ask, "network", "") == "bad":
                raise KeyError("no such network")
            return True

        def decode(self, ask):
            self.network = ask.network
            if asked == "holds" and ask.network == "bad":
                raise KeyError("no such network")
            return super().decode(ask)

        def notices(self):
            if asked == "notices" and self.network == "bad":
                self.network = ""
                raise KeyError("no such network")
            return ()

    engine = stepped(lambda wanted: [plain(wanted, network=wanted.prompt)], Unsure())
    bad, good = engine.submit(request(prompt="bad", steps=1)), engine.submit(request(prompt="good"))
    run(engine)
    assert "no such network" in last(engine, bad).sentence
    assert isinstance(last(engine, good), events.Finished)


def test_endless_asks_that_need_no_swap_keep_no_other_from_its_own() -> None:
    class Elsewhere(Exact):
        def holds(self, ask):
            return not isinstance(ask, Decode)

    def endless():
        while True:
            yield Read(torch.zeros(1))

    def decoding():
        pixels = yield Decode(torch.zeros(4, 2, 2))
        return Picture(pixels=pixels, latent=torch.zeros(4, 2, 2))

    engine = stepped(lambda wanted: [endless() if wanted.prompt == "endless" else decoding()], Elsewhere())
    engine.submit(request(prompt="endless"))
    waiting = engine.submit(request())
    for _ in range(2 * ASKS * engine.limits.patience):
        engine.step()
    assert engine._jobs[waiting].ended
    engine.close()


def test_many_asks_of_one_picture_do_not_keep_others_from_their_steps() -> None:
    order = []

    class Noting(Exact):
        def call(self, ask):
            order.append("tile")
            return super().call(ask)

        def predict(self, call):
            order.append("step")
            return super().predict(call)

    def upscaler():
        for tile in range(60):
            yield Call("upscaler", {"tile": tile})
        return (yield from plain(simple(steps=1)))

    engine = stepped(lambda wanted: [upscaler()] if wanted.prompt == "large" else plain_pictures(wanted), Noting())
    large, good = engine.submit(request(prompt="large")), engine.submit(simple(steps=5))
    run(engine)
    assert isinstance(last(engine, large), events.Finished)
    assert isinstance(last(engine, good), events.Finished)
    fifth = [place for place, what in enumerate(order) if what == "step"][4]
    assert order[:fifth].count("tile") <= 5 * MOST_LIGHT


def vandal(source):
    """The same generation, but every answer that others may get too is written to when it has been used."""
    answer, seen = None, []
    while True:
        try:
            ask = source.send(answer)
        except StopIteration as end:
            for tensor in seen:
                tensor.mul_(0)
            return end.value
        answer = yield ask
        if isinstance(ask, Encode):
            seen.append(answer.tokens)
        elif isinstance(ask, Decode):
            answer.mul_(0)


def test_an_answer_that_its_holder_writes_to_changes_nobody_elses_picture() -> None:
    networks = local()
    made = []
    for change in (vandal, lambda source: source):
        engine = stepped(lambda wanted, change=change: [change(each) for each in pictures_of(wanted)], networks)
        job = engine.submit(request())
        run(engine)
        made.append(pictures(engine, job)[0].pixels)
    (expected,) = alone(request())
    assert not made[0].any()
    assert np.array_equal(made[1], expected)


def leaving(mode):
    """A picture whose generation holds a mode of torch across its yields."""
    with mode:
        return (yield from pictures_of(request(prompt="bad"))[0])


@pytest.mark.parametrize("mode", ["autocast", "default", "gradients", "inference"])
def test_modes_that_a_generation_leaves_on_reach_nobody_else(mode: str) -> None:
    @contextmanager
    def default():
        torch.set_default_dtype(torch.float64)
        yield

    modes = {
        "autocast": torch.autocast("cpu", torch.bfloat16), "default": default(), "gradients": torch.no_grad(),
        "inference": torch.inference_mode(),
    }
    before = torch.is_grad_enabled(), torch.get_default_dtype(), torch.is_autocast_enabled("cpu")
    engine = stepped(lambda wanted: [leaving(modes[mode])] if wanted.prompt == "bad" else pictures_of(wanted), local())
    bad, good = engine.submit(request(prompt="bad")), engine.submit(request())
    run(engine)
    assert isinstance(last(engine, bad), events.Failed if mode == "inference" else events.Finished)
    (expected,) = alone(request())
    assert np.abs(pictures(engine, good)[0].pixels.astype(int) - expected.astype(int)).max() <= 1
    assert (torch.is_grad_enabled(), torch.get_default_dtype(), torch.is_autocast_enabled("cpu")) == before
    assert not torch.is_inference_mode_enabled()


def test_modes_that_a_hook_leaves_on_reach_nobody_else() -> None:
    class Careless:
        def after(self, call, h):
            torch.set_default_dtype(torch.float64)
            torch.set_autocast_enabled("cpu", True)
            return h

    def start(wanted):
        return pictures_of(wanted, Patches(blocks=(Careless(),)) if wanted.prompt == "bad" else Patches())

    engine = stepped(start, local())
    engine.submit(request(prompt="bad"))
    good = engine.submit(request())
    run(engine)
    assert np.array_equal(pictures(engine, good)[0].pixels, alone(request())[0])
    assert torch.get_default_dtype() == torch.float32
    assert not torch.is_autocast_enabled("cpu")
