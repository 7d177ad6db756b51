"""Every parameter has its place on the page, once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from webui.drawing import Txt2Img
from webui.params import param, parameters
from webui.ui.areas import AREAS, OWNERS, SETTINGS, STYLES, TXT2IMG, Area


@pytest.mark.parametrize("area", AREAS.values(), ids=list(AREAS))
def test_every_parameter_is_in_one_group_or_under_more(area: Area) -> None:
    shown = Counter(each.name for title in (*area.groups, "More") for each in area.group(title))
    assert set(shown) == set(parameters(area.params)) - set(area.hidden)
    assert set(shown.values()) == {1}


def test_groups_name_only_parameters_there_are() -> None:
    for area in AREAS.values():
        assert {name for names in area.groups.values() for name in names} <= set(parameters(area.params))


def test_a_new_parameter_comes_under_more_by_itself() -> None:
    @dataclass(frozen=True, kw_only=True)
    class More(Txt2Img):
        """With one more."""

        wonder: int = param(1, "Wonder", min=1, max=9, step=1, help="How wonderful.")

    area = Area(name="txt2img", params=More, groups=TXT2IMG.groups, hidden=TXT2IMG.hidden)
    assert "wonder" in [each.name for each in area.group("More")]


def test_styles_are_a_control_beside_the_parameters() -> None:
    assert TXT2IMG.names()[-1] == STYLES and STYLES not in TXT2IMG.parameters()
    assert STYLES not in SETTINGS.names()


def test_what_holds_for_everybody_is_marked() -> None:
    assert "most_jobs" in OWNERS and "theme" not in OWNERS
