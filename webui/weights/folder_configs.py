"""What the JSON files of a diffusers folder say of a model beyond its weights: heads, groups, scales, noise schedule.

Names and meanings are those of diffusers 0.42 and transformers 5. A noise predictor's `attention_head_dim` is a number of heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from webui.errors import ModelFileError, quoted
from webui.nets.spec import ModelSpec, Prediction, TextSpec, UNetSpec, VAESpec
from webui.weights.bounds import checked
from webui.weights.families import predicting

Config = Mapping[str, Any]
PREDICTIONS: Mapping[str, Prediction] = {"epsilon": "eps", "v_prediction": "v"}
OTHER_NOISE = ("EDM", "FlowMatch")  # how schedulers begin that belong to another kind of model

# What a configuration must say where it says anything: other values are other networks, which weights do not tell apart.
UNET: Config = {
    "act_fn": "silu", "flip_sin_to_cos": True, "freq_shift": 0, "norm_eps": 1e-5, "center_input_sample": False,
    "class_embed_type": None, "downsample_padding": 1, "mid_block_scale_factor": 1, "resnet_time_scale_shift": "default",
    "time_embedding_type": "positional", "timestep_post_act": None, "attention_type": "default", "dual_cross_attention": False,
    "only_cross_attention": False, "encoder_hid_dim_type": None, "num_class_embeds": None, "resnet_skip_time_act": False,
    "resnet_out_scale_factor": 1,
}  # fmt: skip
VAE: Config = {"act_fn": "silu", "latents_mean": None, "latents_std": None}
TEXT: Config = {"layer_norm_eps": 1e-5}
SCHEDULER: Config = {"beta_schedule": "scaled_linear", "trained_betas": None}


def described(spec: ModelSpec, configs: Mapping[str, Config], towers: tuple[str, ...]) -> ModelSpec:
    """`spec`, which the weights gave, with all that a folder's configurations say; `towers` are the folders of its text towers.

    Raises `ModelFileError` where they describe something that these networks cannot be.
    """
    try:
        said = replace(
            spec,
            unet=unet_of(spec.unet, configs.get("unet", {})),
            vae=vae_of(spec.vae, configs.get("vae", {})),
            text=tuple(_tower(tower, configs.get(name, {}), spec) for tower, name in zip(spec.text, towers, strict=True)),
        )
        return checked(_sized(_schedule(said, configs.get("scheduler", {})), configs.get("unet", {})))
    except ValueError as error:
        raise ModelFileError(f"Its configuration cannot be used: {str(error).rstrip('.')}.") from error
    except (TypeError, ArithmeticError) as error:
        raise ModelFileError("Its configuration cannot be used: it has a value of the wrong kind.") from error


def structure(spec: ModelSpec, own: ModelSpec) -> ModelSpec:
    """`spec` with what `own` says of how the networks are built, which a person's word on the family leaves as it is."""
    text = tuple(
        replace(tower, heads=mine.heads, activation=mine.activation, skip=mine.skip, final_norm=mine.final_norm)
        for tower, mine in zip(spec.text, own.text, strict=True)
    )
    vae = replace(own.vae, scale=spec.vae.scale, shift=spec.vae.shift)
    return replace(spec, unet=own.unet, vae=vae, text=text)


def unet_of(spec: UNetSpec, config: Config) -> UNetSpec:
    """A noise predictor's spec with the heads and groups of its configuration."""
    _require("unet", config, UNET)
    groups = config.get("norm_num_groups") or spec.groups
    heads = config.get("num_attention_heads") or config.get("attention_head_dim")
    if heads is None:
        return replace(spec, groups=groups)
    if isinstance(heads, int):
        return replace(spec, groups=groups, heads=heads, head_width=None)
    if len(heads) != spec.levels:
        raise ValueError(f"unet has heads for {len(heads)} levels; its weights have {spec.levels}.")
    levels = zip(heads, spec.channel_mult, spec.transformer_depth, strict=True)
    widths = {mult * spec.model_channels / count for count, mult, depth in levels if depth}
    if len(widths) == 1:
        return replace(spec, groups=groups, heads=None, head_width=int(widths.pop()))
    if len(set(heads)) == 1:
        return replace(spec, groups=groups, heads=heads[0], head_width=None)
    raise ValueError(f"unet has {heads} attention heads, neither equally many nor equally wide ones.")


def vae_of(spec: VAESpec, config: Config) -> VAESpec:
    """An autoencoder's spec with the scale, shift and groups of its configuration."""
    _require("vae", config, VAE)
    scale, shift = config.get("scaling_factor"), config.get("shift_factor")
    return replace(
        spec,
        scale=spec.scale if scale is None else scale,
        shift=spec.shift if shift is None else shift,
        groups=config.get("norm_num_groups") or spec.groups,
    )


def _tower(spec: TextSpec, config: Config, model: ModelSpec) -> TextSpec:
    """Which layer is read is the pipeline's, not the file's: the penultimate without norm for SDXL, for others the last one."""
    _require("text_encoder", config, TEXT)
    large = model.unet.label_width is not None
    return replace(
        spec,
        activation=config.get("hidden_act", spec.activation),
        heads=config.get("num_attention_heads", spec.heads),
        skip=2 if large else 1,
        final_norm=not large,
    )


def _sized(spec: ModelSpec, config: Config) -> ModelSpec:
    """`sample_size` is the side of the latents it was trained on."""
    side = config.get("sample_size")
    return replace(spec, native_size=side * spec.vae.factor) if isinstance(side, int) and side else spec


def _schedule(spec: ModelSpec, config: Config) -> ModelSpec:
    name = str(config.get("_class_name", ""))
    if name.startswith(OTHER_NOISE):
        raise ValueError(f"its scheduler, {quoted(name)}, belongs to models that are not supported.")
    _require("scheduler", config, SCHEDULER)
    asked = config.get("prediction_type", "epsilon")
    if asked not in PREDICTIONS:
        raise ValueError(f"its network predicts {quoted(str(asked))}; known: {', '.join(PREDICTIONS)}.")
    prediction = PREDICTIONS[asked]
    return replace(
        predicting(spec, prediction) if prediction != spec.prediction else spec,
        betas=(config.get("beta_start", spec.betas[0]), config.get("beta_end", spec.betas[1])),
        train_steps=config.get("num_train_timesteps", spec.train_steps),
        zero_terminal_snr=config.get("rescale_betas_zero_snr", spec.zero_terminal_snr),
    )


def _require(part: str, config: Config, expected: Config) -> None:
    for name, value in expected.items():
        if name in config and config[name] != value:
            said, known = quoted(str(config[name])), quoted(str(value))
            raise ValueError(f"{name} in {part}/ is {said}; only models with {known} are supported.")


# --- the other direction: what a folder's files say of a model -----------------------------------------------------------


def unet_config(spec: ModelSpec) -> dict[str, Any]:
    """config.json of a noise predictor."""
    unet = spec.unet
    widths = [mult * unet.model_channels for mult in unet.channel_mult]
    down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in unet.transformer_depth]
    up = ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(unet.transformer_depth)]
    # diffusers gives the middle the last level's depth, which a level without attention does not use itself.
    depths = [depth or unet.middle_depth for depth in unet.transformer_depth]
    config: dict[str, Any] = {
        **UNET,
        "_class_name": "UNet2DConditionModel",
        "sample_size": spec.native_size // spec.vae.factor,
        "in_channels": unet.in_channels,
        "out_channels": unet.out_channels,
        "block_out_channels": widths,
        "layers_per_block": unet.res_blocks,
        "down_block_types": down,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": up,
        "transformer_layers_per_block": 1 if set(depths) == {1} else depths,
        "attention_head_dim": unet.heads or [unet.heads_at(width) for width in widths],
        "cross_attention_dim": unet.context_width,
        "use_linear_projection": unet.linear_projection,
        "norm_num_groups": unet.groups,
        "time_cond_proj_dim": unet.guidance_width,
    }
    if unet.label_width is not None:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": unet.label_width,
        }
    return config


def vae_config(spec: VAESpec, side: int) -> dict[str, Any]:
    """config.json of an autoencoder for pictures of `side` pixels."""
    return {
        **VAE,
        "_class_name": "AutoencoderKL",
        "sample_size": side,
        "in_channels": spec.picture_channels,
        "out_channels": spec.picture_channels,
        "latent_channels": spec.latent_channels,
        "block_out_channels": [mult * spec.channels for mult in spec.channel_mult],
        "layers_per_block": spec.res_blocks,
        "down_block_types": ["DownEncoderBlock2D"] * len(spec.channel_mult),
        "up_block_types": ["UpDecoderBlock2D"] * len(spec.channel_mult),
        "norm_num_groups": spec.groups,
        "scaling_factor": spec.scale,
        "shift_factor": spec.shift or None,
        "force_upcast": True,
    }


def text_config(spec: TextSpec, layers: int) -> dict[str, Any]:
    """config.json of a text tower of which the first `layers` are kept."""
    config: dict[str, Any] = {
        **TEXT,
        "architectures": [text_class(spec)],
        "model_type": "clip_text_model",
        "vocab_size": spec.vocabulary,
        "hidden_size": spec.width,
        "intermediate_size": spec.hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": spec.heads,
        "max_position_embeddings": spec.positions,
        "hidden_act": spec.activation,
        "bos_token_id": spec.start,
        "eos_token_id": spec.end,
        "pad_token_id": spec.padding,
    }
    return config | {"projection_dim": spec.projection} if spec.projection is not None else config


def text_class(spec: TextSpec) -> str:
    """The class of transformers for a text tower."""
    return "CLIPTextModel" if spec.projection is None else "CLIPTextModelWithProjection"


def scheduler_config(spec: ModelSpec) -> dict[str, Any]:
    """scheduler_config.json: DDIM as Stable Diffusion was published with, Euler for SDXL, LCM's own for LCM."""
    name = "EulerDiscreteScheduler" if spec.unet.label_width is not None else "DDIMScheduler"
    config: dict[str, Any] = {
        **SCHEDULER,
        "_class_name": "LCMScheduler" if spec.unet.guidance_width is not None else name,
        "beta_start": spec.betas[0],
        "beta_end": spec.betas[1],
        "num_train_timesteps": spec.train_steps,
        "prediction_type": next(theirs for theirs, ours in PREDICTIONS.items() if ours == spec.prediction),
        "rescale_betas_zero_snr": spec.zero_terminal_snr,
        "steps_offset": 1,
        "timestep_spacing": "trailing" if spec.zero_terminal_snr else "leading",
    }
    return config if config["_class_name"].startswith("Euler") else config | {"clip_sample": False, "set_alpha_to_one": False}
