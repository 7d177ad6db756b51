"""Model families as data, and which of them a file belongs to: decided by its keys and shapes, never by its name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from webui.errors import ModelFileError, UserError, quoted
from webui.nets.spec import Layout, ModelSpec, TextSpec, UNetSpec, VAESpec
from webui.params import Txt2Img
from webui.weights import layouts
from webui.weights.bounds import checked
from webui.weights.files import Header

SPEC_KEY = "webui.spec"  # in a file's metadata: the whole ModelSpec as JSON
MERGES_KEY = "webui.merges"  # in a file's metadata: the tokenizer's merges as JSON, one list
DEFAULTS_KEY = "webui.defaults"  # in a file's metadata: JSON such as {"scale": 5}, what suits the model
PREVIEW_KEY = "webui.preview"  # in a file's metadata: the fitted map from its latents to colours as JSON
LONGEST_REASON = 300  # characters of what is wrong with a file's own description
MOST_BLOCKS = 64  # in one half of a noise predictor; each is looked for among all keys
SD21_V = "sd21-v"

SD1_UNET = UNetSpec(model_channels=320, channel_mult=(1, 2, 4, 4), transformer_depth=(1, 1, 1, 0), context_width=768, heads=8)
SD2_UNET = replace(SD1_UNET, context_width=1024, heads=None, head_width=64, linear_projection=True)
SDXL_UNET = UNetSpec(
    model_channels=320, channel_mult=(1, 2, 4), transformer_depth=(0, 2, 10), middle_depth=10, context_width=2048, head_width=64,
    linear_projection=True, label_width=2816,
)  # fmt: skip
REFINER_UNET = UNetSpec(
    model_channels=384, channel_mult=(1, 2, 4, 4), transformer_depth=(0, 4, 4, 0), middle_depth=4, context_width=1280,
    head_width=64, linear_projection=True, label_width=2560,
)  # fmt: skip
SD_VAE = VAESpec(scale=0.18215)
SDXL_VAE = VAESpec(scale=0.13025)
CLIP_L = TextSpec(width=768, layers=12, heads=12, hidden=3072)
OPEN_CLIP_H = TextSpec(
    kind="open_clip", width=1024, layers=24, heads=16, hidden=4096, projection=1024, activation="gelu", padding=0, skip=2,
)  # fmt: skip
OPEN_CLIP_G = replace(OPEN_CLIP_H, width=1280, layers=32, heads=20, hidden=5120, projection=1280, final_norm=False)
XL_CLIP_L = replace(CLIP_L, skip=2, final_norm=False)

SD15 = ModelSpec(family="sd15", title="Stable Diffusion 1", unet=SD1_UNET, vae=SD_VAE, text=(CLIP_L,))
SD21 = ModelSpec(family="sd21-base", title="Stable Diffusion 2 (512)", unet=SD2_UNET, vae=SD_VAE, text=(OPEN_CLIP_H,))
SDXL = ModelSpec(
    family="sdxl-base", title="Stable Diffusion XL", unet=SDXL_UNET, vae=SDXL_VAE, text=(XL_CLIP_L, OPEN_CLIP_G), native_size=1024
)


def _variant(base: ModelSpec, family: str, title: str, channels: int) -> ModelSpec:
    return replace(base, family=family, title=title, unet=replace(base.unet, in_channels=channels))


FAMILIES: Mapping[str, ModelSpec] = {
    spec.family: spec
    for spec in (
        SD15,
        _variant(SD15, "sd15-inpaint", "Stable Diffusion 1 inpainting", 9),
        _variant(SD15, "sd15-ip2p", "InstructPix2Pix", 8),
        SD21,
        replace(SD21, family=SD21_V, title="Stable Diffusion 2 (768, v prediction)", prediction="v", native_size=768),
        _variant(SD21, "sd2-inpaint", "Stable Diffusion 2 inpainting", 9),
        _variant(SD21, "sd2-depth", "Stable Diffusion 2 depth", 5),
        SDXL,
        _variant(SDXL, "sdxl-inpaint", "Stable Diffusion XL inpainting", 9),
        replace(SDXL, family="sdxl-refiner", title="Stable Diffusion XL refiner", unet=REFINER_UNET, text=(OPEN_CLIP_G,)),
    )
}

# What a file is when it is no checkpoint: the first pattern that a key begins with names it.
OTHER_KINDS = (
    (r"lora_(unet|te)|.*\.lora_(up|down|A|B)\.|.*\.(hada|lokr)_w", "a LoRA; put it into models/Lora"),
    (r"control_model\.|controlnet_|zero_convs\.", "a ControlNet"),
    (r"(encoder|decoder)\.(conv_in|mid|down|up)", "a VAE; put it into models/VAE"),
    (r"down_blocks\.|up_blocks\.|mid_block\.", "one network of a diffusers folder; choose the folder"),
    (r"(model\.diffusion_model\.)?(double_blocks|single_blocks)\.", "a Flux model, a family that is not supported"),
    (r"(model\.diffusion_model\.)?joint_blocks\.", "a Stable Diffusion 3 model, a family that is not supported"),
    (r"emb_params$|string_to_param|clip_[gl]$", "a textual inversion; put it into models/embeddings"),
    (r"(text_model\.)?(encoder|embeddings)\.", "a text encoder alone"),
    (r"(body|conv_first|model\.0|model\.1\.sub)\.", "an upscaler"),
)


def detect(header: Header) -> ModelSpec:
    """Return the spec of a checkpoint from its header: its own, if its metadata has one, else its family's with the file's sizes.

    Raises `ModelFileError`, which says what was found instead, if it is no checkpoint of a known family, or one whose numbers no
    model can have (see `bounds.py`).
    """
    if SPEC_KEY in header.metadata:
        return _own_spec(header.metadata[SPEC_KEY])
    try:
        return checked(_by_shapes(header))
    except (ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        raise ModelFileError(f"Its weights have shapes that no known model has ({error}); the file may be damaged.") from error


def _by_shapes(header: Header) -> ModelSpec:
    shapes = {key: info.shape for key, info in header.tensors.items()}
    found = layouts.text_place(shapes)
    if layouts.UNET + "input_blocks.0.0.weight" not in shapes:
        raise ModelFileError(f"It is not a checkpoint: it holds no noise predictor. {_what_else(shapes)}")
    unet = unet_spec({key.removeprefix(layouts.UNET): shape for key, shape in shapes.items() if key.startswith(layouts.UNET)})
    kinds = tuple(kind for _, kind in found)
    family = _family(kinds, unet)
    if layouts.VAE + "encoder.conv_in.weight" not in shapes:
        raise ModelFileError(f"This {family.title} checkpoint holds no autoencoder (VAE); use a complete checkpoint.")
    vae = vae_spec({key.removeprefix(layouts.VAE): shape for key, shape in shapes.items() if key.startswith(layouts.VAE)})
    text = tuple(
        text_spec(tower, {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)})
        for tower, (prefix, _) in zip(family.text, found, strict=True)
    )
    width = sum(tower.width for tower in text)
    if width != unet.context_width:
        raise ModelFileError(f"Its text towers give tokens of width {width}; its noise predictor needs {unet.context_width}.")
    spec = replace(family, unet=unet, vae=replace(vae, scale=family.vae.scale), text=text)
    return replace(spec, prediction="v") if _says_v(header) else spec


def is_undecided(header: Header, spec: ModelSpec) -> bool:
    """Return whether the header leaves open if the model predicts noise or velocity (plain Stable Diffusion 2 files)."""
    said = SPEC_KEY in header.metadata or _says_v(header) or "modelspec.prediction_type" in header.metadata
    return not said and spec.family == SD21.family


def _says_v(header: Header) -> bool:
    return "v_pred" in header.tensors or header.metadata.get("modelspec.prediction_type", "").startswith("v")


def as_velocity(spec: ModelSpec) -> ModelSpec:
    """What an undecided spec is once its network turned out to predict velocity: the 768 pixel model."""
    told = FAMILIES[SD21_V]
    return replace(spec, family=told.family, title=told.title, prediction=told.prediction, native_size=told.native_size)


def default_scale(header: Header, otherwise: float) -> float:
    """The guidance scale that a file says suits it, `otherwise` where it says nothing.

    Raises `ModelFileError` where it is none that a person could set.
    """
    try:
        plain = json.loads(header.metadata.get(DEFAULTS_KEY, "{}"))
        if not isinstance(plain, dict):
            raise ValueError
        scale = Txt2Img(scale=plain.get("scale")).scale
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"Its {DEFAULTS_KEY} are not JSON of the form {{'scale': 5}}.") from error
    except UserError as error:
        raise ModelFileError(f"Its {DEFAULTS_KEY} cannot be used: {error}") from error
    return otherwise if scale is None else scale


def _own_spec(text: str) -> ModelSpec:
    try:
        return checked(ModelSpec.from_json(json.loads(text)))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"Its own description, {SPEC_KEY} in its metadata, cannot be used: {_sentence(error)}") from error


def _sentence(error: Exception) -> str:
    """What an error says, as the end of a sentence and not longer than one."""
    return quoted(str(error).rstrip("."), LONGEST_REASON)[1:-1] + "."


def _family(kinds: tuple[Layout, ...], unet: UNetSpec) -> ModelSpec:
    """Return the first family with these towers, input channels and vector."""
    near = [spec for spec in FAMILIES.values() if tuple(tower.kind for tower in spec.text) == kinds]
    near = [spec for spec in near if (spec.unet.label_width is None) == (unet.label_width is None)]
    for spec in near:
        if spec.unet.in_channels == unet.in_channels:
            return spec
    towers = " and ".join(kinds) or "no"
    vector = "with" if unet.label_width else "without"
    raise ModelFileError(
        f"No known family fits it: it has {towers} text towers and a noise predictor with {unet.in_channels} input "
        f"channels, {vector} a size vector. Known: {', '.join(FAMILIES)}."
    )


def _what_else(shapes: Mapping[str, tuple[int, ...]]) -> str:
    for pattern, name in OTHER_KINDS:
        if any(re.match(pattern, key) for key in shapes):
            return f"It looks like {name}."
    return f"Its {len(shapes)} keys begin with {', '.join(map(quoted, sorted(shapes)[:3])) or 'nothing'}."


def _count(keys: Mapping[str, tuple[int, ...]], pattern: str) -> int:
    """Return how many different numbers stand in the pattern's group."""
    return len({match[1] for key in keys if (match := re.match(pattern, key))})


def _needed(shapes: Mapping[str, tuple[int, ...]], key: str, part: str) -> tuple[int, ...]:
    if key not in shapes:
        raise ModelFileError(f"Its {part} is incomplete: {key} is missing.")
    return shapes[key]


def _alike(values: list[int], what: str) -> int:
    if len(set(values)) != 1:
        raise ModelFileError(f"No known noise predictor has {what} that differ within a part of it ({values}).")
    return values[0]


def unet_spec(shapes: Mapping[str, tuple[int, ...]]) -> UNetSpec:
    """Return the noise predictor's spec from the shapes of its weights (keys without prefix).

    Files do not tell the number of heads: networks whose projections are convolutions (SD 1) have 8, others heads of width 64,
    or, in networks too narrow for that, of width 8.
    """
    channels, in_channels = _needed(shapes, "input_blocks.0.0.weight", "noise predictor")[:2]
    widths: list[list[int]] = [[]]
    depths: list[list[int]] = [[]]
    blocks = _count(shapes, r"input_blocks\.(\d+)\.")
    if blocks > MOST_BLOCKS:
        raise ModelFileError(f"No known noise predictor has {blocks} input blocks.")
    for block in range(1, blocks):
        if f"input_blocks.{block}.0.op.weight" in shapes:
            widths.append([])
            depths.append([])
            continue
        widths[-1].append(_needed(shapes, f"input_blocks.{block}.0.out_layers.3.weight", "noise predictor")[0])
        depths[-1].append(_count(shapes, rf"input_blocks\.{block}\.1\.transformer_blocks\.(\d+)\."))
    per_level = [_alike(level, "widths") if level else 0 for level in widths]
    if any(width == 0 or width % channels for width in per_level):
        raise ModelFileError(f"No known noise predictor has levels of the widths {per_level} above {channels} channels.")
    cross = [shape[1] for key, shape in shapes.items() if key.endswith("attn2.to_k.weight")]
    projections = [len(shape) for key, shape in shapes.items() if key.endswith("proj_in.weight")]
    if not cross or not projections:
        raise ModelFileError("Its noise predictor has no cross-attention, so it cannot follow a text.")
    linear = projections[0] == 2
    return UNetSpec(
        in_channels=in_channels,
        out_channels=_needed(shapes, "out.2.weight", "noise predictor")[0],
        model_channels=channels,
        channel_mult=tuple(width // channels for width in per_level),
        res_blocks=_alike([len(level) for level in widths], "numbers of blocks"),
        transformer_depth=tuple(_alike(level, "depths") for level in depths),
        middle_depth=_count(shapes, r"middle_block\.1\.transformer_blocks\.(\d+)\."),
        context_width=cross[0],
        heads=None if linear else 8,
        head_width=(64 if channels % 64 == 0 else 8) if linear else None,
        linear_projection=linear,
        label_width=shapes["label_emb.0.0.weight"][1] if "label_emb.0.0.weight" in shapes else None,
        guidance_width=shapes["time_embedding.cond_proj.weight"][1] if "time_embedding.cond_proj.weight" in shapes else None,
    )


def vae_spec(shapes: Mapping[str, tuple[int, ...]]) -> VAESpec:
    """Return the autoencoder's spec from the shapes of its weights (keys without prefix); `scale` is not in them."""
    channels, picture = _needed(shapes, "encoder.conv_in.weight", "autoencoder")[:2]
    levels = _count(shapes, r"encoder\.down\.(\d+)\.")
    widths = [_needed(shapes, f"encoder.down.{level}.block.0.conv2.weight", "autoencoder")[0] for level in range(levels)]
    return VAESpec(
        channels=channels,
        channel_mult=tuple(width // channels for width in widths),
        res_blocks=_count(shapes, r"encoder\.down\.0\.block\.(\d+)\."),
        latent_channels=_needed(shapes, "post_quant_conv.weight", "autoencoder")[0],
        picture_channels=picture,
    )


def text_spec(family: TextSpec, shapes: Mapping[str, tuple[int, ...]]) -> TextSpec:
    """Return a text tower's spec from the shapes of its weights (keys without prefix); heads have width 64, four at least."""
    shapes = {key.removeprefix("text_model."): shape for key, shape in shapes.items()}
    clip = family.kind == "clip"
    tokens = _needed(shapes, "embeddings.token_embedding.weight" if clip else "token_embedding.weight", "text tower")
    positions = _needed(shapes, "embeddings.position_embedding.weight" if clip else "positional_embedding", "text tower")
    layer = r"encoder\.layers\.(\d+)\." if clip else r"transformer\.resblocks\.(\d+)\."
    first = "encoder.layers.0.mlp.fc1.weight" if clip else "transformer.resblocks.0.mlp.c_fc.weight"
    projection = None
    if "text_projection" in shapes:
        projection = shapes["text_projection"][1]
    elif "text_projection.weight" in shapes:
        projection = shapes["text_projection.weight"][0]
    return replace(
        family,
        vocabulary=tokens[0],
        width=tokens[1],
        heads=max(4, tokens[1] // 64),
        positions=positions[0],
        layers=_count(shapes, layer),
        hidden=_needed(shapes, first, "text tower")[0],
        projection=projection,
    )
