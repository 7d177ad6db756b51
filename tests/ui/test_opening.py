"""What the page begins with: the person's values over their defaults over the program's, without what is allowed no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.pretend import PretendEngine, place_model
from tests.ui.drawn import content, stripes
from webui.drawing import Txt2Img
from webui.errors import NotFound
from webui.params import LARGEST_SEED, parameters
from webui.service.studio import Studio, open_studio
from webui.service.styles import Style
from webui.service.users import OWNER_ID, User
from webui.ui import opening
from webui.ui.areas import IMG2IMG, TXT2IMG


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    place_model(tmp_path)
    (tmp_path / "models" / "checkpoints").mkdir()
    with open_studio(tmp_path, engine=PretendEngine()) as opened:
        yield opened


@pytest.fixture
def owner(studio: Studio) -> User:
    return studio.users.get(OWNER_ID)


def test_who_comes_first_gets_the_programs_defaults_and_a_model(studio: Studio, owner: User) -> None:
    values = opening.kept(studio, owner, TXT2IMG)
    plain = {name: each.default for name, each in parameters(Txt2Img).items() if not name.endswith("_hash")}
    assert values == plain | {"model": "builtin", "seed": "-1"}


def test_what_was_set_last_comes_before_the_own_defaults(studio: Studio, owner: User) -> None:
    opening.keep(studio, owner, TXT2IMG, {"steps": 30, "scale": 5.5}, opening.DEFAULTS)
    opening.keep(studio, owner, TXT2IMG, {"steps": 40, "prompt": "a ball", "seed": str(LARGEST_SEED)})
    values = opening.kept(studio, owner, TXT2IMG)
    assert (values["steps"], values["scale"], values["prompt"], values["seed"]) == (40, 5.5, "a ball", str(LARGEST_SEED))
    defaults = opening.kept(studio, owner, TXT2IMG, defaults_only=True)
    assert (defaults["steps"], defaults["scale"], defaults["prompt"]) == (30, 5.5, "")


def test_defaults_that_an_older_version_kept_are_the_models_own_now(studio: Studio, owner: User) -> None:
    opening.keep(studio, owner, TXT2IMG, {"steps": 20, "sampler": "DPM++ 2M", "scale": 7.0})
    values = opening.kept(studio, owner, TXT2IMG)
    assert (values["steps"], values["sampler"], values["scale"]) == (None, "Automatic", 7.0)
    opening.keep(studio, owner, TXT2IMG, {"steps": 20, "sampler": "DPM++ 2M", "vae": "Automatic"})
    values = opening.kept(studio, owner, TXT2IMG)
    assert (values["steps"], values["sampler"]) == (20, "DPM++ 2M"), "that was set"


def test_what_is_not_allowed_is_left_out(studio: Studio, owner: User) -> None:
    given = {"steps": 9999, "width": "wide", "sampler": "Wonder", "model": "gone", "nothing": 1, "scale": 2}
    opening.keep(studio, owner, TXT2IMG, given)
    values = opening.kept(studio, owner, TXT2IMG)
    assert (values["steps"], values["width"], values["sampler"], values["model"]) == (None, None, "Automatic", "builtin")
    assert values["scale"] == 2 and "nothing" not in values


def test_people_share_nothing(studio: Studio, owner: User) -> None:
    other = studio.users.create("other", "a long password")
    opening.keep(studio, owner, TXT2IMG, {"prompt": "mine", "styles": ["s"]})
    assert opening.kept(studio, other, TXT2IMG)["prompt"] == ""


def test_styles_that_are_chosen_are_those_there_still_are(studio: Studio, owner: User) -> None:
    for name in ("oil", "ink"):
        studio.styles.put(owner, Style(name=name, prompt=name))
    opening.keep(studio, owner, TXT2IMG, {"styles": ["ink", "gone", 3]})
    found = opening.opening(studio, owner, signed_in=False)["fill"]["txt2img"]["styles"]
    assert found == {"choices": [("ink", "ink"), ("oil", "oil")], "value": ["ink"]}


def test_a_file_that_is_no_model_is_listed_but_not_chosen(studio: Studio, owner: User) -> None:
    (studio.root / "models" / "checkpoints" / "bad.safetensors").write_bytes(b"no model")
    opened = opening.opening(studio, owner, signed_in=True)
    assert ("bad (cannot be used)", "bad") in opened["fill"]["txt2img"]["model"]["choices"]
    (problem,) = [each["problem"] for each in opened["models"] if each["name"] == "bad"]
    assert "bad.safetensors" in problem
    opening.keep(studio, owner, TXT2IMG, {"model": "bad"})
    assert opening.kept(studio, owner, TXT2IMG)["model"] == "builtin"


def test_settings_are_among_it(studio: Studio, owner: User) -> None:
    studio.preferences.change(owner, {"theme": "dark"})
    opened = opening.opening(studio, owner, signed_in=True)
    assert opened["fill"]["settings"]["theme"] == "dark"
    assert opened["user"] == {"name": owner.name, "owner": True, "signed_in": True}


def test_pictures_that_were_chosen_are_those_that_are_still_there(studio: Studio, owner: User) -> None:
    kept = studio.inputs.add(owner, content(stripes(24, 16)))
    gone = studio.inputs.add(owner, content(stripes(16, 24)))
    other = studio.users.create("other", "a long password")
    chosen = {"picture": {"digest": kept, "name": "a.png"}, "sketch": {"digest": gone, "name": "b.png"}}
    for user in (owner, other):
        opening.keep_inputs(studio, user, IMG2IMG, chosen | {"mask": {"digest": kept}, "depth": 3})
    studio.inputs.remove(owner, gone)
    found = opening.opening(studio, owner, signed_in=True)["inputs"]["img2img"]
    assert found == {"picture": {"digest": kept, "width": 24, "height": 16, "name": "a.png"}}
    assert opening.kept_inputs(studio, other, IMG2IMG) == {}, "somebody else's pictures are not theirs"


def test_an_area_that_nobody_made_is_not_there(studio: Studio) -> None:
    with pytest.raises(NotFound):
        opening.area_of(studio, "nonsense")


def test_what_extensions_have_people_choose_from_is_listed(studio: Studio) -> None:
    _, choices = opening.find(studio)
    assert choices["ControlNet files"] == choices["detectors"][:1] == [("None", "None")]
