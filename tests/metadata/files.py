"""Picture files as many programs write them, made here from nothing."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from webui.metadata import writing

PIXELS = np.random.default_rng(3).integers(0, 255, (24, 40, 3), dtype=np.uint8)
TEXT = (
    'masterpiece, (größer:1.2) 😀\nsecond "line"\nNegative prompt: lowres, bad: worse\n'
    'Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 42, Size: 512x768, Model: "a, b", '
    'Lora hashes: "x: 0123456789ab, y: ab", Version: v1.10.1'
)
NOVELAI = {
    "steps": 28, "sampler": "k_euler_ancestral", "seed": 123, "scale": 11.0, "uc": "lowres", "width": 512, "height": 768,
    "noise_schedule": "karras", "sm_dyn": True,
}  # fmt: skip
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": 77, "steps": 25, "cfg": 6.5, "sampler_name": "dpmpp_2m_sde_gpu", "scheduler": "karras", "denoise": 1,
        "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd\\v1-5.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 640, "height": 448, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["11", 0], "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "ugly", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "10": {"class_type": "LoraLoader", "inputs": {
        "lora_name": "x.safetensors", "strength_model": 0.8, "model": ["4", 0], "clip": ["4", 1]}},
    "11": {"class_type": "PrimitiveString", "inputs": {"value": "a castle"}},
    "12": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 9, "latent_image": ["3", 0], "positive": ["6", 0]}},
}  # fmt: skip
INVOKE = {
    "generation_mode": "txt2img", "positive_prompt": "a fox", "negative_prompt": "rain", "width": 512, "height": 640, "seed": 9,
    "rand_device": "cpu", "cfg_scale": 7.5, "steps": 30, "scheduler": "dpmpp_2m_k", "clip_skip": 1,
    "model": {"name": "juggernaut", "hash": "blake3:1"}, "app_version": "4.2.0",
    "loras": [{"model": {"name": "l"}, "weight": 0.5}],
}  # fmt: skip
FOOOCUS = {
    "prompt": "a boat", "negative_prompt": "fog", "styles": "['Fooocus V2']", "performance": "Speed", "steps": 30,
    "resolution": "(1152, 896)", "guidance_scale": 4.0, "sharpness": 2.0, "base_model": "jugg.safetensors",
    "base_model_hash": "aeb7e9e689", "refiner_model": "None", "refiner_switch": 0.5, "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras", "vae": "Default (model)", "seed": "77", "clip_skip": 2, "metadata_scheme": "fooocus",
    "version": "Fooocus v2.5.0",
}  # fmt: skip


def png(texts: dict[str, str], *, packed: bool = False, pixels: Any = PIXELS) -> bytes:
    """A PNG with text chunks."""
    chunks = PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text, zip=packed)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(*chunks: bytes, at_end: bool = False) -> bytes:
    """A small PNG with chunks before or behind its pixels."""
    plain = png({})
    at = len(plain) - 12 if at_end else 33
    return plain[:at] + b"".join(chunks) + plain[at:]


def exif(text: str, *, little: bool = False, little_text: bool | None = None, code: bytes = b"UNICODE\0") -> bytes:
    """EXIF whose comment is the text, in either order."""
    order = "<" if little else ">"
    utf16 = "utf-16-le" if (little if little_text is None else little_text) else "utf-16-be"
    comment = code + text.encode(utf16 if code.startswith(b"UNI") else "utf-8")
    head = (b"II" if little else b"MM") + struct.pack(f"{order}HI", 42, 8)
    pointer = struct.pack(f"{order}HHHIII", 1, 0x8769, 4, 1, 26, 0)
    return b"Exif\0\0" + head + pointer + struct.pack(f"{order}HHHIII", 1, 0x9286, 7, len(comment), 44, 0) + comment


def saved(kind: str, said: bytes) -> bytes:
    """A picture of a format with EXIF."""
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind, exif=said)
    return buffer.getvalue()


def comfy_webp() -> bytes:
    """As ComfyUI writes a WebP: its JSON in tags of EXIF."""
    said = Image.Exif()
    said[0x010F] = "workflow:" + json.dumps({"nodes": []})
    said[0x0110] = "prompt:" + json.dumps(GRAPH)
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "WEBP", exif=said)
    return buffer.getvalue()


def gif(comment: str) -> bytes:
    """A GIF with a comment."""
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "GIF", comment=comment.encode())
    return buffer.getvalue()


def stealth(text: str, *, alpha: bool, packed: bool) -> bytes:
    """A PNG without texts, whose lowest bits hold one."""
    content = gzip.compress(text.encode()) if packed else text.encode()
    name = f"stealth_{'png' if alpha else 'rgb'}{'comp' if packed else 'info'}".encode()
    bits = np.unpackbits(np.frombuffer(name + struct.pack(">I", 8 * len(content)) + content, np.uint8))
    channels = 4 if alpha else 3
    pixels = np.full((80, 90, channels), 254, np.uint8)
    part = pixels[..., 3:].transpose(1, 0, 2) if alpha else pixels.transpose(1, 0, 2)
    values = part.ravel().copy()
    values[: len(bits)] |= bits
    written = values.reshape(part.shape).transpose(1, 0, 2)
    if alpha:
        pixels[..., 3:] = written
    else:
        pixels = written
    return png({}, pixels=np.ascontiguousarray(pixels))


def all_kinds() -> dict[str, tuple[bytes, str]]:
    """Files by what they are, and the program that `read` should name."""
    ours = {f"ours {kind}": (writing.write(PIXELS, kind, TEXT, 80), "A1111") for kind in writing.SUFFIXES}
    novel = {"Software": "NovelAI", "Description": "a {cat} (x)", "Source": "Stable Diffusion 1", "Comment": json.dumps(NOVELAI)}
    return ours | {
        "png packed": (png({"parameters": TEXT}, packed=True), "A1111"),
        "jpeg little": (saved("JPEG", exif(TEXT, little=True)), "A1111"),
        "webp mixed": (saved("WEBP", exif(TEXT, little=True, little_text=False)), "A1111"),
        "avif little": (saved("AVIF", exif(TEXT, little=True)), "A1111"), "gif": (gif(TEXT), "A1111"),
        "text": (TEXT.encode(), "A1111"), "text utf-16": (TEXT.encode("utf-16"), "A1111"),
        "comfy png": (png({"prompt": json.dumps(GRAPH), "workflow": json.dumps({"nodes": []})}), "ComfyUI"),
        "comfy webp": (comfy_webp(), "ComfyUI"), "novelai": (png(novel), "NovelAI"),
        "invokeai": (png({"invokeai_metadata": json.dumps(INVOKE)}), "InvokeAI"),
        "fooocus": (png({"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"}), "Fooocus"),
        "fooocus jpeg": (saved("JPEG", exif(json.dumps(FOOOCUS), code=b"ASCII\0\0\0")), "Fooocus"),
        "stealth": (stealth(TEXT, alpha=True, packed=True), "A1111"),
        "stealth colours": (stealth(TEXT, alpha=False, packed=True), "A1111"),
        "stealth novelai": (stealth(json.dumps(novel), alpha=True, packed=True), "NovelAI"),
    }  # fmt: skip
