"""The state of a training run on disk, in shards small enough to travel."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from webui.errors import StorageError, UserError

SHARD_BYTES = 15 * 1000 * 1000
MOMENTS = ("exp_avg", "exp_avg_sq")
AGAIN = "remove that folder to begin anew, or choose another one with --folder."


def shards(tensors: dict[str, Tensor], limit: int = SHARD_BYTES) -> Iterator[dict[str, Tensor]]:
    """Divide tensors, in order, into groups of at most `limit` bytes; a tensor above the limit is cut along its first axis."""
    group: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors.items():
        pieces = -(-tensor.nbytes // limit) if tensor.ndim else 1
        for number, piece in enumerate(tensor.chunk(pieces) if pieces > 1 else (tensor,)):
            if group and size + piece.nbytes > limit:
                yield group
                group, size = {}, 0
            group[f"{name}@{number}"] = piece.contiguous()
            size += piece.nbytes
    if group:
        yield group


def join(pieces: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo `shards`: put the pieces of each tensor together again."""
    parts: dict[str, dict[int, Tensor]] = {}
    for key, tensor in pieces.items():
        name, number = key.rsplit("@", 1)
        parts.setdefault(name, {})[int(number)] = tensor
    return {name: torch.cat([found[n] for n in sorted(found)]) if len(found) > 1 else found[0] for name, found in parts.items()}


def save_state(folder: Path, step: int, network: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor]) -> None:
    """Write step, weights, averaged weights and the optimizer's moments; a crash leaves the older or the newer state whole."""
    new = folder / f"step-{step:07d}"
    if new.exists():  # a finished run was started again: the state is there, and removing it first would risk it
        return
    tensors: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        tensors[f"weight:{name}"] = parameter.detach().float()
        tensors[f"average:{name}"] = average[name]
        for moment in MOMENTS:
            if parameter in optimizer.state:
                tensors[f"{moment}:{name}"] = optimizer.state[parameter][moment].float()
    unfinished = folder / "unfinished"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for number, group in enumerate(shards(tensors)):
            save_file({key: tensor.cpu() for key, tensor in group.items()}, unfinished / f"{number:03d}.safetensors")
        (unfinished / "state.json").write_text(json.dumps({"step": step}))
        unfinished.rename(new)
    except (OSError, SafetensorError) as error:
        why = f"The training state of step {step} cannot be written to {folder} ({error})"
        raise StorageError(f"{why}; the older one is whole. Free some space, then run the same command again.") from error
    for old in folder.glob("step-*"):
        if old != new:
            shutil.rmtree(old)


def newest(folder: Path) -> Path | None:
    """The folder of the newest whole state, or None."""
    found = sorted(folder.glob("step-*"))
    return found[-1] if found else None


def read_state(state: Path, kinds: Collection[str]) -> tuple[int, dict[str, Tensor]]:
    """The step of a state and its tensors of these kinds ("weight", "average", a moment), named `kind:parameter`.

    Raises:
        UserError: it is damaged.
    """
    pieces: dict[str, Tensor] = {}
    try:
        for file in sorted(state.glob("*.safetensors")):
            pieces.update({key: tensor for key, tensor in load_file(file).items() if key.partition(":")[0] in kinds})
        return int(json.loads((state / "state.json").read_text())["step"]), join(pieces)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"The training state {state} is damaged ({error}); {AGAIN}") from error


def require_fit(state: Path, network: nn.Module, tensors: dict[str, Tensor], kinds: Collection[str]) -> None:
    """Raise `UserError` unless a state's tensors are those of this network, all of them and in its shapes."""
    for name, parameter in network.named_parameters():
        for kind in kinds:
            found = tensors.get(f"{kind}:{name}")
            if found is None or found.shape != parameter.shape:
                shape = "none" if found is None else list(found.shape)
                wrong = f"its {name} is {shape}, expected {list(parameter.shape)}"
                raise UserError(f"The training state {state} is another network's ({wrong}); {AGAIN}")


def load_state(folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor]) -> int:
    """Read the newest state into network, optimizer and average, in place; returns its step, 0 where there is none."""
    state = newest(folder)
    if state is None:
        return 0
    step, tensors = read_state(state, ("weight", "average", *MOMENTS))
    require_fit(state, network, tensors, ("weight", "average"))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(tensors[f"weight:{name}"])
            average[name].copy_(tensors[f"average:{name}"])
            if f"exp_avg:{name}" in tensors:
                moments = {moment: tensors[f"{moment}:{name}"].to(parameter.device) for moment in MOMENTS}
                optimizer.state[parameter] = {"step": torch.tensor(float(step), device=parameter.device), **moments}
    return step


def load_average(folder: Path, network: nn.Module, kind: str = "average") -> int:
    """Read only the averaged weights of the newest state, or the last ones (kind "weight"), into a network; returns the step.

    Raises:
        UserError: there is no state in `folder`, which is named after the stage that makes it.
    """
    state = newest(folder)
    if state is None:
        raise UserError(f"There is no training state in {folder} yet; run the stage {folder.name} first, or all stages in order.")
    step, tensors = read_state(state, (kind,))
    require_fit(state, network, tensors, (kind,))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(tensors[f"{kind}:{name}"])
    return step
