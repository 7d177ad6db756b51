"""The training loop: it learns, it resumes exactly, and its state travels in small pieces."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from webui.errors import StorageError, UserError
from webui.training.loop import Average, Plan, step_generator, train
from webui.training.state import SHARD_BYTES, join, load_average, newest, shards

PLAN = Plan(steps=40, rate=0.05, warmup=5, decay=0.5, average=0.9, weight_decay=0.0, seed=3)


def problem() -> tuple[nn.Linear, dict[str, Tensor]]:
    torch.manual_seed(0)
    return nn.Linear(3, 1), {"truth": torch.tensor([[1.0, -2.0, 0.5]])}


def run(folder: Path, plan: Plan = PLAN) -> nn.Linear:
    network, given = problem()

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        x = torch.randn(16, 3, generator=generator)
        return {"loss": (network(x) - x @ given["truth"].T).square().mean()}

    train(network, loss, plan, folder)
    return network


def test_it_learns_the_weights(tmp_path: Path) -> None:
    network = run(tmp_path, Plan(steps=300, rate=0.05, warmup=5, average=0.9, weight_decay=0.0))
    assert torch.allclose(network.weight, torch.tensor([[1.0, -2.0, 0.5]]), atol=2e-2)


def test_a_run_in_slices_equals_the_unbroken_run(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", Plan(**{**vars(PLAN), "steps": 17, "decay": 0.01}))  # the rate still holds where the slice ends
    same_rates = [PLAN.rate_at(step) == Plan(**{**vars(PLAN), "steps": 17, "decay": 0.01}).rate_at(step) for step in range(17)]
    assert all(same_rates)
    parts = run(tmp_path / "parts")
    assert torch.equal(whole.weight, parts.weight)


def test_the_rate_rises_holds_and_falls_to_nothing() -> None:
    rates = [PLAN.rate_at(step) for step in range(PLAN.steps)]
    assert rates[0] == pytest.approx(PLAN.rate / 5)
    assert rates[10] == PLAN.rate
    assert rates == sorted(rates[:5]) + [PLAN.rate] * 15 + sorted(rates[20:], reverse=True)
    assert PLAN.rate_at(PLAN.steps) == 0


def test_the_average_forgets_at_its_decay() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = Average(network, 0.9)
    nn.init.ones_(network.weight)
    for _ in range(5):
        average.update(network, 10_000)
    assert average.tensors["weight"].item() == pytest.approx(1 - 0.9**5)


def test_shards_are_small_and_join_again() -> None:
    tensors = {"big": torch.randn(5000, 1000), "small": torch.randn(7), "number": torch.tensor(3.0)}
    groups = list(shards(tensors))
    assert len(groups) > 1
    assert all(sum(tensor.nbytes for tensor in group.values()) <= SHARD_BYTES for group in groups)
    back = join({key: tensor for group in groups for key, tensor in group.items()})
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())


def test_an_unfinished_save_is_not_read(tmp_path: Path) -> None:
    run(tmp_path)
    state = newest(tmp_path)
    assert state is not None and state.name == "step-0000040"
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "000.safetensors").write_bytes(b"half")
    assert load_average(tmp_path, problem()[0]) == 40


def test_a_finished_run_started_again_leaves_its_state_alone(tmp_path: Path) -> None:
    run(tmp_path)
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in tmp_path.rglob("*") if file.is_file()}
    run(tmp_path)
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_missing_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the stage noise first"):
        load_average(tmp_path / "noise", problem()[0])


def test_steps_have_their_own_random_numbers() -> None:
    device = torch.device("cpu")
    draws = {float(torch.rand(1, generator=step_generator(seed, step, device))) for seed in (1, 2) for step in range(50)}
    assert len(draws) == 100


def test_a_damaged_state_is_a_sentence_and_another_networks_is_told(tmp_path: Path) -> None:
    run(tmp_path)
    state = newest(tmp_path)
    assert state is not None
    (file,) = state.glob("*.safetensors")
    with pytest.raises(UserError, match=r"another network's \(its weight is \[1, 3\], expected \[2, 3\]"):
        load_average(tmp_path, nn.Linear(3, 2))
    whole = file.read_bytes()
    file.write_bytes(whole[:-8])
    with pytest.raises(UserError, match="is damaged"):
        run(tmp_path)
    file.write_bytes(whole)
    (state / "state.json").write_text("{}")
    with pytest.raises(UserError, match="is damaged"):
        load_average(tmp_path, nn.Linear(3, 1))


def test_a_state_that_cannot_be_written_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("webui.training.state.save_file", full)
    with pytest.raises(StorageError, match=r"No space left on device.*the older one is whole"):
        run(tmp_path, Plan(**{**vars(PLAN), "steps": 50}))
    state = newest(tmp_path)
    assert state is not None and state.name == "step-0000040"
    load_average(tmp_path, nn.Linear(3, 1))
