"""Whole conditionings of a small random model equal recorded ones: emphasis, clip skip, windows, an embedding's vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.random_weights import checkpoint
from webui.engine.local import LocalNetworks
from webui.errors import JobError
from webui.pipeline.conditioning import conditionings
from webui.pipeline.model import Model
from webui.pipeline.patches import Patches, TokenVectors
from webui.pipeline.protocol import Conditioning, Moment, answer_all
from webui.pipeline.texts import Texts
from webui.request import Request
from webui.weights.files import save
from webui.weights.source import ModelSource, open_model

DATA = Path(__file__).parent.parent / "data"
PROMPTS = json.loads((DATA / "conditioning.json").read_text())
# Every sixth column of each. `myemb` was not recorded: its 144 numbers are the solution of what the first 20 rows of "Ignore"
# with both layers say (1,920 equations, to 1e-10), which the other rows and modes then confirm.
RECORDED = load_file(DATA / "conditioning.safetensors")
CASES = sorted(name for name in RECORDED if name != "myemb")
START = Moment(14.6, 0, 20)
Encoded = Callable[..., Conditioning]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    save(path, checkpoint("sd15-tiny"), {})
    return open_model(path)


@pytest.fixture(scope="module")
def encoded(opened: ModelSource) -> Encoded:
    """What a prompt means at the first step."""
    networks = LocalNetworks({"m": opened}.__getitem__)
    model = Model(name="m", spec=opened.spec, tokenizers=opened.tokenizers)
    known = Patches(tokens=(TokenVectors(name="myemb", content="recorded", vectors=(RECORDED["myemb"],)),))

    @cache
    def meaning(prompt: str, emphasis: str, clip_skip: int, patches: Patches = known) -> Conditioning:
        request = Request(
            model="m", prompt=prompt, steps=20, sampler="Euler", schedule="Karras", scale=7.0, seed=1, width=64, height=64,
            emphasis=emphasis, clip_skip=clip_skip,
        )  # fmt: skip
        texts: Texts = answer_all(conditionings(request, model, patches), networks.encode)
        return texts.parts[0].at(START)

    return meaning


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_conditioning(case: str, encoded: Encoded) -> None:
    emphasis, skip, index = case.split("/")
    found = encoded(PROMPTS[int(index)], emphasis, int(skip.removeprefix("skip"))).tokens[:, ::6]
    expected = RECORDED[case]
    assert found.shape == expected.shape
    assert float((found - expected).norm() / expected.norm()) < 1.5e-5 and float((found - expected).abs().max()) < 1e-4


def test_the_recorded_modes_and_layers_differ() -> None:
    assert len(CASES) == 32
    for one, two in (("Original", "No norm"), ("Original", "Ignore"), ("No norm", "Ignore"), ("Ignore", "None")):
        a, b = (RECORDED[f"{mode}/skip1/2"] for mode in (one, two))
        assert float((a - b).norm() / b.norm()) > 1e-3
    assert float((RECORDED["None/skip1/0"] - RECORDED["None/skip2/0"]).norm()) > 1


def test_names_of_two_modes_are_never_taken_for_each_other(encoded: Encoded) -> None:
    weighted = "a (cat:1.4)"
    keys = {encoded(weighted, mode, skip).key for mode in ("Original", "No norm", "Ignore", "None") for skip in (1, 2)}
    assert len(keys) == 8
    assert len({encoded("a cat", mode, 1).key for mode in ("Original", "No norm", "Ignore", "None")}) == 1  # nothing differs


def test_an_embedding_of_another_kind_of_model_is_the_failure_of_its_job(encoded: Encoded) -> None:
    wide = Patches(tokens=(TokenVectors(name="myemb", content="wide", vectors=(torch.zeros(2, 64),)),))
    assert encoded("a cat", "Original", 1, wide).key
    with pytest.raises(JobError, match="another kind of model than 'm'"):
        encoded("a myemb", "Original", 1, wide)
