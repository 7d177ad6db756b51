"""Custom schedules: typed or drawn, brought to any number of steps, saved by name, and told from what is no schedule."""

from __future__ import annotations

import importlib
import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.pipeline.answering import REQUEST, Engine, made, settled
from webui.engine import events
from webui.errors import UserError
from webui.extension import Asked, Home
from webui.pipeline.generate import Registry
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.protocol import Rows
from webui.request import parameters_of
from webui.service.extensions import bundled
from webui.service.opening import Service, open_engine
from webui.service.picture_texts import text_of
from webui.service.schedule_plot import plot

schedules = importlib.import_module("extensions.schedules")
points = importlib.import_module("extensions.schedules.points")
saving = importlib.import_module("extensions.schedules.saved")
ROOT = Path(__file__).parents[2]
EXTENSIONS = bundled()
TYPED = "14.6, 7, 3, 1, 0.3, 0.03, 0"
FALLING = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=30, unique_by=lambda each: round(math.log(each), 3)).map(
    lambda each: sorted(each, reverse=True)
)


# --- what a text means ------------------------------------------------------------------------------------------------


@given(FALLING)
def test_as_many_steps_as_levels_are_exactly_the_levels(levels: list[float]) -> None:
    text = ", ".join([*map(repr, levels), "0"])
    assert points.along(points.read(text), len(levels)) == (*levels, 0.0)


@given(FALLING, st.integers(1, 60))
@example([1e3, 1e-3], 5)
def test_any_number_of_steps_falls_along_lines_in_the_logarithm(levels: list[float], n: int) -> None:
    found = points.along(points.read(" ".join([*map(repr, levels), "0"])), n)
    assert len(found) == n + 1 and found[0] == levels[0] and found[-1] == 0
    assert all(after < before for before, after in pairwise(found)) and (n == 1 or found[-2] == levels[-1])
    at = np.linspace(0, 1, n)
    expected = np.exp(np.interp(at, np.linspace(0, 1, len(levels)), np.log(levels)))
    np.testing.assert_allclose(found[:-1], expected, rtol=1e-9)


@given(st.lists(st.floats(0.05, 0.95), max_size=10, unique_by=lambda each: round(each, 2)), st.data())
def test_a_curve_has_its_levels_at_their_places(inner: list[float], data: st.DataObject) -> None:
    places = [0.0, *sorted(inner), 1.0]
    steps = data.draw(st.lists(st.floats(0.01, 2), min_size=len(places), max_size=len(places)))
    levels = list(accumulate(steps, lambda level, step: level * math.exp(-step), initial=90.0))[1:]
    text = ", ".join([*(f"{place!r}:{level!r}" for place, level in zip(places, levels, strict=True)), "0"])
    curve = points.read(text)
    for place, level in zip(places, levels, strict=True):
        assert points.level(curve, place) == level
    half = math.exp(np.interp(0.5, places, np.log(levels)))
    assert points.along(curve, 3) == pytest.approx((levels[0], half, levels[-1], 0.0))
    again = points.read(curve.text)
    assert again.places == pytest.approx(places, abs=1e-3) and again.sigmas == pytest.approx(levels, rel=1e-4)


def test_equal_parts_of_two_numbers_are_the_exponential_schedule() -> None:
    table = NoiseTable.from_betas()
    text = f"{table.sigma_max!r} {table.sigma_min!r} 0"
    assert points.along(points.read(text), 9) == pytest.approx(EXTENSIONS.schedules["Exponential"](9, table), rel=1e-12)


def test_where_nothing_is_typed_it_is_the_exponential_schedule() -> None:
    table = NoiseTable.from_betas()
    for n in (1, 2, 9):
        expected = EXTENSIONS.schedules["Exponential"](n, table)
        assert EXTENSIONS.schedules["Custom"](n, table) == pytest.approx(expected, rel=1e-12)


def test_levels_are_read_as_people_write_them() -> None:
    written = ("14.6,7,1,0", "[14.6, 7.0, 1.0, 0.0]", " 14.6\n7\n1\n0 ", "14.6; 7;1;0", "(1.46e1, 7, 1, 0)", "0:14.6 .5:7 1:1 0")
    assert len({points.read(each) for each in written}) == 1
    assert points.along(points.read("5, 0"), 1) == (5.0, 0.0)


@pytest.mark.parametrize(("text", "sentence"), [
    ("", "has 0 noise levels; it needs 2 to 1,000"), ("0", "has 1 noise levels"), ("1 " * 1001, "has 1001 noise levels"),
    ("14, 7, 1", "ends at '1'; it must end at 0"), ("14, 7, -1", "ends at '-1'"), ("14, x, 0", "'x' is no number"),
    ("14, 7, zero", "'zero' is no number"), ("inf, 7, 0", "'inf' is no number"), ("14, nan, 0", "'nan' is no number"),
    ("14, -2, 0", "the noise level -2 before its end; each must be above 0"), ("14, 0, 0", "the noise level 0 before its end"),
    ("1e7, 1, 0", "at most 1,000,000"), ("7, 14, 0", "goes from 7 to 14; each noise level must be below"),
    ("7, 7, 0", "goes from 7 to 7"), ("0:14, 3, 1:1, 0", "not before '3'"), ("0:14, 0.5:3, 0", "go from 0 to 0.5; the first"),
    ("0.1:14, 1:3, 0", "go from 0.1 to 1"), ("0:14, 0.6:7, 0.5:3, 1:1, 0", "from place 0.6 to 0.5"),
    ("0:14, x:7, 1:1, 0", "place 'x'"), ("0:14, 1:2:3, 0", "'2:3' is no number"), ("0:14, :3, 0", "place '' is no number"),
    ("<script>", "has 1 noise levels"), ("<b>, 0", "'<b>' is no number"),
])  # fmt: skip
def test_what_is_no_schedule_is_said_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        points.read(text)
    assert sentence in str(raised.value)


@given(st.text(st.sampled_from("0123456789.,:;-e []\n"), max_size=40))
def test_any_text_is_a_schedule_or_a_sentence(text: str) -> None:
    try:
        curve = points.read(text)
        found = points.along(curve, 7)
    except UserError:
        return
    assert len(found) == 8 and all(math.isfinite(each) and after < each for each, after in pairwise(found))


def test_too_few_or_too_close_levels_for_the_steps_are_refused() -> None:
    with pytest.raises(UserError, match="one noise level above 0, which is one step; for 5 steps it needs another one"):
        points.along(points.read("5, 0"), 5)
    with pytest.raises(UserError, match="too close together for 100 steps"):
        points.along(points.read("1.0000000000000002, 1, 0"), 100)


# --- in pictures ------------------------------------------------------------------------------------------------------


def noted(name: str, text: str) -> dict[str, Any]:
    return {"schedules": {"values": {}, "noted": {"schedules": {name: {"points": text}}}}}


@pytest.mark.parametrize("sampler", EXTENSIONS.samplers)
def test_every_sampler_runs_along_it(sampler: str) -> None:
    registry = Registry(samplers=EXTENSIONS.samplers, schedules=EXTENSIONS.schedules)
    engine = Engine(predict=settled)
    request = replace(REQUEST, sampler=sampler, schedule="Custom", steps=6, strength=1.0, extensions=noted("Custom", TYPED))
    picture = made(request, None, engine, registry=registry)
    assert picture.latent is not None and picture.latent.isfinite().all()
    seen = [row.at.sigma for ask in engine.of(Rows) for row in ask.rows]
    info = EXTENSIONS.samplers[sampler]
    if not info.own_steps:
        assert max(seen) == pytest.approx(14.6, rel=0.01) and min(seen) < 0.5
    if sampler in ("Euler", "DPM++ 2M", "Euler a"):
        assert list(dict.fromkeys(seen)) == [14.6, 7, 3, 1, 0.3, 0.03]


def test_a_job_keeps_the_numbers_it_was_submitted_with(tmp_path: Path) -> None:
    home = Home(name="schedules", version="1", folder=tmp_path)
    saving.stored(tmp_path, "Evening", TYPED, "anna", is_owner=False)
    known = schedules.schedules(home)
    assert list(known) == ["Custom", "Evening (custom)"]
    request = replace(REQUEST, schedule="Evening (custom)", steps=6, strength=1.0)
    submission = SimpleNamespace(request=request, values={"points": ""}, home=home)
    found = schedules.resolve(submission)
    assert found == {"schedules": {"Evening (custom)": {"points": TYPED}}} and json.loads(json.dumps(found)) == found
    assert schedules.metadata(request, {}, found) == {"Saved sigmas": TYPED}
    saving.stored(tmp_path, "Evening", "9, 3, 0", "anna", is_owner=False)
    after = schedules.schedules(home)
    assert after["Evening (custom)"](2, NoiseTable.from_betas()) == (9, 3, 0)
    registry = Registry(samplers=EXTENSIONS.samplers, schedules=after)
    for extensions, first in (({"schedules": {"values": {}, "noted": found}}, 14.6), ({}, 9.0)):
        engine = Engine(predict=settled)
        made(replace(request, extensions=extensions), None, engine, registry=registry)
        assert engine.of(Rows)[0].rows[0].at.sigma == first


def test_both_passes_of_a_picture_may_have_their_own(tmp_path: Path) -> None:
    home = Home(name="schedules", version="1", folder=tmp_path)
    saving.stored(tmp_path, "Dawn", "5, 2, 0", "anna", is_owner=False)
    request = replace(REQUEST, schedule="Custom", hires={"schedule": "Dawn (custom)"})
    found = schedules.resolve(SimpleNamespace(request=request, values={"points": TYPED}, home=home))
    assert found == {"schedules": {"Custom": {"points": TYPED}, "Dawn (custom)": {"points": "5, 2, 0"}}}
    assert schedules.metadata(request, {}, found) == {"Saved sigmas": "5, 2, 0"}
    plain = replace(REQUEST, hires={})
    assert schedules.resolve(SimpleNamespace(request=plain, values={"points": TYPED}, home=home)) is None
    assert schedules.resolve(SimpleNamespace(request=plain, values={"points": " "}, home=home)) is None


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with open_engine(ROOT, exact=True) as opened:
        yield opened


def wanted(service: Service, **values: Any) -> Any:
    usual = {"model": "builtin", "prompt": "a red ball", "seed": 3, "steps": 5, "sampler": "Euler"}
    return service.request(service.resolver.tasks()["txt2img"].read(usual | values))


def test_it_is_drawn_plotted_and_written_down(service: Service) -> None:
    given = {"schedule": "Custom", "schedules_points": "40, 8, 2.5, 1.2, 0.4, 0"}
    request = wanted(service, **given)
    assert request.schedule_options == {} and parameters_of(request)
    told = list(service.engine.events(service.engine.submit(request)))
    assert isinstance(told[-1], events.Finished), told[-1]
    steps = [event for event in told if isinstance(event, events.Progress)]
    assert steps or any(isinstance(event, events.Picture) for event in told)
    params = service.resolver.tasks()["txt2img"].read({"model": "builtin", "steps": 5, "sampler": "Euler", **given})
    assert plot(params, service.resolver)["sigmas"] == [40, 8, 2.5, 1.2, 0.4, 0]  # type: ignore[arg-type]
    text = text_of(request, batched=False, interrupted=False, extensions=service.resolver.extensions)
    assert "Schedule type: Custom" in text and 'Custom sigmas: "40, 8, 2.5, 1.2, 0.4, 0"' in text


def test_what_is_no_schedule_refuses_the_job(service: Service) -> None:
    with pytest.raises(UserError, match="goes from 1 to 2"):
        wanted(service, schedules_points="1, 2, 0")
    assert wanted(service, schedules_points="").extensions == {}


# --- saved by name ----------------------------------------------------------------------------------------------------


class Asking:
    """What people ask the extension's addresses."""

    def __init__(self, folder: Path) -> None:
        self.refreshed = 0
        self.home = Home(name="schedules", version="1", folder=folder, refresh=self.count)
        self.routes = {(each.method, each.path): each.answer for each in schedules.routes()}

    def count(self) -> None:
        self.refreshed += 1

    def ask(self, path: str, body: Any = None, user: str = "anna", *, owner: bool = False, **query: str) -> Any:
        files: Any = None
        asked = Asked(user=user, is_owner=owner, query=query, body=body, home=self.home, files=files)
        return self.routes["GET" if body is None else "POST", path](asked)


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    return Asking(tmp_path / "storage")


def test_saving_adds_a_schedule_and_removing_takes_it_away(asking: Asking) -> None:
    assert asking.ask("saved") == []
    evening = {"name": "Evening", "schedule": "Evening (custom)", "points": TYPED, "own": True}
    assert asking.ask("save", {"name": " Evening ", "points": f" {TYPED} "}) == [evening] == asking.ask("saved")
    assert asking.refreshed == 1 and "Evening (custom)" in schedules.schedules(asking.home)
    assert asking.ask("saved", user="ben") == [evening | {"own": False}]
    assert asking.ask("saved", user="ben", owner=True) == [evening]
    assert asking.ask("save", {"name": "evening", "points": "5, 0"}) == [evening | {"points": "5, 0"}]  # whatever the case
    assert asking.ask("remove", {"name": "Evening"}) == [] and asking.refreshed == 3
    assert list(schedules.schedules(asking.home)) == ["Custom"]


@pytest.mark.parametrize(("path", "body", "sentence"), [
    ("save", {"name": "a", "points": "1, 2, 0"}, "goes from 1 to 2"), ("save", {"name": "", "points": TYPED}, "1 to 60 letters"),
    ("save", {"name": "a" * 61, "points": TYPED}, "1 to 60 letters"), ("save", {"name": "a, b: c", "points": TYPED}, "no comma"),
    ("save", {"name": "a\nb", "points": TYPED}, "1 to 60 letters"), ("save", {"name": 5, "points": TYPED}, "1 to 60 letters"),
    ("save", {"name": "a", "points": 5}, "must be a text"), ("save", {"name": "a", "points": "1 " * 20_000}, "at most 20,000"),
    ("save", [], "must be a text"), ("remove", {"name": "nothing"}, "No schedule is saved as 'nothing'"),
    ("remove", [], "No schedule is saved as 'None'"),
    ("save", {"name": "Mine", "points": "5, 0"}, "Somebody else has saved a schedule as 'Mine'"),
    ("remove", {"name": "Mine"}, "Somebody else"),
])  # fmt: skip
def test_what_cannot_be_saved_is_said_and_changes_nothing(asking: Asking, path: str, body: Any, sentence: str) -> None:
    before = asking.ask("save", {"name": "Mine", "points": TYPED}, user="ben")
    with pytest.raises(UserError, match=sentence):
        asking.ask(path, body)
    assert asking.ask("saved", user="ben") == before and asking.refreshed == 1


def test_there_is_an_end_to_what_is_saved(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "MOST", 2)
    for name in "ab":
        asking.ask("save", {"name": name, "points": "5, 0"})
    with pytest.raises(UserError, match="2 schedules are saved already"):
        asking.ask("save", {"name": "c", "points": "5, 0"})
    assert len(asking.ask("save", {"name": "b", "points": "6, 0"})) == 2


def test_people_who_save_at_once_all_find_theirs(asking: Asking) -> None:
    several = [threading.Thread(target=asking.ask, args=("save", {"name": f"n{n}", "points": "5, 0"})) for n in range(12)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    assert len(asking.ask("saved")) == 12


@pytest.mark.parametrize("content", [
    b"\xff\xfe", b"[1", b"[]", b"null", b'{"a": 5}', b'{"a": {"points": "1, 2, 0", "user": "u"}}', b'{"a": {"points": "5, 0"}}',
])  # fmt: skip
def test_a_broken_file_costs_no_other_schedule(asking: Asking, content: bytes) -> None:
    asking.home.folder.mkdir(parents=True)
    (asking.home.folder / "schedules.json").write_bytes(content)
    assert list(schedules.schedules(asking.home)) == ["Custom"] and asking.ask("saved") == []
    assert len(asking.ask("save", {"name": "new", "points": "5, 0"})) == 1


def test_the_panel_asks_what_a_text_means(asking: Asking) -> None:
    found = asking.ask("look", points="0:8 0.5:4, 1:1; 0", steps="2")
    assert found["places"] == (0, 0.5, 1) and found["sigmas"] == (8, 4, 1) and found["levels"] == (8, 1, 0)
    assert found["text"] == "0:8, 0.5:4, 1:1, 0"
    assert len(asking.ask("look", points=TYPED)["levels"]) == len(asking.ask("look", points=TYPED, steps="x")["levels"]) == 7
    assert torch.tensor(asking.ask("look", points=TYPED, steps="9999")["levels"]).diff().max() < 0
    with pytest.raises(UserError, match="must end at 0"):
        asking.ask("look", points="5, 4")
