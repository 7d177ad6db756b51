"""Whatever a header says, a spec or a sentence comes out of it, in bounded time."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.published import OTHERS, Shapes, header, recorded
from webui.errors import ModelFileError
from webui.weights.bounds import checked
from webui.weights.defaults import defaults_of
from webui.weights.families import FAMILIES, Override, detect
from webui.weights.files import read_header
from webui.weights.verifying import Findings, examined, verified

NAMES = sorted({key for name in ("sd15-tiny", "sdxl-tiny", "sd21-base-tiny") for key in recorded(name)})
OTHER_NAMES = sorted({key for _, make in OTHERS.values() for key in make()})
SIDES = st.lists(st.integers(0, 5) | st.sampled_from([32, 64, 320, 768, 1 << 40]), max_size=5).map(tuple)
KEYS = st.sampled_from(NAMES) | st.sampled_from(OTHER_NAMES) | st.text(max_size=30) | st.sampled_from(NAMES).map("{}.0".format)
METADATA = st.dictionaries(
    st.sampled_from(["modelspec.prediction_type", "modelspec.resolution", "modelspec.architecture", "modelspec.title",
                     "ss_zero_terminal_snr", "ss_output_name", "other"]),
    st.text(max_size=20) | st.sampled_from(["v", "epsilon", "768x768", "99999999x99999999", "²x²", "True", "sdxl turbo"]),
    max_size=4,
)  # fmt: skip
SAID = st.builds(
    Override, family=st.none() | st.sampled_from([*FAMILIES, "x", ""]), prediction=st.sampled_from([None, "eps", "v"]),
    zero_terminal_snr=st.sampled_from([None, True, False]), native_size=st.none() | st.integers(-10, 10_000),
)  # fmt: skip
SECONDS = 2


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["sd15-tiny", "sdxl-tiny", "sd21-base-tiny", ""]), st.dictionaries(KEYS, SIDES, max_size=12),
       st.lists(st.sampled_from(NAMES), max_size=12), METADATA, st.none() | SAID)  # fmt: skip
def test_any_header_gives_a_spec_or_a_sentence(
    name: str, added: Shapes, removed: list[str], metadata: dict[str, str], said: Override | None
) -> None:
    shapes = {**(recorded(name) if name else {}), **added}
    file = header({key: shape for key, shape in shapes.items() if key not in removed}, **metadata)
    began = time.process_time()
    try:
        spec = detect(file, said)
    except ModelFileError as error:
        assert str(error).endswith(".") and len(str(error)) < 2000
    else:
        assert checked(spec) == spec
    defaults = defaults_of(file)
    assert defaults.steps is None or 1 <= defaults.steps <= 16
    assert time.process_time() - began < SECONDS


def write(path: Path, shapes: Shapes, metadata: dict[str, str]) -> Path:
    """A file with these tensors and no bytes for them: cut off, but for those that are empty."""
    table = {key: {"dtype": "U8", "shape": list(shape), "data_offsets": [0, _product(shape)]} for key, shape in shapes.items()}
    text = json.dumps({"__metadata__": metadata, **table}).encode("utf-8", "surrogatepass")
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(64))
    return path


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(KEYS, st.lists(st.integers(0, 3), max_size=4).map(tuple), max_size=10), METADATA)
def test_any_file_is_examined_and_verified(
    tmp_path_factory: pytest.TempPathFactory, shapes: Shapes, metadata: dict[str, str]
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "any.safetensors", shapes, metadata)
    began = time.process_time()
    found = verified(path)
    assert isinstance(found, Findings) and all(fault.endswith(".") for fault in (*found.faults, *found.notes))
    try:
        examined(path)
    except ModelFileError as error:
        assert found.faults == (str(error),)
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("line", ["a" * 1_000_000, "a." * 500_000, "lora_" * 200_000, "down_blocks.0." * 70_000, "\n" * 100_000])
def test_a_very_long_name_takes_no_long_time(line: str, tmp_path: Path) -> None:
    file = read_header(write(tmp_path / "a.safetensors", {line: (0,), "b": (0,)}, {}))
    began = time.process_time()
    with pytest.raises(ModelFileError) as refused:
        detect(file)
    assert time.process_time() - began < SECONDS and len(str(refused.value)) < 2000


def test_very_many_names_take_no_long_time() -> None:
    names = [f"model.diffusion_model.input_blocks.{index % 60}.1.transformer_blocks.{index}.x" for index in range(60_000)]
    for count in (40_000, 60_000):
        file = header(dict.fromkeys(names[:count], (1, 1)))
        began = time.process_time()
        with pytest.raises(ModelFileError):
            detect(file)
        assert time.process_time() - began < SECONDS
