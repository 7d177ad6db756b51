"""Embeddings: every layout gives the same vectors, names are found in texts, what does not fit is skipped with its reason."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load_file
from torch import Tensor

from extensions import embeddings
from extensions.embeddings import files as known
from extensions.embeddings import pictures, reading
from tests.engine.making import MODEL, local, request, run, stepped, told
from tests.extensions.lora_making import Folder, home, saved, submission
from webui.engine import events
from webui.pipeline.extended import JobHooks
from webui.pipeline.extended_line import Reach
from webui.pipeline.generate import Registry, generate

ADAPTERS = Path(__file__).parents[1] / "data" / "adapters"
EXPECTED = load_file(ADAPTERS / "embeddings.safetensors")


def vectors(count: int = 3, width: int = 16, seed: int = 1) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def told_as(own: Tensor) -> dict[str, Any]:
    """An embedding as A1111 keeps it in pictures."""
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": {"TORCHTENSOR": own.tolist()}}, "name": "x", "step": 10}


def as_text(path: Path, own: Tensor) -> None:
    info = PngInfo()
    info.add_text("sd-ti-embedding", base64.b64encode(json.dumps(told_as(own)).encode()).decode())
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)


def as_pixels(path: Path, own: Tensor, *, height: int = 64, border: int = 0) -> None:
    """The other way round, with numpy: halves of bytes in the lower bits of blocks beside a picture, mixed with a sequence."""
    packed = np.frombuffer(zlib.compress(json.dumps(told_as(own)).encode(), 9), np.uint8)
    size = -(-len(packed) // (height * 3)) * height * 3
    blocks = []
    for halves in (packed & 15, packed >> 4):
        state, sequence = 0, []
        for _ in range(size):
            state = (state * 1664525 + 1013904223) % 2**32
            sequence.append(state % 255 & 15)
        mixed = np.resize(halves, size) ^ np.array(sequence, np.uint8)
        blocks.append((mixed | 0x30).reshape(height, -1, 3).astype(np.uint8))  # upper bits are for the eye
    picture = np.random.default_rng(1).integers(1, 255, (height, height, 3), dtype=np.uint8)
    black = np.zeros((height, 1, 3), np.uint8)
    whole = np.concatenate([blocks[0], black, picture, black, blocks[1]], axis=1)
    Image.fromarray(np.pad(whole, ((border, border), (border, border), (0, 0)))).save(path, lossless=True)


def written(folder: Path, layout: str, own: Tensor) -> Path:
    """A file of a layout."""
    path = folder / f"mine.{layout.partition(' ')[0]}"
    match layout:
        case "pt a1111":
            torch.save({"string_to_param": {"*": own}, "string_to_token": {"*": 265}, "name": "x", "sd_checkpoint": None}, path)
        case "pt module":
            module = torch.nn.ParameterDict({"*": torch.nn.Parameter(own)})
            torch.save({"string_to_param": module, "string_to_token": {"*": 265}, "name": "x"}, path)
        case "bin diffusers":
            torch.save({"<mine>": own[0] if len(own) == 1 else own}, path)
        case "safetensors token":
            saved(path, {"<mine>": own})
        case "safetensors emb_params":
            saved(path, {"emb_params": own.half()})
        case "png text":
            as_text(path, own)
        case _:
            as_pixels(path, own, border=5 if "border" in layout else 0)
    return path


LAYOUTS = (
    "pt a1111", "pt module", "bin diffusers", "safetensors token", "safetensors emb_params", "png text", "png pixels",
    "png pixels border", "webp pixels",
)  # fmt: skip


def read(path: Path, widths: tuple[int, ...] = (16,)) -> Any:
    found = reading.vectors_of(Folder(path.parent), str(path), path.stem)  # type: ignore[arg-type]
    return reading.for_model(found, widths, path.stem, "0" * 64)


# --- layouts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same_vectors(layout: str, count: int, tmp_path: Path) -> None:
    own = vectors(count)
    found = read(written(tmp_path, layout, own))
    assert found.name == "mine" and len(found.vectors) == 1
    assert torch.allclose(found.vectors[0], own, atol=2e-3 if "emb_params" in layout else 1e-6)


@pytest.mark.parametrize("name", ["ti_a1111.pt", "ti_diffusers_token.safetensors"])
def test_recorded_files_hold_what_was_recorded(name: str) -> None:
    assert torch.equal(read(ADAPTERS / name, (48,)).vectors[0], EXPECTED[f"{name}|vec"])


def test_an_embedding_for_two_towers_has_vectors_for_both(tmp_path: Path) -> None:
    one, two = vectors(2, 16), vectors(2, 24)
    path = saved(tmp_path / "xl.safetensors", {"clip_g": two, "clip_l": one})
    assert all(torch.equal(found, own) for found, own in zip(read(path, (16, 24)).vectors, (one, two), strict=True))
    uneven = saved(tmp_path / "uneven.safetensors", {"clip_g": vectors(3, 24), "clip_l": one})
    assert "was skipped" in read(uneven, (16, 24)) and "2, 3" in read(uneven, (16, 24))


@pytest.mark.parametrize("held", [
    {}, {"string_to_param": {}}, {"string_to_param": {"*": "text"}}, {"a": torch.ones(2, 2, 2)},
    {"a": torch.ones(3, dtype=torch.int64)},
    {"a": torch.full((2, 16), float("nan"))},
])  # fmt: skip
def test_a_file_without_vectors_says_so(held: dict[str, Any], tmp_path: Path) -> None:
    torch.save(held, tmp_path / "x.pt")
    with pytest.raises(Exception, match="The embedding 'x' has no vectors"):
        read(tmp_path / "x.pt")


@given(st.binary(max_size=300))
def test_any_bytes_are_no_picture_with_an_embedding_or_one(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.png"
        path.write_bytes(content)
        assert pictures.kept_in_picture(path) is None


def test_a_picture_without_an_embedding_is_none(tmp_path: Path) -> None:
    for number, colour in enumerate([(0, 0, 0), (255, 255, 255), (16, 16, 16)]):
        Image.new("RGB", (9, 9), colour).save(tmp_path / f"{number}.png")
        assert pictures.kept_in_picture(tmp_path / f"{number}.png") is None


# --- names in texts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "named"), [
    ("a cat, mine", True), ("(Mine:1.2)", True), ("[a:mine:5]", True), ("minefield", False), ("my mine2", True), ("amine", False),
    ("gold_mine", True), ("mi ne", False), ("", False),
])  # fmt: skip
def test_a_name_is_found_as_a_word(text: str, named: bool) -> None:
    assert known.named_in((text,), ("mine",)) == (["mine"] if named else [])


def test_names_of_several_words_and_signs() -> None:
    text = r"by bad-hands-5, My   Style and emb \(1\)"
    assert known.named_in((text,), ("bad-hands-5", "my style", "emb (1)", "hands 5")) == ["bad-hands-5", "my style", "emb (1)"]


@given(st.text("ab c-1", min_size=1, max_size=8).filter(str.strip), st.lists(st.text("ab c-1,", max_size=9), max_size=2))
def test_a_name_between_commas_is_always_found(name: str, around: list[str]) -> None:
    assert known.named_in((", ".join([*around, name, "end"]),), (name,)) == [name]


# --- jobs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    saved(tmp_path / "mine.safetensors", {"<x>": 4 * vectors(3)})
    saved(tmp_path / "wide.safetensors", {"<x>": vectors(2, 1024)})
    as_pixels(tmp_path / "card.png", 4 * vectors(2, seed=2))
    return Folder(tmp_path)


def wanted(files: Folder, prompt: str, negative: str = "grey") -> Any:
    noted = embeddings.resolve(submission(files, (prompt,), (negative,)))
    part = {} if noted is None else {"embeddings": {"values": {}, "noted": json.loads(json.dumps(noted))}}
    return request(prompt=prompt, negative=negative, extensions=part, steps=2)


def drawn(files: Folder, *requests: Any) -> tuple[list[np.ndarray], list[str]]:
    reach = Reach(files=files)  # type: ignore[arg-type]
    registry = Registry(hooks=[JobHooks(name="embeddings", patches=embeddings.patches)])
    engine = stepped(lambda one: [generate(one.picture(0), MODEL, registry, reach=reach)], local())
    jobs = [engine.submit(each) for each in requests]
    run(engine)
    heard = [told(engine, job) for job in jobs]
    pixels = [next(event.pixels for event in own if isinstance(event, events.Picture)) for own in heard]
    return pixels, [event.sentence for own in heard for event in own if isinstance(event, events.Notice)]


def test_a_name_changes_the_picture_in_both_prompts_and_leaves_nothing(folder: Folder) -> None:
    assert embeddings.resolve(submission(folder, ("a red ball",), ("grey",))) is None
    requests = [wanted(folder, "a mine"), wanted(folder, "a", "mine"), wanted(folder, "a (card:1.2)")]
    together, notices = drawn(folder, *requests)
    without = [request(prompt=each.prompt, negative=each.negative, steps=2) for each in requests]
    plain, _ = drawn(folder, *without)
    assert not notices
    for one, other in zip(together, plain, strict=True):
        assert np.abs(one.astype(float) - other.astype(float)).mean() > 0.5
    for one, each in zip(together, requests, strict=True):
        (alone,), _ = drawn(folder, each)
        assert np.abs(one.astype(int) - alone.astype(int)).max() <= 1
    again, _ = drawn(folder, *without)
    assert all(np.array_equal(one, other) for one, other in zip(plain, again, strict=True))


def test_vectors_of_another_width_are_skipped_with_the_reason(folder: Folder) -> None:
    (found,), (sentence,) = drawn(folder, wanted(folder, "a wide ball"))
    (plain,), _ = drawn(folder, request(prompt="a wide ball", steps=2))
    assert np.array_equal(found, plain)
    assert sentence == (
        "The embedding 'wide' was skipped, so its name is read as it stands: its vectors have 1024 numbers (SD 2), and this "
        "model reads 16 numbers."
    )


def test_a_file_that_is_broken_is_skipped_with_the_reason_too(folder: Folder) -> None:
    torch.save({"x": torch.ones(2, 2, 2)}, folder.folder / "none.pt")
    torch.save([1], folder.folder / "listed.pt")
    for name in ("none", "listed"):
        (found,), (sentence,) = drawn(folder, wanted(folder, f"a {name} ball"))
        (plain,), _ = drawn(folder, request(prompt=f"a {name} ball", steps=2))
        assert np.array_equal(found, plain)
        assert sentence.startswith(f"The embedding '{name}' was skipped, so its name is read as it stands: ")


def test_what_a_tag_names_is_no_embedding() -> None:
    files = SimpleNamespace(names=lambda folders: {"mine": "mine.pt", "lora": "lora.pt"}, sha256=lambda path: "0" * 64)
    assert embeddings.resolve(submission(files, ("a ball <lora:mine:0.5>",), ("grey",))) is None  # type: ignore[arg-type]
    assert embeddings.resolve(submission(files, ("<lora:x> mine",))) == {"embeddings": {"mine": "0" * 64}}  # type: ignore[arg-type]


@pytest.mark.parametrize("header", [
    b'{"a": 5}', b'{"a": {"shape": 5}}', b'{"a": "shape"}', b'{"a": {"shape": ["x", "y"]}}', b'{"a": {"shape": [null]}}',
    b'{"a": {"shape": {"b": 1}}}', b'{"a": ["shape"]}',
])  # fmt: skip
def test_one_strange_header_does_not_hide_the_other_cards(header: bytes, tmp_path: Path) -> None:
    (tmp_path / "strange.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    saved(tmp_path / "one.safetensors", {"<x>": vectors(3, 768)})
    found = {card.name: card for card in embeddings.cards(home(), Folder(tmp_path))}
    assert found["one"].problem == "" and "no vectors" in found["strange"].problem


@pytest.mark.parametrize("depth", [300, 700, 5000])
def test_a_picture_with_text_that_is_nested_deeply_has_none(depth: int, tmp_path: Path) -> None:
    told = PngInfo()
    told.add_text("sd-ti-embedding", base64.b64encode(b'{"a":' * depth + b"1" + b"}" * depth).decode())
    Image.new("RGB", (4, 4)).save(tmp_path / "deep.png", pnginfo=told)
    saved(tmp_path / "one.safetensors", {"<x>": vectors(3, 768)})
    found = {card.name: card for card in embeddings.cards(home(), Folder(tmp_path))}
    assert found["one"].problem == "" and "no vectors" in found["deep"].problem


def test_pictures_name_the_files_with_their_hashes(folder: Folder) -> None:
    noted = embeddings.resolve(submission(folder, ("mine, wide",), ("card", "mine")))
    assert noted is not None and set(noted["embeddings"]) == {"mine", "wide", "card"}
    hashes = {name: folder.sha256(path)[:12] for name, path in folder.names(("embeddings",)).items()}
    told_of = embeddings.metadata(None, {}, noted)["TI hashes"]  # type: ignore[arg-type]
    assert set(told_of.split(", ")) == {f"{name}: {digest}" for name, digest in hashes.items()}
    assert embeddings.metadata(None, {}, {}) == {}  # type: ignore[arg-type]


# --- cards and problems -----------------------------------------------------------------------------------------------


def test_cards_say_what_a_file_is_for_or_why_it_is_skipped(tmp_path: Path) -> None:
    saved(tmp_path / "one.safetensors", {"<x>": vectors(3, 768)})
    saved(tmp_path / "EasyNegative.safetensors", {"emb_params": vectors(1, 1024)})
    saved(tmp_path / "xl.safetensors", {"clip_l": vectors(2, 768), "clip_g": vectors(2, 1280)})
    saved(tmp_path / "odd.safetensors", {"<x>": vectors(2, 500)})
    torch.save({"<x>": vectors()}, tmp_path / "pickle.pt")
    (tmp_path / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{broken")
    as_text(tmp_path / "card.png", vectors(2, 768))
    Image.new("RGB", (4, 4)).save(tmp_path / "nothing.png")
    (tmp_path / "one.preview.png").write_bytes(b"")
    found = {card.name: card for card in embeddings.cards(home(), Folder(tmp_path))}
    assert [(found[name].base, found[name].problem) for name in ("one", "EasyNegative", "xl", "card", "pickle")] == [
        ("SD 1", ""), ("SD 2", ""), ("SDXL", ""), ("SD 1", ""), ("", ""),
    ]  # fmt: skip
    assert found["one"].facts == {"Vectors": "3", "Width": "768"} and found["one"].preview.endswith("one.preview.png")
    assert found["EasyNegative"].negative and not found["one"].negative and found["card"].preview.endswith("card.png")
    assert "have 500 numbers; models known here read 768 (SD 1)" in found["odd"].problem
    assert "broken" in found["broken"].problem and "no vectors" in found["nothing"].problem


def test_a_prompt_that_names_what_no_model_reads_is_told_where(tmp_path: Path) -> None:
    saved(tmp_path / "embeddings" / "odd.safetensors", {"<x>": vectors(2, 500)})
    saved(tmp_path / "embeddings" / "fine.safetensors", {"<x>": vectors(2, 768)})
    text = "a fine odd (Odd:1.2)"
    problems = embeddings.prompt_problems(text, [tmp_path])
    assert [(start, end) for start, end, _ in problems] == [(7, 10), (12, 15)]
    assert all("odd.safetensors: Skipped: its vectors have 500 numbers" in sentence for *_, sentence in problems)
    assert embeddings.prompt_problems("a fine ball", [tmp_path, tmp_path / "nowhere"]) == []


def test_a_job_without_names_is_not_touched() -> None:
    assert embeddings.patches(SimpleNamespace(noted={}, second=False)) is None  # type: ignore[arg-type]
