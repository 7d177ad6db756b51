"""The plot of a schedule over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.house import House, house


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as made:
        yield made


def test_the_plot_follows_what_is_set(home: House) -> None:
    told = home.get("/x/schedule?sampler=Euler&schedule=Karras&steps=5&sigma_max=4&discard_penultimate=true", home.anna).json()
    assert len(told["sigmas"]) == 6 and told["sigmas"][0] == pytest.approx(4) and told["sigmas"][-1] == 0
    assert (told["sampler"], told["schedule"]) == ("Euler", "Karras")
    assert len(home.get("/x/schedule?sampler=DPM%2B%2B%202M%20Karras&steps=9").json()["sigmas"]) == 10


@pytest.mark.parametrize(("query", "sentence"), [
    ("steps=0", "Steps was"), ("steps=x", "Steps was"), ("sampler=Eular", "Eular"), ("nonsense=1", "nonsense"),
    ("schedule=Karras&sigma_min=9&sigma_max=2", "sigma 2 to 9"),
])  # fmt: skip
def test_what_cannot_be_is_said(home: House, query: str, sentence: str) -> None:
    reply = home.get(f"/x/schedule?{query}")
    assert reply.status == 400 and sentence in reply.json()["error"]
