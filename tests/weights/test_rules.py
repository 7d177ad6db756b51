"""Key rules work in both directions and name what they do not know."""

from __future__ import annotations

import pytest
import torch

from webui.errors import ModelFileError
from webui.weights.rules import Piece, Rule, converted, restored, translate

TABLE = (
    Rule("unused"),
    Rule("block.{n}.in_proj_{p}", "layer.{n}.q.{p}", "layer.{n}.k.{p}", "layer.{n}.v.{p}"),
    Rule("projection", "projection.weight", transposed=True),
    Rule("head.{rest}", "tail.{rest}"),
)


def test_a_key_becomes_what_the_first_fitting_rule_says() -> None:
    assert translate(TABLE, "unused", "x") == ()
    assert translate(TABLE, "head.a.b", "x") == (Piece("tail.a.b"),)
    pieces = translate(TABLE, "block.12.in_proj_bias", "x")
    assert [piece.key for piece in pieces] == ["layer.12.q.bias", "layer.12.k.bias", "layer.12.v.bias"]


@pytest.mark.parametrize("key", ["block.x.in_proj_bias", "block.1.in_proj_scale", "xhead.a", "projection.weight", ""])
def test_an_unknown_key_is_named(key: str) -> None:
    with pytest.raises(ModelFileError, match="is not part of a test file"):
        translate(TABLE, key, "a test file")


def test_tensors_are_cut_turned_and_put_together_again() -> None:
    old = {"block.0.in_proj_weight": torch.randn(6, 2), "projection": torch.randn(2, 3), "head.x": torch.randn(1)}
    new = converted(TABLE, old, "x")
    assert torch.equal(new["layer.0.k.weight"], old["block.0.in_proj_weight"][2:4])
    assert torch.equal(new["projection.weight"], old["projection"].T)
    for key in old:
        for piece in translate(TABLE, key, "x"):
            assert piece.shape(tuple(old[key].shape)) == tuple(new[piece.key].shape)
    again = restored(TABLE, new, "x")
    assert again.keys() == old.keys() and all(torch.equal(again[key], old[key]) for key in old)


def test_a_lost_part_and_a_key_without_place_are_named() -> None:
    new = converted(TABLE, {"block.0.in_proj_weight": torch.randn(6, 2)}, "x")
    del new["layer.0.v.weight"]
    with pytest.raises(ModelFileError, match=r"block\.0\.in_proj_weight.*missing"):
        restored(TABLE, new, "x")
    with pytest.raises(ModelFileError, match=r"'other' has no place"):
        restored(TABLE, {"other": torch.zeros(1)}, "x")
