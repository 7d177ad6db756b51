"""Text towers read the recorded layers, and token vectors stand in for tokens without touching the table."""
from __future__ import annotations

import dataclasses
import re
import socket
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from tests.nets.families import assert_same, part, recorded
from webui.nets.spec import TextSpec
from webui.nets.text import TextTower

TINY_CLIP = TextSpec(width=48, layers=3, heads=4, hidden=96)
TINY_OPEN_CLIP = TextSpec(
    kind="open_clip", width=64, layers=3, heads=4, hidden=256, projection=64, activation="gelu", padding=0, skip=2,
    final_norm=False,
)
PREFIX = {"sd15-tiny": "cond_stage_model.transformer.text_model.", "sdxl-tiny": "conditioner.embedders.0.transformer.text_model."}
RENAMED = {
    r"^ln_final": "final_layer_norm", r"^token_embedding": "embeddings.token_embedding", r"resblocks": "layers",
    r"^positional_embedding": "embeddings.position_embedding.weight", r"^transformer": "encoder", r"ln_(\d)": r"layer_norm\1",
    r"c_fc": "fc1", r"c_proj": "fc2", r"\.attn\.": ".self_attn.",
}  # fmt: skip


def clip(name: str) -> TextTower:
    weights = part(name, PREFIX[name])
    weights.pop("embeddings.position_ids")
    tower = TextTower(TINY_CLIP)
    tower.load_state_dict(weights)
    return tower.eval().requires_grad_(False)


def open_clip() -> TextTower:
    """The second tower of SDXL, whose file keeps query, key and value in one matrix and the projection transposed."""
    weights: dict[str, Tensor] = {}
    for key, value in part("sdxl-tiny", "conditioner.embedders.1.model.").items():
        for old, new in RENAMED.items():
            key = re.sub(old, new, key)
        if "in_proj" in key:
            for letter, piece in zip("qkv", value.chunk(3), strict=True):
                weights[key.replace("in_proj_", f"{letter}_proj.")] = piece
        elif key == "text_projection":
            weights["text_projection.weight"] = value.T
        elif key != "logit_scale":
            weights[key] = value
    tower = TextTower(TINY_OPEN_CLIP)
    tower.load_state_dict(weights)
    return tower.eval().requires_grad_(False)


@pytest.mark.parametrize("name", PREFIX)
def test_clip_equals_recorded_layers(name: str) -> None:
    tower, given = clip(name), recorded(name)
    ids = given["text.ids_padEOT"]
    assert_same(tower(ids).tokens, given["text.0.last"])
    assert_same(tower(ids, clip_skip=2).tokens, given["text.0.hs-2_ln"])


def test_clip_read_without_final_norm_equals_the_recorded_penultimate_layer() -> None:
    given = recorded("sdxl-tiny")
    tower = clip("sdxl-tiny")
    tower.spec = dataclasses.replace(TINY_CLIP, skip=2, final_norm=False)
    assert_same(tower(given["text.ids_padEOT"]).tokens, given["text.0.hs-2"])


def test_open_clip_equals_recorded_layer_and_pooled_output() -> None:
    given = recorded("sdxl-tiny")
    tokens, pooled = open_clip()(given["text.ids_pad0"])
    assert_same(tokens, given["text.1.penultimate"])
    assert_same(pooled, given["text.1.pooled"])


def test_pooled_output_without_projection_is_the_last_layer_at_the_first_end_token() -> None:
    tower, ids = clip("sd15-tiny"), recorded("sd15-tiny")["text.ids_padEOT"]
    tokens, pooled = tower(ids)
    ends = [row.index(TINY_CLIP.end) for row in ids.tolist()]
    assert_same(pooled, torch.stack([row[end] for row, end in zip(tokens, ends, strict=True)]))
    assert torch.equal(tower(ids, clip_skip=3).pooled, pooled)


def test_rows_do_not_see_each_other_nor_later_tokens() -> None:
    tower, ids = clip("sd15-tiny"), recorded("sd15-tiny")["text.ids_padEOT"]
    whole = tower(ids).tokens
    assert_same(tower(ids[1:2]).tokens, whole[1:2])
    changed = ids.clone()
    changed[:, 20:] = 7
    assert_same(tower(changed).tokens[:, :20], whole[:, :20])
    assert (tower(changed).tokens[:, 20:] - whole[:, 20:]).abs().max() > 0.1
    assert_same(tower(ids[:, :20]).tokens, whole[:, :20])


def test_vectors_stand_in_for_tokens() -> None:
    tower, ids = clip("sd15-tiny"), recorded("sd15-tiny")["text.ids_padEOT"]
    table = tower.embeddings.token_embedding.weight
    before = table.clone()
    written = ids.clone()
    written[1, 3] = 1000
    written[1, 4] = 2000
    plain = tower(ids)
    replaced = tower(ids, vectors=[{}, {3: table[1000], 4: table[2000].half().float()}, {}])
    assert_same(replaced.tokens, tower(written).tokens)
    assert torch.equal(replaced.tokens[0], plain.tokens[0])
    assert (replaced.tokens[1] - plain.tokens[1]).abs().max() > 1e-2
    assert torch.equal(table, before) and torch.equal(tower(ids).tokens, plain.tokens)


def test_vectors_can_be_trained() -> None:
    tower, ids = clip("sd15-tiny"), recorded("sd15-tiny")["text.ids_padEOT"][:1]
    vector = torch.zeros(TINY_CLIP.width, requires_grad=True)
    tower(ids, vectors=[{2: vector}]).tokens.square().sum().backward()
    assert vector.grad is not None and vector.grad.abs().max() > 0


@pytest.mark.parametrize("skip", [0, 4, -1])
def test_impossible_clip_skip_is_refused(skip: int) -> None:
    with pytest.raises(ValueError, match=f"clip_skip is {skip}; .* use 1 to 3"):
        clip("sd15-tiny")(torch.zeros(1, 77, dtype=torch.long), clip_skip=skip)


def test_a_new_tower_has_clips_initial_weights() -> None:
    tower = TextTower(TextSpec(width=64, layers=2, heads=2, hidden=128, projection=32, vocabulary=500, padding=499))
    assert 0.018 < float(tower.embeddings.token_embedding.weight.detach().std()) < 0.022
    assert 0.11 < float(tower.text_projection.weight.detach().std()) < 0.14


def test_building_a_tower_opens_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a text tower tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    TextTower(TINY_CLIP)(torch.zeros(1, 77, dtype=torch.long))


def test_specs_are_read_without_importing_transformers() -> None:
    source = "import sys, webui.nets.text, webui.nets.spec; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
