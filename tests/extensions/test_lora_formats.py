"""LoRA files in every layout and of every kind change weights as the programs that made them do; every key is accounted for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from extensions.lora import job as lora_job
from extensions.lora import keys
from tests.extensions.lora_making import KINDS, Folder, job, merged, named, parts, saved
from tests.nets.families import UNET, assert_same, unet
from tests.random_weights import checkpoint, header, random_tensor
from webui.engine.holding import UNET as UNET_PLACE
from webui.engine.patched import patched
from webui.nets.spec import ModelSpec
from webui.weights.families import detect
from webui.weights.files import Header, TensorInfo

DATA = Path(__file__).parents[1] / "data"
ADAPTERS = DATA / "adapters"
EXPECTED = load_file(ADAPTERS / "expected.safetensors")
GIVEN = load_file(DATA / "sd15-tiny.safetensors")
PREFIXES = {"unet": UNET, "te": "cond_stage_model.transformer."}
RECORDED = {
    "kohya_locon": 0.75, "lycoris_locon": 0.75, "lycoris_loha": 0.75, "lycoris_lokr": 0.75, "lycoris_dora_in@1.0": 1.0,
    "lycoris_norm": 0.75, "lycoris_diag_oft@1.0": 1.0, "peft_lora": 0.75,
}  # fmt: skip
MODULE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
WEIGHT = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"


@cache
def weights(name: str = "sd15-tiny") -> dict[str, Tensor]:
    return checkpoint(name)


@cache
def spec(name: str = "sd15-tiny") -> ModelSpec:
    infos = {key: TensorInfo(shape=tuple(shape), dtype="F32") for key, (shape, _) in header(name).items()}
    return detect(Header(tensors=infos, metadata={}))


def applied(folder: Path, *tags: str, model: str = "sd15-tiny", **more: Any) -> tuple[dict[str, Tensor], list[str]]:
    """The weights that tags change, and what is told of them."""
    own = job(Folder(folder), spec(model), weights(model), *tags, **more)
    return merged(weights(model), lora_job.merged_patches(own)), own.sentences  # type: ignore[arg-type]


def of_module(folder: Path, tensors: Mapping[str, Tensor], strength: float = 1.0, weight: str = WEIGHT) -> Tensor:
    """What a file with one module makes of its weight."""
    saved(folder / "one.safetensors", tensors)
    changed, sentences = applied(folder, f"one:{strength}")
    assert not sentences and weight in changed
    return changed[weight]


# --- equal to what others recorded ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDED)
def test_the_weights_are_those_of_the_programs_that_made_the_files(name: str) -> None:
    changed, sentences = applied(ADAPTERS, f"{name.partition('@')[0]}:{RECORDED[name]}")
    expected = {key: value for key, value in EXPECTED.items() if key.startswith(f"{name}|") and "unet_out" not in key}
    assert len(expected) >= 6 and not sentences
    for key, value in expected.items():
        _, network, own = key.split("|")
        found, before = changed[PREFIXES[network] + own], weights()[PREFIXES[network] + own]
        assert (found - value).abs().max() <= 1e-5 * value.abs().max() and (before - value).abs().max() > 1e-3


@pytest.mark.parametrize("name", [name for name in RECORDED if f"{name}|unet_out.a" in EXPECTED])
def test_the_network_answers_as_elsewhere(name: str) -> None:
    own = job(Folder(ADAPTERS), spec(), weights(), f"{name.partition('@')[0]}:{RECORDED[name]}")
    network = unet("sd15-tiny")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    changed, new = patched(network, UNET_PLACE, lora_job.merged_patches(own).weights)  # type: ignore[arg-type]
    x, t, context = (GIVEN[f"unet.a.{each}"] for each in ("x", "t", "ctx"))
    expected = EXPECTED[f"{name}|unet_out.a"]
    assert len(new) >= 16
    assert_same(changed(x, t, context), expected)
    assert (network(x, t, context) - expected).abs().max() > 1e-2
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


class Tree(nn.Module):
    """Layers under names with dots, as a program has them that trains some of a model's."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, layer in layers.items():
            place: nn.Module = self
            *path, last = name.split(".")
            for each in path:
                if each not in place._modules:
                    place.add_module(each, Tree({}))
                place = place.get_submodule(each)
            place.add_module(last, layer)


LAYERS = {  # names in diffusers, and the weights of the single file
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": "input_blocks.1.1.transformer_blocks.0.attn1.to_q",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k": "input_blocks.1.1.transformer_blocks.0.attn2.to_k",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0": "input_blocks.1.1.transformer_blocks.0.attn1.to_out.0",
    "down_blocks.0.resnets.0.conv1": "input_blocks.1.0.in_layers.2",
}


def layers() -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {}
    for name, own in LAYERS.items():
        weight = weights()[f"{UNET}{own}.weight"]
        bias = weights().get(f"{UNET}{own}.bias")
        layer = (
            nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None) if weight.dim() == 2
            else nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
        )  # fmt: skip
        layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
        found[name] = layer
    return found


@pytest.mark.parametrize("made", [
    ("LoraConfig", {"r": 3, "lora_alpha": 5}), ("LoraConfig", {"r": 4, "lora_alpha": 3, "use_rslora": True}),
    ("LoraConfig", {"r": 4, "lora_alpha": 3, "alpha_pattern": {"attn2.to_k": 9}}),
    ("LoraConfig", {"r": 3, "use_dora": True, "lora_alpha": 5}),
    ("LoHaConfig", {"r": 3, "alpha": 5}), ("LoHaConfig", {"r": 3, "alpha": 5, "use_effective_conv2d": True}),
    ("LoKrConfig", {"r": 3, "alpha": 5}),
    ("LoKrConfig", {"r": 2, "alpha": 5, "decompose_both": True, "use_effective_conv2d": True}),
    ("IA3Config", {"feedforward_modules": ["0.attentions.0.transformer_blocks.0.attn1.to_out.0"]}),
    ("OFTConfig", {"oft_block_size": 4}),
], ids=str)  # fmt: skip
def test_merged_weights_equal_those_of_peft(made: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    import peft

    torch.manual_seed(3)
    kind, settings = made
    config = getattr(peft, kind)(target_modules=[name.split(".", 1)[1] for name in LAYERS], **settings)
    model = peft.get_peft_model(Tree(layers()), config)  # type: ignore[arg-type]
    for name, weight in model.named_parameters():
        if weight.requires_grad and "magnitude" not in name:
            weight.data = torch.randn_like(weight) * (0.05 if kind == "OFTConfig" else 0.3)
    state = {key.replace("base_model.model.", "unet."): value for key, value in peft.get_peft_model_state_dict(model).items()}
    told = {f"unet.{name}": value for name, value in settings.items()}
    saved(tmp_path / "peft.safetensors", {key: value.contiguous() for key, value in state.items()},
          lora_adapter_metadata=json.dumps(told))  # fmt: skip
    changed, sentences = applied(tmp_path, "peft")
    whole = model.merge_and_unload()
    assert not sentences
    for name, own in LAYERS.items():
        for which, expected in whole.get_submodule(name).named_parameters():
            key = f"{UNET}{own}.{which}"
            found = changed.get(key, weights()[key])
            assert (found - expected).abs().max() <= 1e-5 * expected.abs().max(), (name, which)
    assert {f"{UNET}{own}.weight" for own in LAYERS.values()} <= changed.keys()


# --- layouts ----------------------------------------------------------------------------------------------------------

SPELLINGS = (  # of a module's up and down
    ("lora_unet_{kohya}.lora_up.weight", "lora_unet_{kohya}.lora_down.weight"),
    ("lora_unet_{ldm}.lora_up.weight", "lora_unet_{ldm}.lora_down.weight"),
    ("lycoris_{kohya}.lora_up.weight", "lycoris_{kohya}.lora_down.weight"),
    ("unet.{dots}.lora_B.weight", "unet.{dots}.lora_A.weight"),
    ("unet.base_model.model.{dots}.lora_B.default.weight", "unet.base_model.model.{dots}.lora_A.default.weight"),
    ("base_model.model.{dots}.lora_B.weight", "base_model.model.{dots}.lora_A.weight"),
    ("unet.{dots}.lora.up.weight", "unet.{dots}.lora.down.weight"),
    ("unet.{dots}.lora_linear_layer.up.weight", "unet.{dots}.lora_linear_layer.down.weight"),
    ("unet.{processor}_lora.up.weight", "unet.{processor}_lora.down.weight"),
    ("{processor}_lora.up.weight", "{processor}_lora.down.weight"),
    ("diffusion_model.{ldm_dots}.lora_up.weight", "diffusion_model.{ldm_dots}.lora_down.weight"),
    ("{dots}.lora_B.weight", "{dots}.lora_A.weight"),
)
DOTS = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
LDM = "input_blocks.1.1.transformer_blocks.0.attn1.to_out.0"


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_a_module_is_the_same_however_it_is_called(spelling: tuple[str, str], tmp_path: Path) -> None:
    names = {
        "kohya": DOTS.replace(".", "_"), "ldm": LDM.replace(".", "_"), "dots": DOTS, "ldm_dots": LDM,
        "processor": DOTS.replace("attn1.to_out.0", "attn1.processor.to_out"),
    }  # fmt: skip
    weight = weights()[f"{UNET}{LDM}.weight"]
    up, down = random_tensor("up", (weight.shape[0], 2)), random_tensor("down", (2, weight.shape[1]))
    tensors = {spelling[0].format_map(names): up, spelling[1].format_map(names): down}
    found = of_module(tmp_path, tensors, 0.5, f"{UNET}{LDM}.weight")
    assert torch.allclose(found, weight + 0.5 * up @ down, atol=1e-6)


@pytest.mark.parametrize(("model", "prefixes"), [
    ("sd15-tiny", (("cond_stage_model.transformer.", ("lora_te_", "lora_te1_", "text_encoder.", "clip_l.")),)),
    ("sd21-v-tiny", (("cond_stage_model.model.", ("lora_te_", "text_encoder.")),)),
    ("sdxl-tiny", (("conditioner.embedders.0.transformer.", ("lora_te1_", "text_encoder.", "clip_l.")),
                   ("conditioner.embedders.1.model.", ("lora_te2_", "text_encoder_2.", "clip_g."))))
])  # fmt: skip
def test_text_towers_are_known_by_the_names_of_transformers(model: str, prefixes: Any, tmp_path: Path) -> None:
    """Query, key and value of OpenCLIP's towers are one matrix; each module changes its own third of it."""
    for prefix, spellings in prefixes:
        fused = f"{prefix}transformer.resblocks.0.attn.in_proj_weight"
        for place, letter in enumerate("qkv"):
            for spelling in spellings:
                separator = "_" if spelling.endswith("_") else "."
                module = spelling + f"text_model.encoder.layers.0.self_attn.{letter}_proj".replace(".", separator)
                plain = f"{prefix}text_model.encoder.layers.0.self_attn.{letter}_proj.weight"
                key = fused if fused in weights(model) else plain
                width = weights(model)[key].shape[1]
                up, down = random_tensor(letter, (width, 2)), random_tensor("down", (2, width))
                saved(tmp_path / "one.safetensors", named(module, {"lora_up.weight": up, "lora_down.weight": down}))
                changed, sentences = applied(tmp_path, "one:9:0.5", model=model)
                expected = weights(model)[key].clone()
                rows = slice(place * width, (place + 1) * width) if key == fused else slice(None)
                expected[rows] += 0.5 * up @ down
                assert not sentences and changed.keys() == {key} and torch.allclose(changed[key], expected, atol=1e-6)


@pytest.mark.parametrize("lost", ["lora_up.weight", "lora_down.weight", "alpha"])
def test_a_module_with_nothing_in_it_is_left_out(lost: str, tmp_path: Path) -> None:
    weight = weights()[f"{UNET}{LDM}.weight"]
    own = {"lora_up.weight": torch.ones(weight.shape[0], 2), "lora_down.weight": torch.ones(2, weight.shape[1]),
           "alpha": torch.ones(())}  # fmt: skip
    empty = {"lora_up.weight": (weight.shape[0], 0), "lora_down.weight": (0, weight.shape[1]), "alpha": (0,)}
    shapes = (lost,) if lost == "alpha" else ("lora_up.weight", "lora_down.weight")
    saved(tmp_path / "one.safetensors", named(f"lora_unet_{LDM.replace('.', '_')}", own | {
        name: torch.ones(empty[name]) for name in shapes
    }))  # fmt: skip
    changed, sentences = applied(tmp_path, "one")
    assert not changed and sentences == ["The LoRA 'one': applied 0 of 1; 1 has no place in this model."]


@pytest.mark.parametrize("told", [
    '{"a":' * 5000, '{"unet.lora_alpha": NaN}', '{"unet.lora_alpha": 1e999}', f'{{"unet.lora_alpha": {"9" * 4000}}}',
    '{"unet.alpha_pattern": {"to_out.0": Infinity}}',
])  # fmt: skip
def test_settings_that_mean_nothing_are_passed_over(told: str, tmp_path: Path) -> None:
    weight = weights()[f"{UNET}{LDM}.weight"]
    up, down = torch.ones(weight.shape[0], 2), torch.ones(2, weight.shape[1])
    pair = {f"unet.{DOTS}.lora_B.weight": up, f"unet.{DOTS}.lora_A.weight": down}
    saved(tmp_path / "one.safetensors", pair, lora_adapter_metadata=told)
    changed, _ = applied(tmp_path, "one")
    assert torch.allclose(changed[f"{UNET}{LDM}.weight"], weight + 2)


def test_a_matrix_fits_a_convolution_of_one_pixel_and_a_transposed_weight(tmp_path: Path) -> None:
    weight = weights()[f"{UNET}input_blocks.1.1.proj_in.weight"]
    own = parts("locon", (weight.shape[0], weight.shape[1]), 1)
    module = "lora_unet_down_blocks_0_attentions_0_proj_in"
    found = of_module(tmp_path, named(module, own), 1, f"{UNET}input_blocks.1.1.proj_in.weight")
    product = own["lora_up.weight"] @ own["lora_down.weight"] * (1.5 / 2)
    assert found.shape == weight.shape and torch.allclose(found, weight + product[:, :, None, None], atol=1e-6)
    key = "conditioner.embedders.1.model.text_projection"
    wide = weights("sdxl-tiny")[key]
    pair = parts("lora", (wide.shape[1], wide.shape[0]), 2)
    saved(tmp_path / "one.safetensors", named("lora_te2_text_projection", pair))
    changed, sentences = applied(tmp_path, "one", model="sdxl-tiny")
    assert not sentences
    assert torch.allclose(changed[key], wide + (pair["lora_up.weight"] @ pair["lora_down.weight"]).T, atol=1e-6)


def test_every_module_of_diffusers_has_a_place() -> None:
    """Every name that diffusers has for a weight of SD 1, 2 and XL, with underscores as kohya writes it, leads to one weight."""
    for model, spelled in (("sd15-tiny", "lora_unet_"), ("sd21-v-tiny", "unet."), ("sdxl-tiny", "lora_unet_")):
        places = lora_job.places_of(spec(model), {key: tuple(value.shape) for key, value in weights(model).items()})
        own = {key for key in weights(model) if key.startswith(UNET) and key.endswith(".weight")}
        found = set()
        for name, place in places._found[keys.UNET].items():
            network, asked, _ = keys.placed(spelled + name)
            assert (network, asked) == (keys.UNET, name)
            if place.weight is not None:
                found.add(place.weight.key)
        assert found == own


# --- kinds ------------------------------------------------------------------------------------------------------------


def test_the_scale_is_alpha_by_rank_and_one_where_nothing_says_alpha(tmp_path: Path) -> None:
    own = parts("lora", (32, 32), 5)
    product = own["lora_up.weight"] @ own["lora_down.weight"]
    for more, scale in (({}, 1.0), ({"alpha": torch.tensor(1.0)}, 0.5), ({"alpha": torch.tensor(0.0)}, 1.0),
                        ({"alpha": torch.tensor(1.0), "scalar": torch.tensor(3.0)}, 1.5)):  # fmt: skip
        assert torch.allclose(of_module(tmp_path, named(MODULE, own | more)), weights()[WEIGHT] + scale * product, atol=1e-6)


def test_lokr_of_two_whole_factors_has_no_alpha(tmp_path: Path) -> None:
    own = parts("lokr", (32, 32), 6)
    assert torch.allclose(
        of_module(tmp_path, named(MODULE, own)), weights()[WEIGHT] + torch.kron(own["lokr_w1"], own["lokr_w2"]), atol=1e-6
    )


@pytest.mark.parametrize("axis", [0, 1])
def test_dora_keeps_sizes_over_the_axis_that_its_shape_says_at_any_strength(axis: int, tmp_path: Path) -> None:
    own = parts("dora" if axis == 0 else "dora_in", (32, 32), 7)
    whole = weights()[WEIGHT] + own["lora_up.weight"] @ own["lora_down.weight"] * (0.75 if axis == 0 else 1)
    sizes = own["dora_scale"].reshape((-1, 1) if axis == 0 else (1, -1))
    for strength in (1.0, 0.25, -1.0):
        expected = whole * (1 + strength * (sizes / whole.norm(dim=1 - axis, keepdim=True) - 1))
        assert torch.allclose(of_module(tmp_path, named(MODULE, own), strength), expected, atol=1e-5)
    found = of_module(tmp_path, named(MODULE, own))
    assert torch.allclose(found.norm(dim=1 - axis, keepdim=True), sizes.abs(), atol=1e-4)


def test_glora_in_both_orders_of_its_factors(tmp_path: Path) -> None:
    own, weight = parts("glora", (32, 32), 8), weights()[WEIGHT]
    a1, a2, b1, b2 = (own[f"{name}.weight"] for name in ("a1", "a2", "b1", "b2"))
    expected = weight + 0.6 * 0.75 * (weight @ a1 @ a2 + b1 @ b2)
    assert torch.allclose(of_module(tmp_path, named(MODULE, own), 0.6), expected, atol=1e-5)
    older = own | {"a1.weight": a2, "a2.weight": a1, "b1.weight": b2, "b2.weight": b1}
    assert torch.allclose(of_module(tmp_path, named(MODULE, older), 0.6), expected, atol=1e-5)


def test_ia3_is_by_row_or_by_column(tmp_path: Path) -> None:
    own, weight = parts("ia3", (32, 32), 9), weights()[WEIGHT]
    assert torch.allclose(of_module(tmp_path, named(MODULE, own), 0.5), weight * (1 + 0.5 * own["weight"][:, None]), atol=1e-6)
    on_input = own | {"on_input": torch.tensor(1)}
    assert torch.allclose(of_module(tmp_path, named(MODULE, on_input), 0.5), weight * (1 + 0.5 * own["weight"][None]), atol=1e-6)


def test_differences_of_weights_and_biases_and_whole_weights(tmp_path: Path) -> None:
    module, weight = "lora_unet_down_blocks_0_resnets_0_conv1", f"{UNET}input_blocks.1.0.in_layers.2"
    before, bias = weights()[f"{weight}.weight"], weights()[f"{weight}.bias"]
    diff, diff_b = random_tensor("diff", before.shape), random_tensor("b", bias.shape)
    saved(tmp_path / "one.safetensors", named(module, {"diff": diff, "diff_b": diff_b}))
    changed, _ = applied(tmp_path, "one:0.5")
    assert torch.allclose(changed[f"{weight}.weight"], before + 0.5 * diff)
    assert torch.allclose(changed[f"{weight}.bias"], bias + 0.5 * diff_b)
    assert torch.allclose(of_module(tmp_path, named(module, {"set_weight": diff}), 1, f"{weight}.weight"), diff, atol=1e-6)


@pytest.mark.parametrize("kind", ["oft", "boft"])
def test_rotations_keep_sizes_and_strength_0_is_no_change(kind: str, tmp_path: Path) -> None:
    own, weight = parts(kind, (32, 32), 10), weights()[WEIGHT]
    rescale = own.pop("rescale", None)
    own.pop("alpha")
    turned = of_module(tmp_path, named(MODULE, own))
    assert (turned - weight).abs().max() > 0.1
    assert torch.allclose(turned.norm(), weight.norm(), atol=1e-4)
    if rescale is not None:
        scaled = of_module(tmp_path, named(MODULE, own | {"rescale": rescale}))
        assert torch.allclose(scaled, rescale[:, None] * turned, atol=1e-5)
        assert torch.allclose(of_module(tmp_path, named(MODULE, own | {"rescale": rescale}), 1e-6), weight, atol=1e-4)
        limited = of_module(tmp_path, named(MODULE, own | {"alpha": torch.tensor(1e-6)}))
        assert (limited - weight).abs().max() < 1e-3


def test_alpha_limits_how_far_oft_turns(tmp_path: Path) -> None:
    """In blocks of two, Q of size t turns by 2 atan(t), which moves a weight by 2 t / sqrt(1 + t^2) of its size."""
    blocks, alpha = torch.zeros(16, 2, 2), 0.01
    blocks[:, 1, 0] = 0.5
    turned = of_module(tmp_path, named(MODULE, {"oft_blocks": blocks, "alpha": torch.tensor(alpha)}))
    t = alpha * 32 / math.sqrt(16 * 2)  # all of Q together is as large as alpha for each of the 32 outputs
    moved = (turned - weights()[WEIGHT]).norm() / weights()[WEIGHT].norm()
    assert moved.item() == pytest.approx(2 * t / math.sqrt(1 + t * t), rel=1e-4)


def test_early_rotations_are_themselves_or_what_they_differ_by_from_none(tmp_path: Path) -> None:
    blocks = torch.linalg.qr(torch.eye(4) * 9 + random_tensor("q", (8, 4, 4)))[0]
    blocks = blocks * torch.sign(torch.linalg.diagonal(blocks))[:, None]
    found = [of_module(tmp_path, named(MODULE, {"oft_diag": each}), 0.5) for each in (blocks, blocks - torch.eye(4))]
    rotated = torch.einsum("k n m, k n i -> k m i", blocks, weights()[WEIGHT].reshape(8, 4, -1)).reshape(32, 32)
    assert torch.allclose(found[0], 0.5 * weights()[WEIGHT] + 0.5 * rotated, atol=1e-5)
    assert torch.allclose(found[0], found[1], atol=1e-5)


# --- every key is accounted for ---------------------------------------------------------------------------------------


def test_what_is_for_another_model_is_told(tmp_path: Path) -> None:
    small = parts("lora", (8, 8), 2)
    own = {**named(MODULE, parts("locon", (32, 32), 1)), **named("lora_te2_text_model_encoder_layers_0_mlp_fc1", small)}
    own |= {**named("lora_te3_encoder_block_0", small), "what.is.this": torch.ones(1)}
    saved(tmp_path / "xl.safetensors", own)
    changed, sentences = applied(tmp_path, "xl")
    assert changed.keys() == {WEIGHT}
    assert sentences == [
        "The LoRA 'xl': applied 1 of 4; 1 is for SDXL, 1 is for Flux or SD 3, 1 is of a kind that is not known here."
    ]


def test_an_sdxl_file_on_sd1_and_the_other_way_round(tmp_path: Path) -> None:
    for model, other, base in (("sdxl-tiny", "sd15-tiny", "SDXL"), ("sd15-tiny", "sdxl-tiny", "SD 1")):
        tensors = {}
        for number, (key, value) in enumerate(weights(model).items()):
            if key.startswith(UNET) and ".attn2.to_k." in key:
                module = "lora_unet_" + key.removeprefix(UNET).removesuffix(".weight").replace(".", "_")
                tensors |= named(module, parts("lora", tuple(value.shape), number))
        saved(tmp_path / "file.safetensors", tensors, ss_base_model_version="sdxl_base_v1-0" if base == "SDXL" else "sd_v1")
        count = len(tensors) // 2
        _, (sentence,) = applied(tmp_path, "file", model=other)
        assert f"applied 0 of {count}; {count} are for {base}." in sentence
        _, nothing = applied(tmp_path, "file", model=model)
        assert nothing == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_module_of_another_shape_is_left_out_whatever_its_kind(kind: str, tmp_path: Path) -> None:
    other = named(MODULE.replace("to_q", "to_k"), parts("lora", (32, 32), 2))
    saved(tmp_path / "file.safetensors", named(MODULE, parts(kind, (24, 40), 1)) | other)
    changed, (sentence,) = applied(tmp_path, "file")
    assert len(changed) == 1 and WEIGHT not in changed and "applied 1 of 2; 1 has no place in this model." in sentence


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_fits_every_shape_that_there_is(kind: str, tmp_path: Path) -> None:
    """And changes it: matrices, convolutions of one pixel and of nine, with steps, and normalisations."""
    names = ("input_blocks.1.1.transformer_blocks.0.attn2.to_k", "input_blocks.1.1.proj_in", "input_blocks.3.0.op", "out.0")
    shapes = {name: tuple(weights()[f"{UNET}{name}.weight"].shape) for name in names}
    tensors = {}
    for name, shape in shapes.items():
        tensors |= named("lora_unet_" + name.replace(".", "_"), parts(kind, shape, len(name)))
    saved(tmp_path / "file.safetensors", tensors)
    changed, sentences = applied(tmp_path, "file:0.7")
    assert not sentences
    for name, shape in shapes.items():
        value = changed[f"{UNET}{name}.weight"]
        assert tuple(value.shape) == shape and torch.isfinite(value).all() and not math.isclose(
            float((value - weights()[f"{UNET}{name}.weight"]).abs().max()), 0, abs_tol=1e-6
        )
