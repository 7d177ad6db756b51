"""Small folders as diffusers writes them, made with diffusers and transformers themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from webui.weights.vocabulary import clip_tokenizer

VAE = {
    "block_out_channels": (32, 32), "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
}  # fmt: skip
WITH, WITHOUT = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), ("DownBlock2D", "UpBlock2D")


def blocks(*kinds: tuple[str, str]) -> dict[str, Any]:
    return {"down_block_types": tuple(kind[0] for kind in kinds), "up_block_types": tuple(kind[1] for kind in reversed(kinds))}


# What the families' configurations are, with small numbers: noise predictor, text towers, scheduler.
UNETS: dict[str, dict[str, Any]] = {
    "sd15": {
        **blocks(WITH, WITH, WITHOUT), "block_out_channels": (32, 64, 64), "layers_per_block": 1, "cross_attention_dim": 32,
        "attention_head_dim": 4, "sample_size": 64,
    },
    "sd21-v": {
        **blocks(WITH, WITHOUT), "block_out_channels": (32, 64), "layers_per_block": 2, "cross_attention_dim": 32,
        "attention_head_dim": [2, 4], "use_linear_projection": True, "sample_size": 96, "norm_num_groups": 16,
    },
    "sdxl-base": {
        **blocks(WITHOUT, WITH), "block_out_channels": (32, 64), "layers_per_block": 2, "cross_attention_dim": 96,
        "attention_head_dim": [4, 8], "use_linear_projection": True, "sample_size": 128, "addition_embed_type": "text_time",
        "transformer_layers_per_block": [1, 2], "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 1600,
    },
    "sdxl-refiner": {
        **blocks(WITHOUT, WITH, WITHOUT), "block_out_channels": (32, 64, 64), "layers_per_block": 2, "cross_attention_dim": 64,
        "attention_head_dim": [4, 8, 8], "use_linear_projection": True, "sample_size": 128, "addition_embed_type": "text_time",
        "transformer_layers_per_block": [2, 2, 2], "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 1344,
    },
}  # fmt: skip
TOWERS: dict[str, dict[str, dict[str, Any]]] = {
    "sd15": {"text_encoder": {"hidden_size": 32, "hidden_act": "quick_gelu"}},
    "sd21-v": {"text_encoder": {"hidden_size": 32, "hidden_act": "gelu"}},
    "sdxl-base": {
        "text_encoder": {"hidden_size": 32, "hidden_act": "quick_gelu"},
        "text_encoder_2": {"hidden_size": 64, "hidden_act": "gelu", "projection_dim": 64},
    },
    "sdxl-refiner": {"text_encoder_2": {"hidden_size": 64, "hidden_act": "gelu", "projection_dim": 64}},
}
PIPELINES = {
    "sd15": "StableDiffusionPipeline", "sd21-v": "StableDiffusionPipeline", "sdxl-base": "StableDiffusionXLPipeline",
    "sdxl-refiner": "StableDiffusionXLImg2ImgPipeline",
}  # fmt: skip


def write_folder(path: Path, name: str, **networks: Any) -> dict[str, Any]:
    """Write the named small model; returns its networks by folder. Arguments are passed on to every `save_pretrained`."""
    import diffusers
    import transformers

    torch.manual_seed(0)
    made: dict[str, Any] = {
        "unet": diffusers.UNet2DConditionModel(**UNETS[name]),
        "vae": diffusers.AutoencoderKL(**VAE, scaling_factor=0.13025 if "xl" in name else 0.18215),
    }
    for folder, config in TOWERS[name].items():
        numbers = {"num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48, "eos_token_id": 49407}
        kind = transformers.CLIPTextModelWithProjection if "projection_dim" in config else transformers.CLIPTextModel
        made[folder] = kind(transformers.CLIPTextConfig(vocab_size=49408, **numbers, **config))
    for folder, network in made.items():
        network.eval().save_pretrained(path / folder, **networks)
    prediction = "v_prediction" if name.endswith("-v") else "epsilon"
    diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction,
        rescale_betas_zero_snr=name.endswith("-v"),
    ).save_pretrained(path / "scheduler")  # fmt: skip
    index = {"_class_name": PIPELINES[name], "_diffusers_version": "0.42.1", "scheduler": ["diffusers", "DDIMScheduler"]}
    index |= {folder: [type(network).__module__.split(".")[0], type(network).__name__] for folder, network in made.items()}
    if name == "sdxl-refiner":
        index |= {"text_encoder": [None, None], "tokenizer": [None, None]}
    (path / "model_index.json").write_text(json.dumps(index))
    for folder in TOWERS[name]:
        write_tokenizer(path / folder.replace("text_encoder", "tokenizer"))
    return made


def write_tokenizer(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    tokenizer = clip_tokenizer()
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(tokenizer.merges) + "\n", "utf-8")
