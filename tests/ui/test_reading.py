"""A picture's text comes back as values of the controls, ours exactly and other programs' as far as they are known here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metadata.files import GRAPH
from tests.service.pretend import place_model
from webui import infotext
from webui.drawing import Txt2Img
from webui.params import LARGEST_SEED
from webui.request import parameters_of
from webui.service.requests import Resolver
from webui.ui.areas import DEPTH, EXTRAS, IMG2IMG, TXT2IMG
from webui.ui.reading import read as read_for

Reading = Callable[[str], tuple[dict[str, object], list[str]]]


def taken(text: str, resolver: Resolver) -> tuple[dict[str, object], list[str]]:
    """What is read for the txt2img tab."""
    found = read_for(text, resolver, TXT2IMG)
    assert found.area == "txt2img"
    return found.values, found.notes


@pytest.fixture(scope="module")
def resolver(tmp_path_factory: pytest.TempPathFactory) -> Resolver:
    root = tmp_path_factory.mktemp("models")
    place_model(root)
    return Resolver(models_folder=root / "models", cache=root / "cache", seed=lambda: 5)


PARAMS = st.builds(
    Txt2Img,
    prompt=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60),
    negative=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60),
    steps=st.integers(1, 150),
    sampler=st.sampled_from(["Euler", "Euler a", "DDIM", "DPM++ 2M Karras", "Heun"]),
    schedule=st.sampled_from(["Automatic", "Karras", "Uniform"]),
    scale=st.none() | st.integers(0, 60).map(lambda half: half / 2),
    seed=st.integers(0, LARGEST_SEED),
    width=st.none() | st.integers(8, 64).map(lambda eights: eights * 8),
    eta=st.none() | st.sampled_from([0.0, 0.25, 1.0]),
    reproducible=st.booleans(),
    rng=st.sampled_from(["CPU", "GPU", "NV"]), ensd=st.sampled_from([0, 31337]),
    emphasis=st.sampled_from(["Original", "No norm"]), variation_seed=st.integers(0, 2**40),
    variation_strength=st.sampled_from([0.0, 0.3]),
    seed_width=st.sampled_from([None, 256]),
    sigma_min=st.sampled_from([None, 0.1]), rho=st.sampled_from([None, 5.0]), discard_penultimate=st.booleans(),
    sgm_noise=st.booleans(), noise_schedule=st.sampled_from(["Default", "Zero Terminal SNR"]),
    guidance_start=st.sampled_from([0.0, 0.2]), ngms=st.sampled_from([0.0, 1.5]), rescale=st.sampled_from([0.0, 0.7]),
    tiling=st.booleans(), old_schedules=st.booleans(), hires_upscaler=st.sampled_from(["None", "Latent (nearest)", "Lanczos"]),
    hires_scale=st.sampled_from([None, 1.5]), hires_width=st.sampled_from([None, 128]), hires_steps=st.sampled_from([None, 3]),
    hires_strength=st.sampled_from([None, 0.5]), hires_sampler=st.sampled_from(["Use same sampler", "Heun"]),
    hires_schedule=st.sampled_from(["Use same scheduler", "Karras"]), hires_prompt=st.sampled_from(["", "a, b"]),
    hires_cfg=st.sampled_from([None, 3.0]),
)


@given(PARAMS)
@settings(deadline=None, max_examples=60)
def test_what_is_read_from_a_picture_makes_the_same_request_again(resolver: Resolver, params: Txt2Img) -> None:
    request = resolver.request(params)
    values, notes = taken(infotext.write(parameters_of(request)), resolver)
    assert notes == []
    del values["styles"]
    again = Txt2Img.read({name: value for name, value in values.items() if value is not None})
    assert resolver.request(again) == replace(request, count=1)


def test_text_without_values_is_only_a_prompt(resolver: Resolver) -> None:
    values, (note,) = taken("a ball\nNegative prompt: a cube", resolver)
    assert values == {"prompt": "a ball", "negative": "a cube"}
    assert "only the prompt" in note


def test_old_names_of_samplers_become_the_ones_of_the_lists(resolver: Resolver) -> None:
    values, _ = taken("a\nSteps: 5, Sampler: DPM++ 2M Karras, Seed: 1, Size: 64x64", resolver)
    assert (values["sampler"], values["schedule"]) == ("DPM++ 2M", "Karras")


def test_what_is_not_known_here_is_said_and_the_rest_is_taken(resolver: Resolver) -> None:
    text = "a\nSteps: 7, Sampler: Wonder, Seed: 3, Size: 64x128, Model: other, Lora hashes: \"x: 1\", Version: v1"
    values, notes = taken(text, resolver)
    assert (values["steps"], values["seed"], values["width"], values["height"]) == (7, "3", 64, 128)
    assert "model" not in values and "sampler" not in values
    said = " ".join(notes)
    assert "Wonder" in said and "The model other is not here" in said and "Lora hashes" in said and "Version" not in said


def test_what_the_text_does_not_say_is_the_default_but_for_count_and_model(resolver: Resolver) -> None:
    values, _ = taken("a\nSteps: 7, Sampler: Euler, Seed: 3", resolver)
    assert values["width"] is None and values["scale"] is None and values["eta"] is None and values["reproducible"] is False
    assert "count" not in values and "model" not in values


def test_a_value_out_of_range_is_a_sentence(resolver: Resolver) -> None:
    values, notes = taken("a\nSteps: 7000, Sampler: Euler, Seed: 3", resolver)
    assert "steps" not in values and notes == ["Steps was 7000; it must be a whole number from 1 to 150."]


def test_a_model_is_found_by_its_name_whatever_its_case(resolver: Resolver, tmp_path: Path) -> None:
    values, notes = taken("a\nSteps: 7, Sampler: Euler, Seed: 3, Model: Builtin", resolver)
    assert values["model"] == "builtin" and notes == []


STRENGTH = "Denoising strength: 0.4, Resize mode: Crop and resize"
FROM_PICTURE = f"a\nSteps: 7, Sampler: Euler, Seed: 3, Size: 64x128, {STRENGTH}, Version: v1"


def test_a_text_is_read_into_the_tab_it_belongs_to_where_none_is_named(resolver: Resolver) -> None:
    found = read_for(FROM_PICTURE, resolver)
    assert found.area == "img2img" and found.notes == []
    assert (found.values["strength"], found.values["resize_mode"], found.values["loops"]) == (0.4, "Crop and resize", 1)


def test_what_only_another_tab_has_is_left_out_and_said(resolver: Resolver) -> None:
    values, (note,) = taken(FROM_PICTURE, resolver)
    assert "strength" not in values and values["steps"] == 7
    assert note == "The picture was made by img2img; what only that has was left out."


def test_what_is_sent_on_changes_only_what_all_pictures_from_text_have(resolver: Resolver) -> None:
    found = read_for(FROM_PICTURE, resolver, DEPTH, keep=True)
    assert found.notes == [] and {"strength", "resize_mode", "estimator", "eta", "count"}.isdisjoint(found.values)
    assert (found.values["seed"], found.values["width"], found.values["prompt"]) == ("3", 64, "a")
    again = read_for(FROM_PICTURE, resolver, IMG2IMG, keep=True)
    assert again.values["strength"] == 0.4 and "loops" not in again.values


def test_an_upscaler_that_is_not_here_is_named_and_the_chosen_one_stays(resolver: Resolver) -> None:
    text = "a\nPostprocess upscaler: Wonder 4x, Postprocess upscale by: 3, Seed: 1"
    found = read_for(text, resolver, EXTRAS)
    assert found.values["scale_by"] == 3 and "upscaler" not in found.values
    assert any("The upscaler Wonder 4x is not here" in note for note in found.notes)


WITH_SECOND = (
    "a [b:c:0.5]\nSteps: 7, Sampler: Euler, Seed: 3, Size: 64x64, Denoising strength: 0.4, Hires upscale: 1.5, Hires steps: 3, "
    "Hires upscaler: latent, Hires sampler: DPM++ 2M Karras, Hires checkpoint: Builtin [0123456789], Hires prompt: x, "
    "Hires CFG Scale: 3, Version: v1.5.0"
)


def test_a_second_pass_is_read_with_its_names_here(resolver: Resolver) -> None:
    values, notes = taken(WITH_SECOND, resolver)
    second = {name.removeprefix("hires_"): value for name, value in values.items() if name.startswith("hires_")}
    assert second == {
        "upscaler": "Latent", "scale": 1.5, "width": None, "height": None, "steps": 3, "strength": 0.4, "sampler": "DPM++ 2M",
        "schedule": "Karras", "prompt": "x", "negative": "", "cfg": 3, "model": "builtin",
    }  # fmt: skip
    assert values["old_schedules"] is True and values["rng"] == "GPU"
    assert notes == ["The hires checkpoint Builtin was taken by its name; whether it is the same is known once it was used."]


def test_what_is_not_here_for_a_second_pass_is_named_and_what_was_chosen_stays(resolver: Resolver) -> None:
    text = WITH_SECOND.replace("latent", "4x-Wonder").replace("Builtin [0123456789]", "other").replace("DPM++ 2M Karras", "Odd")
    values, notes = taken(text, resolver)
    assert {"hires_upscaler", "hires_model", "hires_sampler"}.isdisjoint(values) and values["hires_scale"] == 1.5
    assert all(any(each in note for note in notes) for each in ("4x-Wonder", "hires checkpoint other", "Odd"))


def test_a_strength_without_a_second_pass_sets_none(resolver: Resolver) -> None:
    values, _ = taken("a\nSteps: 7, Sampler: Euler, Seed: 3, Denoising strength: 0.4", resolver)
    assert (values["hires_upscaler"], values["hires_strength"]) == ("None", None)


def test_what_another_program_writes_in_a_form_of_its_own_is_read_too(resolver: Resolver) -> None:
    values, _ = taken(json.dumps(GRAPH), resolver)
    assert (values["prompt"], values["negative"], values["steps"], values["seed"]) == ("a castle", "ugly", 25, "77")
    assert (values["sampler"], values["schedule"], values["rng"]) == ("DPM++ 2M SDE", "Karras", "CPU")
    assert taken('{"not": json}, a prompt', resolver)[0]["prompt"] == '{"not": json}, a prompt'
