"""Model families as data, and which of them a file belongs to: decided by its keys and shapes, never by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from webui.errors import ModelFileError, quoted
from webui.nets.spec import Layout, ModelSpec, Prediction, TextSpec, UNetSpec, VAESpec
from webui.weights import kinds, layouts
from webui.weights.bounds import checked
from webui.weights.files import Header
from webui.weights.shapes import text_spec, unet_spec, vae_spec

SPEC_KEY = "webui.spec"  # in a file's metadata: the whole ModelSpec as JSON
MERGES_KEY = "webui.merges"  # in a file's metadata: the tokenizer's merges as JSON, one list
PREVIEW_KEY = "webui.preview"  # in a file's metadata: the fitted map from its latents to colours as JSON
# What training programs note as modelspec.architecture (https://github.com/Stability-AI/ModelSpec) of files whose keys are alike.
SD2_ARCHITECTURES: Mapping[str, Prediction] = {"stable-diffusion-v2-512": "eps", "stable-diffusion-v2-768-v": "v"}
USUAL_SIZES = range(256, 2049, 64)  # of modelspec.resolution; a note beside the weights must not make a model unusable
LONGEST_REASON = 300  # characters of what is wrong with a file's own description
SD21_V, SD_TURBO = "sd21-v", "sd-turbo"
NEAREST = 3  # families told of a file that fits none
TOWERS: Mapping[Layout, str] = {"clip": "CLIP", "open_clip": "OpenCLIP"}
LCM_GUIDANCE = 256  # the width of the embedding of the guidance scale in published LCM files

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


def _variant(base: ModelSpec, family: str, title: str, channels: int = 4, guidance: int | None = None) -> ModelSpec:
    unet = replace(base.unet, in_channels=channels, guidance_width=guidance)
    return replace(base, family=family, title=title, unet=unet)


FAMILIES: Mapping[str, ModelSpec] = {
    spec.family: spec
    for spec in (
        SD15,
        _variant(SD15, "sd15-inpaint", "Stable Diffusion 1 inpainting", channels=9),
        _variant(SD15, "sd15-ip2p", "InstructPix2Pix", channels=8),
        _variant(SD15, "sd15-lcm", "Stable Diffusion 1 LCM", guidance=LCM_GUIDANCE),
        SD21,
        replace(SD21, family=SD21_V, title="Stable Diffusion 2 (768, v prediction)", prediction="v", native_size=768),
        _variant(SD21, "sd2-inpaint", "Stable Diffusion 2 inpainting", channels=9),
        _variant(SD21, "sd2-depth", "Stable Diffusion 2 depth", channels=5),
        _variant(SD21, SD_TURBO, "Stable Diffusion Turbo"),
        SDXL,
        _variant(SDXL, "sdxl-inpaint", "Stable Diffusion XL inpainting", channels=9),
        _variant(SDXL, "sdxl-ip2p", "InstructPix2Pix XL", channels=8),
        _variant(SDXL, "sdxl-lcm", "Stable Diffusion XL LCM", guidance=LCM_GUIDANCE),
        replace(SDXL, family="sdxl-refiner", title="Stable Diffusion XL refiner", unet=REFINER_UNET, text=(OPEN_CLIP_G,)),
    )
}
PLAIN_SD2 = (SD21.family, SD21_V)  # alike in every weight; what they predict tells them apart


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
    return overridden(spec, said)


def _by_shapes(header: Header, said: Override) -> ModelSpec:
    shapes = {key: info.shape for key, info in header.tensors.items()}
    if len(shapes) > kinds.MOST_KEYS:
        raise ModelFileError(f"No known kind of file has {len(shapes):,} tensors.")
    if kinds.kind_of(shapes) is not kinds.CHECKPOINT:
        raise ModelFileError(kinds.refusal(shapes))
    unet = unet_spec(_below(shapes, layouts.UNET))
    found = layouts.text_place(shapes)
    family = _family(found, unet, said.family)
    if not any(key.startswith(layouts.VAE) for key in shapes):
        raise ModelFileError(f"This {family.title} checkpoint holds no autoencoder (VAE); use a complete checkpoint.")
    vae = vae_spec(_below(shapes, layouts.VAE))
    text = tuple(
        text_spec(tower, _below(shapes, prefix)) for tower, (prefix, _) in zip(family.text, found, strict=True)
    )
    width = sum(tower.width for tower in text)
    if width != unet.context_width:
        raise ModelFileError(f"Its text towers give tokens of width {width}; its noise predictor needs {unet.context_width}.")
    spec = replace(family, unet=unet, vae=replace(vae, scale=family.vae.scale), text=text)
    return _told(header, spec, said)


def _below(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> dict[str, tuple[int, ...]]:
    return {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}


def _told(header: Header, spec: ModelSpec, said: Override) -> ModelSpec:
    """The spec with what the header says beside the weights; who named a plain SD 2 family has said what it predicts."""
    if said.family not in PLAIN_SD2 and (prediction := _said_prediction(header)) is not None:
        spec = predicting(spec, prediction)
    if (size := _said_size(header)) is not None:
        spec = replace(spec, native_size=size)
    return replace(spec, zero_terminal_snr=_says_zero_terminal_snr(header))


def is_undecided(header: Header, spec: ModelSpec, override: Override | None = None) -> bool:
    """Return whether header and person leave open if the model predicts noise or velocity (plain Stable Diffusion 2 files)."""
    if override is not None and (override.prediction or override.family):
        return False
    return SPEC_KEY not in header.metadata and spec.family == SD21.family and _said_prediction(header) is None


def _said_prediction(header: Header) -> Prediction | None:
    """What the header says that the network predicts, by a key that marks it or by what training programs note."""
    if "v_pred" in header.tensors:
        return "v"
    noted = header.metadata.get("modelspec.prediction_type") or header.metadata.get("modelspec.predict_key") or ""
    if noted.startswith(("v", "eps")):
        return "v" if noted.startswith("v") else "eps"
    return SD2_ARCHITECTURES.get(header.metadata.get("modelspec.architecture", ""))


def _said_size(header: Header) -> int | None:
    """The side of the square pictures that the header says it was trained with."""
    width, _, height = header.metadata.get("modelspec.resolution", "").partition("x")
    usual = width == height and width.isascii() and width.isdecimal() and len(width) < 5
    return int(width) if usual and int(width) in USUAL_SIZES else None


def _says_zero_terminal_snr(header: Header) -> bool:
    return "ztsnr" in header.tensors or header.metadata.get("ss_zero_terminal_snr", "").casefold() == "true"


def predicting(spec: ModelSpec, prediction: Prediction) -> ModelSpec:
    """The same model, said to predict that; of plain Stable Diffusion 2 it decides the family too, and its usual size."""
    if spec.family not in PLAIN_SD2:
        return replace(spec, prediction=prediction)
    told = FAMILIES[SD21_V] if prediction == "v" else SD21
    usual = spec.native_size == FAMILIES[spec.family].native_size
    size = told.native_size if usual else spec.native_size
    return replace(spec, family=told.family, title=told.title, prediction=prediction, native_size=size)


def as_velocity(spec: ModelSpec) -> ModelSpec:
    """What an undecided spec is once its network turned out to predict velocity: the 768 pixel model."""
    return predicting(spec, "v")


def overridden(spec: ModelSpec, override: Override | None) -> ModelSpec:
    """A spec with what a person said put in place of its own; `ModelFileError` where that makes no model."""
    said = override or NOTHING_SAID
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


def _family(found: list[tuple[str, Layout]], unet: UNetSpec, named: str | None) -> ModelSpec:
    """Return the family whose networks are like these, the one that a person named if its are; else say what each would need."""
    if named is not None and named not in FAMILIES:
        raise ModelFileError(f"It was set to be of the family {quoted(named)}; known: {', '.join(FAMILIES)}.")
    misfits = {family: tuple(_misfits(spec, found, unet)) for family, spec in FAMILIES.items()}
    fitting = [FAMILIES[family] for family, reasons in misfits.items() if not reasons]
    if fitting and named is None:
        in_conditioner = found[0][0].startswith(layouts.TEXT_PLACES[1])
        turbo = in_conditioner and unet.label_width is None
        # False comes first: towers may lie in either place, and any family may take its guidance as an input.
        return min(fitting, key=lambda spec: (
            (spec.unet.guidance_width is None) != (unet.guidance_width is None), (spec.family == SD_TURBO) != turbo
        ))  # fmt: skip
    if named is not None and not misfits[named]:
        return FAMILIES[named]
    if named is not None and fitting:
        possible = ", ".join(spec.family for spec in fitting)
        raise ModelFileError(f"It was set to be {FAMILIES[named].title}, but {misfits[named][0]}; possible: {possible}.")
    near = sorted(misfits, key=lambda family: len(misfits[family]))[:NEAREST]
    reasons = "; ".join(f"{FAMILIES[family].title}: {' and '.join(misfits[family])}" for family in near)
    raise ModelFileError(f"It is a checkpoint of no family known here. What the nearest have: {reasons}.")


def _misfits(spec: ModelSpec, found: list[tuple[str, Layout]], unet: UNetSpec) -> Iterator[str]:
    """What about a file is not as in this family."""
    theirs, ours = (tuple(tower.kind for tower in spec.text), tuple(kind for _, kind in found))
    if theirs != ours:
        yield f"it has {_named(theirs)}, this file {_named(ours)}"
    if spec.unet.in_channels != unet.in_channels:
        yield f"it takes {spec.unet.in_channels} input channels, this file's noise predictor {unet.in_channels}"
    if (spec.unet.label_width is None) != (unet.label_width is None):
        yield f"it takes {'no' if spec.unet.label_width is None else 'a'} size vector"
    elif spec.unet.label_width is not None and not all(prefix.startswith(layouts.TEXT_PLACES[1][:-2]) for prefix, _ in found):
        yield "its text towers lie under conditioner.embedders"
    if spec.unet.guidance_width is not None and unet.guidance_width is None:
        yield "it takes the guidance scale as an input"


def _named(towers: tuple[Layout, ...]) -> str:
    if len(towers) < 2:
        return f"a {TOWERS[towers[0]]} text tower" if towers else "none"
    return f"{' and '.join(TOWERS[tower] for tower in towers)} text towers"
