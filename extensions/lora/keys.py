"""The keys of LoRA files: which part of which module each is, in the layouts of kohya, diffusers, PEFT and LyCORIS.

A key is a prefix that names the network, the module's name (with dots, or with underscores in their stead), and the part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

UNET, TEXT, TEXT2, ANY = "unet", "te1", "te2", ""
OTHERS = ("te3", "transformer", "prior", "vae")  # networks that no model here has, or nobody changes
PREFIXES: Sequence[tuple[str, str]] = (
    ("lora_unet_", UNET), ("oft_unet_", UNET), ("lora_te1_", TEXT), ("lora_te2_", TEXT2), ("lora_te3_", "te3"),
    ("lora_te_", TEXT), ("lora_prior_", "prior"), ("lora_transformer_", "transformer"), ("lycoris_", ANY), ("unet.", UNET),
    ("text_encoder_2.", TEXT2), ("text_encoder_3.", "te3"), ("text_encoder.", TEXT), ("text_encoders.clip_l.transformer.", TEXT),
    ("text_encoders.clip_g.transformer.", TEXT2), ("text_encoders.", "te3"), ("clip_l.", TEXT), ("clip_g.", TEXT2),
    ("model.diffusion_model.", UNET), ("diffusion_model.", UNET), ("cond_stage_model.transformer.", TEXT),
    ("cond_stage_model.model.", TEXT), ("conditioner.embedders.0.transformer.", TEXT), ("conditioner.embedders.1.model.", TEXT2),
    ("first_stage_model.", "vae"), ("transformer.resblocks.", TEXT), ("transformer.", "transformer"),
)  # fmt: skip
KEPT = "transformer.resblocks."  # a prefix that belongs to the name
WRAPPED = "base_model.model."  # what PEFT puts before the name of a model's module

ADAPTER = r"(?:\.[^.]+)?"  # PEFT may name the adapter: lora_A.default.weight
PLAIN = (
    "alpha|scalar|dora_scale|hada_w1_a|hada_w1_b|hada_w2_a|hada_w2_b|hada_t1|hada_t2|lokr_w1|lokr_w1_a|lokr_w1_b|lokr_w2"
    "|lokr_w2_a|lokr_w2_b|lokr_t2|ia3_l|oft_blocks|oft_diag|rescale|oft_R|diff|diff_b|w_norm|b_norm|set_weight|on_input"
)
KEY = re.compile(
    rf"(?P<module>.+?)(?:(?P<up>[._]lora[._]up(?:\.weight)?|[._]lora_linear_layer\.up\.weight|\.lora_B{ADAPTER}\.weight)"
    rf"|(?P<down>[._]lora[._]down(?:\.weight)?|[._]lora_linear_layer\.down\.weight|\.lora_A{ADAPTER}\.weight)"
    rf"|(?P<mid>[._]lora[._]mid(?:\.weight)?)|(?P<up_bias>[._]lora[._]up\.bias|\.lora_B{ADAPTER}\.bias)"
    rf"|(?P<magnitude>\.lora_magnitude_vector{ADAPTER}(?:\.weight)?)"
    rf"|\.(?P<glora>a1|a2|b1|b2|bm)\.weight|\.(?P<plain>{PLAIN}){ADAPTER}(?:\.weight)?|\.(?P<weight>weight))"
)
BUNDLED = re.compile(r"bundle_emb\.(?P<name>[^.]+)\.(?P<part>.+)")  # an embedding within the file of a LoRA
PROCESSOR = re.compile(r"_processor(?=_to_)")  # diffusers kept LoRAs in attention processors, and dots become underscores here
SHORT = {"to_out_lora": "to_out_0", "to_q_lora": "to_q", "to_k_lora": "to_k", "to_v_lora": "to_v", "to_out": "to_out_0"}
TOWER = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out_0": "out_proj"}  # as diffusers once called a tower's


@dataclass(frozen=True, kw_only=True)
class Module:
    """What a file has of one module: the file's keys by part. `name` has underscores for dots; `path` is as it is written.

    `rotates` says that the file calls its modules "oft_unet_...", as kohya's own kind of OFT does.
    """

    network: str
    name: str
    path: str
    rotates: bool = False
    parts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a file has: `modules`, embeddings by name and part, and keys that say nothing here."""

    modules: Sequence[Module]
    embeddings: Mapping[str, Mapping[str, str]]
    unknown: Sequence[str]


def contents(keys: Iterable[str]) -> Contents:
    """What the keys of a file say."""
    modules: dict[tuple[str, str], Module] = {}
    embeddings: dict[str, dict[str, str]] = {}
    unknown = []
    for key in keys:
        if bundled := BUNDLED.fullmatch(key):
            embeddings.setdefault(bundled["name"], {})[bundled["part"]] = key
            continue
        match = KEY.fullmatch(key)
        if match is None:
            unknown.append(key)
            continue
        network, name, path = placed(match["module"])
        own = modules.setdefault(
            (network, name), Module(network=network, name=name, path=path, rotates=key.startswith("oft_unet_"))
        )
        own.parts[part_of(match)] = key
    found = []
    for module in modules.values():
        if "weight" in module.parts and "on_input" not in module.parts:  # a whole weight, which is nothing of a LoRA's
            unknown.append(module.parts.pop("weight"))
        if module.parts:
            found.append(module)
    return Contents(modules=tuple(found), embeddings=embeddings, unknown=tuple(unknown))


def part_of(match: re.Match[str]) -> str:
    """What a key is of its module."""
    found = {name: text for name, text in match.groupdict().items() if name != "module" and text is not None}
    name, text = next(iter(found.items()))
    return text if name in ("plain", "glora") else name


def placed(written: str) -> tuple[str, str, str]:
    """The network of a module, its name with underscores, and its name as the network's own program has it."""
    path = written.removeprefix(WRAPPED)
    network = ANY
    for prefix, meant in PREFIXES:
        if path.startswith(prefix):
            network, path = meant, path if prefix == KEPT else path.removeprefix(prefix)
            break
    path = path.removeprefix(WRAPPED)
    name = PROCESSOR.sub("", path.replace(".", "_"))
    for short, whole in SHORT.items():
        if name.endswith(f"_{short}"):
            name = name.removesuffix(short) + whole
            break
    if "_self_attn_" in f"_{name}":
        for short, whole in TOWER.items():
            name = name.removesuffix(short) + whole if name.endswith(f"_{short}") else name
    return network, name, path
