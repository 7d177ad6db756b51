"""What extensions bring to the page is plain data with checked names, laid out anew only when it is other than it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from webui.extension import Panel, Params, SamplerInfo, Section, Tab, param
from webui.pipeline.samplers import SAMPLERS
from webui.service.extension_manifest import Manifest
from webui.service.extensions import Extensions
from webui.ui.added import marks_of, parts_of, tab_id, tabs_of, title_of
from webui.ui.areas import AREAS, TXT2IMG, areas_of
from webui.ui.extensions_tab import added_tabs
from webui.ui.serving import CHANGES, Served


@dataclass(frozen=True, kw_only=True)
class Mine(Params):
    """Two fields."""

    strength: float = param(0.5, "Strength", min=0, max=1, help="How much.")
    sampler: str = param("Euler", "Sampler", choices="samplers", help="Which.")


@dataclass(frozen=True, kw_only=True)
class Changed(Mine):
    """One more."""

    colour: str = param("red", "Colour", one_of=("red", "blue"), help="Which.")


def loaded(
    params: type[Params] = Mine, *, tabs: Sequence[Tab] = (), panels: Sequence[Panel] = (), title: str = "Mine", **more: Any
) -> Extensions:
    """A snapshot with one extension."""
    section = Section(title=title, params=params, tasks=("txt2img",))
    return Extensions(sections={"mine": [section]}, tabs={"mine": tabs}, panels={"mine": panels}, **more)


def test_a_section_is_a_fold_behind_the_programs_own() -> None:
    areas = areas_of(loaded())
    folds = areas["txt2img"].folded()
    assert list(folds)[-2:] == ["More", "Mine"] and [each.name for each in folds["Mine"]] == ["mine_strength", "mine_sampler"]
    assert areas["txt2img"].owners == {"mine_strength": "mine", "mine_sampler": "mine"}
    assert areas["txt2img"].with_gradio() == TXT2IMG.with_gradio(), "Gradio has nothing to do for it"
    assert areas["img2img"] is AREAS["img2img"] and areas_of(Extensions()) == AREAS


def test_a_title_that_is_taken_says_whose_it_is() -> None:
    assert list(areas_of(loaded(title="Refiner"))["txt2img"].folded())[-1] == "Refiner (mine)"


@pytest.mark.parametrize("element", ["script", "webui-stage", "x", "a-b onload=1", "X-y", "my-<b>", "1-a", ""])
def test_elements_that_browsers_do_not_know_as_own_ones_are_left_out(element: str) -> None:
    bad = loaded(tabs=[Tab(name="t", title="T", element=element)], panels=[Panel(place="settings", element=element)])
    assert list(tabs_of(bad)) == [] and parts_of(bad)["panels"] == []


def test_tabs_and_panels_are_named_after_their_extension() -> None:
    tab = Tab(name="t", title=" <b>Tab</b> ", element="mine-tab")
    panel = Panel(place="below picture", element="mine-panel", title="<b>P</b>", tasks=("img2img",))
    nowhere = Panel(place="nowhere", element="mine-panel")
    with_both = loaded(tabs=[tab, Tab(name="../x", title="", element="mine-x")], panels=[panel, nowhere])
    assert list(tabs_of(with_both)) == [("mine", tab)] and tab_id("mine", tab) == "mine--t" and title_of(tab) == "<b>Tab</b>"
    assert parts_of(with_both)["panels"] == [
        {"extension": "mine", "place": "below picture", "element": "mine-panel", "title": "<b>P</b>", "tasks": ["img2img"]}
    ]


def test_a_place_in_the_page_holds_no_markup_of_the_extensions() -> None:
    import gradio as gr

    from webui.ui.page import in_a_loop

    def made() -> gr.Blocks:
        with gr.Blocks(analytics_enabled=False) as blocks, gr.Tabs():
            added_tabs(loaded(tabs=[Tab(name="t", title="<script>1</script>", element="mine-tab")]))
        return blocks

    config = in_a_loop(made).get_config_file()
    place = next(each["props"]["value"] for each in config["components"] if each["type"] == "html")
    assert place == '<webui-extension-tab data-extension="mine" data-element="mine-tab"></webui-extension-tab>'


def marks(extensions: Extensions) -> list[str]:
    return marks_of(extensions, areas_of(extensions), parts_of(extensions)).split(".")


def test_the_marks_say_whether_the_page_or_only_what_can_be_chosen_is_another(tmp_path: Path) -> None:
    first = marks(loaded())
    assert marks(loaded()) == first, "equal snapshots are equal pages"
    info = SamplerInfo(name="Mine", function=SAMPLERS["Euler"].function)
    layout, choices = marks(loaded(samplers={**SAMPLERS, "Mine": info}))
    assert layout == first[0] and choices != first[1]
    found = [
        marks(each)[0]
        for each in (
            loaded(Changed), loaded(title="Other"), loaded(tabs=[Tab(name="t", title="T", element="m-t")]),
            loaded(panels=[Panel(place="settings", element="m-p")]), Extensions(),
        )
    ]  # fmt: skip
    manifest = Manifest(
        name="mine", version="1", description="It is.", folder=tmp_path, permissions=frozenset({"javascript"}),
        javascript=("a.js",),
    )  # fmt: skip
    for load in ("first", "second"):
        (tmp_path / "a.js").write_text(load)
        found.append(marks(loaded(manifests={"mine": manifest}, packages={"mine": load}))[0])
    assert len({first[0], *found}) == len(found) + 1, "each is another page"


class Blocks:
    """What Gradio sends."""

    def __init__(self, name: str) -> None:
        self.config: Any = dict.fromkeys((*CHANGES, "theme"), name)

    def get_config_file(self) -> Any:
        return self.config


def test_the_page_is_laid_out_anew_only_where_it_is_another() -> None:
    now = [loaded()]
    page, made = Blocks("first"), []

    def again(extensions: Extensions) -> Blocks:
        made.append(extensions)
        return Blocks("second")

    def head(extensions: Extensions) -> tuple[str, str]:
        found = ".".join(marks(extensions))
        return f"head {found}", found

    served = Served(now=lambda: now[0], head=head, page=page, again=again)
    assert not served.stale and served.head == f"head {served.mark()}"
    now[0] = loaded(samplers={**SAMPLERS, "Mine": SamplerInfo(name="Mine", function=SAMPLERS["Euler"].function)})
    assert served.stale
    served.renew()
    assert not served.stale and made == [] and page.config["layout"] == "first", "only what can be chosen is another"
    now[0] = loaded(Changed)
    before = served.mark()
    served.renew()
    served.renew()
    assert served.mark() != before and made == [now[0]]
    assert page.config == {**dict.fromkeys(CHANGES, "second"), "theme": "first"}
    assert json.loads(json.dumps(page.config)) == page.config
