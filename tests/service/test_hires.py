"""What is set for the second pass of a picture: names, sizes as A1111 counts them, files, limits, and the way back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import tiny_checkpoint
from tests.tiny_checkpoint import SPEC
from webui import infotext
from webui.drawing import SAME_MODEL, SAME_SAMPLER, SAME_SCHEDULE, Txt2Img
from webui.errors import ModelFileError, UnknownName, UserError
from webui.params import LARGEST_SIDE, MOST_PIXELS, NONE
from webui.request import Request, parameters_of
from webui.service.expansion import expanded
from webui.service.hires import sizes_of
from webui.service.limits import UserLimits
from webui.service.requests import Resolver, at_most, is_complete
from webui.service.running import new_here
from webui.tasks import LANCZOS, LATENT_UPSCALES, NEAREST

SIDES = st.integers(8, 512).map(lambda cells: 8 * cells)


@pytest.fixture(scope="module")
def resolver(tmp_path_factory: pytest.TempPathFactory) -> Resolver:
    """The tiny model as the built-in one, one like it, others with other latents and more layers, and an upscaler's file."""
    folder = tmp_path_factory.mktemp("hires")
    models = folder / "models"
    tiny_checkpoint.write(models / "builtin" / "model.safetensors")
    tiny_checkpoint.write(models / "checkpoints" / "other.safetensors", seed=1)
    shorter = replace(SPEC, vae=replace(SPEC.vae, scale=0.5))
    tiny_checkpoint.write(models / "checkpoints" / "apart.safetensors", spec=shorter)
    layers = replace(SPEC, text=(replace(SPEC.text[0], layers=2),))
    tiny_checkpoint.write(models / "checkpoints" / "longer.safetensors", spec=layers)
    (models / "upscalers").mkdir()
    (models / "upscalers" / "4x-Sharp.pth").write_bytes(b"weights")
    return Resolver(models_folder=models, cache=folder / "cache", seed=lambda: 7)


def target(width: int | None = None, height: int | None = None, scale: float | None = None) -> dict[str, float | None]:
    return {"to_width": width, "to_height": height, "scale_by": scale}


def test_without_an_upscaler_there_is_no_second_pass(resolver: Resolver) -> None:
    plain = resolver.request(Txt2Img(prompt="x"))
    assert plain.hires == {}
    assert resolver.request(Txt2Img(prompt="x", hires_upscaler="none", hires_scale=3, hires_steps=9, hires_prompt="y")) == plain


def test_what_is_left_open_is_that_of_the_first_pass(resolver: Resolver) -> None:
    request = resolver.request(Txt2Img(prompt="x", steps=9, width=512, height=768, hires_upscaler="latent"))
    assert request.hires == {
        "upscaler": "Latent", "upscaler_hash": "", "scale_by": 2.0, "to_width": None, "to_height": None, "steps": 9,
        "strength": 0.7, "sampler": request.sampler, "schedule": request.schedule, "sampler_options": {}, "scale": request.scale,
        "prompt": "", "negative": "", "model": "", "model_hash": "", "override": {}, "width": 1024, "height": 1536,
        "full_width": 1024, "full_height": 1536,
    }  # fmt: skip
    second = request.second()
    assert (second.prompt, second.model_hash, second.width, second.steps) == ("x", request.model_hash, 1024, 9)
    assert second.all_steps and second.strength == 0.7 and second.hires == {}


def choices() -> st.SearchStrategy[Txt2Img]:
    """Whatever can be set for the second pass."""
    sizes = st.one_of(
        st.fixed_dictionaries({"hires_scale": st.none() | st.integers(20, 80).map(lambda n: n / 20)}),
        st.fixed_dictionaries({"hires_width": st.none() | SIDES, "hires_height": SIDES}),
        st.fixed_dictionaries({"hires_width": SIDES, "hires_height": st.none()}),
    )
    rest = st.fixed_dictionaries({
        "hires_upscaler": st.sampled_from([*LATENT_UPSCALES, LANCZOS, NEAREST, "4x-sharp"]),
        "hires_steps": st.none() | st.integers(1, 150), "hires_strength": st.none() | st.floats(0, 1),
        "hires_sampler": st.sampled_from([SAME_SAMPLER, "Euler a", "Euler", "DPM++ 2M Karras", "Automatic", "k_euler"]),
        "hires_schedule": st.sampled_from([SAME_SCHEDULE, "Automatic", "Karras", "Exponential"]),
        "hires_prompt": st.sampled_from(["", "y"]), "hires_negative": st.sampled_from(["", "z"]),
        "hires_cfg": st.none() | st.floats(0, 30), "hires_model": st.sampled_from([SAME_MODEL, "other", "builtin"]),
        "sampler": st.sampled_from(["Automatic", "Euler", "Euler a", "DPM++ 2M Karras"]), "eta": st.none() | st.floats(0, 1),
        "schedule": st.sampled_from(["Automatic", "Karras", "Uniform"]), "steps": st.none() | st.integers(1, 150),
        "s_churn": st.none() | st.floats(0, 1), "tiling": st.booleans(), "width": st.sampled_from([512, 640]),
        "height": st.none() | st.just(768),
    })  # fmt: skip
    return st.tuples(sizes, rest).map(lambda both: Txt2Img(**both[0], **both[1]))


@settings(deadline=None, max_examples=80)
@given(params=choices())
def test_parameters_of_a_request_resolve_to_it_again(resolver: Resolver, params: Txt2Img) -> None:
    try:
        request = resolver.request(params)
    except UserError as error:
        assert "would be enlarged to" in str(error)
        return
    assert is_complete(request) and Request.from_dict(json.loads(json.dumps(request.to_dict()))) == request
    again = parameters_of(request)
    assert isinstance(again, Txt2Img) and resolver.request(again) == request
    raw, rest = infotext.raw_parameters(infotext.parse(infotext.write(again)), Txt2Img)
    assert set(rest) <= {"Version"} and resolver.request(Txt2Img.read(raw)) == request


def test_requests_of_older_versions_have_no_second_pass(resolver: Resolver) -> None:
    plain = resolver.request(Txt2Img()).to_dict()
    del plain["hires"], plain["tiling"]
    assert Request.from_dict(plain).hires == {} and is_complete(Request.from_dict(plain))


@pytest.mark.parametrize(
    ("wanted", "first", "full", "kept"),
    [
        (target(scale=2), (512, 768), (1024, 1536), (1024, 1536)),
        (target(scale=1.05), (512, 768), (537, 806), (536, 800)),  # sides of the latent are whole
        (target(1024), (512, 768), (1024, 1536), (1024, 1536)),
        (target(None, 1000), (512, 768), (666, 1000), (664, 1000)),
        (target(1024, 1024), (512, 768), (1024, 1536), (1024, 1024)),
        (target(1024, 1024), (768, 512), (1536, 1024), (1024, 1024)),
        (target(1024, 1000), (512, 768), (1024, 1536), (1024, 1000)),
        (target(256, 256), (512, 512), (256, 256), (256, 256)),
    ],
)
def test_sizes_are_a1111_s(
    wanted: dict[str, float | None], first: tuple[int, int], full: tuple[int, int], kept: tuple[int, int]
) -> None:
    assert sizes_of(wanted, first) == (full, kept)


@settings(deadline=None, max_examples=200)
@given(first=st.tuples(SIDES, SIDES), width=SIDES, height=SIDES)
def test_both_sides_are_what_was_said_and_the_shape_stays(first: tuple[int, int], width: int, height: int) -> None:
    try:
        full, kept = sizes_of(target(width, height), first)
    except UserError:
        larger = max(width / first[0], height / first[1])
        assert first[0] * larger > LARGEST_SIDE - 1 or first[1] * larger > LARGEST_SIDE - 1 or (
            first[0] * first[1] * larger**2 > MOST_PIXELS * 0.99
        )
        return
    assert kept == (width, height) and full[0] >= width and full[1] >= height and (full[0] == width or full[1] == height)
    assert full[0] / first[0] == pytest.approx(full[1] / first[1], abs=1 / min(first))


def test_another_sampler_takes_its_own_schedule_where_nobody_chose_one(resolver: Resolver) -> None:
    def second(**given: str) -> tuple[str, str]:
        own = resolver.request(Txt2Img(hires_upscaler="Latent", **given)).second()
        return own.sampler, own.schedule

    assert second(sampler="DPM++ 2M", hires_sampler="Euler") == ("Euler", "Uniform")
    assert second(sampler="DPM++ 2M", schedule="Exponential", hires_sampler="Euler") == ("Euler", "Exponential")
    assert second(sampler="Euler Karras", hires_sampler="Euler a") == ("Euler a", "Karras")
    assert second(sampler="Euler", hires_sampler="Euler a Karras") == ("Euler a", "Karras")
    assert second(sampler="DPM++ 2M Exponential", hires_sampler="DPM++ 2M SDE Karras") == ("DPM++ 2M SDE", "Karras")
    assert second(schedule="Exponential", hires_sampler="k_dpmpp_2m_ka") == ("DPM++ 2M", "Karras")
    assert second(schedule="Exponential", hires_sampler="DPM++ 2M Karras", hires_schedule="Uniform") == ("DPM++ 2M", "Uniform")
    assert second(schedule="Exponential", hires_sampler="Automatic") == ("DPM++ 2M", "Exponential")
    assert second(sampler="Euler", hires_schedule="Karras") == ("Euler", "Karras")


def test_another_model_by_name_or_hash_must_share_the_latents(resolver: Resolver) -> None:
    request = resolver.request(Txt2Img(hires_upscaler="Latent", hires_model="OTHER"))
    digest = request.hires["model_hash"]
    assert request.hires["model"] == "other" and len(digest) == 64 != request.model_hash
    for name in (digest[:10], f"gone [{digest[:10]}]"):
        assert resolver.request(Txt2Img(hires_upscaler="Latent", hires_model=name)).hires["model"] == "other"
    assert resolver.file_of(request.second()).stem == "other" != resolver.file_of(request).stem
    with pytest.raises(UserError, match="The checkpoint of the second pass apart cannot go on with what builtin begins"):
        resolver.request(Txt2Img(hires_upscaler="Latent", hires_model="apart"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"hires_upscaler": "Latend"}, "Unknown upscaler 'Latend'; did you mean Latent"),
        ({"hires_sampler": "Eular"}, "Unknown sampler 'Eular'"), ({"hires_schedule": "Karas"}, "Unknown schedule 'Karas'"),
        ({"hires_model": "xyz"}, "Unknown model 'xyz'"),
        ({"hires_scale": 4, "width": 4096}, "would be enlarged to 16,384x2,048 for its second pass"),
        ({"clip_skip": 2, "model": "longer", "hires_model": "other"}, "Clip skip was 2; the text tower of other has 1 layers"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_a_sentence(resolver: Resolver, given: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        resolver.request(Txt2Img(**{"hires_upscaler": "Latent", "height": 512} | given))  # type: ignore[arg-type]


def test_an_upscaler_s_file_is_read_whole_once_and_found_by_what_is_in_it(resolver: Resolver, tmp_path: Path) -> None:
    models = tmp_path / "models"
    tiny_checkpoint.write(models / "builtin" / "model.safetensors")
    path = models / "ESRGAN" / "x.pth"
    path.parent.mkdir()
    path.write_bytes(b"first")
    (path.parent / "Latent.pth").write_bytes(b"a name that is taken")
    fresh = Resolver(models_folder=models, cache=tmp_path / "cache")
    assert fresh.hires_upscaler_names() == [NONE, *LATENT_UPSCALES, LANCZOS, NEAREST, "Latent.pth", "x"]
    outline = fresh.outline(Txt2Img(hires_upscaler="X.pth"))
    assert outline.hires["upscaler_hash"] == "" and not is_complete(outline)
    assert new_here(outline) == "builtin, x"
    whole = fresh.complete(outline)
    assert len(whole.hires["upscaler_hash"]) == 64 and is_complete(whole)
    renamed = path.rename(path.with_name("y.pth"))
    assert fresh.networks.path(whole.second(), "upscaler") == renamed
    renamed.unlink()
    with pytest.raises(ModelFileError, match="The upscaler x with the hash"):
        fresh.networks.path(whole.second(), "upscaler")
    assert fresh.outline(Txt2Img(hires_upscaler="Latent")).hires["upscaler"] == "Latent"


def test_the_size_of_a_model_that_was_not_known_decides_on_that_of_the_second_pass(resolver: Resolver) -> None:
    whole = resolver.request(Txt2Img(hires_upscaler="Latent", hires_scale=1.5, seed=1))
    none = {"width": 0, "height": 0, "full_width": 0, "full_height": 0}
    outline = replace(whole, width=0, height=0, hires={**whole.hires, **none})
    assert resolver.complete(outline) == whole and whole.hires["width"] == 96
    assert at_most(outline).hires["full_width"] == 768 * 1.5


def test_limits_count_what_is_worked_at(resolver: Resolver) -> None:
    request = resolver.request(
        Txt2Img(width=128, height=128, hires_upscaler="Latent", hires_width=256, hires_height=512, steps=3, hires_steps=40)
    )
    UserLimits(pixels=512 * 512, steps=40).check(request, 0)
    with pytest.raises(UserError, match="262,144 pixels are worked at"):
        UserLimits(pixels=512 * 512 - 1).check(request, 0)
    with pytest.raises(UserError, match="Hires steps was 40; here it is at most 39"):
        UserLimits(steps=39).check(request, 0)


def test_unknown_names_are_told_with_those_there_are(resolver: Resolver) -> None:
    with pytest.raises(UnknownName, match=r"Known: None, Latent, Latent \(antialiased\)"):
        resolver.request(Txt2Img(hires_upscaler="q"))


def test_each_picture_s_second_pass_has_its_own_text(resolver: Resolver) -> None:
    def spoken(text: str, context: Any) -> str:
        return text.replace("SEED", f"{context.role} {context.seed}")

    class Seeds:
        transform_prompt = staticmethod(spoken)

    params = Txt2Img(prompt="SEED", hires_upscaler="Latent", hires_prompt="larger SEED", hires_negative="z", count=2, seed=5)
    request = expanded(resolver.request(params), Seeds(), ())  # type: ignore[arg-type]
    assert Request.from_dict(json.loads(json.dumps(request.to_dict()))) == request
    pictures = [request.picture(index) for index in range(2)]
    assert [each.second().prompt for each in pictures] == ["larger prompt 5", "larger prompt 6"]
    assert [each.prompt for each in pictures] == ["prompt 5", "prompt 6"] and pictures[1].second().negative == "z"
    plain = expanded(resolver.request(replace(params, hires_prompt="")), Seeds(), ())  # type: ignore[arg-type]
    assert [plain.picture(index).second().prompt for index in range(2)] == ["prompt 5", "prompt 6"]
