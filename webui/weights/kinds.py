"""Which kind of file a file is: every known kind is tried by the names of its tensors, and says what it would need.

A kind is data: what some key must look like, what no key may look like, and what to do with such a file. Names of tensors tell
kinds apart, names of files never do.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

from webui.errors import quoted
from webui.weights import layouts
from webui.weights.upscaler_kinds import NETWORKS

NEAREST = 3  # kinds told of a file that is none
LONGEST_KEY, MOST_KEYS = 300, 50_000  # looked at; published files stay far below
UNET, VAE = re.escape(layouts.UNET), re.escape(layouts.VAE)
TOWER = r"cond_stage_model\.|conditioner\.embedders\."


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something that a kind has: in words, and what a key of it begins with, as a regular expression."""

    words: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file: all it `needs` is there, and no key begins like one of `never`. `advice` is a sentence without its dot."""

    name: str
    needs: tuple[Need, ...]
    never: str | None = None
    advice: str

    def missing(self, keys: str) -> tuple[str, ...]:
        """What a file lacks to be one, in words; `keys` has a key a line."""
        return tuple(need.words for need in self.needs if not _begins(keys, need.key))

    def is_it(self, keys: str) -> bool:
        """Whether a file with these keys is one."""
        return not self.missing(keys) and not (self.never and _begins(keys, self.never))


def _kind(name: str, advice: str, *needs: tuple[str, str], never: str | None = None) -> Kind:
    return Kind(name=name, advice=advice, needs=tuple(Need(words=words, key=key) for words, key in needs), never=never)


CHECKPOINT = _kind(
    "a checkpoint", "Put it into models/checkpoints",
    ("a noise predictor (model.diffusion_model.input_blocks)", rf"{UNET}input_blocks\."),
)  # fmt: skip
LORA = _kind(
    "a LoRA", "Put it into models/Lora",
    (
        "pairs of low-rank weights (lora_up and lora_down, or the like)",
        r".*[._](lora[._]?(up|down|A|B|mid)\b|lora_linear_layer|hada_w[12]|lokr_w[12]|oft_(blocks|diag)|dora_scale)"
        r"|lora_(unet|te\d?|transformer)_|lycoris_",
    ),
    never=rf"{VAE}|image_proj\.|ip_adapter\.",
)  # fmt: skip
VAE_FILE = _kind(
    "a VAE", "Put it into models/VAE",
    ("an encoder (encoder.conv_in)", rf"({VAE})?encoder\.conv_in\."),
    ("a decoder (decoder.conv_in)", rf"({VAE})?decoder\.conv_in\."),
    never=UNET,
)  # fmt: skip
EMBEDDING = _kind(
    "a textual inversion", "Put it into models/embeddings",
    ("vectors for a word (emb_params, string_to_param, clip_l, clip_g)", r"emb_params$|string_to_param|clip_[gl]$|<[^<>\n]+>$"),
)  # fmt: skip
HYPERNETWORK = _kind(
    "a hypernetwork", "Put it into models/hypernetworks",
    ("networks by width (320, 640, 768, 1280 ...)", r"(320|640|768|1024|1280)\.[01]\.linear"),
)  # fmt: skip
CONTROLNET = _kind(
    "a ControlNet", "Put it into models/ControlNet",
    ("layers that control another network", r"control_model\.|(.*\.)?controlnet_|zero_convs\.|input_hint_block\."),
)  # fmt: skip
UPSCALER = _kind(
    "an upscaler", "Put it into models/upscalers",
    (
        "the first layers of an upscaling network (conv_first, body, model.0)",
        r"((params(_ema)?|(model_)?state_dict|module|generator)\.)?(conv_first\.|body\.\d+\.(weight|rdb)|RRDB_trunk\."
        rf"|model\.(0\.(weight|bias)|1\.sub\.)|{'|'.join(NETWORKS.values())})",
    ),
)  # fmt: skip
ESTIMATOR = _kind(
    "a depth estimator", "Put it into models/depth",
    (
        "the layers of an estimator of depth (neck.fusion_stage, scratch.refinenet)",
        r"neck\.(reassemble|fusion)_stage\.|scratch\.refinenet|pretrained\.model\.blocks\.|depth_head\.|depth_model\.model\."
        r"|start\.0\.weight$",
    ),
)  # fmt: skip
TEXT_ENCODER = _kind(
    "a text encoder alone", "Checkpoints bring their own; choose a complete checkpoint",
    (
        "the layers of a text encoder",
        r"(text_model\.|text_encoder\.|model\.)?(encoder\.(layers|block)\.0\.|transformer\.resblocks\.0\.|embeddings\.token_emb)"
        r"|shared\.weight$",
    ),
)  # fmt: skip
DIFFUSERS_UNET = _kind(
    "the noise predictor of a diffusers folder", "Choose the folder that holds model_index.json",
    ("blocks as diffusers names them (down_blocks)", r"down_blocks\.\d+\.(resnets|attentions)\."),
    ("its first layer (conv_in)", r"conv_in\.weight$"),
)  # fmt: skip
UNET_ALONE = _kind(
    "a noise predictor alone", "It needs a text tower and an autoencoder beside it; use a complete checkpoint",
    ("a noise predictor (input_blocks)", rf"({UNET})?input_blocks\.\d+\."),
    never=rf"{VAE}|{TOWER}|input_hint_block|zero_convs",
)  # fmt: skip

# Files with other networks or noise levels than those known here, which would else be taken for checkpoints or for broken.
OTHERS = tuple(
    _kind(name, "It cannot be used here", (words, key))
    for name, words, key in (
        ("a Flux model", "double blocks", r"(model\.diffusion_model\.|transformer\.)?(double|single_transformer)_blocks\."),
        ("a Stable Diffusion 3 model", "joint blocks", r"(model\.diffusion_model\.)?joint_blocks\."),
        ("a Stable Cascade model", "its text mapper", r"(model\.diffusion_model\.)?clip_txt_(pooled_)?mapper\."),
        ("an unCLIP model, which varies pictures", "an embedder of pictures", r"embedder\.model\."),
        ("an AltDiffusion model", "a Roberta text tower", r"cond_stage_model\.roberta\."),
        ("an x4 upscaling model", "a table of noise levels", rf"{UNET}label_emb\.weight$"),
        ("a CosXL model, which was trained with other noise levels (EDM)", "its noise levels", r"edm_vpred\.sigma_"),
        ("a Playground 2.5 model, which was trained with other noise levels (EDM)", "its latents' mean", r"edm_mean$"),
        ("a video model", "layers over time", rf"({UNET})?input_blocks\.\d+\.\d+\.time_(stack|mixer)"),
        ("a motion module (AnimateDiff)", "motion modules", r"(module\.)?(down|up)_blocks\.\d+\.motion_modules\."),
        ("a Control-LoRA", "its mark", r"lora_controlnet"),
        ("a ControlNet-LLLite", "its modules", r"lllite_"),
        ("an IP-Adapter", "a projection of pictures", r"(image_proj|ip_adapter)\."),
        ("a T2I-Adapter", "an adapter's body", r"(adapter\.)?body\.\d+\.(block1|resnets|in_conv)"),
        ("a picture encoder (CLIP vision)", "vision layers", r"(vision_model|visual)\."),
        ("a small autoencoder for previews", "its layers", r"(taesd_)?((en|de)coder\.(layers\.)?)?[13]\.conv\.0\.weight$"),
    )
)
KINDS = (
    LORA, *OTHERS, UNET_ALONE, CHECKPOINT, VAE_FILE, EMBEDDING, HYPERNETWORK, CONTROLNET, DIFFUSERS_UNET, ESTIMATOR, TEXT_ENCODER,
    UPSCALER,
)  # fmt: skip


def kind_of(keys: Collection[str]) -> Kind | None:
    """The first kind that a file with these keys is, None where it is none."""
    lines = _lines(keys)
    return next((kind for kind in KINDS if kind.is_it(lines)), None)


def refusal(keys: Collection[str]) -> str:
    """Why a file with these keys is no checkpoint, as sentences: what it is instead, or what each of the nearest kinds lacks."""
    kind = kind_of(keys)
    if kind is not None:
        return f"It is {kind.name}, not a checkpoint. {kind.advice}."
    lines = _lines(keys)
    near = sorted(KINDS, key=lambda kind: (kind is not CHECKPOINT, len(kind.missing(lines)) / len(kind.needs)))
    reasons = [f"{kind.name} would hold {_all(kind.missing(lines))}" for kind in near if kind not in OTHERS][:NEAREST]
    begin = ", ".join(quoted(key) for key in sorted(keys)[:NEAREST])
    held = f"its {len(keys)} keys begin with {begin}" if keys else "it holds no weights"
    return f"It is not a checkpoint, nor any other kind of file known here: {held}; {'; '.join(reasons)}."


def _begins(keys: str, pattern: str) -> bool:
    return re.search(f"^(?:{pattern})", keys, re.MULTILINE) is not None


def _lines(keys: Collection[str]) -> str:
    return "\n".join(key[:LONGEST_KEY] for key in islice(keys, MOST_KEYS))


def _all(words: tuple[str, ...]) -> str:
    return " and ".join(words)
