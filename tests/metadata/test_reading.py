"""What files say is found wherever their programs put it, and means what it meant there."""

from __future__ import annotations

import json
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metadata import files
from tests.metadata.files import GRAPH, PIXELS, TEXT, chunk, exif, png, saved, stealth, with_chunks
from webui import infotext
from webui.metadata import avif, bounds, riff, writing
from webui.metadata.reading import HIDDEN, read

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=80)
KINDS = files.all_kinds()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_read(kind: str) -> None:
    content, program = KINDS[kind]
    found = read(content)
    assert found.kind == program, found
    assert infotext.parse(found.text).values["Seed"]
    if program == "A1111":
        assert found.text == TEXT
    if found.format != "text" and "stealth" not in kind:
        assert (found.width, found.height) == (PIXELS.shape[1], PIXELS.shape[0])


@settings(max_examples=25, deadline=None)
@given(ANY_TEXT, st.sampled_from(list(writing.SUFFIXES)), st.integers(1, 100))
def test_what_is_written_is_read_again(text: str, kind: str, quality: int) -> None:
    content = writing.write(PIXELS, kind, text, quality)
    assert text in read(content, pixels=False).others.values()


@pytest.mark.parametrize(
    "said",
    [
        exif(TEXT), exif(TEXT, little=True), exif(TEXT, little=True, little_text=False), exif(TEXT, little_text=True),
        exif("\ufeff" + TEXT), exif(TEXT, code=b"ASCII\0\0\0"), exif(TEXT, code=b"\0" * 8),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "PNG"])
def test_comments_are_read_in_either_order(said: bytes, kind: str) -> None:
    assert read(saved(kind, said)).text == TEXT


def test_chunks_are_read_behind_the_pixels_and_more_than_once() -> None:
    second = chunk(b"iTXt", b"parameters\0\0\0\0\0" + "zwö".encode())
    content = with_chunks(chunk(b"tEXt", b"parameters\0" + b"one"), second, at_end=True)
    assert read(content).others == {"parameters": "one", "parameters 2": "zwö"}


def test_exif_is_found_by_the_tables_of_its_container_and_not_only_by_looking_for_it() -> None:
    (item,) = avif._exif_items(writing.write(PIXELS, "AVIF", TEXT, 80))
    assert item.startswith(b"MM\0\x2a")
    said = exif(TEXT)
    odd = b"RIFF\0\0\0\0WEBP" + b"ODD \1\0\0\0x\0" + b"EXIF" + len(said).to_bytes(4, "little") + said
    assert dict(riff._of_chunks(odd)) == {"UserComment": TEXT}


def test_no_more_is_unpacked_than_is_read() -> None:
    assert len(bounds.inflated(zlib.compress(b"a" * 20_000_000, 9))) == 4 * bounds.LONGEST_TEXT
    broken = zlib.compress(b"abc" * 5000 + bytes(range(256)) * 40)
    assert bounds.inflated(broken[:-40] + b"\xff" * 40).startswith(b"abcabc")


def test_latin_1_is_latin_1() -> None:
    odd = "Ã© is what careless programs make of é"
    assert read(png({"parameters": odd})).others["parameters"] == odd


def test_a_chunk_is_found_in_a_file_that_is_broken_before_it() -> None:
    content = bytearray(png({"parameters": TEXT}))
    content[8:12] = b"\xff\xff\xff\xff"
    assert read(bytes(content)).text == TEXT


@pytest.mark.parametrize("kind", ["JPEG", "WebP", "AVIF"])
def test_exif_is_found_in_a_file_that_is_broken_before_it(kind: str) -> None:
    content = writing.write(PIXELS, kind, TEXT, 80)
    places = {"JPEG": slice(4, 6), "WebP": slice(16, 20), "AVIF": slice(content.find(b"iloc"), content.find(b"iloc") + 4)}
    broken = bytearray(content)
    broken[places[kind]] = b"\xfe" * len(broken[places[kind]])
    assert read(bytes(broken)).text == TEXT


def test_comfyui_is_followed_to_the_sampler_that_begins_from_nothing() -> None:
    found = read(KINDS["comfy png"][0])
    info = infotext.parse(found.text)
    assert (info.prompt, info.negative) == ("a castle", "ugly")
    assert info.values == {
        "Steps": "25", "Sampler": "DPM++ 2M SDE", "Schedule type": "Karras", "CFG scale": "6.5", "Seed": "77", "Size": "640x448",
        "Model": "v1-5", "Networks": "x: 0.8", "RNG": "CPU",
    }  # fmt: skip
    assert json.loads(found.others["prompt"]) == GRAPH, "the graph is kept as it is"


def test_comfyui_with_its_sampler_in_parts() -> None:
    graph = {
        "1": {"class_type": "SamplerCustomAdvanced", "inputs": {
            "noise": ["2", 0], "guider": ["3", 0], "sampler": ["4", 0], "sigmas": ["5", 0], "latent_image": ["6", 0]}},
        "2": {"class_type": "RandomNoise", "inputs": {"noise_seed": 11}},
        "3": {"class_type": "BasicGuider", "inputs": {"model": ["7", 0], "conditioning": ["8", 0]}},
        "4": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "5": {"class_type": "BasicScheduler", "inputs": {"scheduler": "simple", "steps": 4, "denoise": 1, "model": ["7", 0]}},
        "6": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 64, "height": 32}},
        "7": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux/dev.safetensors"}},
        "8": {"class_type": "CLIPTextEncode", "inputs": {"text": "a moth"}},
    }  # fmt: skip
    info = infotext.parse(read(png({"prompt": json.dumps(graph)})).text)
    assert info.prompt == "a moth"
    assert info.values == {
        "Steps": "4", "Sampler": "Euler", "Schedule type": "Simple", "Seed": "11", "Size": "64x32", "Model": "dev", "RNG": "CPU"
    }


def test_graphs_that_lead_nowhere_or_in_circles_are_no_trouble() -> None:
    links = [{"positive": [str((at + 1) % 3), 0], "latent_image": [str(at), 0]} for at in range(3)]
    loop = {str(at): {"class_type": "KSampler", "inputs": inputs} for at, inputs in enumerate(links)}
    for graph in (loop, {"1": {"class_type": "x", "inputs": {}}}, {"1": {"class_type": "KSampler", "inputs": {"steps": [9, 9]}}}):
        found = read(png({"prompt": json.dumps(graph)}))
        assert found.kind == "ComfyUI" and found.others


def test_novelais_emphasis_becomes_brackets_with_weights() -> None:
    info = infotext.parse(read(KINDS["novelai"][0]).text)
    assert info.prompt == r"a (cat:1.05) \(x\)" and info.negative == "lowres"
    assert info.values == {
        "Steps": "28", "Sampler": "Euler a", "Schedule type": "Karras", "CFG scale": "11.0", "Seed": "123", "Size": "512x768",
        "Model": "Stable Diffusion 1", "Clip skip": "2", "ENSD": "31337",
    }  # fmt: skip
    assert read(KINDS["novelai"][0]).unmapped == {"sm_dyn": "true"}


def test_invokeai_and_fooocus_keep_what_has_no_key() -> None:
    found = read(KINDS["invokeai"][0])
    assert infotext.parse(found.text).values == {
        "Steps": "30", "CFG scale": "7.5", "Seed": "9", "Clip skip": "2", "Sampler": "DPM++ 2M", "Schedule type": "Karras",
        "Size": "512x640", "Model": "juggernaut", "RNG": "CPU",
    }  # fmt: skip
    assert found.unmapped["app_version"] == "4.2.0" and "weight" in found.unmapped["loras"]
    found = read(KINDS["fooocus"][0])
    assert infotext.parse(found.text).values == {
        "Steps": "30", "CFG scale": "4.0", "Seed": "77", "Clip skip": "2", "Sampler": "DPM++ 2M SDE", "Schedule type": "Karras",
        "Size": "1152x896", "Model": "jugg", "Model hash": "aeb7e9e689", "Version": "Fooocus v2.5.0", "RNG": "CPU",
    }  # fmt: skip
    assert found.unmapped["sharpness"] == "2.0" and read(KINDS["fooocus jpeg"][0]).text == found.text


def test_invokeais_first_versions() -> None:
    found = read(png({"Dream": '"a hut [mist]" -s 50 -S 321 -W 512 -H 384 -C 7.5 -A k_lms'}))
    info = infotext.parse(found.text)
    assert (info.prompt, info.negative) == ("a hut", "mist")
    assert info.values == {"Steps": "50", "Seed": "321", "CFG scale": "7.5", "Sampler": "LMS", "Size": "512x384"}


def test_hidden_texts_are_looked_for_only_where_nothing_else_is_said_and_only_if_wanted() -> None:
    content = stealth(TEXT, alpha=True, packed=False)
    assert read(content).others == {HIDDEN: TEXT}
    assert read(content, pixels=False).text == ""
    assert HIDDEN not in read(content[:33] + chunk(b"tEXt", b"parameters\0Steps: 1, Seed: 2, Size: 8x8") + content[33:]).others


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 50, b"%PDF-1.7\n\xff", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"],
)
def test_what_says_nothing_is_nothing(content: bytes) -> None:
    assert read(content).text == "" and read(content).kind == ""


def test_a_few_bytes_that_unfold_to_gigabytes_are_cut_off() -> None:
    bomb = zlib.compress(b"a" * 20_000_000, 9)
    began = time.process_time()
    found = read(with_chunks(*[chunk(b"zTXt", b"parameters\0\0" + bomb)] * 30))
    assert len(found.others["parameters"]) == bounds.LONGEST_TEXT
    assert sum(map(len, found.others.values())) <= bounds.MOST_BYTES + bounds.LONGEST_TEXT
    assert time.process_time() - began < 5


def deep_json(name: str) -> bytes:
    return png({name: '{"a":' * 300_000})


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0abcd\0\0\0\0" * 500_000,
        b"\x89PNG\r\n\x1a\n" + b"\0\xff\xff\xfftEXt" * 500_000,
        b"\xff\xd8" + b"\xff" * 5_000_000,
        b"\xff\xd8\xff\xe1" + b"MM\0\x2a\0\0\0\x08\xff\xff" * 500_000,
        b"\xff\xd8\xff\xe1\xff\xffExif\0\0MM\0\x2a\0\0\0\x08" + b"\x03\xe8" + b"\x92\x86\0\7\0\xff\xff\xff\0\0\0\0" * 400_000,
        b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe\1a\0" * 1_000_000, b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1a" * 3_000_000,
        b"RIFF\0\0\0\0WEBP" + b"EXIF\0\0\0\0" * 600_000,
        b"\0\0\0\x10ftypavif" + b"\0\0\0\x08meta" * 600_000,
        deep_json("prompt"), deep_json("workflow"), deep_json("parameters"), deep_json("invokeai_metadata"),
        b"Steps: 1, " + b'a: "\\", ' * 300_000, b"Steps: 1, " + b"a: [1, " * 300_000, b"Steps: 1, " + b"[" * 2_000_000,
        b"a: " + b"(" * 2_000_000 + b", b: c, d: e", b"\n" * 3_000_000, b"Steps: 1\nA: b\n" * 200_000,
    ],
    ids=range(19),
)  # fmt: skip
def test_hostile_files_take_no_time(content: bytes) -> None:
    began = time.process_time()
    found = read(content)
    infotext.raw_parameters(infotext.parse(found.text))
    assert time.process_time() - began < 3


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """Bytes changed, cut out, doubled or moved."""
    found = bytearray(content)
    for _ in range(int(random.integers(1, 6))):
        at, length = (int(random.integers(0, max(len(found), 1))) for _ in range(2))
        match int(random.integers(0, 5)):
            case 0 | 1:
                found[at : at + 1] = bytes([int(random.integers(0, 256))])
            case 2:
                del found[at : at + length % 40]
            case 3:
                found[at:at] = found[length : length + 30]
            case 4:
                found[at : at + 4] = random.bytes(4)
    return bytes(found)


def test_five_thousand_broken_files_raise_nothing_and_lose_nothing_whole() -> None:
    random = np.random.default_rng(11)
    kinds = list(KINDS.values())
    intact = {"ours PNG": "parameters", "ours JPEG": "Exif", "ours WebP": "EXIF", "ours AVIF": "MM\0*"}
    spared = 0
    for turn in range(5000):
        name = list(KINDS)[turn % len(kinds)]
        content = mutated(KINDS[name][0], random)
        found = read(content, pixels=turn % 7 == 0)
        json.dumps([found.text, dict(found.others), dict(found.unmapped)], ensure_ascii=False).encode()
        if name in intact:
            original = KINDS[name][0]
            begin = original.index(intact[name].encode()) - 8
            own = original[begin : _end(name, original)]
            if own in content and found.format:
                spared += 1
                assert found.text == TEXT, f"turn {turn} of {name}"
    assert spared > 100


def _end(name: str, content: bytes) -> int:
    """Where a file's text ends, with the checksum behind it."""
    if name == "ours PNG":
        return content.index(b"IDAT") - 4
    return content.index(exif(TEXT)[-60:]) + 60
