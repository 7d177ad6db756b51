"""Pictures' texts: every value comes back, in the form that other programs write and read."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import webui
from webui import infotext
from webui.drawing import Txt2Img
from webui.errors import UserError
from webui.params import MOST_PIXELS, Parameter, Params, parameters
from webui.pipeline import noise
from webui.tasks import TASKS, Depth, Extras, Img2Img, Inpaint, task_of

UNWRITTEN = {"count"}  # each picture has a text of its own
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
TRICKY = st.lists(
    st.sampled_from(["Negative prompt: ", "Steps: 20, Sampler: x, Seed: 1", *'\n"\\ ,:ü😀a\r\u2028']), max_size=12
).map("".join)


def values_of(parameter: Parameter) -> st.SearchStrategy[Any]:
    """Every value a parameter allows, and unlikely ones often."""
    own: st.SearchStrategy[Any]
    if parameter.kind is bool:
        own = st.booleans()
    elif parameter.kind is int:
        step = int(parameter.step or 1)
        assert parameter.min is not None and parameter.max is not None
        own = st.integers(-(-int(parameter.min) // step), int(parameter.max) // step).map(lambda count: count * step)
    elif parameter.kind is float:
        own = st.floats(parameter.min, parameter.max)
    elif parameter.one_of:
        own = st.sampled_from(parameter.one_of)
    else:
        own = (TEXT | TRICKY).filter(lambda text: len(text) <= parameter.longest)
    return st.none() | own if parameter.optional else own


def size_fits(width: int | None, height: int | None) -> bool:
    """Both or none are set, and make no picture that is too large."""
    return (width is None) == (height is None) and (width or 0) * (height or 0) <= MOST_PIXELS


def params_of(cls: type[Params]) -> st.SearchStrategy[Params]:
    """Everything that can be set for a task, but for what no text has: a size by its sides, or by the scale that texts name."""
    apart = {*UNWRITTEN, "width", "height", "scale_by"}
    known = {name: values_of(each) for name, each in parameters(cls).items() if name not in apart}
    sides = st.tuples(st.integers(16, 4096), st.integers(16, 4096)).map(lambda both: {"width": both[0], "height": both[1]})
    scale = st.floats(1, 8).map(lambda value: {"scale_by": value}) if cls is Extras else st.just({})
    by_sides = sides.map(lambda both: {**both, "scale_by": None} if cls is Extras else both)
    return st.tuples(st.fixed_dictionaries(known), by_sides | scale).map(lambda parts: cls(**parts[0], **parts[1]))


PARAMS = st.fixed_dictionaries(
    {name: values_of(each) for name, each in parameters(Txt2Img).items() if name not in UNWRITTEN}
).filter(lambda given: size_fits(given["width"], given["height"])).map(lambda given: Txt2Img(**given))


@pytest.mark.parametrize("cls", [cls for cls in TASKS.values() if cls is not Txt2Img])
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_parameter_of_every_task_comes_back_from_its_text(cls: type[Params], data: st.DataObject) -> None:
    params = data.draw(params_of(cls))
    info = infotext.parse(infotext.write(params, {"Init image hash": "0123456789"}))
    raw, rest = infotext.raw_parameters(info, cls)
    assert set(rest) <= {"Size", "Postprocess upscale to", "Init image hash", "Version"}
    read = cls.read(raw)
    if cls is Extras:
        assert read == dataclasses.replace(params, scale_by=2.0) if params.width else read == params
    else:
        assert read == params
    assert infotext.task_said(info) == task_of(params)


@settings(deadline=None, max_examples=30)
@given(PARAMS)
def test_every_parameter_comes_back_from_the_text(params: Txt2Img) -> None:
    raw, _ = infotext.raw_parameters(infotext.parse(infotext.write(params)))
    assert Txt2Img.read(raw) == params


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9 /-]{1,20}[a-z]", fullmatch=True), TEXT | TRICKY, min_size=3))
def test_any_value_comes_back_whatever_it_holds(values: dict[str, str]) -> None:
    text = infotext.write(Txt2Img(), values)
    found = infotext.parse(text).values
    expected = {**infotext.encoded(Txt2Img()), **infotext.ALWAYS, **values, "Version": infotext.VERSION}
    assert {key: found.get(key) for key in expected} == expected


@settings(deadline=None, max_examples=30)
@given(TEXT | TRICKY)
def test_no_text_whatsoever_makes_the_reader_fail(text: str) -> None:
    info = infotext.parse(text)
    assert isinstance(info.prompt, str)
    infotext.raw_parameters(info)


def test_the_form_is_the_communitys() -> None:
    params = Txt2Img(
        prompt="a red ball,\non a table", negative="blurry", steps=20, sampler="DPM++ 2M", schedule="Karras", scale=5, seed=1,
        width=128, height=64, model="a, b", model_hash="0123456789", vae="c.pt", vae_hash="9876543210", clip_skip=2,
        refiner="d [aabbccddee]", refiner_switch_at=0.8,
    )  # fmt: skip
    assert infotext.write(params, {"Extra": "x"}, version="v") == (
        "a red ball,\non a table\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5, Seed: 1, Size: 128x64, Model hash: 0123456789, "
        'Model: "a, b", VAE hash: 9876543210, VAE: c.pt, Clip skip: 2, Refiner: d [aabbccddee], Refiner switch at: 0.8, '
        "RNG: CPU, Extra: x, Version: v"
    )


def test_where_the_noise_came_from_stands_before_the_samplers_options_and_is_no_news_here() -> None:
    text = infotext.write(Txt2Img(sampler="DDIM", eta=0.5, reproducible=True))
    assert "RNG: CPU, Eta DDIM: 0.5, Version: " in text and text.index("Reproducible") < text.index("RNG")
    assert set(infotext.raw_parameters(infotext.parse(text))[1]) == {"Version"}
    other = infotext.parse("x\nSteps: 1, Seed: 1, RNG: NV, Version: v1.10.1")
    assert infotext.raw_parameters(other)[1] == {"RNG": "NV", "Version": "v1.10.1"}


def test_the_noise_is_drawn_where_the_text_says() -> None:
    assert infotext.ALWAYS["RNG"].lower() == noise.initial(1, (1, 2, 2)).device.type
    assert torch.equal(noise.initial(7, (4, 2, 2)), torch.randn(4, 2, 2, generator=torch.Generator("cpu").manual_seed(7)))


def test_the_version_is_the_packages_and_no_other_programs() -> None:
    assert infotext.write(Txt2Img()).endswith(f", Version: ssd-webui {webui.__version__}")
    assert re.fullmatch(r"\d+\.\d+\.\d+", webui.__version__)
    assert not re.match(r"[vf]?\d", infotext.VERSION)  # readers take such a version for that of another program


def test_another_programs_text_is_read() -> None:
    text = (
        "masterpiece, (cat:1.2), <lora:x:0.8>\nsecond line\n"
        "Negative prompt: lowres, bad: worse\nmore of it\n"
        'Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 42, Size: 512x768, Model hash: 6ce0161689, '
        'Model: v1-5-pruned, Lora hashes: "x: 0123456789ab, y: ab", Hires resize: 1024x1536, Version: v1.6.0\n'
    )
    info = infotext.parse(text)
    raw, rest = infotext.raw_parameters(info)
    assert (info.prompt, info.negative) == (
        "masterpiece, (cat:1.2), <lora:x:0.8>\nsecond line", "lowres, bad: worse\nmore of it"
    )  # fmt: skip
    assert Txt2Img.read(raw) == Txt2Img(
        prompt=info.prompt, negative=info.negative, steps=28, sampler="DPM++ 2M Karras", scale=7.5, seed=42, width=512,
        height=768, model="v1-5-pruned", model_hash="6ce0161689", vae="None",
    )  # fmt: skip
    assert rest == {"Size": "512x768", "Lora hashes": "x: 0123456789ab, y: ab", "Hires resize": "1024x1536", "Version": "v1.6.0"}


def test_a_text_without_values_is_all_prompt() -> None:
    assert infotext.parse("a cat, size: large\nsecond").prompt == "a cat, size: large\nsecond"
    assert infotext.parse("").prompt == ""


def test_ddims_eta_goes_by_its_own_name() -> None:
    params = Txt2Img(sampler="DDIM", eta=0.5)
    assert infotext.encoded(params)["Eta DDIM"] == "0.5"
    assert infotext.encoded(dataclasses.replace(params, sampler="Euler a"))["Eta"] == "0.5"


def test_a_value_out_of_range_is_refused_in_a_sentence() -> None:
    raw, _ = infotext.raw_parameters(infotext.parse("x\nSteps: 9999, Sampler: Euler, Seed: 1"))
    with pytest.raises(UserError, match="Steps was 9999; it must be a whole number from 1 to 150"):
        Txt2Img.read(raw)


def test_a_key_that_could_not_be_read_back_is_refused() -> None:
    with pytest.raises(ValueError, match="could not be read back"):
        infotext.write(Txt2Img(), {"a:b": "c"})


def test_the_tasks_have_the_communitys_words() -> None:
    base = {"seed": 1, "steps": 20, "width": 64, "height": 64, "sampler": "Euler", "schedule": "Karras"}
    start = "Steps: 20, Sampler: Euler, Schedule type: Karras, Seed: 1, Size: 64x64, VAE: Automatic, Denoising strength: 0.75, "
    texts = {
        Img2Img(**base, loops=2): f"{start}Loops: 2, RNG: CPU, Version: v",
        Inpaint(**base): f"{start}Mask blur: 4, RNG: CPU, Version: v",
        Inpaint(**base, masked_content="fill", mask_mode="Inpaint not masked", area="Only masked", padding=8, soft=True): (
            f"{start}Mask mode: Inpaint not masked, Mask blur: 4, Masked content: fill, Inpaint area: Only masked, "
            "Masked area padding: 8, Soft inpainting: True, RNG: CPU, Version: v"
        ),
        Depth(**base, strength=0.75, depth_far=0.2): f"{start}Depth estimator: Automatic, Far clip: 0.2, RNG: CPU, Version: v",
        Extras(scale_by=4): "Postprocess upscaler: Lanczos, Postprocess upscale by: 4, Version: v",
        Extras(scale_by=None, width=90, height=70, crop=False): (
            "Postprocess upscaler: Lanczos, Postprocess upscale to: 90x70, Postprocess crop to fit: False, Version: v"
        ),
    }
    for params, text in texts.items():
        assert infotext.write(params, version="v") == text


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ("Steps: 20, Sampler: Euler, Seed: 1", "txt2img"),
        ("Steps: 20, Sampler: Euler, Seed: 1, Denoising strength: 0.5", "img2img"),
        ("Steps: 20, Sampler: Euler, Seed: 1, Denoising strength: 0.5, Hires upscale: 2, Hires upscaler: Latent", "txt2img"),
        ("Steps: 20, Sampler: Euler, Seed: 1, Denoising strength: 0.5, Mask blur: 4", "inpaint"),
        ("Steps: 20, Sampler: Euler, Seed: 1, Denoising strength: 0.5, Inpaint area: Only masked", "inpaint"),
        ("Postprocess upscale by: 4, Postprocess upscaler: R-ESRGAN 4x+, Version: x", "extras"), ("a prompt", ""),
    ],
)  # fmt: skip
def test_a_text_tells_its_task(values: str, task: str) -> None:
    assert infotext.task_said(infotext.parse(values)) == task


def test_what_a_picture_was_made_of_goes_on_in_the_text_of_a_larger_one() -> None:
    before = infotext.parse(infotext.write(Txt2Img(prompt="a, b", negative=" x ", seed=3, steps=2), {"Extra": "1"}))
    text = infotext.write(Extras(), {"Own": "2"}, version="v", before=before)
    info = infotext.parse(text)
    assert (info.prompt, info.negative) == ("a, b", " x ") and text.count("Version") == 1
    assert info.values == {**before.values, "Postprocess upscaler": "Lanczos", "Postprocess upscale by": "2", "Own": "2",
                           "Version": "v"}
