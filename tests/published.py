"""Headers of weight files as they are published: every family at full size and small, and every other kind of file.

Three families are recorded at full size and ten small (`data/headers`); the rest are made of those, or of the networks on torch's
meta device with the names that single files use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial

import torch

from tests.networks_beside import OTHER_UPSCALERS, bsrgan, compact, esrgan, midas_shapes, real_esrgan
from tests.random_weights import header as recorded_header
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.controlnet_spec import ControlSpec
from webui.nets.text import TextTower
from webui.nets.unet import UNetModel
from webui.nets.upscaler_spec import CompactSpec, RRDBSpec
from webui.weights import layouts
from webui.weights.controlnet_layouts import control_weights, diffusers_rules
from webui.weights.families import FAMILIES
from webui.weights.files import Header, TensorInfo
from webui.weights.rules import restored

Shapes = dict[str, tuple[int, ...]]
UNET = "model.diffusion_model."
BESIDE: Shapes = {  # what training left in published files
    "alphas_cumprod": (1000,), "betas": (1000,), "model_ema.decay": (), "model_ema.num_updates": (), "global_step": (),
}  # fmt: skip


def header(shapes: Mapping[str, tuple[int, ...]], dtype: str = "F16", **metadata: str) -> Header:
    """A header whose tensors have no bytes."""
    return Header(tensors={key: TensorInfo(shape=tuple(shape), dtype=dtype) for key, shape in shapes.items()}, metadata=metadata)


@cache
def recorded(name: str) -> Shapes:
    """Keys and shapes of a recorded file."""
    return {key: tuple(shape) for key, (shape, _) in recorded_header(name).items()}


@cache
def built(family: str) -> Shapes:
    """Keys and shapes of a full-size single file of a family."""
    spec = FAMILIES[family]
    conditioner = spec.unet.label_width is not None or family == "sd-turbo"
    with torch.device("meta"):
        shapes = {UNET + key: tuple(value.shape) for key, value in UNetModel(spec.unet).state_dict().items()}
        shapes |= {"first_stage_model." + key: tuple(value.shape) for key, value in AutoencoderKL(spec.vae).state_dict().items()}
        for index, tower in enumerate(spec.text):
            prefix = layouts.text_prefix(index, tower.kind, conditioner)
            named = restored(layouts.TEXT[tower.kind], TextTower(tower).state_dict(), "a single file")
            shapes |= {prefix + key: tuple(value.shape) for key, value in named.items()}
    return shapes


def with_channels(name: str, channels: int) -> Shapes:
    """A recorded file whose noise predictor takes more channels."""
    first = UNET + "input_blocks.0.0.weight"
    width = recorded(name)[first][0]
    return recorded(name) | {first: (width, channels, 3, 3)}


def as_lcm(name: str) -> Shapes:
    """A recorded file whose noise predictor takes its guidance as an input."""
    width = recorded(name)[UNET + "input_blocks.0.0.weight"][0]
    return recorded(name) | {UNET + "time_embedding.cond_proj.weight": (width, 256)}


def renamed(shapes: Shapes, old: str, new: str) -> Shapes:
    """The same with another prefix."""
    return {new + key.removeprefix(old) if key.startswith(old) else key: shape for key, shape in shapes.items()}


AS_DETECTED = [family if family != "sd21-v" else "sd21-base" for family in FAMILIES]  # what SD 2 predicts is not in a header
CHECKPOINTS: dict[str, tuple[str, Callable[[], Shapes]]] = {  # what it is -> its family, its header
    **{f"{family}, full": (detected, partial(built, family)) for family, detected in zip(FAMILIES, AS_DETECTED, strict=True)},
    "SD 1.5, recorded": ("sd15", lambda: recorded("sd15-full")),
    "SD 2.1 768, recorded": ("sd21-base", lambda: recorded("sd21-v-full")),
    "SDXL, recorded": ("sdxl-base", lambda: recorded("sdxl-full")),
    "SD 1 inpainting": ("sd15-inpaint", lambda: with_channels("sd15-full", 9)),
    "InstructPix2Pix": ("sd15-ip2p", lambda: with_channels("sd15-full", 8)),
    "SDXL InstructPix2Pix": ("sdxl-ip2p", lambda: with_channels("sdxl-full", 8)),
    "SDXL inpainting": ("sdxl-inpaint", lambda: with_channels("sdxl-full", 9)),
    "SD 2 inpainting": ("sd2-inpaint", lambda: with_channels("sd21-v-full", 9)),
    "SD 2 depth": ("sd2-depth", lambda: with_channels("sd21-v-full", 5)),
    "SD 2 depth with MiDaS": ("sd2-depth", lambda: with_channels("sd21-v-full", 5) | midas_shapes("depth_model.model.")),
    "SD Turbo": ("sd-turbo", lambda: renamed(recorded("sd21-v-full"), "cond_stage_model.", "conditioner.embedders.0.")),
    "LCM": ("sd15-lcm", lambda: as_lcm("sd15-full")),
    "LCM XL": ("sdxl-lcm", lambda: as_lcm("sdxl-full")),
    "SD 1 with what training left": ("sd15", lambda: recorded("sd15-full") | BESIDE),
    "SD 1 without text_model.": ("sd15", lambda: renamed(
        recorded("sd15-full"), "cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."
    )),
    "SD 2 without projection": ("sd21-base", lambda: {
        key: shape for key, shape in recorded("sd21-v-full").items() if not key.endswith("text_projection")
    }),
}  # fmt: skip


def lora(names: str, down: str = "lora_down", up: str = "lora_up", rank: int = 8, width: int = 768) -> Shapes:
    """Two modules of a LoRA; `names` has a place for the module's name."""
    within = "attentions_0_transformer_blocks_0"
    sites = {f"down_blocks_0_{within}_attn1_to_q": 320, f"mid_block_{within}_attn2_to_k": width}
    shapes: Shapes = {}
    for site, given in sites.items():
        shapes |= {f"{names.format(site)}.{down}.weight": (rank, given), f"{names.format(site)}.{up}.weight": (320, rank)}
    return shapes


def small_vae() -> Shapes:
    """A small autoencoder's own keys."""
    return tower("first_stage_model.")


def tower(prefix: str, name: str = "sd15-tiny") -> Shapes:
    """The keys of one network of a small file, without its prefix."""
    return {key.removeprefix(prefix): shape for key, shape in recorded(name).items() if key.startswith(prefix)}


def controlnet(prefix: str = "") -> Shapes:
    """The keys of a ControlNet for Stable Diffusion 1."""
    return {prefix + key: shape for key, shape in control_weights(ControlSpec(unet=FAMILIES["sd15"].unet))}


def only(*keys: str, shape: tuple[int, ...] = (8, 8)) -> Shapes:
    """A few keys that are typical of a kind."""
    return dict.fromkeys(keys, shape)


OTHERS: dict[str, tuple[str, Callable[[], Shapes]]] = {  # what it is -> how its kind is called, its header
    "LoRA, kohya": ("a LoRA", lambda: lora("lora_unet_{}") | {"lora_unet_mid_block.alpha": ()}),
    "LoRA, PEFT": ("a LoRA", lambda: lora("base_model.model.unet.{}", "lora_A", "lora_B")),
    "LoRA, diffusers": ("a LoRA", lambda: lora("unet.{}.processor.to_k_lora", "down", "up")),
    "LoRA, bare": ("a LoRA", lambda: lora("diffusion_model.{}", "lora_A", "lora_B")),
    "LoRA of a checkpoint's names": ("a LoRA", lambda: lora("model.diffusion_model.input_blocks.1.{}")),
    "LoHa": ("a LoRA", lambda: only(*(f"lora_unet_mid.hada_{part}" for part in ("w1_a", "w1_b", "w2_a", "w2_b")))),
    "LoKr": ("a LoRA", lambda: only("lycoris_mid.lokr_w1", "lycoris_mid.lokr_w2_a", "lycoris_mid.lokr_w2_b")),
    "LyCORIS full": ("a LoRA", lambda: only("lora_unet_mid.diff", "lora_unet_mid.diff_b")),
    "OFT": ("a LoRA", lambda: only("oft_unet_mid.oft_blocks")),
    "LoRA for Flux": ("a LoRA", lambda: lora("transformer.single_transformer_blocks.0.{}", "lora_A", "lora_B")),
    "motion LoRA": ("a LoRA", lambda: lora("down_blocks.0.motion_modules.0.{}.processor.to_q_lora", "down", "up")),
    "DoRA": ("a LoRA", lambda: lora("lora_te1_{}") | only("lora_te1_x.dora_scale")),
    "VAE": ("a VAE", small_vae),
    "VAE with prefix": ("a VAE", lambda: {"first_stage_model." + key: shape for key, shape in small_vae().items()}),
    "VAE with loss": ("a VAE", lambda: small_vae() | only("loss.logvar", "loss.discriminator.main.0.weight")),
    "VAE, diffusers": ("a VAE", lambda: only(
        "encoder.conv_in.weight", "decoder.conv_in.weight", "encoder.down_blocks.0.resnets.0.conv1.weight", shape=(8, 8, 3, 3)
    )),
    "embedding": ("a textual inversion", lambda: only("emb_params", shape=(4, 768))),
    "embedding of SDXL": ("a textual inversion", lambda: {"clip_l": (4, 768), "clip_g": (4, 1280)}),
    "embedding, pickled": ("a textual inversion", lambda: only("string_to_param.*", shape=(4, 1024))),
    "embedding, diffusers": ("a textual inversion", lambda: only("<cat-toy>", shape=(768,))),
    "hypernetwork": ("a hypernetwork", lambda: only(
        "768.0.linear.0.weight", "768.1.linear.0.weight", "320.0.linear.0.weight", "320.1.linear.0.weight"
    )),
    "ControlNet": ("a ControlNet", lambda: controlnet("control_model.")),
    "ControlNet, bare": ("a ControlNet", controlnet),
    "ControlNet, diffusers": ("a ControlNet", lambda: {
        undone[0]: shape for key, shape in controlnet().items() for rule in diffusers_rules(4, 2) if (undone := rule.undo(key))
    }),
    "Control-LoRA": ("a Control-LoRA", lambda: only("lora_controlnet", "input_blocks.1.0.in_layers.2.up", "zero_convs.0.0.bias")),
    "ControlNet-LLLite": ("a ControlNet-LLLite", lambda: only("lllite_unet_input_blocks_4_1.conditioning1.0.weight")),
    "ESRGAN": ("an upscaler", lambda: esrgan(RRDBSpec())),
    "BSRGAN": ("an upscaler", lambda: bsrgan(RRDBSpec())),
    "Real-ESRGAN": ("an upscaler", lambda: real_esrgan(RRDBSpec())),
    "Real-ESRGAN with params_ema": ("an upscaler", lambda: real_esrgan(RRDBSpec(unshuffle=2), "params_ema.")),
    "SRVGG": ("an upscaler", lambda: compact(CompactSpec(), "params.")),
    **{name: ("an upscaler", partial(dict, keys)) for name, keys in OTHER_UPSCALERS.items()},
    "MiDaS": ("a depth estimator", midas_shapes),
    "MiDaS of a checkpoint": ("a depth estimator", lambda: midas_shapes("depth_model.model.")),
    "CLIP-L": ("a text encoder alone", lambda: tower("cond_stage_model.transformer.")),
    "CLIP-L without text_model.": ("a text encoder alone", lambda: tower("cond_stage_model.transformer.text_model.")),
    "OpenCLIP": ("a text encoder alone", lambda: tower("cond_stage_model.model.", "sd21-base-tiny")),
    "T5": ("a text encoder alone", lambda: only("encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight")),
    "diffusers' UNet": ("the noise predictor of a diffusers folder", lambda: only(
        "conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"
    )),
    "UNet alone": (
        "a noise predictor alone", lambda: {key: shape for key, shape in recorded("sd15-tiny").items() if key.startswith(UNET)},
    ),
    "UNet alone without prefix": ("a noise predictor alone", lambda: tower(UNET)),
    "Flux": ("a Flux model", lambda: only(
        "double_blocks.0.img_attn.qkv.weight", "single_blocks.0.linear1.weight", "img_in.weight"
    )),
    "Flux as a checkpoint": ("a Flux model", lambda: only(UNET + "double_blocks.0.img_attn.qkv.weight") | small_vae()),
    "Flux, diffusers": ("a Flux model", lambda: only(
        "transformer_blocks.0.attn.to_q.weight", "single_transformer_blocks.0.attn.to_q.weight"
    )),
    "SD 3": ("a Stable Diffusion 3 model", lambda: only(UNET + "joint_blocks.0.x_block.attn.qkv.weight")),
    "Stable Cascade": ("a Stable Cascade model", lambda: only("clip_txt_mapper.weight", "down_blocks.0.0.weight")),
    "unCLIP": (
        "an unCLIP model", lambda: recorded("sd21-v-tiny")
        | only("embedder.model.visual.conv1.weight", UNET + "label_emb.0.0.weight"),
    ),
    "AltDiffusion": (
        "an AltDiffusion model", lambda: recorded("sd15-tiny")
        | only("cond_stage_model.roberta.embeddings.word_embeddings.weight"),
    ),
    "x4 upscaler": ("an x4 upscaling model", lambda: with_channels("sd21-v-full", 7) | only(UNET + "label_emb.weight")),
    "CosXL": ("a CosXL model", lambda: recorded("sdxl-tiny") | only("edm_vpred.sigma_max", "edm_vpred.sigma_min", shape=())),
    "Playground 2.5": ("a Playground 2.5 model", lambda: recorded("sdxl-tiny") | only("edm_mean", "edm_std", shape=(1, 4, 1, 1))),
    "Stable Video Diffusion": ("a video model", lambda: only(UNET + "input_blocks.1.1.time_stack.0.attn1.to_q.weight")),
    "AnimateDiff": ("a motion module", lambda: only("down_blocks.0.motion_modules.0.temporal_transformer.norm.weight")),
    "IP-Adapter": ("an IP-Adapter", lambda: only("image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight")),
    "IP-Adapter with LoRA": ("an IP-Adapter", lambda: lora("ip_adapter.0.{}_lora", "down", "up") | only("image_proj.norm")),
    "T2I-Adapter": ("a T2I-Adapter", lambda: only("body.0.block1.weight", "conv_in.weight")),
    "CLIP vision": ("a picture encoder", lambda: only("vision_model.embeddings.class_embedding")),
    "TAESD": ("a small autoencoder for previews", lambda: only("1.conv.0.weight", "3.conv.0.weight")),
    "TAESD, diffusers": ("a small autoencoder for previews", lambda: only(
        "encoder.layers.1.conv.0.weight", "decoder.layers.3.conv.0.weight"
    )),
}  # fmt: skip
