"""Which device, number type and memory layout: chosen once, from what the machine is, and by measurement where that matters.

Everything but `facts`, `environment`, `remembered`, `writable` and `remember` is a function of its arguments, tested with made-up
machines.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch

Dtype = Literal["float32", "float16", "bfloat16"]
TORCH_DTYPES: dict[Dtype, torch.dtype] = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
GAIN = 1.1  # how many times faster something must be to be taken instead of something plainer
LARGE = 200_000_000  # weights above which a trial would cost more time and memory than it is worth


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the choice depends on. `devices` are what torch can use beside the CPU ("cuda", "xpu", "mps"); `bfloat16` whether the
    CPU has instructions for it; `name` and `torch` tell machines and versions apart."""

    devices: tuple[str, ...] = ()
    bfloat16: bool = False
    threads: int = 1
    name: str = ""
    torch: str = ""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Where and how the noise predictor computes."""

    device: str = "cpu"
    dtype: Dtype = "float32"
    channels_last: bool = False

    @property
    def torch_dtype(self) -> torch.dtype:
        """The number type as torch knows it."""
        return TORCH_DTYPES[self.dtype]

    def in_float32(self) -> Choice:
        """The same place in float32: for text towers, which run once a picture."""
        return replace(self, dtype="float32")

    def for_decoding(self) -> tuple[Choice, ...]:
        """How autoencoders compute there: in the first number type that gives finite pictures; only GPUs gain from short ones."""
        dtypes: tuple[Dtype, ...] = ("float16", "bfloat16", "float32") if self.device.startswith("cuda") else ("float32",)
        return tuple(replace(self, dtype=dtype) for dtype in dtypes)

    @property
    def name(self) -> str:
        """The choice in words, as pictures record it: "cpu float32", "cuda float16 channels-last"."""
        return f"{self.device} {self.dtype}{' channels-last' if self.channels_last else ''}"


CPU_FLOAT32 = Choice()


@cache
def environment(*computed: str) -> Mapping[str, str]:
    """What beside a request decides on the last bits of what was computed so (`Choice.name`), as texts to be compared."""
    devices = dict.fromkeys(name.partition(" ")[0] for name in computed)
    named = [torch.cuda.get_device_name(each) if each.startswith("cuda") else _processor(each) for each in devices]
    return {"Torch": torch.__version__} | ({"Device": " + ".join(named)} if named else {})


def _processor(device: str) -> str:
    if device != "cpu":
        return f"{device} {platform.machine()}"
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()} threads"


def facts() -> Machine:
    """This machine."""
    found = {"cuda": torch.cuda.is_available(), "xpu": torch.xpu.is_available(), "mps": torch.backends.mps.is_available()}
    capabilities = torch.cpu.get_capabilities()
    return Machine(
        devices=tuple(device for device, there in found.items() if there),
        bfloat16=any(capabilities.get(flag, False) for flag in ("avx512_bf16", "amx_bf16", "bf16")),
        threads=torch.get_num_threads(),
        name=f"{platform.system()} {platform.machine()} {capabilities.get('cpu_name', '')}".strip(),
        torch=torch.__version__,
    )


def candidates(machine: Machine, *, exact: bool = False) -> tuple[Choice, ...]:
    """What is worth trying on a machine, plainest first; more than one only where measuring must decide.

    `exact` leaves only float32 on the CPU, whose results differ least between machines.
    """
    if exact:
        return (CPU_FLOAT32,)
    for device in ("cuda", "xpu", "mps"):
        if device in machine.devices:
            return (Choice(device=device, dtype="float16", channels_last=device != "mps"),)
    plain = (CPU_FLOAT32, Choice(channels_last=True))
    # Without such instructions bfloat16 is emulated; in the ordinary layout it is slower than float32 even with them.
    return (*plain, Choice(dtype="bfloat16", channels_last=True)) if machine.bfloat16 else plain


def by_rule(machine: Machine, *, exact: bool = False) -> Choice:
    """The choice without a measurement, for models too large to try: there, what saves memory traffic wins."""
    return candidates(machine, exact=exact)[-1]


def fastest(seconds: Mapping[Choice, float]) -> Choice:
    """The first that nothing later beats by `GAIN`."""
    best, *others = seconds
    for other in others:
        if seconds[other] * GAIN < seconds[best]:
            best = other
    return best


def choose(
    machine: Machine, measure: Callable[[tuple[Choice, ...]], Mapping[Choice, float]], *,
    weights: int, subject: str, memory: Path | None = None, exact: bool = False,
) -> Choice:
    """The choice for a noise predictor of so many `weights`. `measure` gives the seconds of a call for each candidate.

    A measurement is kept in the JSON file `memory` under the machine and the `subject` (what was measured), so that it is made
    once: a choice that changed between runs would change pictures. Where nothing can be kept, nothing is measured and the
    plainest is taken, which is the same every time.
    """
    options = candidates(machine, exact=exact)
    if len(options) == 1:
        return options[0]
    if weights > LARGE:
        return by_rule(machine)
    key = f"{subject} on {machine.name}, {machine.threads} threads, torch {machine.torch}"
    known = kept_choice(remembered(memory), key, options)
    if known is not None:
        return known
    if memory is None or not writable(memory.parent):
        return options[0]
    choice = fastest(measure(options))
    kept = remembered(memory)  # another program may have measured meanwhile, and uses what it found
    known = kept_choice(kept, key, options)
    if known is not None:
        return known
    return choice if remember(memory, {**kept, key: asdict(choice)}) else options[0]


def kept_choice(kept: Mapping[str, Mapping[str, Any]], key: str, options: Collection[Choice]) -> Choice | None:
    """What was kept under a key, if it makes sense and is still among the options."""
    with suppress(KeyError, TypeError):
        choice = Choice(**kept[key])
        return choice if choice in options else None
    return None


def remembered(memory: Path | None) -> dict[str, dict[str, Any]]:
    """The measurements kept in a file; none where it is missing or broken."""
    with suppress(OSError, ValueError):
        kept = json.loads(memory.read_text(encoding="utf-8")) if memory is not None else {}
        return kept if isinstance(kept, dict) else {}
    return {}


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made itself if need be."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    return False


def remember(memory: Path, kept: Mapping[str, object]) -> bool:
    """Write the file whole or not at all; False where its folder cannot be written to."""
    with suppress(OSError):
        handle, name = tempfile.mkstemp(dir=memory.parent, prefix=memory.name, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1, sort_keys=True)
        Path(name).replace(memory)
        return True
    return False


def best_times(
    runs: Iterable[tuple[Choice, Callable[[], object]]], clock: Callable[[], float], rounds: int = 5
) -> dict[Choice, float]:
    """The least seconds of each run in some rounds; they take turns, so that a busy machine slows all alike."""
    todo = list(runs)
    for _, run in todo:
        run()
    best = dict.fromkeys((choice for choice, _ in todo), float("inf"))
    for _ in range(rounds):
        for choice, run in todo:
            began = clock()
            run()
            best[choice] = min(best[choice], clock() - began)
    return best
