"""The page and the command line make the same picture of the same request, to the last pixel and word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests import tiny_checkpoint
from tests.service.making import until
from webui.commands import txt2img
from webui.infotext import parse
from webui.params import Txt2Img
from webui.service.engines import ThreadEngine
from webui.service.gallery import read_text
from webui.service.studio import open_studio
from webui.service.users import OWNER_ID


def test_the_same_request_is_the_same_picture_whoever_asks(tmp_path: Path) -> None:
    tiny_checkpoint.write(tmp_path / "models" / "builtin" / "model.safetensors")
    options = ["--exact", "--seed", "5", "--steps", "4", "--count", "2", "--sampler", "Euler a"]
    assert txt2img.main(["ab", *options, "--output", str(tmp_path / "command")], tmp_path) == 0
    with open_studio(tmp_path, output=tmp_path / "page", engine=ThreadEngine(tmp_path, exact=True)) as studio:
        owner = studio.users.get(OWNER_ID)
        params = Txt2Img(prompt="ab", seed=5, steps=4, count=2, sampler="Euler a")
        job = studio.queue.submit(owner, "txt2img", params)
        until(lambda: not studio.queue.view(owner))
        assert [event["kind"] for event in studio.queue.events(owner, job)][-1] == "finished"
    pairs = [sorted((tmp_path / folder).glob("*.png")) for folder in ("command", "page")]
    assert [path.name for path in pairs[0]] == [path.name for path in pairs[1]] == ["00000-5.png", "00001-6.png"]
    for one, other in zip(*pairs, strict=True):
        assert read_text(one) == read_text(other)
        assert parse(read_text(one)).values["Computed on"] == "cpu float32"
        with Image.open(one) as first, Image.open(other) as second:
            assert np.array_equal(np.asarray(first), np.asarray(second))
