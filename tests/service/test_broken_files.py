"""Files that cannot be used are each listed with their reason; asking for one is a sentence, runs no code, and costs nobody."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import tiny_checkpoint
from tests.service.broken_files import NOT_LISTED, call, pickled, write_all
from webui.drawing import Txt2Img
from webui.engine import events
from webui.errors import UserError
from webui.service.opening import open_engine
from webui.service.requests import Resolver
from webui.weights.verifying import MEMORY, keep, verified

TOO_LONG = 600  # characters of a reason


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "ran"


@pytest.fixture
def broken(tmp_path: Path, marker: Path) -> Mapping[str, str]:
    tiny_checkpoint.write(tmp_path / "models" / "builtin" / "model.safetensors")
    return write_all(tmp_path / "models" / "checkpoints", marker)


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    return Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache")


def test_each_is_listed_with_its_reason_and_the_good_one_without(
    resolver: Resolver, broken: Mapping[str, str], marker: Path
) -> None:
    listed = {each["name"]: each for each in resolver.models()}
    assert set(listed) == {"builtin", *broken}
    assert listed["builtin"]["problem"] == ""
    for name, reason in broken.items():
        problem = listed[name]["problem"]
        assert problem == "" if reason == NOT_LISTED else reason in problem, (name, problem)
        assert len(problem) < TOO_LONG and "\n" not in problem and "Traceback" not in problem
        assert str(resolver.models_folder) not in problem, "where files lie is nobody's business"
    assert not marker.exists()


def test_asking_for_one_is_a_sentence_before_anything_is_queued(
    resolver: Resolver, broken: Mapping[str, str], marker: Path
) -> None:
    for name, reason in broken.items():
        if reason != NOT_LISTED:
            for params in (Txt2Img(model=name), Txt2Img(refiner=name)):
                with pytest.raises(UserError) as raised:
                    resolver.outline(params)
                assert reason in str(raised.value), name
    assert resolver.request(Txt2Img()).model == "builtin"
    assert not marker.exists()


def test_the_code_in_them_would_run_elsewhere(marker: Path) -> None:
    pickle.loads(pickled(call(marker)))
    assert marker.exists()
    os.rmdir(marker)


def test_as_a_vae_each_is_a_sentence_that_costs_the_engine_nothing(
    tmp_path: Path, resolver: Resolver, broken: Mapping[str, str], marker: Path
) -> None:
    vaes = tmp_path / "models" / "VAE"
    (tmp_path / "models" / "checkpoints").rename(vaes)
    listed = {Path(each["name"]).stem: each["problem"] for each in resolver.vae_files()}
    assert all(listed[name] for name in ("truncated", "text", "endless", "empty", "code", "hidden", "lora")), listed
    with open_engine(tmp_path, exact=True) as service:
        for name in listed:
            told = failure(service, Txt2Img(vae=name, steps=1, seed=1))
            assert told is None or (isinstance(told, str) and len(told) < TOO_LONG), name
            assert told or name in ("shapes", "nan"), f"{name} has an autoencoder that is whole"
        assert failure(service, Txt2Img(steps=1, seed=1)) is None
    assert not marker.exists()


def test_weights_that_are_no_numbers_end_in_a_sentence_and_the_next_job_is_well(
    tmp_path: Path, broken: Mapping[str, str]
) -> None:
    with open_engine(tmp_path, exact=True) as service:
        told = failure(service, Txt2Img(model="nan", steps=2, seed=1))
        assert told is not None and "not" in told and len(told) < TOO_LONG
        assert failure(service, Txt2Img(steps=1, seed=1)) is None


def test_what_verify_found_is_shown_where_models_are_chosen(
    tmp_path: Path, resolver: Resolver, broken: Mapping[str, str]
) -> None:
    def problem() -> str:
        return str(next(each["problem"] for each in resolver.models() if each["name"] == "nan"))

    path = tmp_path / "models" / "checkpoints" / "nan.safetensors"
    assert problem() == ""
    found = verified(path)
    keep(path, found, resolver.cache / MEMORY)
    assert "broken" in problem() and found.faults[0] in problem()
    os.utime(path, ns=(1, 1))  # another file by now, for all that is known
    assert problem() == ""


def failure(service: object, params: Txt2Img) -> str | None:
    """Why a job failed, at its submission or in the engine; None where it made its picture."""
    try:
        job = service.engine.submit(service.request(params))  # type: ignore[attr-defined]
    except UserError as error:
        return str(error)
    last = list(service.engine.events(job))[-1]  # type: ignore[attr-defined]
    return last.sentence if isinstance(last, events.Failed) else None
