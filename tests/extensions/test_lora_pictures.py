"""LoRA files in jobs: any order of tags is the same picture, several jobs at once are as each alone, and nothing stays behind."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from extensions import lora
from extensions.lora import job as lora_job
from tests.engine.making import MODEL, TINY, local, request, run, stepped, tiny_model, told
from tests.extensions.lora_making import KINDS, Folder, job, named, noted, parts, saved
from tests.in_memory import InMemory
from webui.engine import events
from webui.pipeline.extended import JobHooks
from webui.pipeline.extended_line import Reach
from webui.pipeline.generate import Registry, generate
from webui.pipeline.patches import Patches
from webui.pipeline.protocol import Conditioning, Moment, Row
from webui.request import Request
from webui.weights.published import published_shapes

SHAPES = published_shapes(TINY, InMemory(tiny_model()).shapes)
LAYERS = sorted(key for key, shape in SHAPES.items() if key.endswith(".weight") and "embedding" not in key and min(shape[:2]) > 3)
PREFIXES = {"model.diffusion_model.": "lora_unet_", "cond_stage_model.transformer.": "lora_te_"}
STRENGTHS = st.floats(-2, 2).filter(lambda value: abs(value) > 0.01)


def module_of(key: str) -> str:
    """What kohya calls the module of a weight."""
    prefix = next(prefix for prefix in PREFIXES if key.startswith(prefix))
    return PREFIXES[prefix] + key.removeprefix(prefix).removesuffix(".weight").replace(".", "_")


def random_file(
    seed: int, kinds: tuple[str, ...] = KINDS, count: int = 12, size: float = 1.0, layers: int = 0
) -> dict[str, Tensor]:
    """Some modules of some kinds; `layers` is the seed of which, so that files may be about the same."""
    chosen = random.Random(seed)
    tensors: dict[str, Tensor] = {}
    for key in random.Random(layers).sample(LAYERS, count):
        own = parts(chosen.choice(kinds), SHAPES[key], chosen.randrange(10_000))
        grown = {name: value * size if name in ("lora_up.weight", "diff") else value for name, value in own.items()}
        tensors |= named(module_of(key), grown)
    return tensors


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = tmp_path_factory.mktemp("Lora")
    for seed, name in enumerate("abc"):
        saved(folder / f"{name}.safetensors", random_file(seed))
    saved(folder / "even.safetensors", random_file(9, ("lora", "locon", "cp", "loha", "lokr", "full", "glora"), 24, layers=9))
    saved(folder / "strong.safetensors", random_file(7, ("lora", "full"), 30, 4.0))
    saved(folder / "text.safetensors", {
        key: value for key, value in random_file(8, ("lora",), len(LAYERS), 4.0).items() if key.startswith("lora_te_")
    })  # fmt: skip
    saved(folder / "unfit.safetensors", named("lora_unet_nowhere", parts("lora", (8, 8), 1)))
    return Folder(folder)


def wanted(files: Folder, *tags: str, **more: Any) -> Request:
    prompt = " ".join(["a red ball", *(f"<lora:{tag}>" for tag in tags)])
    part = {"lora": {"values": {}, "noted": noted(files, *tags)}} if tags else {}
    return request(prompt=prompt, extensions=part, **more)


def started(files: Folder, patches: Callable[[Any], Patches | None] = lora.patches) -> Any:
    hooks = [JobHooks(name="lora", patches=patches, rows=lora.rows)]
    reach = Reach(files=files, weights=lambda _: SHAPES)  # type: ignore[arg-type]
    return lambda one: [generate(one.picture(index), MODEL, Registry(hooks=hooks), reach=reach) for index in range(one.count)]


def drawn(files: Folder, *requests: Request, networks: Any = None) -> list[np.ndarray]:
    engine = stepped(started(files), networks or local())
    jobs = [engine.submit(each) for each in requests]
    run(engine)
    return [next(event.pixels for event in told(engine, job) if isinstance(event, events.Picture)) for job in jobs]


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def weights() -> dict[str, Tensor]:
    model = tiny_model()
    return {f"{name} {key}": value for name, network in (("unet", model.unet), ("text", model.text[0]), ("vae", model.vae))
            for key, value in network.state_dict().items()}  # fmt: skip


# --- any file, any order ----------------------------------------------------------------------------------------------

TAGS = ("a:0.5", "a:-1", "b:0.8:0.2", "b", "c:0@0,1@1", "c:1:te=0", "strong:0.1:INALL", "text:0.5")


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.lists(st.sampled_from(TAGS), min_size=2, max_size=5, unique=True))
def test_any_order_of_tags_is_the_same_picture_to_the_bit(files: Folder, seed: int, tags: list[str]) -> None:
    other = list(tags)
    random.Random(seed).shuffle(other)
    (one,), (again,) = (drawn(files, wanted(files, *each, steps=2)) for each in (tags, other))
    assert np.array_equal(one, again)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(0, 10_000), STRENGTHS, STRENGTHS)
def test_any_file_changes_the_weights_it_names_the_same_in_any_order(
    tmp_path: Path, one: int, other: int, first: float, second: float
) -> None:
    from webui.engine.holding import UNET
    from webui.engine.patched import changed_weights

    before = {key.removeprefix("unet "): value for key, value in weights().items() if key.startswith("unet ")}
    made = {name: random_file(seed, count=8, layers=one) for name, seed in (("one", one), ("other", other))}
    for name, tensors in made.items():
        saved(tmp_path / f"{name}.safetensors", tensors)
    found = []
    for tags in ((f"one:{first}", f"other:{second}"), (f"other:{second}", f"one:{first}")):
        own = job(Folder(tmp_path), TINY, {key: torch.empty(shape, device="meta") for key, shape in SHAPES.items()}, *tags)
        found.append(changed_weights(before, UNET, lora_job.merged_patches(own).weights))  # type: ignore[arg-type]
        assert not own.sentences
    assert found[0].keys() == found[1].keys() and all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    modules = {key.partition(".")[0] for tensors in made.values() for key in tensors if key.startswith("lora_unet_")}
    assert {module_of(f"model.diffusion_model.{key}") for key in found[0] if key.endswith(".weight")} == modules
    assert all(not torch.equal(value, before[key]) for key, value in found[0].items())


# --- nothing stays ----------------------------------------------------------------------------------------------------


def test_weights_and_pixels_are_as_before_after_removal_error_and_cancel(files: Folder) -> None:
    before = {key: value.clone() for key, value in weights().items()}
    networks = local()
    (plain,) = drawn(files, wanted(files), networks=networks)
    bent, text = drawn(files, wanted(files, "strong"), wanted(files, "text"), networks=networks)
    assert apart(plain, bent) > 5 and apart(plain, text) > 1

    def failing(one: Any) -> Patches | None:
        made = lora.patches(one)
        assert made is not None
        broken = [type(each)(each.key, lambda _: torch.ones(3), each.content) for each in made.weights[:1]]
        return made + Patches(weights=tuple(broken))

    engine = stepped(started(files, failing), networks)
    failed = engine.submit(wanted(files, "strong"))
    engine.cancel(cancelled := engine.submit(wanted(files, "b", steps=50)))
    run(engine)
    assert isinstance(told(engine, failed)[-1], events.Failed) and isinstance(told(engine, cancelled)[-1], events.LAST)
    (after,) = drawn(files, wanted(files), networks=networks)
    (nothing,) = drawn(files, wanted(files, "strong:0", "text:0:0"), networks=networks)
    assert np.array_equal(after, plain) and np.array_equal(nothing, plain)
    assert all(torch.equal(value, before[key]) for key, value in weights().items())


def test_jobs_at_once_are_as_each_alone(files: Folder) -> None:
    requests = [
        wanted(files, "a:0.9"), wanted(files), wanted(files, "b", seed=4), wanted(files, "a:0.9", "c:0.5"),
        wanted(files, "strong:0@0,0.5@1"), wanted(files, "strong:0.3@0,0@1", seed=2),
    ]  # fmt: skip
    alone = [drawn(files, each)[0] for each in requests]
    for together, own in zip(drawn(files, *requests), alone, strict=True):
        assert np.abs(together.astype(int) - own.astype(int)).max() <= 1
    assert all(apart(alone[1], own) > 0.5 for own in (alone[0], *alone[3:5]))


# --- strengths --------------------------------------------------------------------------------------------------------


def test_a_strength_of_each_tower_counts_for_it_alone(files: Folder) -> None:
    plain, none, text, both = drawn(
        files, wanted(files), wanted(files, "text:1:0"), wanted(files, "text:0:1"), wanted(files, "text:1")
    )
    assert np.array_equal(plain, none) and np.array_equal(text, both) and apart(plain, text) > 1


def test_a_strength_that_changes_is_as_if_it_were_merged_at_each_step(files: Folder) -> None:
    """What runs beside the layers with one value for all steps makes the picture that the merged weights make."""
    merged, beside, begun, late, never = drawn(
        files, wanted(files, "even:0.7:0"), wanted(files, "even:0.7@0,0.7@0.5,0.70001@1:te=0"),
        wanted(files, "even:0.7:0:stop=2"),
        wanted(files, "even:0.7:0:start=3"), wanted(files, "even:0.7:0:start=9"),
    )  # fmt: skip
    (plain,) = drawn(files, wanted(files))
    assert apart(merged, beside) < 0.1 < apart(merged, plain)
    assert np.array_equal(never, plain)
    assert apart(begun, plain) > 0.1 and apart(late, plain) > 0.1 and apart(begun, late) > 0.1


def test_each_step_has_the_strength_that_its_place_says_and_a_refiner_has_none(files: Folder) -> None:
    own = job(files, TINY, {key: torch.empty(shape, device="meta") for key, shape in SHAPES.items()}, "a:0@0,1@1")
    change = lora.rows(own)  # type: ignore[arg-type]
    assert change is not None

    def at(step: int, steps: int | None, sigma: float = 1.0, network: str = "m") -> list[float]:
        moment = Moment(sigma, step, steps)
        row = Row(torch.zeros(4, 2, 2), moment, Conditioning(torch.zeros(1, 16)), network=network)
        try:
            next(change(row))
        except StopIteration as end:
            found: list[float] = sorted({patch.beside for patch in end.value.patches.weights})
            return found
        raise AssertionError("it asks for something")

    assert [at(step, 5) for step in range(5)] == [[], [0.25], [0.5], [0.75], [1.0]]
    assert at(4, 5, network="refiner") == []
    adaptive = [at(step, None, sigma) for step, sigma in enumerate((10.0, 3.0, 1.0, 0.0))]
    assert adaptive[0] == [] and adaptive[3] == [1.0] and 0 < adaptive[1][0] < adaptive[2][0] < 1


def test_blocks_may_stay_out(files: Folder) -> None:
    own = job(files, TINY, {key: torch.empty(shape, device="meta") for key, shape in SHAPES.items()}, "strong:1:INALL")
    found = {patch.key for patch in lora_job.merged_patches(own).weights}  # type: ignore[arg-type]
    assert any(".input_blocks." in key for key in found) and any("cond_stage" in key for key in found)
    assert not any(".output_blocks." in key or ".middle_block." in key for key in found)


def test_fewer_ranks_are_the_first_of_them(tmp_path: Path) -> None:
    key = next(key for key in LAYERS if key.endswith("attn1.to_q.weight"))
    own = parts("lora", SHAPES[key], 3, rank=4)
    saved(tmp_path / "a.safetensors", named(module_of(key), own))
    weight = torch.zeros(SHAPES[key])
    (patch,) = lora_job.merged_patches(job(Folder(tmp_path), TINY, {key: weight}, "a:1:dyn=1")).weights  # type: ignore[arg-type]
    assert torch.allclose(patch.delta(weight), own["lora_up.weight"][:, :1] @ own["lora_down.weight"][:1])


def test_the_second_pass_may_have_a_strength_of_its_own(files: Folder) -> None:
    shapes = {key: torch.empty(shape, device="meta") for key, shape in SHAPES.items()}
    first, second = (job(files, TINY, shapes, "a:1:hr=0.5", second=each) for each in (False, True))
    contents = [{patch.content.split()[2] for patch in lora_job.merged_patches(each).weights  # type: ignore[arg-type]
                 if patch.key.startswith("model.diffusion")} for each in (first, second)]  # fmt: skip
    assert contents == [{"1.0"}, {"0.5"}]


# --- files ------------------------------------------------------------------------------------------------------------


def test_switching_strength_does_not_read_the_file_again(files: Folder) -> None:
    files.read.clear()
    files._kept.clear()
    drawn(files, wanted(files, "a:0.1"), wanted(files, "a:0.9"), wanted(files, "a:0@0,1@1"))
    assert len(files.read) == 1


def test_a_job_is_told_what_of_a_file_is_for_nothing_here(files: Folder) -> None:
    engine = stepped(started(files), local())
    submitted = engine.submit(wanted(files, "unfit", "a"))
    run(engine)
    notices = [event.sentence for event in told(engine, submitted) if isinstance(event, events.Notice)]
    assert notices == ["The LoRA 'unfit': applied 0 of 1; 1 has no place in this model."]


def test_an_embedding_within_a_file_stands_for_its_name(tmp_path: Path) -> None:
    vector = torch.randn(2, 16)
    names = ("bundle_emb.trigger.string_to_param.*", "bundle_emb.wide.string_to_param.*")
    saved(tmp_path / "a.safetensors", dict(zip(names, (vector, torch.ones(1, 7)), strict=True)))
    own: Mapping[str, Any] = {key: torch.empty(shape, device="meta") for key, shape in SHAPES.items()}
    (tokens,) = lora_job.merged_patches(job(Folder(tmp_path), TINY, own, "a")).tokens  # type: ignore[arg-type]
    assert tokens.name == "trigger" and torch.equal(tokens.vectors[0], vector)
