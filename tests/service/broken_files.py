"""A folder of model files that cannot be used, each in its own way, as people have them or are sent them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from tests import tiny_checkpoint
from webui.weights.files import read_tensors, save
from webui.weights.headers import read_header

NOT_LISTED = "only the run shows"
"""What the list cannot say, because no header tells it."""


def pickled(text: bytes) -> bytes:
    """A pickled state dictionary in which `text` stands for a value."""
    return b"\x80\x02}(X\x0a\x00\x00\x00state_dict}X\x01\x00\x00\x00a" + text + b"su."


def string(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def call(marker: Path) -> bytes:
    """Opcodes that make the folder `marker` where a plain unpickler reads them."""
    return b"cos\nmkdir\n" + string(str(marker)) + b"\x85R"


def changed(path: Path, change: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
    """A small model with its weights changed, and its own description kept."""
    whole = tiny_checkpoint.write(path.with_name("whole.safetensors"))
    metadata = read_header(whole).metadata
    save(path, {key: change(key, value) for key, value in read_tensors(whole)}, metadata=metadata)
    whole.unlink()


def write_all(folder: Path, marker: Path) -> Mapping[str, str]:
    """Write them; returns a part of the reason that is given for each, by the name it is listed under."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny = tiny_checkpoint.write(folder / "truncated.safetensors")
    tiny.write_bytes(tiny.read_bytes()[: tiny.stat().st_size * 2 // 3])
    key = "model.diffusion_model.time_embed.0.weight"
    changed(folder / "shapes.safetensors", lambda name, value: value[:-1].clone() if name == key else value)
    changed(folder / "nan.safetensors", lambda name, value: value * float("nan") if name == key else value)
    (folder / "text.safetensors").write_text("This is a letter, and no model at all.\n" * 20)
    (folder / "endless.safetensors").write_bytes(struct.pack("<Q", 10**12) + b'{"a":')
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "directory.safetensors").mkdir()
    (folder / "code.ckpt").write_bytes(pickled(call(marker)))
    (folder / "hidden.ckpt").write_bytes(pickled(b"ccollections\nOrderedDict\n]" + call(marker) + b"a\x85R0N"))
    down = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight"
    save(folder / "lora.safetensors", {down: torch.zeros(4, 320), down.replace("down.weight", "up.weight"): torch.zeros(320, 4)})
    return {
        "truncated": "truncated", "shapes": "wrong shape", "text": "is not a weight file", "endless": "header",
        "empty": "is empty",
        "directory": "folder, not a file", "code": "code.ckpt", "hidden": "hidden.ckpt", "lora": "a LoRA", "nan": NOT_LISTED,
    }  # fmt: skip

