"""A prompt is read and completed over HTTP, for whoever has signed in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.house import House, house


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house")) as made:
        yield made


def test_a_prompt_is_read(home: House) -> None:
    reply = home.post("/x/prompt", {"text": "a 🐱 (b", "model": None, "emphasis": "Original"}, home.anna)
    told = reply.json()
    assert reply.status == 200 and told["of"] % 75 == 0 and told["tokens"] > 0 and told["chunks"] == [[0, 6]]
    assert [(each["start"], each["end"]) for each in told["problems"]] == [(4, 5)]  # code points: the cat is one
    assert home.post("/x/prompt", {"text": "a AND b", "role": "negative"}).json()["tokens"] > 2


@pytest.mark.parametrize(("body", "said"), [
    ({}, "text was null"), ({"text": 1}, "text was 1"), ({"text": "a", "model": 2}, "model was 2"),
    ({"text": "a", "emphasis": None}, "emphasis was null"), ({"text": "a", "role": "both"}, "role was 'both'"),
    ({"text": "a" * 20_001}, "20,001 characters"),
])
def test_what_is_no_prompt_is_refused(home: House, body: object, said: str) -> None:
    reply = home.post("/x/prompt", body)
    assert reply.status == 400 and said in reply.json()["error"]


def test_words_are_completed(home: House) -> None:
    home.post("/x/styles", {"name": "Oil", "prompt": "oil"}, home.anna)
    assert home.get("/x/words?kind=style&start=o", home.anna).json() == {"words": [{"name": "Oil", "kind": "style"}]}
    assert home.get("/x/words?kind=style&start=o", home.bob).json() == {"words": []}
    assert home.get("/x/words?kind=%00&start=" + "x" * 5000).json() == {"words": []}
