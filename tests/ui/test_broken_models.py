"""Files that cannot be used, seen and chosen in the page of a real engine: each says why, and costs nobody anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import tiny_checkpoint
from tests.service.broken_files import NOT_LISTED, write_all
from tests.ui.person import Person, choose, comes_to_be, generate, go, stage, value
from tests.ui.site import Site, serving
from webui.service.engines import ThreadEngine


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marker") / "ran"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken")
    tiny_checkpoint.write(folder / "models" / "builtin" / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def broken(root: Path, marker: Path) -> Mapping[str, str]:
    return write_all(root / "models" / "checkpoints", marker)


@pytest.fixture(scope="module")
def site(root: Path, broken: Mapping[str, str], browser: Browser) -> Iterator[Site]:
    del broken, browser
    with serving(root, ThreadEngine(root)) as served:
        yield served


@pytest.fixture
def person(browser: Browser, site: Site, request: pytest.FixtureRequest) -> Iterator[Person]:
    someone = Person(browser, site, *site.account(request.node.name[-40:]))
    yield someone
    someone.close()
    assert someone.problems == []


def test_every_file_is_listed_with_its_reason(person: Person, broken: Mapping[str, str], marker: Path) -> None:
    page = person.open("Models")
    expect(page.locator("webui-model-files[data-state=ready]")).to_be_attached()
    for name, reason in broken.items():
        row = page.locator(f"[data-model={name}]")
        if reason == NOT_LISTED:
            expect(row.locator("[data-act=use]")).to_be_visible()
        else:
            expect(row.locator(".w-model-problem")).to_contain_text(reason)
            expect(row.locator("[data-act=use]")).to_have_count(0)
    go(page, "txt2img")
    bad = [name for name, reason in broken.items() if reason != NOT_LISTED]
    expect(page.locator("#txt2img_bad_models summary")).to_have_text(f"{len(bad)} model files cannot be used")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["code", "truncated", "directory"])
def test_choosing_one_says_why_and_leaves_the_model_that_was_in_use(person: Person, name: str, marker: Path) -> None:
    page = person.open()
    page.locator("#txt2img_model input").click()
    page.get_by_role("option", name=f"{name} (cannot be used)", exact=True).click()
    expect(page.locator(".w-note.w-wrong")).to_contain_text(f"{name} cannot be used.")
    comes_to_be(page, "model", "builtin")
    assert person.jobs() == [] and not marker.exists()


def test_who_asks_for_one_all_the_same_gets_the_sentence_and_no_job(
    person: Person, broken: Mapping[str, str], marker: Path
) -> None:
    person.meant.add(400)
    page = person.open()
    for name, reason in broken.items():
        if reason != NOT_LISTED:
            status, told = submit(page, {"model": name})
            assert status == 400 and reason in told["error"], (name, told)
    assert person.jobs() == [] and not marker.exists()


def test_weights_that_are_no_numbers_end_in_a_sentence_and_the_next_picture_is_made(person: Person, marker: Path) -> None:
    page = person.open()
    choose(page, "model", "nan")
    generate(page, prompt="ab", steps="2", seed="1")
    stage(page, "failed")
    expect(page.locator("webui-stage")).to_contain_text("not numbers")
    assert person.pictures() == []
    choose(page, "model", "builtin")
    generate(page)
    stage(page, "finished")
    assert len(person.pictures()) == 1 and value(page, "model") == "builtin"
    assert not marker.exists()


def submit(page: Page, parameters: dict[str, object]) -> tuple[int, dict[str, str]]:
    """Ask the program itself, past the controls."""
    body = json.dumps({"kind": "txt2img", "parameters": {"prompt": "ab", "steps": 1, **parameters}})
    answer = page.evaluate(
        "body => fetch('/x/jobs', {method: 'POST', headers: {'Content-Type': 'application/json'}, body})"
        ".then(async answer => [answer.status, await answer.json()])", body,
    )  # fmt: skip
    return answer[0], answer[1]
