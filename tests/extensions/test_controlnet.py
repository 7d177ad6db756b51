"""ControlNets in a pass: what is asked of them, when they count, how they add up, and what is refused."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.nets.controlling import control_weights, controlnet, spec_of
from tests.nets.families import SD1, SD2, assert_same
from webui.errors import UnknownName, UserError
from webui.extension import Call, Conditioning, Moment, Patches, Request, Row
from webui.pipeline.noise_table import NoiseTable, network_input
from webui.pipeline.protocol import answer_all
from webui.service.extensions import bundled
from webui.weights.families import FAMILIES
from webui.weights.files import save

PACKAGE = bundled().packages["controlnet"]
EXTENSION = importlib.import_module(PACKAGE)
UNITS = importlib.import_module(f"{PACKAGE}.units")
MAPS = importlib.import_module(f"{PACKAGE}.maps")
MODEL = replace(FAMILIES["sd15"], unet=SD1)
SIGMA = 3.0
REQUEST = Request(model="m", prompt="a", steps=4, sampler="Euler", schedule="Karras", scale=2.0, seed=5, width=64, height=32)


class Folder:
    """The ControlNets there are, as an extension sees them."""

    def __init__(self, folder: Path) -> None:
        self.paths = {path.stem: str(path) for path in folder.glob("*.safetensors")}

    def names(self, folders: tuple[str, ...]) -> Mapping[str, str]:
        return self.paths if "ControlNet" in folders else {}

    def find(self, folders: tuple[str, ...], name: str) -> str:
        if name.strip() not in self.paths and "builtin" not in folders:
            raise UnknownName(f"Unknown {name}")
        return self.paths.get(name.strip(), f"/{name}")

    def found(self, folders: tuple[str, ...], name: str, sha256: str) -> str:
        path = self.find(folders, name)
        assert sha256 == self.sha256(path)
        return path

    def sha256(self, path: str) -> str:
        return f"hash of {Path(path).stem}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with ControlNets for two families."""
    found = tmp_path_factory.mktemp("ControlNet")
    for name, unet in (("lines", SD1), ("other", SD2)):
        save(found / f"{name}.safetensors", control_weights(spec_of(unet)))
    return found


def values(*units: Mapping[str, Any]) -> dict[str, Any]:
    """What is set, as jobs are told: every field of every unit."""
    own = [{"model": "lines", "picture": "d" * 64} | dict(each) for each in units]
    defaults = {name: each for number in UNITS.UNITS for name, each in vars(UNITS._params(number)()).items()}
    return defaults | {f"{name}_{number}": value for number, each in enumerate(own, 1) for name, value in each.items()}


def picture(seed: int = 0, height: int = 40, width: int = 56) -> Tensor:
    made = torch.randint(0, 256, (4, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    made[3] = 255
    return made


def change(folder: Path, *units: Mapping[str, Any], spec: Any = MODEL) -> Any:
    """What the extension makes of rows in a pass of a job with these units."""
    files, set_ = Folder(folder), values(*units)
    submission: Any = SimpleNamespace(values=set_, files=files, request=REQUEST)
    job: Any = SimpleNamespace(
        values=set_, noted=EXTENSION.resolve(submission), spec=spec, network="model", files=files,
        pictures={f"picture_{number}": picture(number) for number in UNITS.UNITS}, network_of=lambda name: f"opened {name}",
    )
    return EXTENSION.rows(job)


def row(role: str = "cond", step: int = 1, steps: int | None = 4, **more: Any) -> Row:
    x = torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(4)) * SIGMA
    text = Conditioning(torch.randn(77, SD1.context_width, generator=torch.Generator().manual_seed(5)))
    return Row(x, Moment(SIGMA, step, steps), text, role=role, **more)


def answered(asks: list[Call]) -> Callable[[Any], Any]:
    """Answers as the engine does: a batch in front of every tensor."""
    network = controlnet(spec_of(SD1))

    def answer(ask: Any) -> Any:
        assert isinstance(ask, Call)
        asks.append(ask)
        if ask.network.startswith("opened depth:"):
            return ask.inputs["picture"].mean(0) * 3 - 1
        inputs = {name: value[None] if isinstance(value, Tensor) else value for name, value in ask.inputs.items()}
        return tuple(each[0] for each in network(**inputs))

    return answer


def steered(folder: Path, *units: Mapping[str, Any], of: Row | None = None) -> tuple[Row, list[Call]]:
    """A row as the extension leaves it, and what was asked for it."""
    asks: list[Call] = []
    changed = answer_all(change(folder, *units)(of or row()), answered(asks))
    return changed, asks


def test_residuals_are_what_the_network_makes_of_what_the_model_sees(folder: Path) -> None:
    changed, (ask,) = steered(folder, {"fit": UNITS.STRETCH})
    seen = ask.inputs["picture"]
    assert ask.network == f"opened controlnet:{folder / 'lines.safetensors'}" and not ask.keep
    assert seen.shape == (3, 48, 64) and 0 <= seen.min() < 0.2 < 0.8 < seen.max() <= 1
    own = row()
    x = network_input(own.x[None], torch.tensor([SIGMA]))
    t = torch.tensor([NoiseTable.from_spec(MODEL).t_of(SIGMA)])
    expected = controlnet(spec_of(SD1))(x, t, own.conditioning.tokens[None], picture=seen[None])
    assert len(changed.residuals) == 13
    for mine, theirs in zip(changed.residuals, expected, strict=True):
        assert_same(mine, theirs[0], 1e-5, 1e-5)
    assert torch.equal(changed.x, own.x) and changed.conditioning.tokens is not None and changed.patches is own.patches


def test_both_rows_of_a_step_are_steered_unless_the_controlnet_is_to_count_more(folder: Path) -> None:
    for mode, negative in ((UNITS.BALANCED, True), (UNITS.PROMPT, True), (UNITS.CONTROL, False)):
        assert steered(folder, {"mode": mode})[0].residuals
        assert bool(steered(folder, {"mode": mode}, of=row("uncond"))[0].residuals) == negative
    even, falling = steered(folder, {})[0].residuals, steered(folder, {"mode": UNITS.PROMPT})[0].residuals
    for index, (one, other) in enumerate(zip(even, falling, strict=True)):
        assert torch.allclose(other, one * 0.825 ** (12 - index), atol=1e-6)


def test_several_add_up_by_their_weights_and_to_what_was_there(folder: Path) -> None:
    first, second = steered(folder, {"weight": 0.5})[0], steered(folder, {"weight": 0.0}, {"weight": 1.5})[0]
    both, asks = steered(folder, {"weight": 0.5}, {"weight": 1.5})
    assert len(asks) == 2 and not torch.equal(asks[0].inputs["picture"], asks[1].inputs["picture"])
    for one, other, found in zip(first.residuals, second.residuals, both.residuals, strict=True):
        assert torch.equal(one + other, found) and not torch.equal(one, found)
    there = replace(row(), residuals=tuple(torch.ones_like(each) for each in first.residuals))
    for one, found in zip(first.residuals, steered(folder, {"weight": 0.5}, of=there)[0].residuals, strict=True):
        assert torch.equal(one + 1, found)


@pytest.mark.parametrize(("start", "end", "working"), [(0, 1, "1111"), (0.5, 1, "0011"), (0, 0.5, "1100"), (0.25, 0.75, "0110")])
def test_it_works_from_its_start_to_its_end(folder: Path, start: float, end: float, working: str) -> None:
    given = {"start": start, "end": end}
    for step, expected in enumerate(working):
        changed, asks = steered(folder, given, of=row(step=step))
        assert bool(changed.residuals) == bool(asks) == (expected == "1")


def test_where_nobody_knows_the_number_of_steps_the_noise_level_says_where_it_is(folder: Path) -> None:
    behind = 1 - NoiseTable.from_spec(MODEL).t_of(SIGMA) / 999
    for start, expected in ((behind - 0.05, True), (behind + 0.05, False)):
        assert bool(steered(folder, {"start": start}, of=row(steps=None))[0].residuals) == expected


def test_rows_of_other_networks_are_left_alone_and_the_tiling_reaches_it(folder: Path) -> None:
    other = row(network="refiner")
    assert steered(folder, {}, of=other) == (other, [])
    _, (ask,) = steered(folder, {}, of=row(patches=Patches(padding="circular")))
    assert ask.inputs["padding"] == "circular"


def test_a_map_is_made_once_a_size_and_at_that_size(folder: Path) -> None:
    asks: list[Call] = []
    own, answer = change(folder, {"preprocessor": UNITS.DEPTH}), answered(asks)
    for step in range(3):
        answer_all(own(row(step=step)), answer)
    small = [ask for ask in asks if ask.network.startswith("opened depth:")]
    assert len(small) == 1 and len(asks) == 4 and small[0].keep
    seen = asks[-1].inputs["picture"]
    assert seen.shape == (3, 48, 64) and seen.min() == 0 and seen.max() == 1 and torch.equal(seen[0], seen[2])
    larger = replace(row(), x=torch.zeros(4, 12, 16))
    answer_all(own(larger), answer)
    assert asks[-1].inputs["picture"].shape == (3, 96, 128) and asks[-2].inputs["picture"].shape == (3, 96, 128)


def test_edges_are_white_on_black(folder: Path) -> None:
    _, (ask,) = steered(folder, {"preprocessor": UNITS.EDGES})
    assert set(ask.inputs["picture"].unique().tolist()) == {0.0, 1.0}
    _, (none,) = steered(folder, {"preprocessor": UNITS.EDGES, "low": 1020.0, "high": 1020.0})
    assert none.inputs["picture"].sum() < ask.inputs["picture"].sum() / 2


def test_fits_are_those_of_pictures_to_start_from() -> None:
    wide = picture(height=10, width=30)
    wide[:3], wide[:3, :, :10] = 0, 255  # a third is white: out of what is cropped
    for fit, share in ((UNITS.CROP, 0.0), (UNITS.STRETCH, 1 / 3), (UNITS.FILL, 1 / 3)):
        made = answer_all(MAPS.map_of(UNITS.Unit(number=1, fit=fit), wide, 32, 32, ""), lambda _: None)
        assert made.shape == (3, 32, 32) and abs(float(made.mean()) - share) < 0.03


def test_one_for_another_family_is_refused_with_both_names(folder: Path) -> None:
    with pytest.raises(UserError, match=r"ControlNet 2: 'other' is a ControlNet for .* width 64, and the model is Stable"):
        change(folder, {}, {"model": "other"})
    assert change(folder, {}, {"model": "lines"}) is not None
    with pytest.raises(UserError, match="made for the model's family"):
        change(folder, {}, spec=FAMILIES["sdxl-base"])


def test_what_is_missing_is_said_when_the_job_is_submitted(folder: Path) -> None:
    def resolve(*units: Mapping[str, Any]) -> Any:
        submission: Any = SimpleNamespace(values=values(*units), files=Folder(folder), request=REQUEST)
        return EXTENSION.resolve(submission)

    with pytest.raises(UnknownName):
        resolve({"model": "nothing like it"})
    with pytest.raises(UserError, match="ControlNet 2 has no picture to follow"):
        resolve({}, {"picture": ""})
    assert resolve({"model": " "}) is None and resolve({"model": "none"}) is None
    found = resolve({}, {"preprocessor": UNITS.DEPTH, "model": " lines "})
    assert found["1"] == {"name": "lines", "sha256": "hash of lines"}
    assert found["2"] == {
        "name": "lines", "sha256": "hash of lines", "estimator": "depth", "estimator_sha256": "hash of depth"
    }
    assert EXTENSION.metadata(noted=found) == {"ControlNet hashes": "lines: hash of li"}
    assert EXTENSION.metadata(noted={}) == {}


def test_a_start_behind_the_end_is_refused() -> None:
    with pytest.raises(UserError, match=r"ControlNet 3 would start at 0\.5 of the steps and end at 0\.2"):
        UNITS._params(3)(start_3=0.5, end_3=0.2)


def test_sections_have_fields_of_different_names_and_keys() -> None:
    sections = EXTENSION.params()
    fields = [name for each in sections for name in vars(each.params())]
    assert len(sections) == 3 and len(set(fields)) == len(fields) == 30
    assert {each for section in sections for each in section.tasks} == {"txt2img", "img2img", "inpaint", "depth"}
