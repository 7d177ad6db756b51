"""Parameters that extensions add are parameters of the task like any other, and nothing of the task's own changes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from webui import infotext
from webui.drawing import Txt2Img
from webui.errors import UserError
from webui.extension.kinds import Section
from webui.params import Params, param, parameters
from webui.service.composed import composed, pictures_of
from webui.tasks import TASKS, task_of


@dataclass(frozen=True, kw_only=True)
class Blur(Params):
    """For a test."""

    strength: float = param(0.0, "Blur", min=0, max=1, infotext="Blur strength", unwritten="0", help="How much.")
    words: str = param("", "Blurred words", infotext="Blurred words", unwritten="", help="Which.")
    mask: str = param("", "Blur mask", picture=True, infotext="Blur mask", unwritten="", help="Where.")
    most: int | None = param(None, "Most", min=1, max=9, unset="all of them", help="How many.")

    def check_together(self) -> None:
        """Words need strength."""
        if self.words and not self.strength:
            raise UserError("Blurred words need a Blur above 0.")


@dataclass(frozen=True, kw_only=True)
class Other(Params):
    """For a test."""

    steps: int = param(3, "Other steps", min=1, max=9, infotext="Steps", help="Taken.")


@dataclass(frozen=True, kw_only=True)
class Twin(Params):
    """For a test."""

    strength: float = param(0.0, "Blur", min=0, max=1, help="How much.")
    steps: int = param(3, "Steps", min=1, max=9, help="Taken.")


SECTIONS = {"blur": (Section(title="Blur", params=Blur, tasks=("txt2img", "depth")),)}


def test_fields_stand_behind_the_tasks_own_and_only_in_its_tasks() -> None:
    tasks = composed(SECTIONS)
    for task, kind in TASKS.items():
        own, all_of_them = parameters(kind), parameters(tasks[task])
        assert list(all_of_them)[: len(own)] == list(own) and all(all_of_them[name] == each for name, each in own.items())
        added = list(all_of_them)[len(own) :]
        assert added == (["blur_strength", "blur_words", "blur_mask", "blur_most"] if task in ("txt2img", "depth") else [])
        assert issubclass(tasks[task], kind) and task_of(tasks[task]()) == task
    assert composed({}) == TASKS


def test_a_field_is_a_parameter_like_any_other() -> None:
    cls = composed(SECTIONS)["txt2img"]
    made = cls.read({"prompt": "x", "blur_strength": "0.25", "blur_words": "a, b", "blur_most": "4"})
    assert isinstance(made, Txt2Img) and parameters(cls)["blur_strength"].flag == "--blur-strength"
    text = infotext.write(made)
    assert "Blur strength: 0.25" in text and 'Blurred words: "a, b"' in text
    raw, unknown = infotext.raw_parameters(infotext.parse(text), cls)
    assert cls.read(raw) == cls.read({**raw, "blur_strength": 0.25, "blur_words": "a, b"}) and "Blur strength" not in unknown
    assert "Blur strength" in infotext.raw_parameters(infotext.parse(text))[1]
    assert infotext.write(cls(prompt="x")) == infotext.write(Txt2Img(prompt="x"))
    with pytest.raises(UserError, match=r"Blur was 2\.0; it must be a number from 0 to 1"):
        cls(prompt="x", blur_strength=2.0)
    with pytest.raises(UserError, match="Blurred words need"):
        cls(prompt="x", blur_words="a")


def test_a_picture_is_known_by_its_hash() -> None:
    cls = composed(SECTIONS)["txt2img"]
    assert pictures_of(cls(prompt="x")) == {}
    assert pictures_of(cls(prompt="x", blur_mask="0" * 64)) == {"blur_mask": "0" * 64}
    with pytest.raises(UserError, match=r"Blur mask was 'cat\.png'; it must be the SHA-256"):
        cls(prompt="x", blur_mask="cat.png")


def test_labels_tell_parameters_apart() -> None:
    sections = {name: (Section(title=name, params=Blur),) for name in ("one",)} | {"two": (Section(title="Two", params=Twin),)}
    labels = [each.label for each in parameters(composed(sections)["txt2img"]).values()]
    assert len(labels) == len(set(labels)) and "Blur" in labels and "Two: Blur" in labels and "Two: Steps" in labels


def test_what_is_there_already_is_refused() -> None:
    with pytest.raises(UserError, match="key 'Steps' of Other steps"):
        composed({"other": (Section(title="Other", params=Other),)})
    with pytest.raises(UserError, match="would be hires_steps in txt2img"):
        composed({"hires": (Section(title="Other", params=Other),)})
