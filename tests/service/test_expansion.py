"""Prompts are expanded once, when a job is submitted, for each picture by what is its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.errors import UserError
from webui.params import LONGEST_PROMPT
from webui.request import Request
from webui.service.expansion import expanded
from webui.service.extensions import Extensions, load

CODE = """
from webui.extension import hook

@hook
def transform_prompt(text, context):
    return text.replace("SEED", f"{context.role} {context.seed} {context.index}").replace("LONG", "x" * %d)
"""
MANIFEST = 'name = "{0}"\nversion = "1"\napi = "1"\ndescription = "d"\n'


@pytest.fixture
def extensions(tmp_path: Path) -> Extensions:
    place = tmp_path / "extensions" / "seeds"
    place.mkdir(parents=True)
    (place / "extension.toml").write_text(MANIFEST.format("seeds"), encoding="utf-8")
    (place / "__init__.py").write_text(CODE % (LONGEST_PROMPT + 1), encoding="utf-8")
    found = load((tmp_path / "extensions",))
    assert not found.problems
    return found


def request(**own: object) -> Request:
    plain = {"model": "m", "prompt": "a cat", "steps": 1, "sampler": "Euler", "schedule": "Uniform", "scale": 1.0, "seed": 5}
    return Request.from_dict(plain | {"width": 64, "height": 64} | own)


def test_each_picture_has_its_own_text_and_what_was_written_is_kept(extensions: Extensions) -> None:
    made = expanded(request(prompt="SEED cat", negative="SEED", count=3), extensions, ())
    assert [made.picture(each).prompt for each in range(3)] == [f"prompt {5 + each} {each} cat" for each in range(3)]
    assert [made.picture(each).negative for each in range(3)] == [f"negative {5 + each} {each}" for each in range(3)]
    assert (made.template, made.negative_template, made.prompt) == ("SEED cat", "SEED", "SEED cat")
    assert Request.from_dict(made.to_dict()) == made
    assert made.picture(1).template == "SEED cat" and made.picture(1).prompts == ()


def test_variations_count_up_where_the_seed_does_not(extensions: Extensions) -> None:
    made = expanded(request(prompt="SEED", count=2, variation_seed=70, variation_strength=0.5), extensions, ())
    assert made.prompts == ("prompt 70 0", "prompt 71 1")


def test_what_means_itself_is_left_alone(extensions: Extensions) -> None:
    plain = request(negative="dogs", count=3)
    assert expanded(plain, extensions, ()) is plain
    assert expanded(plain, Extensions(), ()) is plain


def test_what_becomes_too_long_is_said(extensions: Extensions) -> None:
    with pytest.raises(UserError, match="prompt became 20,001 characters long"):
        expanded(request(prompt="LONG"), extensions, ())


def test_texts_of_all_pictures_of_a_job_have_an_end(extensions: Extensions) -> None:
    """A hundred texts of the longest kind, for each prompt, would be kept with each job, and with each cell of a plot."""
    written = "SEED " + "y" * (LONGEST_PROMPT - 100)
    assert len(expanded(request(prompt=written, count=20), extensions, ()).prompts) == 20
    with pytest.raises(UserError, match="prompt of all 100 pictures became more than 500,000 characters long"):
        expanded(request(prompt=written, count=100), extensions, ())
