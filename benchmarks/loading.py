"""How long a checkpoint takes from the page cache to networks that can be called, ours and diffusers' in turn; in what memory.

    python benchmarks/loading.py [--model FILE] [--rounds 5] [--switches 20] [--write]

Without `--model` a random Stable Diffusion 1 checkpoint in its published size (2.1 GB, float16) is made in a temporary folder.
Every load is in a process of its own, which has imported everything and done the same once before the clock starts; the file is
in the page cache. diffusers builds its pipeline with `from_single_file`, its configurations being given as a folder.
"Own" loads every network in the file's own numbers; "chosen" loads what the engine would choose on a CPU with bfloat16: the
noise predictor in bfloat16, channels last, the other networks in float32, against diffusers in bfloat16 throughout. Memory is
what is neither a file nor shared, above what the process had before; "held" is the size of all weights together.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import document
from webui.engine.allocator import give_back, keep_freed_memory
from webui.engine.device import CPU_FLOAT32
from webui.engine.placing import brought
from webui.nets.text import TextTower
from webui.weights.conversion import single_targets, write_configs
from webui.weights.expected import expected
from webui.weights.families import FAMILIES
from webui.weights.files import write
from webui.weights.source import open_model

GOAL, MOST = 3.0, 1.1  # times faster than diffusers; peak memory over the weights held
SAMPLED = 0.001  # seconds between looks at the memory
MEGABYTE = 1e6
WAYS = ("ours, own", "diffusers, own", "ours, chosen", "diffusers, bfloat16")
CHOSEN = replace(CPU_FLOAT32, dtype="bfloat16", channels_last=True)


@dataclass(frozen=True)
class Loaded:
    """One load: seconds on the clock, seconds of processors, bytes of all weights, most bytes of memory at any moment."""

    seconds: float
    worked: float
    held: int
    peak: int


def anonymous() -> int:
    """Bytes of memory of this process that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1024


@contextmanager
def watched() -> Iterator[Callable[[], int]]:
    """Look at the memory again and again; the function given tells by how much it had grown at most."""
    before, most, ended = anonymous(), [0], threading.Event()

    def look() -> None:
        while not ended.wait(SAMPLED):
            most[0] = max(most[0], anonymous() - before)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield lambda: max(most[0], anonymous() - before)
    finally:
        ended.set()
        thread.join()


def ours(path: Path, chosen: bool) -> list[nn.Module]:
    """Our networks of a checkpoint."""
    source = open_model(path)
    numbers = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
    own = replace(CPU_FLOAT32, dtype=numbers[next(iter(source.places["unet"].values())).info.dtype])
    choices = {part: (CHOSEN if part == "unet" else CPU_FLOAT32) if chosen else own for part in source.parts}
    return [brought(source, part, choice) for part, choice in choices.items()]


def cached(path: Path) -> None:
    """Read a file so that it is in the page cache; right before it is loaded, as some systems take back what is not in use."""
    with path.open("rb", buffering=0) as file:
        memory = bytearray(1 << 20)
        while file.readinto(memory):
            pass


def bytes_of(networks: list[nn.Module]) -> int:
    """The size of all weights."""
    return sum(weight.nbytes for network in networks for weight in network.state_dict().values())


def child(pipe: Any, way: str, path: Path, configs: Path) -> None:
    """Load once; the life of a process."""
    warnings.simplefilter("ignore")
    TextTower(FAMILIES["sd15"].text[0])  # imports transformers, and shows torch's threads to the machine
    work: Callable[[], list[nn.Module]]
    if way.startswith("diffusers"):
        from tests.weights import diffusers_loading

        dtype = torch.float16 if way.endswith("own") else torch.bfloat16
        work = partial(diffusers_loading.networks, path, configs, dtype)
    else:
        keep_freed_memory()
        work = partial(ours, path, way.endswith("chosen"))
    work()  # and let go of: a virtual machine gives memory much more slowly when it is asked for it the first time
    give_back()
    cached(path)
    with watched() as peak:
        began, before = time.perf_counter(), time.process_time()
        networks = work()
        seconds, worked = time.perf_counter() - began, time.process_time() - before
        pipe.send(Loaded(seconds, worked, bytes_of(networks), peak()))


def switching(pipe: Any, paths: tuple[Path, Path], switches: int) -> None:
    """Load two models in turn, one at a time; tells the memory after the first load and after the last."""
    keep_freed_memory()
    TextTower(FAMILIES["sd15"].text[0])
    found = []
    for number in range(switches + 1):
        networks = ours(paths[number % 2], chosen=True)
        give_back()
        found.append(anonymous())
        del networks
    pipe.send((found[0], found[-1]))


def in_child(work: Callable[..., None], *arguments: Any) -> Any:
    """What a process of its own sends."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, *arguments), daemon=True)
    process.start()
    there.close()
    try:
        return here.recv()
    finally:
        process.join()


def made(folder: Path) -> Path:
    """A random Stable Diffusion 1 checkpoint in its published size."""
    path, spec = folder / "random.safetensors", FAMILIES["sd15"]
    targets = single_targets(spec, expected(spec))
    shapes = {key: target.shape for each in targets.values() for key, target in each.items()}
    write(path, shapes, torch.float16, {}, ((key, torch.randn(shape).half() * 0.02) for key, shape in shapes.items()))
    return path


def median(loads: list[Loaded], name: str) -> float:
    """The median of one number."""
    return statistics.median(getattr(each, name) for each in loads)


def table(found: dict[str, list[Loaded]], switched: tuple[int, int], switches: int) -> str:
    """The results as they stand in the document."""
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {len(found[WAYS[0]])} rounds"
    lines = [f"Measured by `benchmarks/loading.py` ({machine}; medians).", ""]
    titles = ("", "seconds", "of processors", "times faster (processors)", "weights held", "peak memory over them")
    lines += [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for way, loads in found.items():
        seconds, worked, held, peak = (median(loads, name) for name in ("seconds", "worked", "held", "peak"))
        faster = ""
        if way.startswith("ours"):
            peer = found[WAYS[WAYS.index(way) + 1]]
            faster = f"{median(peer, 'seconds') / seconds:.1f} ({median(peer, 'worked') / worked:.1f})"
        lines.append(f"| {way} | {seconds:.2f} | {worked:.2f} | {faster} | {held / MEGABYTE:,.0f} MB | {peak / held:.2f} |")
    first, last = switched
    change = f"{first / MEGABYTE:,.0f} MB after the first load, {last / MEGABYTE:,.0f} MB after {switches} switches"
    return "\n".join([*lines, "", f"Two models in turn, as chosen: {change} ({last / first - 1:+.1%})."])


def main() -> int:
    """Measure and print; returns 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a Stable Diffusion 1 checkpoint; a random one, if not given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        path = options.model or made(Path(place))
        source = open_model(path)
        write_configs(Path(place) / "configs", source.spec, source.tokenizers)
        other = Path(place) / "other.safetensors"
        other.symlink_to(path.absolute())
        found: dict[str, list[Loaded]] = {way: [] for way in WAYS}
        for _ in range(options.rounds):
            for way in WAYS:
                found[way].append(in_child(child, way, path, Path(place) / "configs"))
                print(f"{way}: {found[way][-1]}", file=sys.stderr)
        switched = in_child(switching, (path, other), options.switches)
    text = table(found, switched, options.switches)
    print(text)
    if options.write:
        document.replace("loading", text)
    medians = {way: median(loads, "seconds") for way, loads in found.items()}
    fast = all(medians[WAYS[at + 1]] / medians[WAYS[at]] >= GOAL for at in (0, 2))
    small = all(each.peak <= MOST * each.held for way in (WAYS[0], WAYS[2]) for each in found[way])
    return 0 if fast and small and abs(switched[1] / switched[0] - 1) <= 0.05 else 1


if __name__ == "__main__":
    raise SystemExit(main())
