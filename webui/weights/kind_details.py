"""What is known of files that are no checkpoints: how large, for which models, and whether they are whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from webui.errors import ModelFileError
from webui.weights import controlnet_layouts, depth_layouts, kinds, upscaler_layouts, vae_files
from webui.weights.completeness import misfits
from webui.weights.depth_expected import depth_weights
from webui.weights.expected import vae_weights
from webui.weights.files import Header
from webui.weights.kinds import Kind
from webui.weights.plans import some
from webui.weights.shapes import vae_spec
from webui.weights.upscaler_layouts import upscaler_weights

Details = tuple[str, tuple[str, ...]]  # what it is, in words that end a sentence; what is wrong with it, as sentences
MODELS = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL", 1280: "Stable Diffusion XL"}
DOWN = re.compile(r"(?P<module>.+?)[._](lora_down|lora_A|lora\.down|lora_linear_layer\.down)(\.default)?\.weight")
UP = re.compile(r"(?P<module>.+?)[._](lora_up|lora_B|lora\.up|lora_linear_layer\.up)(\.default)?\.weight")
MID = re.compile(r"(?P<module>.+?)[._]lora_mid\.weight")
CROSS = re.compile(r"attn2[._](processor[._])?to_[kv]$")  # the end of a module whose input is the text
HADAMARD = re.compile(r"(?P<module>.+)\.hada_(?P<part>w[12]_[ab])")
PARTS = {"w1_a", "w1_b", "w2_a", "w2_b"}


def details(kind: Kind, header: Header) -> Details:
    """What a file of a kind is, and what is wrong with it."""
    found = TABLE.get(kind.name)
    return (kind.name, ()) if found is None else found(header)


def lora(header: Header) -> Details:
    """Pairs of low-rank weights: one for each module they change."""
    down, up, mid = (_modules(pattern, header) for pattern in (DOWN, UP, MID))
    faults = []
    for given, other, name in ((down, up, "upper"), (up, down, "lower")):
        if alone := [module for module in given if module not in other]:
            faults.append(f"{len(alone)} modules lack their {name} half: {some(alone)}.")
    unlike = [module for module in down.keys() & up.keys() - mid.keys() if down[module][:1] != up[module][1:2]]
    if unlike:
        faults.append(f"the halves of {len(unlike)} modules do not fit each other: {some(sorted(unlike))}.")
    whole: dict[str, set[str]] = {}
    for key in header.tensors:
        if match := HADAMARD.fullmatch(key):
            whole.setdefault(match["module"], set()).add(match["part"])
    if broken := [module for module, parts in whole.items() if parts != PARTS]:
        faults.append(f"{len(broken)} modules lack some of hada_w1_a, w1_b, w2_a, w2_b: {some(broken)}.")
    ranks = sorted({shape[0] for shape in down.values() if shape})
    rank = f" of rank {ranks[0]}" + (f" to {ranks[-1]}" if len(ranks) > 1 else "") if ranks else ""
    widths = {shape[1] for module, shape in down.items() if len(shape) == 2 and CROSS.search(module)}
    return f"a LoRA with {len(down) or len(whole) or len(header.tensors)} {'modules' if down or whole else 'tensors'}{rank}" + (
        f" for {MODELS[min(widths)]}" if len(widths) == 1 and widths <= MODELS.keys() else ""
    ), tuple(faults)


def vae(header: Header) -> Details:
    """An autoencoder alone."""
    try:
        offers = vae_files.offered({Path(): header})
        spec = vae_spec({given.piece.key: given.piece.shape(given.info.shape) for given in offers})
        faults = tuple(misfits({"vae": dict(vae_weights(spec))}, offers))
    except ModelFileError as error:
        return kinds.VAE_FILE.name, (str(error),)
    except (ValueError, IndexError, ZeroDivisionError) as error:
        return kinds.VAE_FILE.name, (f"its weights have shapes that no autoencoder has ({error}).",)
    return f"a VAE, {spec.factor} pixels a side, {spec.latent_channels} channels", faults


def embedding(header: Header) -> Details:
    """Vectors that stand for a word."""
    shapes = [info.shape for key, info in header.tensors.items() if key != "string_to_token"]
    if odd := [list(shape) for shape in shapes if len(shape) not in (1, 2) or shape[-1] not in MODELS]:
        return kinds.EMBEDDING.name, (f"vectors of the shape {odd[0]} are for no model known here.",)
    count = shapes[0][0] if len(shapes[0]) == 2 else 1
    model = MODELS[max(shape[-1] for shape in shapes)]
    return f"a textual inversion of {count} vector{'s' if count > 1 else ''} for {model}", ()


def hypernetwork(header: Header) -> Details:
    """Networks by the width of the text or the layer that they change, two a width: for keys and for values."""
    found: dict[str, set[str]] = {}
    for key in header.tensors:
        width, _, rest = key.partition(".")
        if width.isdecimal():
            found.setdefault(width, set()).add(rest.partition(".")[0])
    alone = [width for width, halves in found.items() if halves != {"0", "1"}]
    faults = (f"of the networks for the widths {', '.join(alone)} those for keys or for values are missing.",) if alone else ()
    return f"a hypernetwork for the widths {', '.join(sorted(found, key=int))}", faults


def upscaler(header: Header) -> Details:
    """A network that enlarges pictures; of one that is not built in nothing more is known than its name."""
    try:
        if (other := upscaler_layouts.other_in(header)) is not None:
            return f"an upscaler of another kind ({other}), which is not built in; an extension can add it", ()
        found = upscaler_layouts.described(header, Path())
    except ModelFileError as error:
        return kinds.UPSCALER.name, (str(error),)
    part, title = upscaler_layouts.PART, upscaler_layouts.title(found.spec)
    return title, tuple(misfits({part: dict(upscaler_weights(found.spec))}, found.offers, {part: found.rules}))


def controlnet(header: Header) -> Details:
    """A network that steers another one by a picture."""
    try:
        found = controlnet_layouts.described(header, Path())
    except ModelFileError as error:
        return kinds.CONTROLNET.name, (str(error),)
    part, wanted = controlnet_layouts.PART, dict(controlnet_layouts.control_weights(found.spec))
    return controlnet_layouts.title(found.spec), tuple(misfits({part: wanted}, found.offers, {part: found.rules}))


def estimator(header: Header) -> Details:
    """A network that sees how near things are."""
    try:
        if depth_layouts.SMALL_MARK in header.tensors:
            # It needs torch, which is imported for nothing else of what is here.
            from webui.weights.depth_files import small_offers, small_spec, small_title, small_weights

            small = small_spec(header)
            if small is None:
                return kinds.ESTIMATOR.name, ("its metadata does not describe it.",)
            return small_title(small), tuple(misfits({depth_layouts.PART: small_weights(small)}, small_offers(header, Path())))
        found = depth_layouts.described_header(header)
    except ModelFileError as error:
        return kinds.ESTIMATOR.name, (str(error),)
    part = depth_layouts.PART
    wrong = misfits({part: dict(depth_weights(found.spec))}, found.offers, {part: found.rules})
    return depth_layouts.title(found.spec), tuple(wrong)


def _modules(pattern: re.Pattern[str], header: Header) -> dict[str, tuple[int, ...]]:
    return {match["module"]: info.shape for key, info in header.tensors.items() if (match := pattern.fullmatch(key))}


TABLE: Mapping[str, Callable[[Header], Details]] = {
    kinds.LORA.name: lora, kinds.VAE_FILE.name: vae, kinds.EMBEDDING.name: embedding, kinds.HYPERNETWORK.name: hypernetwork,
    kinds.UPSCALER.name: upscaler, kinds.ESTIMATOR.name: estimator, kinds.CONTROLNET.name: controlnet,
}  # fmt: skip
