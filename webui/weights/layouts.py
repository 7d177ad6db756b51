"""The layouts of published weights, as tables of rules.

Single files hold every network under a prefix and use our modules' own names, but for OpenCLIP's text towers. diffusers' folders
name the noise predictor's and the autoencoder's blocks differently; their tables follow from the number of levels and blocks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from webui.nets.spec import Layout, UNetSpec
from webui.weights.rules import Rule

UNET = "model.diffusion_model."
VAE = "first_stage_model."
DEPTH = "depth_model.model."
TEXT_PLACES = ("cond_stage_model.", "conditioner.embedders.0.", "conditioner.embedders.1.")
TEXT_KINDS: dict[Layout, str] = {"clip": "transformer.", "open_clip": "model."}

# Keys outside the networks that single files carry and nobody needs: noise schedules, averages, training state, losses.
IGNORED = re.compile(
    r"(model_ema|optimizer_states|lr_schedulers|callbacks|loops|denoiser|depth_model|control_model)\..*"
    r"|model_ema|(log_)?(sqrt_)?(one_minus_|recip_|recipm1_)?alphas_cumprod(_prev)?|betas|log_one_minus_alphas_cumprod"
    r"|posterior_(variance|log_variance_clipped|mean_coef[12])|logvar|scale_factor|v_pred|ztsnr|edm_vpred\.sigma_(min|max)"
    r"|first_stage_model\.(loss\..*|model_ema\..*|logvar)|cond_stage_model\.logit_scale|conditioner\.embedders\.\d\.logit_scale"
    r"|epoch|global_step|iteration"
)

CLIP = (
    Rule("text_model.embeddings.position_ids"),
    Rule("embeddings.position_ids"),
    Rule("logit_scale"),
    Rule("text_projection.weight", "text_projection.weight"),
    Rule("text_model.{rest}", "{rest}"),
    Rule("{rest}", "{rest}"),  # some files leave out the prefix text_model.
)

OPEN_CLIP = (
    Rule("logit_scale"),
    Rule("attn_mask"),
    Rule("token_embedding.weight", "embeddings.token_embedding.weight"),
    Rule("positional_embedding", "embeddings.position_embedding.weight"),
    Rule("text_projection", "text_projection.weight", transposed=True),
    Rule("text_projection.weight", "text_projection.weight"),
    Rule("ln_final.{p}", "final_layer_norm.{p}"),
    Rule(
        "transformer.resblocks.{n}.attn.in_proj_{p}",
        *(f"encoder.layers.{{n}}.self_attn.{letter}_proj.{{p}}" for letter in "qkv"),
    ),
    Rule("transformer.resblocks.{n}.attn.out_proj.{p}", "encoder.layers.{n}.self_attn.out_proj.{p}"),
    Rule("transformer.resblocks.{n}.ln_1.{p}", "encoder.layers.{n}.layer_norm1.{p}"),
    Rule("transformer.resblocks.{n}.ln_2.{p}", "encoder.layers.{n}.layer_norm2.{p}"),
    Rule("transformer.resblocks.{n}.mlp.c_fc.{p}", "encoder.layers.{n}.mlp.fc1.{p}"),
    Rule("transformer.resblocks.{n}.mlp.c_proj.{p}", "encoder.layers.{n}.mlp.fc2.{p}"),
)

TEXT: dict[Layout, tuple[Rule, ...]] = {"clip": CLIP, "open_clip": OPEN_CLIP}

UNET_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
UNET_ENDS = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2", "conv_norm_out": "out.0",
    "conv_out": "out.2",
}  # fmt: skip
VAE_RESNET = {"conv_shortcut": "nin_shortcut"} | {name: name for name in ("norm1", "conv1", "norm2", "conv2")}
VAE_ATTENTION = {
    "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
    "query": "q", "key": "k", "value": "v", "proj_attn": "proj_out",  # as older files have it
}  # fmt: skip

MOST_LEVELS = 16  # of blocks in a network that could be one of these


def text_place(keys: Collection[str]) -> list[tuple[str, Layout]]:
    """Return prefix and layout of every text tower among the keys of a single file, in order."""
    candidates = [(place + suffix, kind) for place in TEXT_PLACES for kind, suffix in TEXT_KINDS.items()]
    return [(prefix, kind) for prefix, kind in candidates if any(key.startswith(prefix) for key in keys)]


def text_prefix(index: int, kind: Layout, conditioner: bool) -> str:
    """Return the prefix under which a single file keeps its text tower; `conditioner` is how SDXL and its refiner name it."""
    return (TEXT_PLACES[1 + index] if conditioner else TEXT_PLACES[0]) + TEXT_KINDS[kind]


def diffusers_unet(spec: UNetSpec) -> tuple[Rule, ...]:
    """Return the rules from diffusers' `UNet2DConditionModel` to the single-file names (without prefix)."""
    return unet_rules(spec.levels, spec.res_blocks, spec.transformer_depth)


def unet_rules(levels: int, blocks: int, depth: tuple[int, ...]) -> tuple[Rule, ...]:
    """Return the rules of `diffusers_unet`; `depth` has the number of transformer blocks of each level."""
    return tuple(_unet_rules(levels, blocks, depth))


def _unet_rules(levels: int, blocks: int, depth: tuple[int, ...]) -> Iterator[Rule]:
    for theirs, ours in UNET_ENDS.items():
        yield Rule(f"{theirs}.{{p}}", f"{ours}.{{p}}")
    yield Rule("time_embedding.cond_proj.weight", "time_embedding.cond_proj.weight")
    for level in range(levels):
        first = 1 + level * (blocks + 1)
        for block in range(blocks):
            yield from _renamed(f"down_blocks.{level}.resnets.{block}", f"input_blocks.{first + block}.0", UNET_RESNET)
            yield Rule(f"down_blocks.{level}.attentions.{block}.{{rest}}", f"input_blocks.{first + block}.1.{{rest}}")
        yield Rule(f"down_blocks.{level}.downsamplers.0.conv.{{p}}", f"input_blocks.{first + blocks}.0.op.{{p}}")
    for block in range(2):
        yield from _renamed(f"mid_block.resnets.{block}", f"middle_block.{2 * block}", UNET_RESNET)
    yield Rule("mid_block.attentions.0.{rest}", "middle_block.1.{rest}")
    for level in range(levels):
        first = level * (blocks + 1)
        for block in range(blocks + 1):
            yield from _renamed(f"up_blocks.{level}.resnets.{block}", f"output_blocks.{first + block}.0", UNET_RESNET)
        after = 1 if depth[levels - 1 - level] == 0 else 2  # what stands before the upsampling layer in its block
        yield Rule(f"up_blocks.{level}.upsamplers.0.conv.{{p}}", f"output_blocks.{first + blocks}.{after}.conv.{{p}}")
        for block in range(blocks + 1):
            yield Rule(f"up_blocks.{level}.attentions.{block}.{{rest}}", f"output_blocks.{first + block}.1.{{rest}}")


def diffusers_vae(levels: int, blocks: int) -> tuple[Rule, ...]:
    """Return the rules from diffusers' `AutoencoderKL` to the single-file names (without prefix).

    Its attention has matrices [C, C] where single files have 1x1 convolutions [C, C, 1, 1].
    """
    return tuple(_vae_rules(levels, blocks))


def _vae_rules(levels: int, blocks: int) -> Iterator[Rule]:
    for name in ("quant_conv", "post_quant_conv"):
        yield Rule(f"{name}.{{p}}", f"{name}.{{p}}")
    for half, side in (("encoder", "down"), ("decoder", "up")):
        for theirs, ours in (("conv_in", "conv_in"), ("conv_norm_out", "norm_out"), ("conv_out", "conv_out")):
            yield Rule(f"{half}.{theirs}.{{p}}", f"{half}.{ours}.{{p}}")
        for block in range(2):
            yield from _renamed(f"{half}.mid_block.resnets.{block}", f"{half}.mid.block_{block + 1}", VAE_RESNET)
        yield from _renamed(f"{half}.mid_block.attentions.0", f"{half}.mid.attn_1", VAE_ATTENTION)
        for level in range(levels):
            theirs = f"{half}.{side}_blocks.{level}"
            ours = f"{half}.{side}.{level if side == 'down' else levels - 1 - level}"
            for block in range(blocks + (side == "up")):
                yield from _renamed(f"{theirs}.resnets.{block}", f"{ours}.block.{block}", VAE_RESNET)
            yield Rule(f"{theirs}.{side}samplers.0.conv.{{p}}", f"{ours}.{side}sample.conv.{{p}}")


def _renamed(theirs: str, ours: str, names: dict[str, str]) -> Iterator[Rule]:
    for old, new in names.items():
        yield Rule(f"{theirs}.{old}.{{p}}", f"{ours}.{new}.{{p}}")
