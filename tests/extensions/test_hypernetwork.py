"""Hypernetworks: any file of A1111's, equal to what others made of it; in any order; and nothing stays behind."""

from __future__ import annotations

import importlib
import json
import random
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.engine.making import MODEL, local, request, run, stepped, tiny_model, told
from tests.nets.families import SD1, SDXL, assert_same, inputs, unet
from webui.engine import events
from webui.errors import ModelFileError, UnknownName, UserError
from webui.extension.kinds import Submission
from webui.nets.hooks import Hooks
from webui.pipeline.extended import JobHooks
from webui.pipeline.extended_line import Reach
from webui.pipeline.generate import Registry, generate
from webui.weights.pickles import load_pickle

hypernetwork = importlib.import_module("extensions.hypernetwork")
reading = importlib.import_module("extensions.hypernetwork.network")
cards = importlib.import_module("extensions.hypernetwork.cards")
DATA = Path(__file__).parents[1] / "data"
GIVEN = load_file(DATA / "sd15-tiny.safetensors")
EXPECTED = load_file(DATA / "hypernetworks" / "outputs.safetensors")
NAMES = ("relu", "leakyrelu", "elu", "tanh", "sigmoid", "silu", "gelu", "mish", "softplus", "prelu", "rrelu", "celu", "hardtanh")


class Made:
    """A random hypernetwork as its trainer has it: modules of torch in a row, in training order, and the file they go into."""

    def __init__(
        self, seed: int, widths: tuple[int, ...] = (16, 32), structure: tuple[float, ...] = (1, 2, 1),
        activation: str | None = "relu", norm: bool = False, dropout: float = 0, last: bool | None = False,
    ) -> None:  # fmt: skip
        torch.manual_seed(seed)
        self.settings = {
            "layer_structure": list(structure), "activation_func": activation, "is_layer_norm": norm, "name": "made", "step": 10,
            "use_dropout": dropout > 0, "optional_info": "of a test", "sd_checkpoint": None, "last_layer_dropout": dropout > 0,
        }  # fmt: skip
        if last is not None:
            self.settings["activate_output"] = last
        self.rows = {width: (self._row(width, dropout, last is not False), self._row(width, dropout, last is not False))
                     for width in widths}  # fmt: skip

    def _row(self, width: int, dropout: float, last: bool) -> nn.Sequential:
        structure, kind, row = self.settings["layer_structure"], self.settings["activation_func"], []
        modules = {name.lower(): getattr(nn, name) for name in dir(nn)} | {"swish": nn.Hardswish}
        for index, (before, after) in enumerate(pairwise(structure)):
            row.append(nn.Linear(int(width * before), int(width * after)))
            if kind not in (None, "linear") and (last or index < len(structure) - 2):
                row.append(modules[kind]())
            if self.settings["is_layer_norm"]:
                row.append(nn.LayerNorm(int(width * after)))
            if dropout:
                row.append(nn.Dropout(dropout))
        made = nn.Sequential(*row)
        for weight in made.parameters():
            nn.init.normal_(weight, std=0.3)
        return made.eval().requires_grad_(False)

    def held(self) -> dict[Any, Any]:
        named = lambda row: {f"linear.{key}": tensor for key, tensor in row.state_dict().items()}  # noqa: E731
        return self.settings | {width: (named(keys), named(values)) for width, (keys, values) in self.rows.items()}

    def saved(self, folder: Path, name: str = "made") -> dict[Any, Any]:
        torch.save(self.held(), folder / f"{name}.pt")
        return dict(load_pickle(folder / f"{name}.pt"))


def read(held: Any) -> Any:
    return reading.Hypernetwork.read(held, "made")


# --- what a file means ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("name", ["hyper_121_linear", "hyper_cross_only"])
def test_the_network_answers_as_elsewhere(name: str, strength: float) -> None:
    network, found = unet("sd15-tiny"), read(load_pickle(DATA / "hypernetworks" / f"{name}.pt"))
    x, t, context = (GIVEN[f"unet.a.{each}"] for each in ("x", "t", "ctx"))
    expected = EXPECTED[f"{name}|unet_out.a|mult{strength}"]
    plain = network(x, t, context)
    assert_same(network(x, t, context, hooks=Hooks(attention=(reading.Bend([(found, strength)]),))), expected)
    assert (plain - expected).abs().max() > 1e-2 and torch.equal(network(x, t, context), plain)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000), middle=st.lists(st.sampled_from([0.5, 1, 1.5, 2, 4]), max_size=3), norm=st.booleans(),
    activation=st.sampled_from([None, "linear", "swish", *NAMES]), dropout=st.sampled_from([0, 0.3]),
    last=st.sampled_from([None, False, True]), strength=st.floats(-2, 2), half=st.booleans(),
)  # fmt: skip
def test_any_structure_is_what_its_trainer_had(
    tmp_path: Path, strength: float, half: bool, middle: list[float], **more: Any
) -> None:
    made = Made(structure=(1, *middle, 1), **more)
    found = read(made.saved(tmp_path))
    assert set(found.widths) == {16, 32}
    for width, (keys, values) in made.rows.items():
        context = torch.randn(2, 5, width)
        context = context.half() if half else context
        for_keys, for_values = reading.Bend([(found, strength)]).context(None, context)
        assert for_keys.dtype == for_values.dtype == context.dtype
        for ours, row in ((for_keys, keys), (for_values, values)):
            expected, near = context.float() + strength * row(context.float()), 2e-3 if half else 1e-5
            assert torch.allclose(ours.float(), expected, rtol=near, atol=near)
    untouched = torch.randn(1, 3, 7)
    assert all(each is untouched for each in reading.Bend([(found, strength)]).context(None, untouched))


def test_every_activation_of_torch_is_known_by_its_name() -> None:
    modules = {name.lower(): getattr(nn, name) for name in torch.nn.modules.activation.__all__}
    assert modules.keys() | {"linear", "swish"} == reading.ACTIVATIONS.keys() | reading.UNUSABLE
    x = torch.linspace(-3, 3, 7)
    for name, kind in reading.ACTIVATIONS.items():
        expected = modules.get({"linear": "identity", "swish": "hardswish"}.get(name, name), nn.Identity)().eval()(x)
        assert torch.equal(kind().eval()(x), expected) and expected.shape == x.shape


def test_the_first_files_had_other_names_and_said_less() -> None:
    first, second = nn.Linear(16, 32), nn.Linear(32, 16)
    layers = (("linear1", first), ("linear2", second))
    row = {f"{name}.{key}": tensor.detach() for name, layer in layers for key, tensor in layer.named_parameters()}
    found = read({16: [row, row], "step": 1, "name": "old", "sd_checkpoint": None})
    x = torch.randn(1, 2, 16)
    assert torch.equal(reading.bent(x, found.widths[16][0], 1.0), x + second(first(x)))


def test_an_output_is_activated_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    silent, no, yes = (Made(1, (16,), activation="sigmoid", last=last).saved(tmp_path) for last in (None, False, True))
    x = torch.randn(1, 2, 16)
    by_default, off, on = (reading.bent(x, read(each).widths[16][0], 1.0) for each in (silent, no, yes))
    assert torch.equal(by_default, on) and not torch.equal(by_default, off)
    assert float((on - x).min()) > 0  # a sigmoid's


def broken(**changes: Any) -> dict[Any, Any]:
    return Made(1, (16,)).held() | changes


def without(held: dict[Any, Any], key: str) -> dict[Any, Any]:
    keys, values = held[16]
    return held | {16: ({name: each for name, each in keys.items() if name != key}, values)}


def with_one(held: dict[Any, Any], key: str, tensor: Any) -> dict[Any, Any]:
    keys, values = held[16]
    return held | {16: (keys, values | {key: tensor})}


@pytest.mark.parametrize(("held", "sentence"), [
    (None, "is no hypernetwork"),
    ({"state_dict": {}}, "is no hypernetwork"),
    ({True: []}, "is no hypernetwork"),
    ({16: None}, "lacks the networks of keys and values"),
    ({16: [{}, {}]}, "no linear layer at the beginning"),
    (broken(activation_func="glu"), "wants the activation 'glu'; known: "),
    (broken(activation_func="magic"), "wants the activation 'magic'; known: "),
    (broken(activation_func="linear"), "a layer at 2, which would be at 1 by what it says of itself"),
    (broken(is_layer_norm=True), "linear.2.weight should have the shape"),
    (without(broken(), "linear.0.weight"), "no linear layer at the beginning"),
    (with_one(broken(), "linear.7.weight", torch.zeros(16)), "nothing is known of linear.7.weight"),
    (with_one(broken(), "linear.7.weight", torch.zeros(16, 16)), "a layer at 7, which would be at 4"),
    (with_one(broken(), "linear.2.weight", torch.zeros(8, 32)), "should have the shape \\[8\\]"),
    (with_one(broken(), "linear.2.weight", torch.zeros(16, 31)), "takes 31 numbers and is given 32"),
    (with_one(broken(), "linear.0.bias", torch.zeros(3)), "has the shape \\[3\\]"),
    (with_one(broken(), "else.0.bias", torch.zeros(3)), "nothing is known of 'else.0.bias'"),
    (with_one(broken(), "linear.0.what", torch.zeros(3)), "nothing is known of linear.0.what"),
    (with_one(broken(), "linear.0.bias", "a text"), "nothing is known of 'linear.0.bias'"),
    (with_one(broken(), 5, torch.zeros(3)), "nothing is known of '5'"),
])  # fmt: skip
def test_a_file_that_means_nothing_is_refused_with_a_sentence(held: Any, sentence: str) -> None:
    with pytest.raises(ModelFileError, match=sentence) as raised:
        read(held)
    assert "made" in str(raised.value)


def test_a_file_for_other_models_says_so(tmp_path: Path) -> None:
    shapes = {f"model.diffusion_model.{key}": tuple(each.shape) for key, each in unet("sd15-tiny").state_dict().items()}
    assert read(Made(1, (48, 32)).saved(tmp_path)).unfit(shapes) == ""
    assert read(Made(1, (32,)).saved(tmp_path)).unfit(shapes) == ""  # made for what pixels see of each other alone
    assert read(Made(1, (48, 1024)).saved(tmp_path)).unfit(shapes) == ""  # made for several kinds
    sentence = read(Made(1, (16, 8)).saved(tmp_path)).unfit(shapes)
    assert "the widths 8, 16, and this model's attention has 32, 48, 64, 128, so it has no effect" in sentence
    assert "only a part of it has effect" in read(Made(1, (32, 8)).saved(tmp_path)).unfit(shapes)


# --- in the network ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "spec", "widths"), [("sd15-tiny", SD1, (48, 32, 128)), ("sdxl-tiny", SDXL, (112, 64, 128))])
def test_it_acts_where_its_widths_are(name: str, spec: Any, widths: tuple[int, ...], tmp_path: Path) -> None:
    network, found = unet(name), read(Made(2, widths).saved(tmp_path))
    seen: set[tuple[bool, int]] = set()

    class Watching(reading.Bend):  # type: ignore[name-defined, misc]
        def context(self, call: Any, context: Tensor) -> tuple[Tensor, Tensor]:
            bent = super().context(call, context)
            if not torch.equal(bent[0], context):
                seen.add((call.site.endswith("attn2"), context.shape[-1]))
            return bent

    x, t, context, y = inputs(spec)
    plain, weights = network(x, t, context, y), {key: each.clone() for key, each in network.state_dict().items()}
    bent = network(x, t, context, y, hooks=Hooks(attention=(Watching([(found, 0.5)]),)))
    assert (bent - plain).abs().max() > 1e-2 and {width for _, width in seen} == set(widths)
    assert {across for across, _ in seen} == {True, False}
    assert torch.equal(network(x, t, context, y), plain)
    assert all(torch.equal(each, weights[key]) for key, each in network.state_dict().items())


# --- in jobs ----------------------------------------------------------------------------------------------------------


class Folder:
    """Weight files of a folder, as the program gives them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self, folders: tuple[str, ...]) -> Mapping[str, str]:
        assert folders == ("hypernetworks",)
        return {path.stem: str(path) for path in sorted(self.folder.glob("*.pt"))}

    def find(self, folders: tuple[str, ...], name: str) -> str:
        if name not in self.names(folders):
            raise UnknownName(f"Unknown hypernetwork {name!r}.")
        return self.names(folders)[name]

    def found(self, folders: tuple[str, ...], name: str, sha256: str) -> str:
        return next(path for path in self.names(folders).values() if self.sha256(path) == sha256)

    def sha256(self, path: str) -> str:
        return format(hash(Path(path).read_bytes()) % 16**64, "064x")

    def tensors(self, path: str) -> Any:
        return load_pickle(Path(path))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = tmp_path_factory.mktemp("hypernetworks")
    Made(1).saved(folder, "a")
    Made(2, (16,), activation="elu", norm=True).saved(folder, "b")
    Made(3, (32, 64), (1, 1, 2, 1), activation="swish", last=True).saved(folder, "c")
    Made(4, (8,)).saved(folder, "other")
    return Folder(folder)


def noted(files: Folder, *tags: str) -> dict[str, Any]:
    submission = Submission(request=request(), values={}, prompts=(), negatives=(), files=files, home=None)  # type: ignore[arg-type]
    kind = hypernetwork.tags()[0]
    return {"tags": {f"hypernet:{tag}": dict(kind.resolve(tuple(tag.split(":")), submission)) for tag in tags}}


def wanted(files: Folder, *tags: str, **more: Any) -> Any:
    prompt = " ".join(["a red ball", *(f"<hypernet:{tag}>" for tag in tags)])
    part = {"hypernetwork": {"values": {}, "noted": noted(files, *tags)}} if tags else {}
    return request(prompt=prompt, extensions=json.loads(json.dumps(part)), **more)


def started(files: Folder, weights: Any = lambda _: {}) -> Any:
    hooks = [JobHooks(name="hypernetwork", patches=hypernetwork.patches)]
    reach = Reach(files=files, weights=weights)  # type: ignore[arg-type]
    return lambda one: [generate(one.picture(index), MODEL, Registry(hooks=hooks), reach=reach) for index in range(one.count)]


def drawn(files: Folder, *requests: Any, by: Any = None) -> list[np.ndarray]:
    engine = by or stepped(started(files), local())
    jobs = [engine.submit(each) for each in requests]
    run(engine)
    return [next(event.pixels for event in told(engine, job) if isinstance(event, events.Picture)) for job in jobs]


@pytest.fixture(scope="module")
def engine(files: Folder) -> Any:
    return stepped(started(files), local())


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.lists(st.sampled_from(["a:0.5", "a:-1", "b:0.8", "c", "b:0.25"]), min_size=2, unique=True))
def test_any_order_of_tags_is_the_same_picture_to_the_bit(files: Folder, engine: Any, seed: int, tags: list[str]) -> None:
    other = list(tags)
    random.Random(seed).shuffle(other)
    (one,), (again,) = (drawn(files, wanted(files, *each, steps=2), by=engine) for each in (tags, other))
    assert np.array_equal(one, again)


def test_nothing_stays_behind(files: Folder) -> None:
    before = {key: each.clone() for key, each in tiny_model().unet.state_dict().items()}
    plain, bent = drawn(files, wanted(files), wanted(files, "a:3"))
    assert np.abs(plain.astype(float) - bent.astype(float)).mean() > 5
    engine = stepped(started(files), local())
    engine.cancel(cancelled := engine.submit(wanted(files, "a:3", steps=50)))
    job = engine.submit(wanted(files))
    run(engine)
    (after,) = (event.pixels for event in told(engine, job) if isinstance(event, events.Picture))
    assert isinstance(told(engine, cancelled)[-1], events.LAST) and np.array_equal(after, plain)
    (nothing,) = drawn(files, wanted(files, "a:0", "b:0"))
    assert np.array_equal(nothing, plain)
    assert all(torch.equal(each, before[key]) for key, each in tiny_model().unet.state_dict().items())


def test_jobs_at_once_are_as_each_alone(files: Folder) -> None:
    requests = [wanted(files, "a:0.9"), wanted(files), wanted(files, "b", seed=4), wanted(files, "a:0.9", "c:0.5")]
    for together, each in zip(drawn(files, *requests), requests, strict=True):
        (alone,) = drawn(files, each)
        assert np.abs(together.astype(int) - alone.astype(int)).max() <= 1


def test_a_job_is_told_where_it_has_no_effect(files: Folder) -> None:
    shapes = {key: tuple(each.shape) for key, each in tiny_model().unet.state_dict().items()}
    engine = stepped(started(files, lambda _: shapes), local())
    job = engine.submit(wanted(files, "other", "a"))
    run(engine)
    notices = [event.sentence for event in told(engine, job) if isinstance(event, events.Notice)]
    assert len(notices) == 1 and "'other' was made for another kind of model" in notices[0]


# --- what people write and see ----------------------------------------------------------------------------------------


def test_a_tag_is_a_name_and_a_strength(files: Folder) -> None:
    assert [each["strength"] for each in noted(files, "a", "a:0.7", " a : -1 ", "a:1e1")["tags"].values()] == [1, 0.7, -1, 10]
    for tag, sentence in (
        ("a:b", "was 'b'; it must be a number"), ("a:", "was ''"), ("a:nan", "a number"), ("a:1:2", "was '1:2'"),
        ("a:101", "from -100 to 100"), ("nobody", "Unknown hypernetwork"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=sentence):
            noted(files, tag)


def test_the_text_of_a_picture_has_the_hashes(files: Folder) -> None:
    found = hypernetwork.metadata(request(), {}, noted(files, "b:0.5", "a", "a:0.2"))
    short = {name: files.sha256(files.find(("hypernetworks",), name))[:10] for name in "ab"}
    assert found == {"Hypernet hashes": f"a: {short['a']}, b: {short['b']}"}
    assert hypernetwork.metadata(request(), {}, {}) == {}


def test_cards_have_what_people_keep_beside_the_files(tmp_path: Path) -> None:
    Made(1, (16,)).saved(tmp_path, "plain")
    Made(1, (16,)).saved(tmp_path, "whole")
    Made(1, (16,)).saved(tmp_path, "odd")
    (tmp_path / "whole.png").write_bytes(b"")
    said = {"activation text": "one, two", "sd version": "SD1", "description": "Of a test", "notes": 5, "preferred weight": 0.5}
    (tmp_path / "whole.json").write_text(json.dumps(said))
    (tmp_path / "odd.json").write_text("[1")
    (tmp_path / "odd.txt").write_text("A text\n")
    odd, plain, whole = hypernetwork.cards(SimpleNamespace(), Folder(tmp_path))
    inside = {"Layers": "1, 2, 1", "Activation": "relu", "Steps trained": "10", "Information": "of a test"}
    assert (plain.insert, plain.preview, plain.words, plain.facts) == ("<hypernet:plain:1>", "", (), inside)
    assert (whole.insert, whole.preview) == ("<hypernet:whole:0.5>", str(tmp_path / "whole.png"))
    assert (whole.words, whole.base, whole.facts) == (("one", "two"), "SD1", {"Description": "Of a test", **inside})
    assert odd.facts == {"Description": "A text", **inside} and odd.insert == "<hypernet:odd:1>"


@given(st.binary(max_size=60), st.booleans(), st.booleans())
def test_a_card_is_made_of_any_file(tmp_path_factory: pytest.TempPathFactory, content: bytes, whole: bool, twice: bool) -> None:
    path = tmp_path_factory.mktemp("odd") / "odd.pt"
    if whole:
        with zipfile.ZipFile(path, "w") as archive:
            for folder in "ab"[: 1 + twice]:
                archive.writestr(f"{folder}/data.pkl", content)
    else:
        path.write_bytes(content)
    assert set(cards.card_of("odd", str(path)).facts) <= set(cards.INSIDE.values())
