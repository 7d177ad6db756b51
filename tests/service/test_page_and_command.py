"""The page and the command line make the same picture of the same request, to the last pixel and word, in every task."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import tiny_checkpoint
from tests.service.making import until
from webui import cli
from webui.infotext import parse
from webui.service.engines import ThreadEngine
from webui.service.gallery import read_text
from webui.service.studio import open_studio
from webui.service.users import OWNER_ID
from webui.tasks import TASKS


def outlined(seed: int) -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {"picture": outlined(1), "mask": outlined(2), "sketch": outlined(3), "depth": outlined(4)}
FLAGS = {"picture": "--picture", "mask": "--mask", "sketch": "--sketch", "depth": "--depth-map"}
CASES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("txt2img", {"prompt": "ab", "seed": 5, "steps": 4, "count": 2, "sampler": "Euler a"}, ()),
    ("img2img", {"prompt": "ab", "seed": 5, "steps": 4, "strength": 0.6, "count": 2, "width": 81, "height": 67}, ("picture",)),
    ("inpaint", {"prompt": "ab", "seed": 5, "steps": 3, "mask_blur": 2, "outpaint_left": 8}, ("picture", "mask")),
    ("depth", {"prompt": "ab", "seed": 5, "steps": 3, "model": "deep", "strength": 0.7, "depth_near": 0.9}, ("picture", "depth")),
    ("extras", {"scale_by": 1.5}, ("picture",)),
]


@pytest.mark.parametrize(("task", "values", "names"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_the_same_request_is_the_same_picture_whoever_asks(
    tmp_path: Path, task: str, values: dict[str, Any], names: tuple[str, ...]
) -> None:
    tiny_checkpoint.write(tmp_path / "models" / "builtin" / "model.safetensors")
    tiny_checkpoint.write(tmp_path / "models" / "checkpoints" / "deep.safetensors", spec=tiny_checkpoint.DEPTH)
    options = [str(values["prompt"])] if "prompt" in values else []
    for name, value in values.items():
        options += [] if name == "prompt" else [f"--{name.replace('_', '-')}", str(value)]
    for name in names:
        (tmp_path / f"{name}.png").write_bytes(FILES[name])
        options += [FLAGS[name], str(tmp_path / f"{name}.png")]
    assert cli.main([task, *options, "--exact", "--output", str(tmp_path / "command")], tmp_path) == 0
    with open_studio(tmp_path, output=tmp_path / "page", engine=ThreadEngine(tmp_path, exact=True)) as studio:
        owner = studio.users.get(OWNER_ID)
        inputs = {name: studio.inputs.add(owner, FILES[name]) for name in names}
        job = studio.queue.submit(owner, task, TASKS[task](**values), inputs)
        until(lambda: not studio.queue.view(owner))
        events = studio.queue.events(owner, job)
        assert events[-1]["kind"] == "finished", events
    pairs = [sorted((tmp_path / folder).glob("*.png")) for folder in ("command", "page")]
    assert [path.name for path in pairs[0]] == [path.name for path in pairs[1]]
    assert len(pairs[0]) == values.get("count", 1) and pairs[0][0].name == f"00000-{values.get('seed', 0)}.png"
    for one, other in zip(*pairs, strict=True):
        assert read_text(one) == read_text(other)
        assert task == "extras" or parse(read_text(one)).values["Computed on"] == "cpu float32"
        with Image.open(one) as first, Image.open(other) as second:
            assert np.array_equal(np.asarray(first), np.asarray(second))
