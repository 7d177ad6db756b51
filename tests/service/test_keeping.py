"""Pictures are kept as their user has set it, and everything that knows them knows them in every format."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.service.making import Core, core
from tests.service.test_filenames import JOB
from tests.service.test_worker import Scripted
from webui import infotext
from webui.metadata.writing import SUFFIXES, write
from webui.service.archives import archive
from webui.service.extensions import bundled
from webui.service.gallery import read_text
from webui.service.intake import Intake
from webui.service.keeping import Keeper
from webui.service.picture_texts import pixels_digest, source_text, taking_part, with_pixels
from webui.settings import Settings


@pytest.fixture
def engine() -> Scripted:
    return Scripted()


@pytest.fixture
def made(tmp_path: Path, engine: Scripted) -> Iterator[Core]:
    opened = core(tmp_path, engine)
    yield opened
    opened.close()


def keeper_of(made: Core) -> Keeper:
    return made.worker._keeper


def kept(made: Core, engine: Scripted, settings: Settings, **params: object) -> Path:
    """The file of a picture that is made with these settings."""
    keeper_of(made).settings = {1: settings}.__getitem__
    job = made.submit(**{"prompt": "a cat", "seed": 5, **params})
    engine.picture(f"{job}/0", 0)
    engine.finish(f"{job}/0")
    made.ended(job)
    return made.pictures.search(made.owner)[0].path


@pytest.mark.parametrize("kind", SUFFIXES)
def test_every_format_is_kept_listed_shown_small_zipped_and_taken_in_again(made: Core, engine: Scripted, kind: str) -> None:
    path = kept(made, engine, Settings(save_format=kind, filename_pattern="[date]/[seed]-[prompt]"))
    (row,) = made.pictures.search(made.owner, "cat")
    assert path.suffix == SUFFIXES[kind] and path.name.startswith("00000-5-a_cat") and path.parent.parent == made.pictures.outputs
    assert row.parameters == read_text(path) == source_text(path.read_bytes())
    info = infotext.parse(row.parameters)
    assert (info.prompt, info.values["Seed"]) == ("a cat", "5") and ("Pixels" in info.values) is (kind != "PNG")
    small = made.pictures.thumbnails.of(row.id, path)
    assert small is not None
    with Image.open(io.BytesIO(small)) as thumbnail, Image.open(path) as picture:
        assert thumbnail.size == picture.size == (row.width, row.height)
    with zipfile.ZipFile(io.BytesIO(b"".join(archive([row])))) as zipped:
        assert zipped.namelist() == [path.name, path.with_suffix(".txt").name]
        assert zipped.read(path.name) == path.read_bytes()
    with made.database.write() as connection:
        connection.execute("DELETE FROM pictures")
    os.utime(path.parent, (1, 1))
    os.utime(made.pictures.outputs, (1, 1))
    assert Intake(made.database, made.pictures).look() == 1
    (again,) = made.pictures.search(made.owner)
    assert (again.path, again.parameters, again.seed, again.width) == (row.path, row.parameters, row.seed, row.width)


def test_the_quality_is_the_settings(made: Core, engine: Scripted) -> None:
    low = kept(made, engine, Settings(save_format="JPEG", save_quality=1)).read_bytes()
    high = kept(made, engine, Settings(save_format="JPEG", save_quality=95)).read_bytes()
    assert len(low) < len(high)


def test_who_made_it_and_when_may_be_in_the_name(made: Core, engine: Scripted) -> None:
    keeper_of(made).clock = lambda: 1_800_000_000.0
    with made.database.write() as connection:
        connection.execute("UPDATE users SET name = 'Änne / x' WHERE id = 1")
    name = kept(made, engine, Settings(filename_pattern="[user]-[datetime<%Y>]-[width]")).name
    assert name == "00000-Änne _ x-2027-64.png"


def test_what_was_left_of_a_name_with_folders_is_found_after_a_crash(made: Core, engine: Scripted) -> None:
    path = kept(made, engine, Settings(filename_pattern="x/[none]", save_format="WebP"))
    (row,) = made.pictures.search(made.owner)
    values = dict(made.database.one("SELECT * FROM pictures") or {})
    part = path.with_name(".00000.part")
    path.rename(part)
    with made.database.write() as connection:
        plain = {name: values[name] for name in values if name != "number"}
        connection.execute("INSERT INTO saving (path, row) VALUES (?, ?)", (str(path), json.dumps(plain)))
    keeper_of(made).recover()
    assert not part.exists() and made.database.one("SELECT 1 FROM saving") is None and row.path == path


def test_the_extensions_that_had_a_part_are_named_with_their_versions() -> None:
    extensions = bundled()
    assert taking_part(JOB, extensions) == {}
    assert taking_part(replace(JOB, sampler="LMS"), extensions) == {"samplers": extensions.versions["samplers"]}
    second = {"sampler": "Euler", "schedule": "Karras", "strength": 0.5}
    assert taking_part(replace(JOB, hires=second), extensions) == {}
    assert set(taking_part(replace(JOB, hires={**second, "sampler": "DPM2"}), extensions)) == {"samplers"}
    assert set(taking_part(replace(JOB, template="{a|b}"), extensions)) == {"wildcards"}


def test_what_the_pixels_were_is_said_without_losing_anything_else() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    text = 'a\nNegative prompt: "b"\nSteps: 1, Sampler: x, Seed: 1, Odd: "a, b", Version: v'
    said = with_pixels(text, pixels)
    assert said == text.replace(", Version", f", Pixels: {pixels_digest(pixels)}, Version")
    assert pixels_digest(pixels) != pixels_digest(pixels.reshape(2, 8, 3)) != pixels_digest(pixels + 1)
    assert read_back(said, pixels) == said


def read_back(text: str, pixels: np.ndarray) -> str:
    return source_text(write(pixels, "WebP", text))
