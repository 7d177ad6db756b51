"""Extensions whose hooks return what is of the right kind and wrong in what it holds: nobody else's page or picture suffers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.service.extensions_written import shelf_of, write
from tests.service.pretend import place_model
from tests.service.test_extension_hostile import plain
from webui.errors import ExtensionError, UserError
from webui.request import Request
from webui.service.picture_texts import text_of
from webui.service.requests import Resolver

ANSWERS = {  # what hooks return, which is of the right kind and wrong in what it holds
    "prompt_problems(text, folders)": ("[5]", "[('a', 'b', 'c')]", "[(1, 2, object())]", "[(1, 2, '\\ud800')]", "[(1, 2)]"),
    "prompt_words(folders)": ("{5: ['a']}", "{'a': 7}", "{'a': 'word'}", "{'a': [None]}", "{'a': ['\\0']}"),
    "cards(home, files)": ("[5]", "[Card(kind='a', name='b', insert='c', facts=5)]", "[Card(kind='a', name=5, insert='c')]",
                           "[Card(kind='a', name='b', insert='c', words=[None])]"),
    "read_file(content)": ("'\\ud800'",),
}  # fmt: skip


@pytest.mark.parametrize(("hook", "answer"), [(hook, answer) for hook, answers in ANSWERS.items() for answer in answers])
def test_an_answer_with_something_wrong_in_it_does_not_spoil_those_of_others(tmp_path: Path, hook: str, answer: str) -> None:
    head = "from webui.extension import Card\n"
    good = {"prompt_problems": "[(1, 2, 'x')]", "prompt_words": "{'good': ['word']}", "read_file": "'said'",
            "cards": "[Card(kind='a', name='good', insert='c')]"}[hook.partition("(")[0]]  # fmt: skip
    places = [write(tmp_path, name, f"{head}@hook\ndef {hook}:\n    return {said}\n") for name, said in
              (("bad", answer), ("good", good))]  # fmt: skip
    shelf = shelf_of(tmp_path, *places)
    functions = {name: {owner: own for owner, own in each.items() if owner in ("bad", "good")}
                 for name, each in shelf.now.functions.items()}  # fmt: skip
    now = replace(shelf.now, functions=functions)
    asked: dict[str, Any] = {
        "prompt_problems": lambda: now.prompt_problems("text", ()) == [(1, 2, "x")],
        "prompt_words": lambda: now.prompt_words(())["good"] == ["word"],
        "cards": lambda: [card.name for _, card in now.cards(None)] == ["good"],  # type: ignore[arg-type]
        "read_file": lambda: now.read_file(b"x") == "said",
    }
    assert asked[hook.partition("(")[0]]()
    assert "wanted" in shelf.record("bad").problem and not shelf.record("good").problem
    shelf.close()


NOTES = "from webui.extension import TagKind\n@hook\ndef tags():\n    return [TagKind(name='odd', resolve=lambda *_: WHAT)]\n"
SAYS = {
    "notes": NOTES.replace("WHAT", "{'a': object()}"), "nan": NOTES.replace("WHAT", "{'a': float('nan')}"),
    "no_mapping": NOTES.replace("WHAT", "7"),
    "resolves": "@hook\ndef resolve(submission):\n    return {'a': {1, 2}}\n",
    "transforms": "@hook\ndef transform_prompt(text):\n    return text + '\\ud800'\n",
}


@pytest.mark.parametrize("name", SAYS)
def test_what_cannot_be_kept_with_a_job_refuses_it_under_the_name_of_the_extension(tmp_path: Path, name: str) -> None:
    place_model(tmp_path)
    shelf = shelf_of(tmp_path, write(tmp_path, name, SAYS[name]))
    resolver = Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache", extensions=shelf.now)
    with pytest.raises(ExtensionError, match=f"The extension {name} returned"):
        resolver.outline(resolver.tasks()["txt2img"].read({"prompt": "a <odd:1> ball"}))
    shelf.close()


def test_a_text_with_a_nul_is_refused(tmp_path: Path) -> None:
    place_model(tmp_path)
    shelf = shelf_of(tmp_path, write(tmp_path, "odd", "@hook\ndef transform_prompt(text):\n    return text + '\\0'\n"))
    resolver = Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache", extensions=shelf.now)
    with pytest.raises(UserError, match="NUL character"):
        resolver.outline(resolver.tasks()["txt2img"].read({"prompt": "a ball"}))
    shelf.close()


@pytest.mark.parametrize("answer", ["{5: 'a'}", "{'Seed': None}", "{'a': '\\ud800'}", "1 / 0"])
def test_a_finished_picture_has_its_text_whatever_an_extension_would_add(tmp_path: Path, answer: str) -> None:
    shelf = shelf_of(tmp_path, write(tmp_path, "odd", f"@hook\ndef metadata(values):\n    return {answer}\n"))
    text = text_of(Request.from_dict(plain("odd")), batched=False, interrupted=False, extensions=shelf.now)
    assert "Steps: 4" in text and "odd 1.0" in text and shelf.record("odd").problem
    shelf.close()
