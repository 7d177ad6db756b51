"""Specs survive the trip through a checkpoint's metadata, and refuse what cannot be built."""
from __future__ import annotations

import dataclasses
import json

import pytest

from tests.nets.families import SDXL, TINY, TINY_VAE
from webui.nets.spec import ModelSpec, TextSpec, UNetSpec, VAESpec

TEXT = TextSpec(width=48, layers=3, heads=4, hidden=96)
MODEL = ModelSpec(family="sdxl", title="SDXL", unet=SDXL, vae=TINY_VAE, text=(TEXT, TEXT), prediction="v", native_size=1024)


@pytest.mark.parametrize("name", TINY)
def test_a_model_spec_survives_json(name: str) -> None:
    spec = dataclasses.replace(MODEL, unet=TINY[name])
    read = ModelSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert read == spec
    assert hash(read) == hash(spec)  # lists became tuples again


def test_defaults_may_be_absent_from_json() -> None:
    plain = MODEL.to_json()
    del plain["betas"], plain["vae"]["shift"]
    assert ModelSpec.from_json(plain) == MODEL


def test_unknown_and_missing_fields_are_named() -> None:
    plain = MODEL.to_json()
    plain["unet"]["model_chanels"] = 32
    with pytest.raises(ValueError, match=r"Unknown fields in UNetSpec: model_chanels; known: .*model_channels"):
        ModelSpec.from_json(plain)
    plain = MODEL.to_json()
    del plain["text"][1]["width"]
    with pytest.raises(ValueError, match=r"TextSpec is incomplete.*width"):
        ModelSpec.from_json(plain)


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="one entry per level"):
        dataclasses.replace(SDXL, transformer_depth=(1, 1))
    for heads in (8, None):
        with pytest.raises(ValueError, match="either heads or head_width"):
            dataclasses.replace(SDXL, heads=heads, head_width=None if heads is None else 64)


def test_derived_numbers() -> None:
    assert VAESpec().factor == 8
    assert (TEXT.start, TEXT.end) == (49406, 49407)
    widths = UNetSpec(model_channels=320, channel_mult=(1, 2), transformer_depth=(1, 1), context_width=8, head_width=64)
    assert [widths.heads_at(c) for c in (320, 640)] == [5, 10]
    assert dataclasses.replace(widths, heads=8, head_width=None).heads_at(640) == 8
