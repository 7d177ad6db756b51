"""Load a whole model from one checkpoint file, and write one.

The networks are built without memory (torch's meta device), the file is read tensor by tensor, and each tensor becomes the
network's own: nothing is held twice and no file stays mapped. The whole plan (which key goes where, which are missing, which
have a wrong shape) is made from the header first, so that a file that does not fit is refused before any weight is read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from webui.errors import ModelFileError, quoted
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import ModelSpec, Prediction
from webui.nets.text import TextTower
from webui.nets.tokenizer import Tokenizer
from webui.nets.unet import UNetModel
from webui.weights import hashes, layouts
from webui.weights.families import MERGES_KEY, SPEC_KEY, as_velocity, detect, is_undecided
from webui.weights.files import Header, read_header, read_tensors, save
from webui.weights.rules import Piece, restored, translate
from webui.weights.vocabulary import clip_tokenizer

SHOWN = 5  # keys named in a message
PARTS = {"unet": "noise predictor", "vae": "autoencoder", "text0": "text tower", "text1": "second text tower"}
Plan = Mapping[str, tuple[tuple[str, Piece], ...]]  # key in the file -> which network gets which piece of it


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """The networks of one checkpoint, ready to be called, in evaluation mode and without gradients.

    `tokenizers` has one entry a text tower; `sha256` is None unless it was asked for.
    """

    spec: ModelSpec
    unet: UNetModel
    vae: AutoencoderKL
    text: tuple[TextTower, ...]
    tokenizers: tuple[Tokenizer, ...]
    path: Path
    sha256: str | None = None


def load(
    path: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, hash_cache: Path | None = None
) -> LoadedModel:
    """Load a checkpoint of any known family onto `device` in `dtype`; with `hash_cache`, a JSON file, its hash is found too.

    Raises `ModelFileError`, one sentence that says what is wrong with the file.
    """
    header = read_header(path)
    try:
        spec = detect(header)
        networks = build(spec)
        tokenizers = tokenizers_of(spec, header)
        plan = plan_of(spec, header)
        _check(plan, header, networks)
    except ModelFileError as error:
        raise ModelFileError(f"{path.name}: {error}") from error
    _fill(networks, plan, path, torch.device(device), dtype)
    unet, vae, text = _typed(networks)
    if is_undecided(header, spec) and predicts_velocity(unet):
        spec = as_velocity(spec)
    digest = None if hash_cache is None else hashes.sha256(path, hash_cache)
    return LoadedModel(spec=spec, unet=unet, vae=vae, text=text, tokenizers=tokenizers, path=path, sha256=digest)


def asked_prediction(path: Path, header: Header, spec: ModelSpec) -> Prediction:
    """Return what a checkpoint's noise predictor predicts, by loading it alone and calling it once."""
    try:
        unet = build(spec)["unet"]
        plan = {key: tuple(use for use in uses if use[0] == "unet") for key, uses in plan_of(spec, header).items()}
        _check(plan, header, {"unet": unet})
    except ModelFileError as error:
        raise ModelFileError(f"{path.name}: {error}") from error
    _fill({"unet": unet}, plan, path, torch.device("cpu"), torch.float32)
    assert isinstance(unet, UNetModel)
    return "v" if predicts_velocity(unet) else "eps"


def build(spec: ModelSpec) -> dict[str, nn.Module]:
    """Return the spec's networks by name ("unet", "vae", "text0", ...), without memory for their weights."""
    with torch.device("meta"):
        towers = {f"text{index}": TextTower(tower) for index, tower in enumerate(spec.text)}
        return {"unet": UNetModel(spec.unet), "vae": AutoencoderKL(spec.vae), **towers}


def tokenizers_of(spec: ModelSpec, header: Header) -> tuple[Tokenizer, ...]:
    """Return a tokenizer for each text tower: the file's own merges, if it carries them, else CLIP's."""
    if MERGES_KEY in header.metadata:
        try:
            merges = json.loads(header.metadata[MERGES_KEY])
        except (ValueError, RecursionError) as error:
            raise ModelFileError(f"The tokenizer in its metadata, {MERGES_KEY}, is not valid JSON.") from error
        if not isinstance(merges, list) or not all(isinstance(merge, str) for merge in merges):
            raise ModelFileError(f"The tokenizer in its metadata, {MERGES_KEY}, is not a list of merges.")
        tokenizer = Tokenizer(merges)
    else:
        tokenizer = clip_tokenizer()
    for tower in spec.text:
        if tower.vocabulary != tokenizer.size:
            raise ModelFileError(f"Its text tower knows {tower.vocabulary} tokens, its tokenizer {tokenizer.size}.")
    return (tokenizer,) * len(spec.text)


def plan_of(spec: ModelSpec, header: Header) -> Plan:
    """Return where every key of a single file goes; keys that nobody needs have no place, unknown ones raise `ModelFileError`."""
    towers = {prefix: index for index, (prefix, _) in enumerate(layouts.text_place(header.tensors))}
    plan: dict[str, tuple[tuple[str, Piece], ...]] = {}
    for key in header.tensors:
        tower = next((prefix for prefix in towers if key.startswith(prefix)), None)
        if layouts.IGNORED.fullmatch(key):
            plan[key] = ()
        elif key.startswith(layouts.UNET):
            plan[key] = (("unet", Piece(key.removeprefix(layouts.UNET))),)
        elif key.startswith(layouts.VAE):
            plan[key] = (("vae", Piece(key.removeprefix(layouts.VAE))),)
        elif tower is not None and towers[tower] < len(spec.text):
            rules = layouts.TEXT[spec.text[towers[tower]].kind]
            pieces = translate(rules, key.removeprefix(tower), f"a {spec.title} text tower")
            plan[key] = tuple((f"text{towers[tower]}", piece) for piece in pieces)
        else:
            raise ModelFileError(f"The key {quoted(key)} belongs to no part of a {spec.title} checkpoint.")
    return plan


def predicts_velocity(unet: UNetModel) -> bool:
    """Return whether a noise predictor predicts velocity, by one small call at the noisiest time.

    There a predictor of noise nearly returns its input; one of velocity returns minus the clean latent, which is far below. The
    bound is the one in general use: mean(output - input) < -1.
    """
    weight = next(unet.parameters())
    spec = unet.spec
    x = torch.full((1, spec.in_channels, 8, 8), 0.5, device=weight.device, dtype=weight.dtype)
    context = torch.full((1, 2, spec.context_width), 0.5, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        out = unet(x, torch.tensor([999.0], device=weight.device), context)
    return bool((out.float() - x[:, : spec.out_channels].float()).mean() < -1)


def save_checkpoint(
    path: Path,
    spec: ModelSpec,
    unet: nn.Module,
    vae: nn.Module,
    text: Sequence[nn.Module],
    merges: Sequence[str] | None = None,
    dtype: torch.dtype = torch.float16,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write one single-file checkpoint with the published key names, its spec and its tokenizer's merges in the metadata.

    Without `merges` the tokenizer is CLIP's. Raises `StorageError` if the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    tensors.update({layouts.UNET + key: value for key, value in unet.state_dict().items()})
    tensors.update({layouts.VAE + key: value for key, value in vae.state_dict().items()})
    for index, (tower, module) in enumerate(zip(spec.text, text, strict=True)):
        prefix = layouts.text_prefix(index, tower.kind, conditioner=spec.unet.label_width is not None)
        named = restored(layouts.TEXT[tower.kind], module.state_dict(), "a single file")
        tensors.update({prefix + key: value for key, value in named.items()})
    own = {"format": "pt", SPEC_KEY: json.dumps(spec.to_json())}
    if merges is not None:
        own[MERGES_KEY] = json.dumps(list(merges), ensure_ascii=False)
    save(path, {key: value.detach().to("cpu", dtype) for key, value in tensors.items()}, {**(metadata or {}), **own})


def _check(plan: Plan, header: Header, networks: Mapping[str, nn.Module]) -> None:
    """Raise unless every weight of every network comes from exactly one key, in the right shape."""
    states = {name: network.state_dict() for name, network in networks.items()}
    wanted = {(name, key): tuple(value.shape) for name, state in states.items() for key, value in state.items()}
    given = [(name, piece.key, piece.shape(header.tensors[key].shape)) for key, uses in plan.items() for name, piece in uses]
    counts = Counter((name, key) for name, key, _ in given)
    for name, state in states.items():
        if missing := [key for key in state if (name, key) not in counts]:
            raise ModelFileError(f"The {PARTS[name]} lacks {len(missing)} of {len(state)} weights: {_some(missing)}.")
    if extra := [key for name, key, _ in given if (name, key) not in wanted]:
        raise ModelFileError(f"It has {len(extra)} weights that a model of its kind does not have: {_some(extra)}.")
    if twice := [key for (_, key), count in counts.items() if count > 1]:
        raise ModelFileError(f"It has {len(twice)} weights twice: {_some(twice)}.")
    for name, key, shape in given:
        expected = wanted[name, key]
        if shape != expected and _unpadded(shape) != _unpadded(expected):
            raise ModelFileError(f"{key} of the {PARTS[name]} has the shape {list(shape)}, expected {list(expected)}.")


def _unpadded(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a matrix' shape without the 1x1 of a convolution: attention of autoencoders is written both ways."""
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape


def _some(keys: Sequence[str]) -> str:
    return ", ".join(quoted(key)[1:-1] for key in keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")


def _fill(networks: Mapping[str, nn.Module], plan: Plan, path: Path, device: torch.device, dtype: torch.dtype) -> None:
    shapes = {name: {key: value.shape for key, value in network.state_dict().items()} for name, network in networks.items()}
    states: dict[str, dict[str, Tensor]] = {name: {} for name in networks}
    for name, key, value in _pieces(plan, path):
        # contiguous: a transposed or cut piece must not keep the whole of what it was cut from
        states[name][key] = value.to(device, dtype).reshape(shapes[name][key]).contiguous()
    for name, network in networks.items():
        network.load_state_dict(states.pop(name), strict=True, assign=True)
        network.eval().requires_grad_(False)


def _pieces(plan: Plan, path: Path) -> Iterator[tuple[str, str, Tensor]]:
    for key, tensor in read_tensors(path, [key for key, uses in plan.items() if uses]):
        for name, piece in plan[key]:
            cut = piece.take(tensor)
            yield name, piece.key, cut if cut is tensor else cut.clone(memory_format=torch.contiguous_format)


def _typed(networks: Mapping[str, nn.Module]) -> tuple[UNetModel, AutoencoderKL, tuple[TextTower, ...]]:
    unet, vae = networks["unet"], networks["vae"]
    assert isinstance(unet, UNetModel) and isinstance(vae, AutoencoderKL)
    return unet, vae, tuple(network for network in networks.values() if isinstance(network, TextTower))
