"""What a request names becomes what a generation is given; a file that is gone is a sentence and costs one job."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests import tiny_checkpoint
from tests.service.making import until
from webui.errors import StorageError, UserError
from webui.request import Request
from webui.service.engines import ThreadEngine
from webui.service.given import among, given, nothing, stored
from webui.service.studio import open_studio
from webui.service.users import OWNER_ID
from webui.tasks import Img2Img

RGBA = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)


def encoded(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


CONTENTS = {
    "picture": encoded(RGBA), "sketch": encoded(RGBA[:3]), "mask": encoded(RGBA[..., 0]),
    "depth": encoded(RGBA[..., 0].astype(np.uint16) * 200),
}  # fmt: skip
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
OPEN = among({DIGESTS[name]: content for name, content in CONTENTS.items()})


def request(task: str, *names: str) -> Request:
    return Request(
        task=task, model="m", prompt="", steps=1, sampler="s", schedule="s", scale=1, seed=1, width=8, height=8,
        inputs={name: DIGESTS[name] for name in names},
    )  # fmt: skip


def test_pictures_are_rgba_and_maps_are_numbers_from_0_to_1() -> None:
    found = given(request("inpaint", "picture", "mask", "sketch"), OPEN)
    assert found.picture is not None and found.sketch is not None and found.mask is not None and found.depth is None
    assert torch.equal(found.picture, torch.from_numpy(RGBA.transpose(2, 0, 1).copy())) and found.picture.is_contiguous()
    assert found.sketch.shape == (4, 3, 7) and found.sketch.dtype == torch.uint8
    assert torch.equal(found.mask, torch.from_numpy((RGBA[..., 0] / 255).astype(np.float32)))
    depth = given(request("depth", "depth"), OPEN).depth
    assert depth is not None and depth.dtype == torch.float32
    assert torch.equal(depth, torch.from_numpy((RGBA[..., 0].astype(np.uint16) * 200 / 65535).astype(np.float32)))
    nothing_named = given(request("txt2img"), nothing)
    assert nothing_named.picture is nothing_named.mask is nothing_named.depth is None


def test_without_a_mask_what_was_drawn_is_made_anew() -> None:
    found = given(request("inpaint", "picture", "sketch"), OPEN)
    assert found.mask is not None and torch.equal(found.mask, torch.from_numpy((RGBA[:3, :, 3] / 255).astype(np.float32)))
    assert given(request("img2img", "picture", "sketch"), OPEN).mask is None


@pytest.mark.parametrize("digest", ["0" * 64, "", "../../data/webui.sqlite3", "A" * 64])
def test_a_file_that_is_gone_is_a_sentence(tmp_path: Path, digest: str) -> None:
    for opened in (stored(tmp_path), among({}), nothing):
        with pytest.raises(UserError, match="is not here any more; choose it again"):
            opened(digest)


def test_a_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data" / "inputs" / "00" / ("0" * 64)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"other")
    with pytest.raises(StorageError, match="is not what it was"):
        stored(tmp_path)("0" * 64)


def test_a_job_whose_picture_is_gone_fails_with_a_sentence_and_the_next_goes_on(tmp_path: Path) -> None:
    tiny_checkpoint.write(tmp_path / "models" / "builtin" / "model.safetensors")
    with open_studio(tmp_path, engine=ThreadEngine(tmp_path, exact=True)) as studio:
        owner = studio.users.get(OWNER_ID)
        digest = studio.inputs.add(owner, CONTENTS["picture"])
        path = tmp_path / "data" / "inputs" / digest[:2] / digest
        params = Img2Img(steps=1, width=64, height=64, seed=1)
        path.rename(tmp_path / "kept")
        failed = studio.queue.submit(owner, "img2img", params, {"picture": digest})
        until(lambda: not studio.queue.view(owner))
        last = studio.queue.events(owner, failed)[-1]
        assert last["kind"] == "failed" and f"The uploaded picture {digest[:10]}" in last["sentence"]
        (tmp_path / "kept").rename(path)
        done = studio.queue.submit(owner, "img2img", params, {"picture": digest})
        until(lambda: not studio.queue.view(owner))
        assert studio.queue.events(owner, done)[-1]["kind"] == "finished"


def test_nothing_of_this_imports_torch_before_it_is_needed() -> None:
    code = (
        "import sys, webui.service.given, webui.service.decoding, webui.service.requests, webui.service.queue\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
