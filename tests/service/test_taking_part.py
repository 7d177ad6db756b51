"""An extension takes part in a job exactly where something of it is in the request; what with is settled at submission."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.service.pretend import place_model
from webui import infotext
from webui.errors import JobError, UserError
from webui.request import InputFacts, Request
from webui.service.extensions import Extensions, load
from webui.service.picture_texts import text_of
from webui.service.replaying import request_of
from webui.service.requests import Resolver
from webui.service.taking_part import MOST_OF_ALL, MOST_TAGS, known_tags

CODE = '''
from dataclasses import dataclass
from webui.extension import Params, Section, TagKind, UserError, hook, param

@dataclass(frozen=True, kw_only=True)
class Own(Params):
    strength: float = param(0.0, "Strength", min=0, max=1, infotext="{name} strength", help="0 is off.")
    picture: str = param("", "Picture", picture=True, infotext="{name} picture", help="One.")

@hook
def params():
    return [Section(title="{name}", params=Own, tasks=("txt2img",))]

def file(arguments, submission):
    name, *rest = arguments
    if name == "missing":
        raise UserError("There is no {name} file 'missing'.")
    return {{"file": name, "weight": float(rest[0]) if rest else 1.0, "strength": submission.values["strength"]}}

@hook
def tags():
    return [TagKind(name="{name}", resolve=file)]

@hook
def resolve(submission):
    found = [text for text in submission.prompts + submission.negatives if "every{name}" in text]
    return {{"texts": found}} if found else None

@hook
def metadata(request, values, noted):
    return {{"{name} files": ", ".join(sorted(noted.get("tags", {{}})))}}
'''
MANIFEST = 'name = "{name}"\nversion = "1.2"\napi = "1"\ndescription = "For a test."\n{more}'


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    place_model(tmp_path)
    for name, more in (("one", 'excludes = ["two"]'), ("two", ""), ("three", "order = 5")):
        folder = tmp_path / "extensions" / name
        folder.mkdir(parents=True)
        (folder / "extension.toml").write_text(MANIFEST.format(name=name, more=more), encoding="utf-8")
        (folder / "__init__.py").write_text(CODE.format(name=name), encoding="utf-8")
    found = load((tmp_path / "extensions",))
    assert not found.problems
    return Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache", seed=lambda: 5, extensions=found)


def outline(resolver: Resolver, task: str = "txt2img", **values: object) -> Request:
    return resolver.outline(resolver.tasks()[task].read(values))


def test_nothing_of_it_means_no_part(resolver: Resolver) -> None:
    assert outline(resolver, prompt="a <unknown:x> ball", one_strength=0.0).extensions == {}


def test_a_value_a_tag_and_a_note_make_it_take_part(resolver: Resolver) -> None:
    assert outline(resolver, prompt="x", two_strength=0.5).extensions == {
        "two": {"values": {"strength": 0.5, "picture": ""}, "noted": {}}
    }
    found = outline(resolver, prompt="a <two:cat:0.5> <three:a> everythree", two_strength=0.25).extensions
    assert found == {
        "three": {"values": {}, "noted": {
            "texts": ["a <two:cat:0.5> <three:a> everythree"],
            "tags": {"three:a": {"file": "a", "weight": 1.0, "strength": 0.0}},
        }},
        "two": {"values": {"strength": 0.25, "picture": ""}, "noted": {
            "tags": {"two:cat:0.5": {"file": "cat", "weight": 0.5, "strength": 0.25}},
        }},
    }  # fmt: skip
    again = outline(resolver, prompt="a <three:a> <two:cat:0.5> everythree", two_strength=0.25).extensions
    assert json.loads(json.dumps(found)) == found and again["two"] == found["two"]


def test_the_second_pass_and_the_negative_prompt_are_read_too(resolver: Resolver) -> None:
    found = outline(
        resolver, prompt="x", negative="everytwo <one:not read>", hires_upscaler="Latent", hires_prompt="<three:b:0.1>"
    ).extensions
    assert set(found) == {"two", "three"} and found["two"]["noted"] == {"texts": ["everytwo <one:not read>"]}


@pytest.mark.parametrize(("values", "sentence"), [
    ({"prompt": "<one:missing>"}, "There is no one file 'missing'"),
    ({"prompt": "<one:a> <two:a>"}, "The extensions one and two cannot take part in the same picture"),
    ({"prompt": "x", "one_strength": 3}, "Strength was 3; it must be a number from 0 to 1"),
])  # fmt: skip
def test_what_cannot_be_is_told_at_submission(resolver: Resolver, values: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        outline(resolver, **values)


def test_there_may_be_many_tags_but_not_so_many_that_others_wait_for_their_files(resolver: Resolver) -> None:
    def tags(count: int, first: int = 0) -> str:
        return " ".join(f"<two:{number}>" for number in range(first, first + count))

    found = outline(resolver, prompt=tags(MOST_TAGS) + tags(3) + " <unknown:1> <unknown:2>").extensions
    assert len(found["two"]["noted"]["tags"]) == MOST_TAGS
    with pytest.raises(UserError, match=r"more than 100 different tags such as <two:0> in a prompt; use fewer"):
        outline(resolver, prompt=tags(MOST_TAGS + 1))
    prompts = tuple(tags(MOST_TAGS, first) for first in range(0, MOST_OF_ALL + 1, MOST_TAGS))
    assert len(known_tags(prompts[:-1], resolver.extensions)) == MOST_OF_ALL
    with pytest.raises(UserError, match="more than 500 different tags"):
        known_tags(prompts, resolver.extensions)


def test_the_text_of_a_picture_makes_the_same_request_again(resolver: Resolver) -> None:
    params = resolver.tasks()["txt2img"].read({"prompt": "<two:cat> x", "seed": "3", "three_strength": 0.5})
    request = resolver.request(params)
    text = text_of(request, batched=False, interrupted=False, extensions=resolver.extensions)
    values = infotext.parse(text).values
    assert values["three strength"] == "0.5" and values["two files"] == "two:cat" and "one strength" not in values
    assert values["Extensions"] == "three 1.2, two 1.2"
    assert request_of(text, resolver, lambda name, digits: None) == request


def test_a_job_whose_extension_is_gone_says_so(resolver: Resolver) -> None:
    from webui.service.opening import require

    request = outline(resolver, prompt="x", two_strength=0.5)
    require(resolver.extensions, request)
    require(Extensions(), outline(resolver, prompt="x"))
    with pytest.raises(JobError, match="The extension two, which takes part in this job, is not loaded"):
        require(Extensions(), request)


def test_a_picture_of_an_extension_is_an_input_of_the_request(resolver: Resolver) -> None:
    digest = "ab" * 32
    facts = {"one_picture": InputFacts(digest=digest, width=8, height=8)}
    request = resolver.request(resolver.tasks()["txt2img"].read({"prompt": "x", "seed": "3", "one_picture": digest}), facts)
    assert request.inputs == {"one_picture": digest} and request.extensions["one"]["values"]["picture"] == digest
    text = text_of(request, batched=False, interrupted=False, extensions=resolver.extensions)
    assert request_of(text, resolver, lambda name, digits: facts[name] if digits == digest else None) == request
    with pytest.raises(UserError, match=r"picture of one: Picture .* is not here"):
        request_of(text, resolver, lambda name, digits: None)
