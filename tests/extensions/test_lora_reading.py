"""A LoRA file that is dropped on PNG Info says how it is used; nothing else is taken for one."""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import save

from webui.service.extensions import bundled
from webui.service.pnginfo import info_of

PAIR = {f"lora_unet_x.lora_{end}.weight": np.zeros((1, 1), np.float32) for end in ("up", "down")}
WORDS = json.dumps({"set": {"a fox": 9, "snow": 3}})


def test_read_file_gives_the_prompt_that_uses_a_lora() -> None:
    content = save(PAIR, {"ss_output_name": "fox", "ss_tag_frequency": WORDS})
    assert info_of(content, bundled()).prompt == "<lora:fox:1> a fox, snow"
    assert info_of(content).prompt == ""


def test_other_and_broken_files_say_nothing() -> None:
    read = bundled().read_file
    content = save(PAIR, {"ss_output_name": "fox"})
    assert read(content) == "<lora:fox:1>"
    for end in range(len(content) - 9):
        assert read(content[:end]) in (None, "<lora:fox:1>")
    assert read(save({"weight": np.zeros(1, np.float32)}, {"ss_output_name": "fox"})) is None
    assert read(save(PAIR)) is None and read(b"") is None and read((2**63).to_bytes(8, "little") + b"{") is None
    assert read((7).to_bytes(8, "little") + b'{"a":[]') is None and read((2).to_bytes(8, "little") + b"[]") is None
