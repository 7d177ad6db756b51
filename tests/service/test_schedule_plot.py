"""The plot of a schedule: the levels that a picture would visit, had without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.service.pretend import place_model
from webui.drawing import Txt2Img
from webui.errors import UnknownName, UserError
from webui.service.requests import Resolver
from webui.service.schedule_plot import plot

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def resolver(tmp_path_factory: pytest.TempPathFactory) -> Resolver:
    root = tmp_path_factory.mktemp("root")
    place_model(root)
    return Resolver(models_folder=root / "models", cache=root / "cache")


def test_every_sampler_and_schedule_has_a_plot(resolver: Resolver) -> None:
    for sampler in resolver.samplers():
        told = plot(Txt2Img(sampler=sampler, steps=7), resolver)
        assert all(one > other for one, other in zip(told["sigmas"], told["sigmas"][1:], strict=False)), sampler
        assert told["sampler"] in resolver.extensions.samplers and told["schedule"] in resolver.extensions.schedules
    for schedule in resolver.schedules():
        told = plot(Txt2Img(sampler="Euler", schedule=schedule, steps=12), resolver)
        assert 12 <= len(told["sigmas"]) - 1 <= 14 and told["sigmas"][-1] < 0.1, schedule


def test_what_is_set_is_seen(resolver: Resolver) -> None:
    def sigmas(**more: object) -> list[float]:
        return list(plot(Txt2Img(sampler="Euler", schedule="Karras", steps=10, **more), resolver)["sigmas"])  # type: ignore[arg-type]

    plain = sigmas()
    assert sigmas(sigma_max=5.0)[0] == pytest.approx(5.0) and sigmas(sigma_min=0.2)[-2] == pytest.approx(0.2)
    assert sigmas(rho=3.0)[4] > plain[4] and sigmas(rho=3.0)[0] == pytest.approx(plain[0])
    assert len(sigmas(discard_penultimate=True)) == len(plain) and sigmas(discard_penultimate=True)[-2] > plain[-2]
    assert sigmas(noise_schedule="Zero Terminal SNR")[0] > 4000
    assert sigmas(beta_alpha=2.0) == sigmas(rho=0, sigma_min=0, sigma_max=0) == plain  # 0 is the schedule's own


def test_what_cannot_be_is_said(resolver: Resolver) -> None:
    with pytest.raises(UnknownName, match="Karas"):
        plot(Txt2Img(sampler="Euler", schedule="Karas"), resolver)
    with pytest.raises(UserError, match=r"rho was 0\.5"):
        plot(Txt2Img(sampler="Euler", schedule="Karras", rho=0.5), resolver)
    with pytest.raises(UserError, match="gone"):
        plot(Txt2Img(model="gone"), resolver)


def test_a_schedule_that_wants_a_tensor_has_no_plot(resolver: Resolver) -> None:
    def schedule(n: int, table: Any, **_: object) -> tuple[float, ...]:
        return tuple(table.sigmas.flip(0)[:n].tolist())

    more = replace(resolver.extensions, schedules={**resolver.extensions.schedules, "Tensor": schedule})
    other = Resolver(models_folder=resolver.models_folder, cache=resolver.cache, extensions=more)
    assert plot(Txt2Img(sampler="Euler", schedule="Tensor"), other) == {"sigmas": None, "sampler": "Euler", "schedule": "Tensor"}


def test_no_torch_is_imported_for_it(tmp_path: Path) -> None:
    place_model(tmp_path)
    code = (
        "import sys; from pathlib import Path; from webui.drawing import Txt2Img; from webui.service.requests import Resolver\n"
        "from webui.service.schedule_plot import plot\n"
        f"root = Path({str(tmp_path)!r}); resolver = Resolver(models_folder=root / 'models', cache=root / 'cache')\n"
        "for name in resolver.schedules(): assert plot(Txt2Img(sampler='Euler', schedule=name), resolver)['sigmas']\n"
        "(root / 'models' / 'Stable-diffusion').mkdir(); import pickle\n"
        "(root / 'models' / 'Stable-diffusion' / 'old.ckpt').write_bytes(pickle.dumps({'state_dict': {}}))\n"
        "assert plot(Txt2Img(model='old'), resolver) == {'sigmas': None}\n"
        "sys.exit(', '.join({'torch', 'gradio'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
