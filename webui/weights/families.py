"""Model families as data, and which of them a file belongs to: decided by its keys and shapes, never by its name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from webui.errors import ModelFileError, quoted
from webui.nets.spec import Layout, ModelSpec, Prediction, TextSpec, UNetSpec, VAESpec
from webui.weights import layouts
from webui.weights.bounds import checked
from webui.weights.defaults import DEFAULTS_KEY as DEFAULTS_KEY
from webui.weights.defaults import Defaults as Defaults
from webui.weights.defaults import defaults_of as defaults_of
from webui.weights.files import Header
from webui.weights.shapes import text_spec as text_spec
from webui.weights.shapes import unet_spec as unet_spec
from webui.weights.shapes import vae_spec as vae_spec

SPEC_KEY = "webui.spec"  # in a file's metadata: the whole ModelSpec as JSON
MERGES_KEY = "webui.merges"  # in a file's metadata: the tokenizer's merges as JSON, one list
PREVIEW_KEY = "webui.preview"  # in a file's metadata: the fitted map from its latents to colours as JSON
LONGEST_REASON = 300  # characters of what is wrong with a file's own description
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
PLAIN_SD2 = (SD21.family, SD21_V)  # alike in every weight; what they predict tells them apart

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


@dataclass(frozen=True, kw_only=True)
class Override:
    """What a person says a file is, where they know better than it; None leaves a thing to the file.

    A `family` (a key of `FAMILIES`) stands for all that weights do not tell: what the network predicts, the scale of latents,
    which layer of the text towers is read, the native size. The others are said on top of it.
    """

    family: str | None = None
    prediction: Prediction | None = None
    zero_terminal_snr: bool | None = None
    native_size: int | None = None


NOTHING_SAID = Override()


def detect(header: Header, override: Override | None = None) -> ModelSpec:
    """Return the spec of a checkpoint from its header: its own, if its metadata has one, else its family's with the file's sizes.

    What an `override` says counts more. Raises `ModelFileError`, which says what was found instead, if it is no checkpoint of a
    known family, one whose numbers no model can have (see `bounds.py`), or not what the override says.
    """
    said = override or NOTHING_SAID
    if SPEC_KEY in header.metadata and said.family is None:
        spec = _own_spec(header.metadata[SPEC_KEY])
    else:
        try:
            spec = checked(_by_shapes(header, said))
        except (ValueError, IndexError, TypeError, ZeroDivisionError) as error:
            raise ModelFileError(
                f"Its weights have shapes that no known model has ({error}); the file may be damaged."
            ) from error
    return _overridden(spec, said)


def _by_shapes(header: Header, said: Override) -> ModelSpec:
    shapes = {key: info.shape for key, info in header.tensors.items()}
    found = layouts.text_place(shapes)
    if layouts.UNET + "input_blocks.0.0.weight" not in shapes:
        raise ModelFileError(f"It is not a checkpoint: it holds no noise predictor. {_what_else(shapes)}")
    unet = unet_spec({key.removeprefix(layouts.UNET): shape for key, shape in shapes.items() if key.startswith(layouts.UNET)})
    kinds = tuple(kind for _, kind in found)
    family = _family(kinds, unet, said.family)
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
    spec = replace(spec, zero_terminal_snr=_says_zero_terminal_snr(header))
    return predicting(spec, "v") if _says_v(header) and said.family not in PLAIN_SD2 else spec


def is_undecided(header: Header, spec: ModelSpec, override: Override | None = None) -> bool:
    """Return whether header and person leave open if the model predicts noise or velocity (plain Stable Diffusion 2 files)."""
    if override is not None and (override.prediction or override.family):
        return False
    said = SPEC_KEY in header.metadata or _says_v(header) or "modelspec.prediction_type" in header.metadata
    return not said and spec.family == SD21.family


def _says_v(header: Header) -> bool:
    return "v_pred" in header.tensors or header.metadata.get("modelspec.prediction_type", "").startswith("v")


def _says_zero_terminal_snr(header: Header) -> bool:
    return "ztsnr" in header.tensors or header.metadata.get("ss_zero_terminal_snr", "").casefold() == "true"


def predicting(spec: ModelSpec, prediction: Prediction) -> ModelSpec:
    """The same model, said to predict that; of plain Stable Diffusion 2 it decides size and family too."""
    if spec.family not in PLAIN_SD2:
        return replace(spec, prediction=prediction)
    told = FAMILIES[SD21_V] if prediction == "v" else SD21
    return replace(spec, family=told.family, title=told.title, prediction=prediction, native_size=told.native_size)


def as_velocity(spec: ModelSpec) -> ModelSpec:
    """What an undecided spec is once its network turned out to predict velocity: the 768 pixel model."""
    return predicting(spec, "v")


def _overridden(spec: ModelSpec, said: Override) -> ModelSpec:
    if said.prediction is not None:
        spec = predicting(spec, said.prediction)
    if said.zero_terminal_snr is not None:
        spec = replace(spec, zero_terminal_snr=said.zero_terminal_snr)
    if said.native_size is not None:
        spec = replace(spec, native_size=said.native_size)
    try:
        return spec if said == NOTHING_SAID else checked(spec)
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"What was set for it cannot be used: {_sentence(error)}") from error


def _own_spec(text: str) -> ModelSpec:
    try:
        return checked(ModelSpec.from_json(json.loads(text)))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"Its own description, {SPEC_KEY} in its metadata, cannot be used: {_sentence(error)}") from error


def _sentence(error: Exception) -> str:
    """What an error says, as the end of a sentence and not longer than one."""
    return quoted(str(error).rstrip("."), LONGEST_REASON)[1:-1] + "."


def _family(kinds: tuple[Layout, ...], unet: UNetSpec, named: str | None) -> ModelSpec:
    """Return the first family with these towers, input channels and vector; the one that a person named if it has them."""
    if named is not None and named not in FAMILIES:
        raise ModelFileError(f"It was set to be of the family {quoted(named)}; known: {', '.join(FAMILIES)}.")
    near = [spec for spec in FAMILIES.values() if tuple(tower.kind for tower in spec.text) == kinds]
    near = [spec for spec in near if (spec.unet.label_width is None) == (unet.label_width is None)]
    near = [spec for spec in near if spec.unet.in_channels == unet.in_channels]
    if named is not None and near and FAMILIES[named] not in near:
        raise ModelFileError(
            f"It was set to be {FAMILIES[named].title}, whose networks are others than its own; possible: "
            f"{', '.join(spec.family for spec in near)}."
        )
    if near:
        return near[0] if named is None else FAMILIES[named]
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


def default_scale(header: Header, otherwise: float) -> float:
    """The guidance scale that a file says suits it, `otherwise` where it says nothing; see `defaults_of`."""
    scale = defaults_of(header).scale
    return otherwise if scale is None else scale
