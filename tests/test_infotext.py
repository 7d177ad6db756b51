"""Pictures' texts: every value comes back, in the form that other programs write and read."""

from __future__ import annotations

import dataclasses
import re
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import webui
from webui import conventions, infotext
from webui.drawing import Txt2Img
from webui.errors import UserError
from webui.params import MOST_PIXELS, Parameter, Params, parameters
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


def as_written(params: Txt2Img) -> Txt2Img:
    """Without what means nothing where there is no second pass, which no text says."""
    fields = {each.name: each.default for each in parameters(Txt2Img).values() if each.name.startswith("hires_")}
    return params if params.hires_upscaler != "None" else dataclasses.replace(params, **fields)  # type: ignore[arg-type]


def pair_fits(width: int | None, height: int | None) -> bool:
    """Both or none are set."""
    return (width is None) == (height is None)


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
).filter(lambda given: size_fits(given["width"], given["height"])).map(lambda given: as_written(Txt2Img(**given)))


@pytest.mark.parametrize("cls", [cls for cls in TASKS.values() if cls is not Txt2Img])
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_parameter_of_every_task_comes_back_from_its_text(cls: type[Params], data: st.DataObject) -> None:
    params = data.draw(params_of(cls))
    info = infotext.parse(infotext.write(params, {"Init image hash": "0123456789"}))
    raw, rest = infotext.raw_parameters(info, cls)
    assert set(rest) == {"Init image hash", "Version"}
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
    read = Txt2Img.read(raw)
    wanted = dataclasses.replace(params, hires_upscaler="Lanczos") if params.hires_upscaler.strip() == "None" else params
    assert read == wanted


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9 /-]{1,20}[a-z]", fullmatch=True), TEXT | TRICKY, min_size=3))
def test_any_value_comes_back_whatever_it_holds(values: dict[str, str]) -> None:
    text = infotext.write(Txt2Img(), values)
    found = infotext.parse(text).values
    expected = {**infotext.encoded(Txt2Img()), **values, "Version": infotext.VERSION}
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
        'Model: "a, b", VAE hash: 9876543210, VAE: c.pt, Clip skip: 2, RNG: CPU, Refiner: d [aabbccddee], '
        "Refiner switch at: 0.8, Extra: x, Version: v"
    )


def test_the_order_is_the_communitys_whatever_the_parameters_own() -> None:
    params = Txt2Img(
        steps=2, sampler="DDIM", schedule="Karras", scale=5, seed=1, width=64, height=64, vae="v", variation_seed=3, rng="NV",
        variation_strength=0.5, seed_width=128, seed_height=64, clip_skip=2, ensd=31337, tiling=True, hires_upscaler="Latent",
        hires_scale=2, hires_strength=0.6, hires_steps=4, hires_sampler="Euler", hires_prompt="x", emphasis="No norm", eta=0.5,
        s_churn=1, sigma_min=0.1, rho=7, ngms=1, guidance_start=0.1, old_schedules=True, discard_penultimate=True, refiner="r",
        refiner_switch_at=0.5, noise_schedule="Zero Terminal SNR",
    )  # fmt: skip
    assert infotext.write(params, {"Init image hash": "1", "Own": "2"}, version="v") == (
        "Steps: 2, Sampler: DDIM, Schedule type: Karras, CFG scale: 5, Seed: 1, Size: 64x64, VAE: v, Variation seed: 3, "
        "Variation seed strength: 0.5, Seed resize from: 128x64, Denoising strength: 0.6, Clip skip: 2, ENSD: 31337, "
        "Init image hash: 1, RNG: NV, Tiling: True, Hires upscale: 2, Hires steps: 4, Hires upscaler: Latent, "
        "Hires sampler: Euler, Hires prompt: x, Refiner: r, Refiner switch at: 0.5, Emphasis: No norm, Eta DDIM: 0.5, "
        "Sigma churn: 1, Schedule min sigma: 0.1, Schedule rho: 7, Discard penultimate sigma: True, "
        "Noise Schedule: Zero Terminal SNR, NGMS: 1, Skip Early CFG: 0.1, Old prompt editing timelines: True, Own: 2, Version: v"
    )


def test_every_key_of_the_order_is_a_parameters_or_another_programs() -> None:
    own = {key.removesuffix("-1") for cls in TASKS.values() for each in parameters(cls).values()
           for key in (each.infotext or "", *each.infotext_by_sampler.values())}
    foreign = {"Image CFG scale", "Face restoration", "Conditional mask weight"}
    written = {"Init image hash", "Mask hash"}
    assert set(conventions.ORDER) <= own | foreign | written
    assert len(set(conventions.ORDER)) == len(conventions.ORDER)


def meaning(values: str, prompt: str = "x") -> dict[str, str]:
    return infotext.raw_parameters(infotext.parse(f"{prompt}\n{values}"))[0]


def test_a_text_that_does_not_say_where_its_noise_is_from_means_a_gpus() -> None:
    assert meaning("Steps: 1, Seed: 1, Version: v1.10.1, Sampler: Euler")["rng"] == "GPU"
    assert meaning("Steps: 1, Seed: 1, RNG: NV, Version: v1.10.1")["rng"] == "NV"
    assert meaning(infotext.write(Txt2Img(steps=1)))["rng"] == "CPU"
    assert "RNG" not in infotext.write(Txt2Img(rng="GPU"))


@pytest.mark.parametrize(
    ("version", "prompt", "old"),
    [
        ("v1.5.2", "a [b:c:0.5]", True), ("1.5.2", "a [b]", True), ("v1.5.2-12-g0123", "[b]", True), ("v0.9", "[b]", True),
        ("f0.0.1v1.5.2", "[b]", True), ("v1.5.2", "a b", False), ("v1.6.0", "[b]", False), ("v1.10.1", "[b]", False),
        ("f2.0.1v1.10.1-previous-12-g0", "[b]", False), ("2a38cd1", "[b]", False), ("", "[b]", False), ("vv1.5", "[b]", False),
        (infotext.VERSION, "[b]", False), ("ComfyUI", "[b]", False), ("v1.99999999.0", "[b]", False),
    ],
)  # fmt: skip
def test_timelines_mean_what_they_meant_when_the_text_was_written(version: str, prompt: str, old: bool) -> None:
    for text in (f"{prompt}\nSteps: 1, Seed: 1, Sampler: x", f"x\nNegative prompt: {prompt}\nSteps: 1, Seed: 1, Sampler: x"):
        info = infotext.parse(text + (f", Version: {version}" if version else ""))
        assert (infotext.raw_parameters(info)[0].get("old_schedules") == "True") is old


def test_a_second_pass_is_as_the_text_says_or_as_it_was_when_nothing_was_said() -> None:
    base = "Steps: 1, Seed: 1, Size: 512x512, Denoising strength: 0.7, "
    assert meaning(base + "Hires upscale: 2, Hires upscaler: R-ESRGAN 4x+")["hires_upscaler"] == "R-ESRGAN 4x+"
    assert meaning(base + "Hires upscale: 2, Hires upscaler: None")["hires_upscaler"] == "Lanczos"
    assert meaning(base + "Hires upscale: 2")["hires_upscaler"] == "Latent"
    found = meaning(base + "Hires resize: 768x0, Hires steps: 0, Hires sampler: Euler")
    assert found["hires_width"] == "768" and not {"hires_height", "hires_steps"} & found.keys()
    assert (found["hires_sampler"], found["hires_strength"]) == ("Euler", "0.7")
    raw, rest = infotext.raw_parameters(infotext.parse("x\n" + base))
    assert raw["hires_upscaler"] == "None" and "hires_strength" not in raw and rest == {"Denoising strength": "0.7"}
    assert infotext.raw_parameters(infotext.parse("x\n" + base), Img2Img)[0]["strength"] == "0.7"


def test_what_is_set_for_a_second_pass_that_is_not_made_is_not_written() -> None:
    text = infotext.write(Txt2Img(steps=1, seed=1, hires_strength=0.5, hires_scale=2, hires_prompt="x"))
    assert "Denoising" not in text and "Hires" not in text and infotext.task_said(infotext.parse(text)) == "txt2img"


def test_the_oldest_texts_of_a_second_pass_say_the_first_ones_size() -> None:
    found = meaning("Steps: 1, Seed: 1, Size: 1024x768, Denoising strength: 0.7, First pass size: 640x448")
    assert [found[name] for name in ("width", "height", "hires_width", "hires_height")] == ["640", "448", "1024", "768"]
    found = meaning("Steps: 1, Seed: 1, Size: 1024x768, Denoising strength: 0.7, First pass size: 0x0")
    assert [found[name] for name in ("width", "height", "hires_upscaler")] == ["640", "448", "Latent"]


def test_a_side_that_follows_from_the_other_is_written_as_0() -> None:
    text = infotext.write(Txt2Img(hires_upscaler="Latent", hires_width=768, seed_height=64))
    assert "Hires resize: 768x0" in text and "Seed resize from: 0x64" in text
    raw, _ = infotext.raw_parameters(infotext.parse(text))
    assert "hires_height" not in raw and "seed_width" not in raw


def test_json_among_the_values_is_not_taken_apart() -> None:
    resources = '[{"type":"checkpoint","id":1},{"weight":0.5,"x":"a: b"}]'
    line = f'Steps: 1, Sampler: "Euler", Hashes: {{"model":"1,2"}}, Civitai resources: {resources}, Last: [1, Version: v1'
    assert infotext.parse(line).values == {
        "Steps": "1", "Sampler": "Euler", "Hashes": '{"model":"1,2"}', "Civitai resources": resources, "Last": "[1",
        "Version": "v1",
    }


def test_what_extensions_write_behind_the_values_is_read_too() -> None:
    info = infotext.parse("a cat\nSteps: 1, Sampler: x, Seed: 2\nTemplate: a {cat|dog}\n, sitting\nNegative Template: x")
    assert info.prompt == "a cat" and info.values["Seed"] == "2"
    assert (info.values["Template"], info.values["Negative Template"]) == ("a {cat|dog}\n, sitting", "x")
    assert infotext.parse("a cat\nSteps: 1, Sampler: x, Seed: 2\nno key here").prompt.endswith("no key here")


def test_values_are_found_behind_what_is_no_key() -> None:
    assert infotext.parse("Made with: love. Steps: 20, odd, Sampler: Euler, (Seed: 3").values == {
        "Made with": "love. Steps: 20", "Sampler": "Euler", "Seed": "3"
    }


def mutated(text: str, random: Random) -> tuple[str, str]:
    """A line of values with one place changed, and the key of the value that was touched."""
    pairs = re.findall(r'(\w[\w \-/]*: (?:"(?:\\.|[^"\\])*"|[^,"]*))(?:, |$)', text)
    at = random.randrange(len(pairs))
    old = pairs[at]
    place = random.randrange(len(old) + 1)
    new = old[:place] + random.choice(["", *"\\:x9[{(\x07é😀", "\u2028"]) + old[place + random.randrange(3) :]
    return ", ".join([*pairs[:at], new, *pairs[at + 1 :]]), old.partition(":")[0]


def test_five_thousand_broken_texts_raise_nothing_and_lose_nothing_whole() -> None:
    random = Random(5)
    values = {"Lora hashes": "x: 1, y: 2", "Quoted": 'a "b", c\n', "Version": "v1.10.1"}
    line = infotext.write(Txt2Img(steps=20, seed=1, width=64, height=64, model="a, b", hires_upscaler="Latent", rho=7), values)
    whole = infotext.parse(line).values
    for _ in range(5000):
        text, touched = mutated(line, random)
        info = infotext.parse(f"a prompt\nNegative prompt: b\n{text}")
        infotext.raw_parameters(info)
        assert (info.prompt, info.negative) == ("a prompt", "b")
        assert {key: value for key, value in whole.items() if key != touched}.items() <= info.values.items(), text


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
        height=768, model="v1-5-pruned", model_hash="6ce0161689", vae="None", rng="GPU", hires_upscaler="Latent",
        hires_width=1024, hires_height=1536,
    )  # fmt: skip
    assert rest == {"Lora hashes": "x: 0123456789ab, y: ab", "Version": "v1.6.0"}


def test_a_text_without_values_is_all_prompt() -> None:
    assert infotext.parse("a cat, size: large\nsecond").prompt == "a cat, size: large\nsecond"
    assert infotext.parse("").prompt == ""


@pytest.mark.parametrize("sampler", ["DDIM", "DDIM CFG++"])
def test_ddims_eta_goes_by_its_own_name(sampler: str) -> None:
    params = Txt2Img(sampler=sampler, eta=0.5)
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
        Img2Img(**base, loops=2): f"{start}RNG: CPU, Loops: 2, Version: v",
        Inpaint(**base): f"{start}RNG: CPU, Mask blur: 4, Version: v",
        Inpaint(**base, masked_content="fill", mask_mode="Inpaint not masked", area="Only masked", padding=8, soft=True): (
            f"{start}RNG: CPU, Mask mode: Inpaint not masked, Mask blur: 4, Masked content: fill, Inpaint area: Only masked, "
            "Masked area padding: 8, Soft inpainting: True, Version: v"
        ),
        Depth(**base, strength=0.75, depth_far=0.2): f"{start}RNG: CPU, Depth estimator: Automatic, Far clip: 0.2, Version: v",
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


def test_settings_of_unipc_are_names_here() -> None:
    said = "a cat\nSteps: 8, Sampler: UniPC, {}CFG scale: 7, Seed: 1, UniPC variant: {}, UniPC skip type: {}, UniPC order: 3"
    raw, rest = infotext.raw_parameters(infotext.parse(said.format("", "vary_coeff", "logSNR")))
    assert (raw["sampler"], raw["schedule"], rest) == ("UniPC vary", "UniPC logSNR", {"UniPC order": "3"})
    raw, rest = infotext.raw_parameters(infotext.parse(said.format("Schedule type: Karras, ", "new", "time_quadratic")))
    assert (raw["sampler"], raw["schedule"]) == ("UniPC", "Karras")
    assert rest == {"UniPC variant": "new", "UniPC skip type": "time_quadratic", "UniPC order": "3"}


def test_a_line_of_hundreds_of_thousands_of_values_is_read_in_part() -> None:
    """A few megabytes from a file took half a minute."""
    values = infotext.parse("a\n" + ", ".join(f"Key {at}: {at}" for at in range(60_000))).values
    assert len(values) == 20_000 and values["Key 19999"] == "19999"
