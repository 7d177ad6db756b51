"""What people want done with pictures becomes a request: sizes, names, defaults, and a sentence where something is missing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import tiny_checkpoint
from webui import infotext
from webui.drawing import Txt2Img
from webui.errors import ModelFileError, UnknownName, UserError
from webui.params import LARGEST_SIDE, MOST_PIXELS, NONE, Params
from webui.request import InputFacts, Request, parameters_of
from webui.service import sizes
from webui.service.given import among
from webui.service.limits import UserLimits
from webui.service.requests import Resolver, is_complete
from webui.tasks import LANCZOS, MAP, NEAREST, NOT_MASKED, ONLY_MASKED, OWN_ESTIMATOR, Depth, Extras, Img2Img, Inpaint

PICTURE = InputFacts(digest="a" * 64, width=300, height=200)
MASK = InputFacts(digest="b" * 64, width=30, height=20)
SHAPES = st.tuples(st.integers(1, 9000), st.integers(1, 9000))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model as the built-in one, and one that takes depth maps."""
    folder = tmp_path_factory.mktemp("models")
    tiny_checkpoint.write(folder / "builtin" / "model.safetensors")
    tiny_checkpoint.write(folder / "checkpoints" / "deep.safetensors", spec=tiny_checkpoint.DEPTH)
    return folder


@pytest.fixture
def resolver(models: Path, tmp_path: Path) -> Resolver:
    shutil.copytree(models, tmp_path / "models")
    return Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache")


def put(resolver: Resolver, name: str, content: bytes = b"weights") -> Path:
    path = resolver.models_folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def cases() -> list[tuple[Params, dict[str, InputFacts]]]:
    """A few of each task."""
    picture, depth = {"picture": PICTURE}, {"depth": replace(PICTURE, digest="c" * 64)}
    return [
        (Txt2Img(prompt="x"), {}), (Img2Img(prompt="x", strength=0.3, loops=2, resize_mode="Crop and resize"), picture),
        (Img2Img(), picture | {"sketch": MASK}), (Img2Img(width=301, height=77, all_steps=True, convention="diffusers"), picture),
        (Inpaint(mask_blur=9, mask_grow=-3, area=ONLY_MASKED, padding=8, soft=True), picture | {"mask": MASK}),
        (Inpaint(outpaint_left=5, outpaint_bottom=7, masked_content="fill", mask_mode=NOT_MASKED), picture),
        (Depth(model="deep", depth_invert=True, depth_near=0.8, depth_far=0.1), picture | depth), (Depth(model="deep"), depth),
        (Depth(model="deep", estimator=NONE, strength=0.4), picture), (Depth(model="deep"), {}),
        (Extras(scale_by=1.35), picture), (Extras(width=90, crop=False, upscaler=NEAREST), picture),
        (Extras(upscaler_2=NEAREST, visibility_2=0.25), picture),
    ]  # fmt: skip


@pytest.mark.parametrize(("params", "inputs"), cases(), ids=lambda value: type(value).__name__)
def test_a_request_leaves_nothing_open_and_its_parameters_resolve_to_it_again(
    resolver: Resolver, params: Params, inputs: dict[str, InputFacts]
) -> None:
    request = resolver.request(params, inputs)
    assert is_complete(request) and Request.from_dict(request.to_dict()) == request
    assert request.inputs == {name: facts.digest for name, facts in inputs.items()}
    assert resolver.request(parameters_of(request), inputs) == request
    raw, rest = infotext.raw_parameters(infotext.parse(infotext.write(parameters_of(request))), type(params))
    assert set(rest) <= {"Size", "Postprocess upscale to", "Version"}
    again = type(params).read(raw)
    assert resolver.request(again, inputs) == replace(request, count=1)


def test_what_a_task_has_no_parameter_for_keeps_the_requests_default(resolver: Resolver) -> None:
    plain = resolver.request(Txt2Img(seed=1))
    other = resolver.request(Img2Img(seed=1, strength=0.2, width=64, height=64), {"picture": PICTURE})
    assert replace(other, task="txt2img", inputs={}, strength=1.0) == plain
    empty = resolver.request(Depth(model="deep", seed=1, strength=0.2, loops=3))
    assert (empty.strength, empty.loops, empty.estimator) == (1.0, 1, ""), "nothing is done to a picture that is not there"


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.sampled_from([64, 128, 512, 1024]))
def test_a_pictures_shape_is_kept_at_the_size_the_model_is_made_for(shape: tuple[int, int], native: int) -> None:
    width, height = sizes.resolved(Img2Img(), native, shape)
    assert width % 8 == height % 8 == 0 and min(width, height) >= 64
    assert width * height <= 4 * 64 * 4 * native or max(width, height) < 4 * native
    if 0.25 < shape[0] / shape[1] < 4 and native >= 512:
        assert width / height == pytest.approx(shape[0] / shape[1], rel=0.05)
        assert width * height == pytest.approx(native * native, rel=0.06)


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.floats(0.05, 4), st.integers(16, 2048))
def test_a_scale_is_of_the_pictures_own_sides_and_one_side_tells_the_other(
    shape: tuple[int, int], scale: float, side: int
) -> None:
    expected = {
        Img2Img(scale_by=scale): (max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1)),
        Img2Img(width=side): (side, round(side * shape[1] / shape[0])),
        Img2Img(height=side): (round(side * shape[0] / shape[1]), side),
    }  # fmt: skip
    for params, wanted in expected.items():
        fits = min(wanted) >= 16 and max(wanted) <= LARGEST_SIDE and wanted[0] * wanted[1] <= MOST_PIXELS
        if fits:
            assert sizes.resolved(params, 512, shape) == wanted
        else:
            with pytest.raises(UserError, match=r"The picture has .* so it would become"):
                sizes.resolved(params, 512, shape)
    assert sizes.resolved(Img2Img(width=side, height=77, scale_by=scale), 512, shape) == (side, 77)


def test_the_size_of_a_part_alone_is_the_models(resolver: Resolver) -> None:
    part = resolver.request(Inpaint(area=ONLY_MASKED), {"picture": PICTURE, "mask": MASK})
    assert (part.width, part.height) == (64, 64)
    whole = resolver.request(Inpaint(), {"picture": PICTURE, "mask": MASK})
    assert (whole.width, whole.height) == (80, 64), "64 at least"
    map_alone = resolver.request(Depth(), {"depth": PICTURE}, MAP)
    assert (map_alone.task, map_alone.width, map_alone.height, map_alone.model) == (MAP, 300, 200, "")


@pytest.mark.parametrize(
    ("params", "inputs", "task", "sentence"),
    [
        (Img2Img(), {}, "", "img2img needs a picture"), (Extras(), {}, "", "extras needs a picture"),
        (Inpaint(), {"picture": PICTURE}, "", "inpaint needs a mask"), (Inpaint(), {"mask": MASK}, "", "inpaint needs a picture"),
        (Depth(), {}, MAP, "needs a picture to be made of"), (Img2Img(), {"sketch": MASK}, "", "needs a picture"),
        (Depth(model="deep"), {"sketch": MASK}, "", "a sketch without a picture"),
        (Depth(), {"depth": PICTURE}, "", "The model builtin takes no depth map; these do: deep."),
        (Img2Img(), {"picture": PICTURE, "mask": MASK}, "", "img2img was given a mask; it takes a picture and a sketch"),
        (Txt2Img(), {"picture": PICTURE}, "", "txt2img was given a picture; it takes no pictures"),
        (Depth(model="deep"), {"picture": PICTURE}, "", "There is no depth estimator here: put one into models/depth"),
        (Depth(model="deep", estimator=OWN_ESTIMATOR), {"picture": PICTURE}, "", "deep has no depth estimator of its own"),
        (Depth(estimator=NONE), {"picture": PICTURE}, MAP, "The depth estimator was None"),
        (Depth(model="deep", estimator="dpd"), {"picture": PICTURE}, "", "Unknown depth estimator 'dpd'"),
        (Extras(upscaler="Lanczoz"), {"picture": PICTURE}, "", "Unknown upscaler 'Lanczoz'; did you mean Lanczos"),
        (Extras(scale_by=8), {"picture": replace(PICTURE, width=5000)}, "", "so it would become 40,000x1,600"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_missing_or_does_not_fit_is_a_sentence(
    resolver: Resolver, params: Params, inputs: dict[str, InputFacts], task: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        resolver.request(params, inputs, task)


@pytest.mark.parametrize(
    ("params", "inputs"),
    [
        (Inpaint(), {"picture": replace(PICTURE, transparent=True)}), (Inpaint(), {"picture": PICTURE, "sketch": MASK}),
        (Inpaint(outpaint_top=1), {"picture": PICTURE}), (Inpaint(mask_mode=NOT_MASKED), {"picture": PICTURE}),
    ],
)  # fmt: skip
def test_a_mask_may_come_in_other_ways(resolver: Resolver, params: Params, inputs: dict[str, InputFacts]) -> None:
    assert resolver.request(params, inputs).task == "inpaint"


def test_the_automatic_estimator_is_the_first_of_a_folder_else_the_one_that_ships(resolver: Resolver) -> None:
    picture = {"picture": PICTURE}
    assert resolver.estimator_names() == ["Automatic", NONE]
    put(resolver, "builtin/depth.safetensors", b"small")
    assert resolver.request(Depth(model="deep"), picture).estimator == "builtin"
    put(resolver, "depth/MiDaS small.pt", b"large")
    folder = put(resolver, "depth/anything/model.safetensors", b"folder").parent
    put(resolver, "depth/anything/config.json", b"{}")
    put(resolver, "depth/none.pt", b"a name that is taken")
    assert resolver.estimator_names() == ["Automatic", NONE, "builtin", "MiDaS small", "anything", "none.pt"]
    request = resolver.request(Depth(model="deep"), picture)
    assert request.estimator == "MiDaS small" and len(request.estimator_hash) == 64
    named = resolver.request(Depth(model="deep", estimator="Anything"), picture)
    assert (named.estimator, resolver.networks.path(named)) == ("anything", folder)
    given_map = resolver.request(Depth(model="deep", estimator="anything"), picture | {"depth": PICTURE})
    assert given_map.estimator == given_map.estimator_hash == ""


def test_the_estimator_inside_a_model_comes_first_and_makes_a_map_alone_by_its_model(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webui.service import catalogue

    monkeypatch.setattr(catalogue, "has_estimator", lambda path, header: path.stem == "deep")
    put(resolver, "depth/other.pt")
    assert OWN_ESTIMATOR in resolver.estimator_names()
    request = resolver.request(Depth(model="deep"), {"picture": PICTURE})
    assert (request.estimator, request.estimator_hash) == (OWN_ESTIMATOR, "") and is_complete(request)
    alone = resolver.request(Depth(model="deep"), {"picture": PICTURE}, MAP)
    assert (alone.model, alone.model_hash) == ("deep", request.model_hash)
    assert resolver.request(Depth(model="deep", estimator="other"), {"picture": PICTURE}, MAP).model == ""


def test_another_file_under_the_same_name_is_another_request(resolver: Resolver) -> None:
    path = put(resolver, "ESRGAN/4x-Sharp.pth", b"first")
    put(resolver, "upscalers/Nearest.pth", b"a name that is taken")
    assert resolver.networks.upscaler_names() == [NONE, LANCZOS, NEAREST, "Nearest.pth", "4x-Sharp"]
    request = resolver.request(Extras(upscaler="4x-sharp.pth"), {"picture": PICTURE})
    assert (request.upscaler, resolver.networks.path(request, "upscaler")) == ("4x-Sharp", path)
    renamed = path.rename(path.with_name("other.pth"))
    assert resolver.networks.path(request, "upscaler") == renamed, "it is found by what is in it"
    path.write_bytes(b"second")
    assert resolver.request(Extras(upscaler="4x-Sharp"), {"picture": PICTURE}) != request
    renamed.unlink()
    with pytest.raises(ModelFileError, match=r"The upscaler 4x-Sharp with the hash [0-9a-f]{10} is not here any more"):
        resolver.networks.path(request, "upscaler")


def test_a_file_is_read_whole_only_when_the_request_is_completed(resolver: Resolver) -> None:
    put(resolver, "upscalers/x.pth")
    outline = resolver.outline(Extras(upscaler="x"), {"picture": PICTURE})
    assert outline.upscaler_hash == "" and not is_complete(outline)
    assert is_complete(resolver.complete(outline))
    assert resolver.outline(Extras(upscaler="x"), {"picture": PICTURE}).upscaler_hash, "it is remembered"


def test_a_size_left_to_a_model_of_unknown_size_is_found_with_the_pictures_shape(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.service.test_inputs import picture

    content = picture(size=(90, 60))
    facts = replace(PICTURE, digest="d" * 64, width=90, height=60)
    monkeypatch.setattr(resolver, "open_input", among({facts.digest: content}))
    whole = resolver.request(Img2Img(seed=1), {"picture": facts})
    outline = replace(whole, width=0, height=0)
    assert resolver.complete(outline) == whole and (whole.width, whole.height) == (80, 64)


def test_limits_count_the_pixels_that_are_worked_at(resolver: Resolver) -> None:
    def check(params: Params, pixels: int, shape: tuple[int, int] = (300, 200)) -> None:
        facts = replace(PICTURE, width=shape[0], height=shape[1])
        inputs = {"picture": facts} | ({"mask": MASK} if isinstance(params, Inpaint) else {})
        request = resolver.request(params, inputs)
        UserLimits(pixels=pixels).check(request, 0, shape)
        with pytest.raises(UserError, match=r"The size was .* here a picture has at most"):
            UserLimits(pixels=pixels - 1).check(request, 0, shape)

    check(Img2Img(width=65, height=64), 72 * 64)
    check(Inpaint(width=64, height=64, outpaint_left=60, outpaint_top=4), 128 * 72)
    check(Inpaint(width=64, height=64, area=ONLY_MASKED), 304 * 200)
    check(Inpaint(width=640, height=640, area=ONLY_MASKED), 640 * 640)
    check(Extras(scale_by=2), 600 * 400)


def test_unknown_names_are_told_with_those_there_are(resolver: Resolver) -> None:
    with pytest.raises(UnknownName, match="Known: Automatic, None, Model's own"):
        resolver.request(Depth(model="deep", estimator="x"), {"picture": PICTURE})


def test_a_refiner_that_wants_what_cannot_be_given_is_refused_before_anything_is_made(resolver: Resolver) -> None:
    edit = replace(tiny_checkpoint.SPEC, unet=replace(tiny_checkpoint.SPEC.unet, in_channels=8))
    tiny_checkpoint.write(resolver.models_folder / "checkpoints" / "edit.safetensors", spec=edit)
    with pytest.raises(UserError, match="The model edit takes a picture to be edited by an instruction beside the noise"):
        resolver.outline(Txt2Img(refiner="edit"))
    assert resolver.outline(Txt2Img(refiner="deep")).refiner == "deep", "a depth model does without a map"
