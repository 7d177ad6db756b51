"""The inspector: it changes no bit, its maps add up, and what it keeps is bounded."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import extensions.inspector as inspector
from extensions.inspector.attention import Watch, attention, grouping_of, resized
from extensions.inspector.keys import key_in
from extensions.inspector.pictures import png
from extensions.inspector.recording import is_kept, packed
from extensions.inspector.store import Store
from extensions.inspector.words import words_of
from webui.engine import events
from webui.engine.batching import call_of
from webui.engine.engine import Engine
from webui.engine.local import LocalNetworks
from webui.extension import Asked, Home, Moment, Site, UserError, parameters
from webui.extension.kinds import Submission
from webui.nets.dot_product import attend
from webui.pipeline.extended import JobHooks
from webui.pipeline.generate import Model, Registry, generate
from webui.pipeline.protocol import Conditioning, Decode, Encode, EncodePicture, Read, Rows, answer_all
from webui.request import Request
from webui.weights.source import ModelSource, open_model

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "a large red ball left of a small blue cube, grey floor"
TOKEN = "0" * 32


@pytest.fixture(scope="module")
def source() -> ModelSource:
    return open_model(ROOT / "models" / "builtin" / "model.safetensors")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(name="inspector", version="1", folder=tmp_path / "inspector")


def hooks(home: Home) -> JobHooks:
    defaults = {name: each.default for name, each in parameters(inspector.Inspected).items()}
    return JobHooks(name="inspector", denoiser=inspector.denoiser, defaults=defaults, home=home)


def asked(**more: Any) -> Request:
    own = {"prompt": PROMPT, "negative": "", "steps": 4, "sampler": "Euler", "schedule": "Karras", "scale": 5.0, "seed": 3}
    return Request(**{"model": "m", "width": 128, "height": 128} | own | more)


def watched(request: Request, **values: Any) -> Request:
    noted = {"record": TOKEN, "task": request.task}
    return replace(request, extensions={"inspector": {"values": {"inspect": True} | values, "noted": noted}})


def drawn(source: ModelSource, home: Home, request: Request, heard: Callable[[Any], None] = lambda _: None) -> torch.Tensor:
    """The picture of a request, whose asks are answered one after another."""
    networks = LocalNetworks({"m": source}.__getitem__)

    def answer(ask: Any) -> Any:
        heard(ask)
        if isinstance(ask, Rows):
            return networks.predict(call_of(ask.rows)).rows
        known = {Encode: networks.encode, Decode: networks.decode, EncodePicture: networks.encode_picture}
        return ask.tensor if isinstance(ask, Read) else known[type(ask)](ask)

    model = Model(name="m", spec=source.spec, tokenizers=source.tokenizers)
    return answer_all(generate(request, model, Registry(hooks=[hooks(home)]), upscaler="Latent"), answer).pixels


def record_of(home: Home, request: Request) -> tuple[Store, str, dict[str, Any]]:
    key = key_in(request.to_dict())
    assert key is not None
    found = inspector.limited(home).read(key)
    assert found is not None
    return inspector.limited(home), key, found


# --- the picture stays as it is --------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"sampler": "Heun"}, {"sampler": "DPM++ 2M", "scale": 1.0}, {
    "prompt": "a red ball AND a [blue:green:2] cube", "hires": {
        "upscaler": "Latent", "upscaler_hash": "", "width": 160, "height": 128, "full_width": 160, "full_height": 128, "steps": 2,
        "strength": 0.6, "sampler": "Euler",
        "schedule": "Karras", "sampler_options": {}, "scale": 4.0, "scale_by": 1.25, "to_width": None, "to_height": None,
        "prompt": "", "negative": "", "model": "", "model_hash": "", "override": {},
    }}])  # fmt: skip
def test_pixels_are_those_without_it_to_the_bit(source: ModelSource, home: Home, more: dict[str, Any]) -> None:
    request = asked(**more)
    plain: list[Any] = []
    seen: list[Any] = []
    without = drawn(source, home, request, plain.append)
    with_it = drawn(source, home, watched(request), seen.append)
    assert torch.equal(without, with_it)
    _, _, record = record_of(home, watched(request))
    assert len(record["passes"]) == (2 if "hires" in more else 1)  # it did look
    own = [ask for ask in seen if isinstance(ask, Rows) and not any(row.patches.attention for row in ask.rows)]
    assert len(own) == sum(isinstance(ask, Rows) for ask in plain)  # and the picture's own calls are as they were


def test_in_the_engine_too_while_other_pictures_are_made(source: ModelSource, home: Home) -> None:
    requests = {"plain": asked(seed=5, steps=3), "watched": watched(asked(seed=5, steps=3))}
    model = Model(name="m", spec=source.spec, tokenizers=source.tokenizers)
    registry = Registry(hooks=[hooks(home)])
    networks = LocalNetworks({"m": source}.__getitem__)
    made: dict[str, Any] = {}
    with Engine(lambda request: [generate(request.picture(0), model, registry)], networks) as engine:
        for name, request in requests.items():
            job = engine.submit(replace(request, reproducible=True))
            told = list(engine.events(job))
            assert isinstance(told[-1], events.Finished), told[-1]
            made[name] = [event.pixels for event in told if isinstance(event, events.Picture)]
    assert np.array_equal(made["plain"], made["watched"])


def test_a_job_that_did_not_ask_for_it_is_left_alone(source: ModelSource, home: Home) -> None:
    request = asked(steps=2)
    idle = replace(request, extensions={"inspector": {"values": {"inspect": False, "decode": False}, "noted": {}}})
    plain: list[Any] = []
    seen: list[Any] = []
    assert torch.equal(drawn(source, home, request, plain.append), drawn(source, home, idle, seen.append))
    assert [type(ask) for ask in plain] == [type(ask) for ask in seen]
    assert not home.folder.exists()


# --- what is taken down ----------------------------------------------------------------------------------------------


def test_a_record_has_every_step_with_its_pictures_and_maps(source: ModelSource, home: Home) -> None:
    request = watched(asked(steps=6), most=3)
    drawn(source, home, request)
    store, key, record = record_of(home, request)
    (own,) = record["passes"]
    taken = own["taken"]
    assert [step["step"] for step in taken] == list(range(6))
    sigmas = [step["sigma"] for step in taken]
    assert sigmas == sorted(sigmas, reverse=True) and all(step["guidance"] > 0 for step in taken)
    kept = [step for step in taken if step["kept"]]
    assert len(kept) == 3 and taken[0]["kept"] and taken[-1]["kept"]
    (text,) = own["texts"]
    assert text["words"] == PROMPT.replace(",", "").split()
    height, width = own["map"]
    for step in kept:
        (maps,) = step["maps"]
        content = store.file(key, f"0-{step['step']}-a.maps")
        assert content is not None and len(content) == len(text["words"]) * height * width
        assert sum(maps["shares"]) + maps["rest"] == pytest.approx(1, abs=1e-4)
        for kind, side in (("noisy", 16), ("noise", 16), ("clean", 128)):
            assert size_of(store.file(key, f"0-{step['step']}-{kind}.png")) == (side, side)
    assert store.file(key, f"0-{next(step['step'] for step in taken if not step['kept'])}-clean.png") is None
    json.dumps(record)


def test_guidance_is_unknown_where_the_negative_prompt_is_not_asked(source: ModelSource, home: Home) -> None:
    request = watched(asked(scale=1.0, steps=2))
    drawn(source, home, request)
    assert [step["guidance"] for step in record_of(home, request)[2]["passes"][0]["taken"]] == [None, None]


def test_words_follow_the_schedule_and_every_part_is_looked_at(source: ModelSource, home: Home) -> None:
    request = watched(asked(prompt="a [red:blue:2] ball AND a cube", steps=4))
    drawn(source, home, request)
    (own,) = record_of(home, request)[2]["passes"]
    words = [[own["texts"][maps["text"]]["words"] for maps in step["maps"]] for step in own["taken"]]
    assert words[0] == [["a", "red", "ball"], ["a", "cube"]] and words[-1] == [["a", "blue", "ball"], ["a", "cube"]]


def test_a_picture_made_again_has_one_record(source: ModelSource, home: Home) -> None:
    request = watched(asked(steps=2))
    drawn(source, home, request)
    first = record_of(home, request)
    drawn(source, home, request)
    assert record_of(home, request)[2] == first[2] and first[0].size > 0
    other = replace(request, seed=9)
    drawn(source, home, other)
    assert record_of(home, other)[1] != first[1]


def test_a_picture_within_a_picture_is_not_taken_for_it(source: ModelSource, home: Home) -> None:
    """A detailer's own pictures have the job's extensions, but another task, and within an inpainted picture another size."""
    request = watched(asked(steps=2))
    drawn(source, home, replace(request, extensions=watched(asked(task="inpaint")).extensions))
    assert not list(home.folder.rglob("*.png"))
    drawn(source, home, request)
    first = record_of(home, request)[2]["passes"]
    drawn(source, home, replace(request, width=64, prompt="a ball"))
    assert record_of(home, request)[2]["passes"][:1] == first


# --- maps ------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 3), st.integers(2, 9))
def test_maps_of_all_words_and_the_rest_add_up_to_one(seed: int, heads: int, layers: int, length: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    words = words_of("red ball", [None, (0, 3), (4, 8), *[None] * 6][:length])
    watch = Watch(grouping_of(words, length), 6, 5)
    for layer in range(layers):
        height, width = 3 * 2**layer, 4 * 2**layer
        call = site(f"output_blocks.{layer}.1.transformer_blocks.0.attn2", height, width, heads)
        sizes = height * width, length, length
        watch.attend(call, *(torch.randn(1, size, 8 * heads, generator=generator) * 3 for size in sizes))
    taken = watch.taken()
    assert taken is not None and taken.shape == (len(words) + 1, 6, 5)
    assert torch.allclose(taken.sum(dim=0), torch.ones(6, 5), atol=1e-5) and taken.min() >= 0
    assert watch.taken() is None


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 4))
def test_maps_do_not_depend_on_the_other_rows_nor_on_copies_of_the_text(seed: int, rows: int, copies: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(rows, 12, 16, generator=generator), *torch.randn(2, rows, 5, 16, generator=generator)
    call = site("output_blocks.3.1.transformer_blocks.0.attn2", 3, 4, 2)
    alone, together = (Watch(torch.eye(5), 3, 4) for _ in range(2))
    alone.attend(call, q[:1], k[:1], v[:1])
    together.attend(replace(call, rows=rows), q, k.repeat(1, copies, 1), v.repeat(1, copies, 1))
    one, other = alone.taken(), together.taken()
    assert one is not None and other is not None and torch.allclose(one, other, atol=1e-6)


def test_maps_are_the_attention_that_the_network_computes() -> None:
    """Values that are one at a single place read its share out of the network's own attention."""
    generator = torch.Generator().manual_seed(1)
    q, k = torch.randn(12, 6, generator=generator), torch.randn(7, 6, generator=generator)
    found = attention(q, k, 1, 7)
    for place, one in enumerate(torch.eye(7)):
        own = attend(q[None], k[None], one[None, :, None].expand(1, 7, 6), 1)
        assert torch.allclose(found[:, place], own[0, :, 0], atol=1e-6)
    assert torch.allclose(attention(q, k, 3, 7).sum(dim=1), torch.ones(12), atol=1e-6)


def test_only_what_looks_at_the_text_is_looked_at_and_nothing_is_answered() -> None:
    watch = Watch(torch.eye(3), 2, 2)
    q, k = torch.randn(1, 4, 8), torch.randn(1, 3, 8)
    for name in ("output_blocks.3.1.transformer_blocks.0.attn1", "input_blocks.1.1.transformer_blocks.0.attn2"):
        watch.attend(site(name, 2, 2, 2), q, k, k)
    assert watch.taken() is None
    assert watch.attend(site("output_blocks.3.1.transformer_blocks.0.attn2", 2, 2, 2), q, k, k) is None  # type: ignore[func-returns-value]
    assert watch.taken() is not None


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=25, deadline=None)
def test_maps_at_another_size_still_add_up(height: int, width: int, to_height: int, to_width: int) -> None:
    shares = torch.rand(3, height, width) + 0.01
    found = resized(shares / shares.sum(dim=0), to_height, to_width)
    assert torch.allclose(found.sum(dim=0), torch.ones(to_height, to_width), atol=1e-5)


def test_packed_maps_are_what_they_were_to_half_a_step() -> None:
    shares = torch.rand(4, 5, 6).softmax(dim=0)
    content, peaks = packed(shares)
    parts = torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(3, 5, 6) / 255
    back = parts * torch.tensor(peaks[:-1])[:, None, None]
    assert (back - shares[:-1]).abs().max() <= max(peaks) / 255 / 2 + 1e-6
    assert packed(torch.cat([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)]))[0] == bytes(4)  # a word that nothing looks at


# --- words -----------------------------------------------------------------------------------------------------------


def test_tokens_of_one_word_are_one_word_and_signs_are_none(source: ModelSource) -> None:
    (tokenizer,) = source.tokenizers
    text = "a (weird:1) unbelievable, ball's cat!"
    places = [None, *((token.start, token.end) for token in tokenizer.spans(text)), None]
    words = words_of(text, places)
    assert [word.text for word in words] == ["a", "weird", "1", "unbelievable", "ball's", "cat"]
    assert len(words[3].places) > 1  # it is not in the model's vocabulary
    assert len({place for word in words for place in word.places}) == sum(len(word.places) for word in words)


@given(st.text(max_size=20), st.lists(st.none() | st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12))
def test_any_places_of_any_text_are_read(text: str, spans: list[tuple[int, int] | None]) -> None:
    ordered = sorted((min(each), max(each)) for each in spans if each)
    words = words_of(text, [None, *ordered])
    table = grouping_of(words, len(ordered) + 1)
    assert torch.equal(table.sum(dim=1), torch.ones(len(ordered) + 1))  # every place counts once


def test_a_conditioning_says_where_its_tokens_stand_in_its_text(source: ModelSource, home: Home) -> None:
    found: list[Conditioning] = []
    drawn(source, home, asked(prompt="a (red:1.3) ball BREAK [blue|green] cube", steps=1), lambda ask: found.extend(
        row.conditioning for row in ask.rows if row.role == "cond") if isinstance(ask, Rows) else None)
    (said,) = {each.said for each in found}
    assert said is not None and len(said.places) == len(found[0].tokens) == 2 * 77
    found_there = {place: said.text[slice(*span)] for place, span in enumerate(said.places) if span}
    assert found_there == {1: "a", 2: "red", 3: "ball", 78: "blue", 79: "cube"}  # behind the start of each window


# --- what is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 5, 24, 25, 100, 150])
def test_kept_steps_are_spread_and_no_more_than_asked(steps: int) -> None:
    for most in (2, 3, 24):
        kept = [step for step in range(steps) if is_kept(Moment(1.0, step, steps), most)]
        assert kept[0] == 0 and kept[-1] == steps - 1 and len(kept) == min(most, steps)
        gaps = np.diff(kept)
        assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
    assert [step for step in range(9) if is_kept(Moment(1.0, step, None), 4)] == [0, 1, 2, 3]


def key(number: int) -> str:
    return f"{number:032x}"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 400), st.booleans()), max_size=25), st.integers(1, 1000))
def test_records_never_take_more_room_than_they_have(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[int, int, bool]], room: int
) -> None:
    folder = tmp_path_factory.mktemp("records")
    store = Store(folder, room)
    for number, size, looked in acts:
        if looked:
            store.read(key(number))
        else:
            fits = store.write(key(number), {"n": number}, {"0-1-clean.png": bytes(size)})
            assert not fits or store.read(key(number)) == {"n": number}
        on_disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert store.size == on_disk <= room
    assert Store(folder, room).size == store.size  # as the next program finds it


def test_what_nobody_looked_at_for_longest_goes_first(tmp_path: Path) -> None:
    store = Store(tmp_path, 1000)
    for number in range(3):
        store.write(key(number), {}, {"0-1-clean.png": bytes(300)})
    store.read(key(0))
    store.write(key(3), {}, {"0-1-clean.png": bytes(300)})
    assert [number for number in range(4) if store.read(key(number)) is not None] == [0, 2, 3]
    store.limit(350)
    assert [number for number in range(4) if store.read(key(number)) is not None] == [3]


def test_where_a_record_does_not_fit_the_picture_is_made_all_the_same(source: ModelSource, tmp_path: Path) -> None:
    home = Home(name="inspector", version="1", folder=tmp_path / "small", settings={"room": 0})
    request = asked(steps=2)
    assert torch.equal(drawn(source, home, request), drawn(source, home, watched(request)))
    assert inspector.limited(home).size == 0


def test_records_of_pictures_that_were_never_saved_go_when_it_is_unloaded(source: ModelSource, home: Home) -> None:
    one, other = watched(asked(steps=2)), watched(asked(steps=2, seed=4))
    for request in (one, other):
        drawn(source, home, request)
    inspector.picture_saved(home, one)
    inspector.picture_saved(home, asked())  # which was not inspected
    inspector.unloaded(home)
    store = inspector.limited(home)
    found = [store.read(str(key_in(request.to_dict()))) is not None for request in (one, other)]
    assert found == [True, False] and record_of(home, one)


def size_of(content: bytes | None) -> tuple[int, int]:
    assert content is not None and content[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(content[16:20]), int.from_bytes(content[20:24])


def test_a_picture_file_is_what_others_read(tmp_path: Path) -> None:
    from PIL import Image

    pixels = torch.randint(0, 256, (5, 7, 3), dtype=torch.uint8)
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels))
    with Image.open(path) as opened:
        assert np.array_equal(np.asarray(opened.convert("RGB")), pixels.numpy())
    assert zlib.crc32(b"IEND").to_bytes(4) == png(pixels)[-4:]


def site(name: str, height: int, width: int, heads: int) -> Site:
    return Site(site=name, rows=1, height=height, width=width, at=None, heads=heads)


# --- whose it is -----------------------------------------------------------------------------------------------------


class People:
    """Pictures and jobs by whose they are: what routes are told of."""

    def __init__(self, home: Home, own: dict[str, dict[str, Request]]) -> None:
        self._home = home
        self._own = own
        self._routes = {route.path: route for route in inspector.routes(home)}

    def ask(self, user: str, path: str, **query: str) -> Any:
        def own(name: str) -> dict[str, Any] | None:
            return self._own[user][name].to_dict() if name in self._own[user] else None

        asked = Asked(user=user, is_owner=False, query=query, body=None, home=self._home, files=None, picture=own, job=own)  # type: ignore[arg-type]
        return self._routes[path].answer(asked)


@pytest.fixture
def people(source: ModelSource, home: Home) -> People:
    request = watched(asked(steps=2))
    drawn(source, home, request)
    plain, again = asked(steps=2), replace(request, extensions=watched(request, x=1).extensions)
    other = {"inspector": {"values": {"inspect": True}, "noted": {"record": "1" * 32, "task": "txt2img"}}}
    return People(home, {
        "ann": {"mine": request, "plain": plain, "job": replace(again, seed=2, count=3)},
        "bob": {"same": replace(request, extensions=other), "plain": plain},
    })  # fmt: skip


def test_a_record_is_shown_to_whom_the_picture_belongs(people: People) -> None:
    assert len(people.ask("ann", "record", picture="mine")["record"]["passes"]) == 1
    shown = people.ask("ann", "picture", **{"picture": "mine", "pass": "0", "step": "1", "kind": "clean"})
    assert size_of(shown.content) == (128, 128) and shown.kind == "image/png"
    assert len(people.ask("ann", "maps", **{"picture": "mine", "pass": "0", "step": "0", "part": "0"}).content) == 12 * 256
    assert people.ask("ann", "record", picture="plain") == {"record": None}
    assert people.ask("ann", "inspected", pictures="mine,plain,nothing,") == {"pictures": ["mine"]}


def test_a_picture_of_a_job_has_its_record_while_it_is_made(people: People) -> None:
    assert people.ask("ann", "record", job="job", number="1") == people.ask("ann", "record", picture="mine")
    assert people.ask("ann", "record", job="job", number="0") == {"record": None}  # not begun
    with pytest.raises(UserError, match="number was '3'"):
        people.ask("ann", "record", job="job", number="3")


@pytest.mark.parametrize("path", ["record", "picture", "maps"])
@pytest.mark.parametrize("query", [{"picture": "mine"}, {"job": "job"}, {}])
def test_other_peoples_records_are_not_served(people: People, path: str, query: dict[str, str]) -> None:
    with pytest.raises(UserError, match="of yours"):
        people.ask("bob", path, **query, kind="clean")
    assert people.ask("bob", "inspected", pictures="mine,same") == {"pictures": ["same"]}
    assert people.ask("bob", "record", picture="same") == {"record": None}  # his own, of the same words and seed


@pytest.mark.parametrize("query", [
    {"pass": "-1"}, {"pass": "../0"}, {"step": "1e3"}, {"step": "٣"}, {"step": "9999999"}, {"part": "4"}, {"kind": "../record"},
    {"kind": "noisy", "step": "77"}, {"kind": ""},
])  # fmt: skip
def test_whatever_is_asked_is_answered_with_a_sentence(people: People, query: dict[str, str]) -> None:
    path = "maps" if "part" in query else "picture"
    with pytest.raises(UserError):
        people.ask("ann", path, **{"picture": "mine", "kind": "clean"} | query)


def test_a_job_is_given_a_name_that_nobody_guesses(home: Home) -> None:
    def submission(**values: Any) -> Submission:
        return Submission(request=asked(), values=values, prompts=(), negatives=(), files=None, home=home)  # type: ignore[arg-type]

    assert inspector.resolve(submission(inspect=False, decode=False)) is None and inspector.resolve(submission()) is None
    one, two = (inspector.resolve(submission(inspect=True)) for _ in range(2))
    assert one is not None and two is not None and one["record"] != two["record"] and len(one["record"]) == 32
