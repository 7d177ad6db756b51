"""docs/samplers.md names every sampler and schedule there is, as they are, with plots; and those are drawn to scale."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import samplers
from benchmarks.samplers import Line, panel, picture, slug, ticks
from webui.service.extensions import bundled

DOCUMENT = samplers.DOCUMENT.read_text("utf-8")
SVG = "{http://www.w3.org/2000/svg}"


def part(name: str) -> str:
    """What the document has between a table's marks."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", DOCUMENT, re.DOTALL)
    assert found is not None, name
    return found[1]


def test_the_document_names_every_sampler_and_schedule() -> None:
    named = [row.split("|")[1].strip() for row in part("samplers").splitlines()[2:]]
    assert [re.sub(r"\[(.*)\]\(.*\)", r"\1", name) for name in named] == list(bundled().samplers)
    assert [row.split("|")[1].strip() for row in part("schedules").splitlines()[2:]] == list(samplers.schedules())
    assert set(samplers.SAMPLERS) == set(bundled().samplers) and set(samplers.SCHEDULES) == set(samplers.schedules())


def test_the_tables_say_what_is_so_now() -> None:
    made = {"samplers": samplers.sampler_table, "schedules": samplers.schedule_table, "plots": samplers.sampler_plots}
    for name, make in made.items():
        assert part(name) == make(), f"run python -m benchmarks.samplers --tables ({name})"


def test_every_sampler_in_the_document_names_its_paper() -> None:
    without = [row.split("|")[1].strip() for row in part("samplers").splitlines()[2:] if row.split("|")[2].strip() == "–"]
    assert [re.sub(r"\[(.*)\]\(.*\)", r"\1", name) for name in without] == ["LMS", "HeunPP2"]  # of 1883; published as code only


def test_every_plot_is_there_and_links_lead_somewhere() -> None:
    shown = set(re.findall(r"\((samplers/[^)]+\.svg)\)", DOCUMENT))
    wanted = {f"samplers/{slug(name)}.svg" for name in bundled().samplers}
    wanted |= {f"samplers/schedule-{slug(name)}.svg" for name in samplers.schedules()} | {"samplers/overview.svg"}
    assert shown == wanted == {f"samplers/{path.name}" for path in samplers.FOLDER.iterdir()}
    for path in samplers.FOLDER.iterdir():
        assert ElementTree.parse(path).getroot().tag == f"{SVG}svg"
        assert path.stat().st_size < 20_000
    headings = {samplers.anchor(line.removeprefix("### ")) for line in DOCUMENT.splitlines() if line.startswith("### ")}
    assert set(re.findall(r"\]\(#([^)]+)\)", DOCUMENT)) <= headings


def test_no_two_names_share_a_plot() -> None:
    for names in (list(bundled().samplers), list(samplers.schedules())):
        assert len({slug(name) for name in names}) == len({samplers.anchor(name) for name in names}) == len(names)


def places(text: str) -> list[list[tuple[float, float]]]:
    """The points of every coloured line of an SVG."""
    paths = [each.attrib for each in ElementTree.fromstring(text).iter(f"{SVG}path")]
    lines = [each["d"][1:].split("L") for each in paths if each.get("fill") == "none"]
    return [[(float(x), float(y)) for x, y in (point.split() for point in line)] for line in lines]


def test_a_line_is_drawn_to_scale() -> None:
    powers = Line(points=[(1.0, 1.0), (10.0, 0.01), (100.0, 0.0001)], name="a <b>")
    ((first, middle, last),) = places(picture([lambda left: panel(left, "t & u", [powers], "steps")]))
    assert middle == (pytest.approx((first[0] + last[0]) / 2, abs=0.1), pytest.approx((first[1] + last[1]) / 2, abs=0.1))
    assert first[0] < last[0] and first[1] < last[1]
    even = Line(points=[(0.0, 1.0), (1.0, 2.0), (4.0, 4.0)])
    ((first, middle, last),) = places(picture([lambda left: panel(left, "", [even], "", even=True)]))
    assert (middle[0] - first[0]) / (last[0] - first[0]) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(("low", "high"), [(1.0, 100.0), (4.0, 150.0), (3e-7, 0.9), (0.03, 14.6), (5.0, 5.0)])
def test_ticks_are_round_and_reach_around(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low * 1.001 and found[-1] >= high * 0.999 and len(found) <= 12
    assert all(round(tick / 10 ** math.floor(math.log10(tick) + 1e-9), 6) in (1, 2, 5) for tick in found)


def test_a_sampler_s_plot_shows_what_it_measures(tmp_path: Path) -> None:
    info = bundled().samplers["Heun"]
    found = samplers.visited(info, 5)
    assert len(found) == 9 and found[0] == (1, pytest.approx(14.6146, rel=1e-4))
    (line,) = samplers.errors(bundled().samplers["DPM++ 2M"])
    assert [steps for steps, _ in line.points] == list(samplers.COUNTS) and line.points[0][1] > 20 * line.points[-1][1]
    names = [line.dashed for line in samplers.errors(bundled().samplers["Euler a"])]
    assert names == [False, True]
    assert [line.dashed for line in samplers.errors(bundled().samplers["LCM"])] == [True]
    assert len(samplers.levels(bundled().samplers["DPM2"], 10)) == 11
