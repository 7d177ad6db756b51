"""Other people's networks with our random weights, and how far ours are from them: for tests and for benchmarks/parity.py.

diffusers' noise predictor and autoencoder, transformers' text towers. Their weights are converted by diffusers from the same
single file that ours are loaded from by our own rules. All take weights without copying them, so that full sizes fit into memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL as TheirAutoencoder
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.pipelines.latent_consistency_models.pipeline_latent_consistency_text2img import LatentConsistencyModelPipeline
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.nets.families import UNET, Difference, difference, inputs
from tests.random_weights import checkpoint
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import TextSpec, UNetSpec, VAESpec
from webui.nets.text import TextTower
from webui.nets.unet import UNetModel
from webui.weights import layouts
from webui.weights.files import save

SIZE_WIDTH = 256  # diffusers embeds each of SDXL's sizes in so many numbers
SKIPS = (1, 2, 3)
# What is published, so that the reference does not learn it from what is tested.
ACTIVATIONS = {"clip": "quick_gelu", "open_clip": "gelu"}
PADDINGS = {"clip": 49407, "open_clip": 0}
HEADS = {48: 4, 64: 4, 768: 12, 1024: 16, 1280: 20}  # by width; the first two are the small checkpoints'
START, END = 49406, 49407


def assert_accepted(found: Mapping[str, Difference]) -> None:
    """Fail with the name and numbers of the first result that is too far from theirs."""
    assert found
    for name, each in found.items():
        assert each.accepted, f"{name}: relative rms {each.rms:.2e}, relative max {each.most:.2e}"


def written(name: str, folder: Path, gain: float = 1.0) -> Path:
    """The file of the named random checkpoint, in its real layout."""
    path = folder / f"{name} {gain}.safetensors"
    if not path.exists():
        save(path, checkpoint(name, gain=gain), {})
    return path


# --- their networks -------------------------------------------------------------------------------------------------------------


def unet_config(spec: UNetSpec) -> dict[str, Any]:
    """What diffusers builds the same noise predictor from."""
    kinds = ["CrossAttn" if depth else "" for depth in spec.transformer_depth]
    widths = [mult * spec.model_channels for mult in spec.channel_mult]
    config: dict[str, Any] = {
        "in_channels": spec.in_channels,
        "out_channels": spec.out_channels,
        "block_out_channels": widths,
        "layers_per_block": spec.res_blocks,
        "down_block_types": [f"{kind}DownBlock2D" for kind in kinds],
        "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(kinds)],
        "transformer_layers_per_block": [depth or spec.middle_depth for depth in spec.transformer_depth],
        "cross_attention_dim": spec.context_width,
        "attention_head_dim": [spec.heads_at(width) for width in widths],
        "use_linear_projection": spec.linear_projection,
        "time_cond_proj_dim": spec.guidance_width,
    }
    if spec.label_width is not None:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": SIZE_WIDTH,
            "projection_class_embeddings_input_dim": spec.label_width,
        }
    return config


def their_unet(spec: UNetSpec, weights: Mapping[str, Tensor]) -> UNet2DConditionModel:
    """diffusers' noise predictor; `weights` have the keys of a single file, prefix and all."""
    config, given = unet_config(spec), dict(weights)
    projection = given.pop(f"{UNET}time_embedding.cond_proj.weight", None)
    state = convert_ldm_unet_checkpoint(given, config)
    if projection is not None:
        state["time_embedding.cond_proj.weight"] = projection
    with torch.device("meta"):
        network = UNet2DConditionModel(**config)
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def their_autoencoder(spec: VAESpec, weights: Mapping[str, Tensor]) -> TheirAutoencoder:
    """diffusers' autoencoder; `weights` have the keys of a single file, prefix and all."""
    levels = len(spec.channel_mult)
    config: dict[str, Any] = {
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": [mult * spec.channels for mult in spec.channel_mult],
        "layers_per_block": spec.res_blocks,
        "latent_channels": spec.latent_channels,
        "scaling_factor": spec.scale,
    }
    with torch.device("meta"):
        network = TheirAutoencoder(**config)
    network.load_state_dict(convert_ldm_vae_checkpoint(dict(weights), config), assign=True)
    return network.eval().requires_grad_(False)


def their_tower(spec: TextSpec, weights: Mapping[str, Tensor], *, layers: int | None = None) -> Any:
    """transformers' text tower of a single file's `weights`, whose keys are without the tower's prefix; of its first `layers`."""
    config = CLIPTextConfig(
        hidden_size=spec.width, intermediate_size=spec.hidden, num_hidden_layers=layers or spec.layers,
        num_attention_heads=HEADS[spec.width], hidden_act=ACTIVATIONS[spec.kind], projection_dim=spec.projection or spec.width,
        eos_token_id=END, bos_token_id=START, pad_token_id=PADDINGS[spec.kind],
    )  # fmt: skip
    with torch.device("meta"):
        network = CLIPTextModel(config) if spec.projection is None else CLIPTextModelWithProjection(config)
    if spec.kind == "open_clip":
        state = convert_open_clip_checkpoint(network, dict(weights), prefix="")
    else:
        state = {key: value for key, value in weights.items() if not key.endswith("position_ids")}
    if spec.projection is None:  # transformers' tower without a projection has no such prefix, files have it
        state = {key.removeprefix("text_model."): value for key, value in state.items()}
    dropped = [f"layers.{number}." for number in range(config.num_hidden_layers, spec.layers)]
    state = {key: value for key, value in state.items() if not any(each in key for each in dropped)}
    network.load_state_dict(state, assign=True)
    # The one buffer is not among the weights, and has no memory of its own on the meta device.
    body(network).embeddings.position_ids = torch.arange(spec.positions)[None]
    return network.eval().requires_grad_(False)


def body(tower: Any) -> Any:
    """The transformer of a tower, which one with a projection holds inside."""
    return tower.text_model if isinstance(tower, CLIPTextModelWithProjection) else tower


def text_weights(name: str, spec: UNetSpec, index: int, tower: TextSpec, gain: float = 1.0) -> dict[str, Tensor]:
    """The weights of a text tower of the named checkpoint, keys without the tower's prefix."""
    prefix = layouts.text_prefix(index, tower.kind, conditioner=spec.label_width is not None)
    return {key.removeprefix(prefix): value for key, value in checkpoint(name, gain=gain, prefix=prefix).items()}


# --- how far ours are -----------------------------------------------------------------------------------------------------------


def their_vector(spec: UNetSpec, batch: int) -> tuple[Tensor | None, dict[str, Tensor] | None]:
    """A vector for our noise predictor, and what diffusers makes it from."""
    if spec.label_width is None:
        return None, None
    sizes, pooled = divmod(spec.label_width, SIZE_WIDTH)
    if sizes > 6:  # the text's own part is a multiple too, in full size: 1280
        sizes, pooled = sizes - 5, 5 * SIZE_WIDTH
    numbers = torch.arange(batch * sizes).view(batch, sizes) * 100.0
    text = torch.randn(batch, pooled, generator=torch.Generator().manual_seed(5))
    embedded = get_timestep_embedding(numbers.flatten(), SIZE_WIDTH, flip_sin_to_cos=True, downscale_freq_shift=0)
    return torch.cat([text, embedded.view(batch, -1)], dim=1), {"text_embeds": text, "time_ids": numbers}


@torch.no_grad()
def noise_predictor_difference(
    spec: UNetSpec, ours: UNetModel, weights: Mapping[str, Tensor], batch: int = 2, side: int = 16
) -> Difference:
    """Our noise predictor against diffusers', at fractional times."""
    x, t, context, _ = inputs(spec, batch=batch, side=side)
    y, added = their_vector(spec, batch)
    guidance, embedded = None, None
    if spec.guidance_width is not None:
        guidance = torch.linspace(7.5, 0.5, batch)
        embed = LatentConsistencyModelPipeline.get_guidance_scale_embedding
        embedded = embed(None, guidance, embedding_dim=spec.guidance_width)  # type: ignore[arg-type]
    found = ours(x, t, context, y, guidance=guidance)
    theirs = their_unet(spec, weights)
    return difference(found, theirs(x, t, context, timestep_cond=embedded, added_cond_kwargs=added).sample)


@torch.no_grad()
def autoencoder_differences(ours: AutoencoderKL, weights: Mapping[str, Tensor], side: int = 48) -> dict[str, Difference]:
    """Our autoencoder against diffusers'."""
    theirs = their_autoencoder(ours.spec, weights)
    source = torch.Generator().manual_seed(0)
    factor = ours.spec.factor
    picture = torch.randn(1, 3, side, side * 2 // 3 // factor * factor, generator=source)
    z = torch.randn(1, ours.spec.latent_channels, side // factor, side // factor - 2, generator=source)
    moments, expected = ours.encode(picture), theirs.encode(picture).latent_dist
    return {
        "VAE encode, mean": difference(moments.mean, expected.mean),
        "VAE encode, log variance": difference(moments.logvar, expected.logvar),
        "VAE decode": difference(ours.decode(z), theirs.decode(z).sample),
    }


def token_ids(spec: TextSpec, lengths: tuple[int, ...] = (0, 12, 75)) -> Tensor:
    """Windows of so many words: none, some, and no room for padding."""
    source = torch.Generator().manual_seed(0)
    rows = []
    for count in lengths:
        words = torch.randint(1, START, (count,), generator=source).tolist()
        rows.append([START, *words, END] + [PADDINGS[spec.kind]] * (spec.positions - 2 - count))
    return torch.tensor(rows)


@torch.no_grad()
def text_differences(ours: TextTower, weights: Mapping[str, Tensor], ids: Tensor | None = None) -> dict[str, Difference]:
    """Our text tower against transformers', at clip skip 1 to 3, with and without the final norm, and pooled."""
    spec = ours.spec
    ids = token_ids(spec) if ids is None else ids
    theirs = their_tower(spec, weights)
    expected = theirs(ids, output_hidden_states=True)
    found = {}
    for final_norm in (True, False):
        with torch.device("meta"):
            read = TextTower(replace(spec, final_norm=final_norm))
        read.load_state_dict(ours.state_dict(), assign=True)
        for skip in SKIPS:
            layer = expected.hidden_states[-skip]
            layer = body(theirs).final_layer_norm(layer) if final_norm else layer
            name = f"text, clip skip {skip}, {'normed' if final_norm else 'as it is'}"
            found[name] = difference(read.eval()(ids, clip_skip=skip).tokens, layer)
    layer = expected.hidden_states[-spec.skip]
    own = body(theirs).final_layer_norm(layer) if spec.final_norm else layer
    found["text, as the family reads it"] = difference(ours(ids).tokens, own)
    pooled = expected.pooler_output if spec.projection is None else expected.text_embeds
    found["text, pooled"] = difference(ours(ids).pooled, pooled)
    # Ours is built of transformers' own layers, so a third implementation has a say.
    written_out, last = tower_written_out(spec, weights, ids)
    found["text, written out"] = difference(ours(ids).tokens, written_out)
    return {**found, "text, written out, pooled": difference(ours(ids).pooled, last)}


def tower_written_out(spec: TextSpec, weights: Mapping[str, Tensor], ids: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens and pooled output of a text tower, straight from a single file's weights and the paper (Radford et al. 2021)."""
    clip = spec.kind == "clip"
    names = CLIP_NAMES if clip else OPEN_CLIP_NAMES

    def of(name: str, number: int = 0) -> Tensor:
        return weights[names[name].format(number)]

    def normed(x: Tensor, name: str, number: int = 0) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return x * of(f"{name}.weight", number) + of(f"{name}.bias", number)

    def dense(x: Tensor, name: str, number: int) -> Tensor:
        return x @ of(f"{name}.weight", number).T + of(f"{name}.bias", number)

    def attention(x: Tensor, number: int) -> Tensor:
        if clip:
            q, k, v = (dense(x, letter, number) for letter in "qkv")
        else:
            q, k, v = (x @ of("in.weight", number).T + of("in.bias", number)).split(spec.width, dim=-1)
        q, k, v = (each.unflatten(-1, (HEADS[spec.width], -1)).transpose(1, 2) for each in (q, k, v))
        scores = q @ k.transpose(-1, -2) / (spec.width // HEADS[spec.width]) ** 0.5
        later = torch.ones(ids.shape[-1], ids.shape[-1], dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(later, -torch.inf).softmax(-1) @ v
        return dense(mixed.transpose(1, 2).flatten(2), "out", number)

    x = of("tokens")[ids] + of("positions")
    layers = []
    for number in range(spec.layers):
        x = x + attention(normed(x, "norm1", number), number)
        h = dense(normed(x, "norm2", number), "up", number)
        h = h * torch.sigmoid(1.702 * h) if clip else h * (1 + torch.erf(h / 2**0.5)) / 2
        x = x + dense(h, "down", number)
        layers.append(x)
    tokens = normed(layers[-spec.skip], "norm") if spec.final_norm else layers[-spec.skip]
    ends = (ids == END).int().argmax(-1)
    pooled = normed(x, "norm")[torch.arange(len(ids)), ends]
    return tokens, pooled if spec.projection is None else pooled @ weights["text_projection"]


def names_of(layer: str, parts: Mapping[str, str], plain: Mapping[str, str]) -> dict[str, str]:
    """Keys of a layout: those of a layer with weight and bias, and the others."""
    kinds = ("weight", "bias")
    return {f"{name}.{kind}": f"{layer}{key}{kind}" for name, key in parts.items() for kind in kinds} | dict(plain)


CLIP_NAMES = names_of(
    "text_model.encoder.layers.{0}.",
    {
        "norm1": "layer_norm1.", "norm2": "layer_norm2.", "q": "self_attn.q_proj.", "k": "self_attn.k_proj.",
        "v": "self_attn.v_proj.", "out": "self_attn.out_proj.", "up": "mlp.fc1.", "down": "mlp.fc2.",
    },
    {
        "tokens": "text_model.embeddings.token_embedding.weight", "norm.weight": "text_model.final_layer_norm.weight",
        "positions": "text_model.embeddings.position_embedding.weight", "norm.bias": "text_model.final_layer_norm.bias",
    },
)  # fmt: skip
OPEN_CLIP_NAMES = names_of(
    "transformer.resblocks.{0}.",
    {
        "norm1": "ln_1.", "norm2": "ln_2.", "in": "attn.in_proj_", "out": "attn.out_proj.", "up": "mlp.c_fc.",
        "down": "mlp.c_proj.",
    },
    {
        "tokens": "token_embedding.weight", "positions": "positional_embedding", "norm.weight": "ln_final.weight",
        "norm.bias": "ln_final.bias",
    },
)  # fmt: skip

