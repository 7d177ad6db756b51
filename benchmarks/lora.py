"""What a LoRA costs before the first step: 200 modules of rank 16, merged into weights of Stable Diffusion 1 in full size.

    python benchmarks/lora.py [--rounds 7] [--rank 16] [--modules 200] [--dtype float32] [--device cpu]

Measured is what the engine does for a job whose prompt names a LoRA: the file's tensors become patches (`extensions/lora`), and
the patches new weights (`webui.engine.patched`). One pass over the touched weights, which it is compared with, reads each of them
and writes a copy. The two take turns, and the quickest of each counts, for other programs only make both slower. The weights are
random: nothing depends on their values. Each turn has another strength; that no file is read for it is counted.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from webui.engine.patched import Place, changed_weights
from webui.extension.kinds import Home, Submission
from webui.nets.spec import ModelSpec
from webui.request import Request
from webui.service.extensions import bundled
from webui.service.network_files import NetworkFiles
from webui.weights.families import FAMILIES
from webui.weights.files import save
from webui.weights.hashes import sha256
from webui.weights.layouts import CLIP

HEADER = Path(__file__).resolve().parents[1] / "tests" / "data" / "headers" / "sd15-full.json.gz"
PLACES = {
    "model.diffusion_model.": Place(prefix="model.diffusion_model."),
    "cond_stage_model.transformer.": Place(prefix="cond_stage_model.transformer.", rules=CLIP),
}  # fmt: skip
LAYERS = ("attn1.to_", "attn2.to_", "ff.net.", "proj_in", "proj_out", "self_attn.", "mlp.")
MOST = 1.5


def main() -> int:
    """Measure, and say whether it is as cheap as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--modules", type=int, default=200)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    spec = next(each for each in FAMILIES.values() if each.family == "sd15")
    shapes = {key: tuple(shape) for key, (shape, _) in json.loads(gzip.decompress(HEADER.read_bytes())).items()}
    touched = chosen(shapes, given.modules)
    weights = {key: torch.rand(shapes[key], device=given.device).to(getattr(torch, given.dtype)) for key in touched}
    size = sum(each.numel() * each.element_size() for each in weights.values())
    print(f"{len(touched)} modules of rank {given.rank}; they touch {size / 1e6:,.0f} MB of {given.dtype} on {given.device}, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        made(models / "Lora" / "example.safetensors", {key: shapes[key] for key in touched}, given.rank)
        files = Counting(models, hash_of=cache(sha256), known=lambda _: "")
        measured(Merging(spec, shapes, files), weights, given.rounds)
        return judged(Merging(spec, shapes, files), weights, files, given.rounds)


class Counting(NetworkFiles):
    """Weight files, and how often one was read."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.reads = 0

    def _keep(self, *given: Any) -> None:
        self.reads += 1
        super()._keep(*given)


class Merging:
    """A job whose prompt names the LoRA: its patches, and the weights that they make."""

    def __init__(self, spec: ModelSpec, shapes: Mapping[str, tuple[int, ...]], files: NetworkFiles) -> None:
        self._spec, self._shapes, self._files = spec, shapes, files
        self._hooks = next(each for each in bundled().job_hooks if each.name == "lora")
        self._tag = bundled().tags["lora"][1]

    def __call__(self, weights: Mapping[str, Tensor], strength: float) -> dict[str, Tensor]:
        home = Home(name="lora", version="1", folder=Path())
        request = Request(
            model="m", prompt="", steps=1, sampler="Euler", schedule="Karras", scale=1.0, seed=1, width=512, height=512
        )
        submission = Submission(request=request, values={}, prompts=(), negatives=(), files=self._files, home=home)
        noted = self._tag.resolve(("example", str(strength)), submission)
        sentences: list[str] = []
        job = SimpleNamespace(
            tags=("lora:example",), noted={"tags": {"lora:example": noted}}, second=False, spec=self._spec, network="m",
            weights=lambda: self._shapes, files=self._files, tell=sentences.append,
        )  # fmt: skip
        assert self._hooks.patches is not None
        patches = self._hooks.patches(job).weights  # type: ignore[arg-type, union-attr]
        changed: dict[str, Tensor] = {}
        for prefix, place in PLACES.items():
            about = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
            changed |= changed_weights({key.removeprefix("text_model."): value for key, value in about.items()}, place, patches)
        assert not sentences and len(changed) == len(weights), sentences
        return changed


def chosen(shapes: Mapping[str, tuple[int, ...]], count: int) -> list[str]:
    """The weights of the layers that LoRAs are trained for, those of the noise predictor first."""
    found = [key for key in shapes if key.endswith(".weight") and any(layer in key for layer in LAYERS)]
    found = [key for key in found if key.startswith(tuple(PLACES)) and len(shapes[key]) > 1]
    return sorted(found, key=lambda key: not key.startswith("model."))[:count]


def made(path: Path, shapes: Mapping[str, tuple[int, ...]], rank: int) -> None:
    """Write a LoRA in kohya's layout, in float16."""
    names = {"model.diffusion_model.": "lora_unet_", "cond_stage_model.transformer.": "lora_te_"}
    tensors: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        prefix = next(prefix for prefix in names if key.startswith(prefix))
        module = names[prefix] + key.removeprefix(prefix).removesuffix(".weight").replace(".", "_")
        tensors[f"{module}.lora_up.weight"] = torch.rand(shape[0], rank, *(1 for _ in shape[2:])).half()
        tensors[f"{module}.lora_down.weight"] = torch.rand(rank, *shape[1:]).half()
        tensors[f"{module}.alpha"] = torch.tensor(rank / 2).half()
    path.parent.mkdir(parents=True)
    save(path, tensors)


def one_pass(weights: Mapping[str, Tensor]) -> list[Tensor]:
    """Every weight read once, and a copy of it written."""
    return [weight.clone() for weight in weights.values()]


def seconds(work: Callable[[], object], device: str) -> float:
    """How long it takes, until it is done on the device."""
    begin = time.perf_counter()
    found = work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    took = time.perf_counter() - begin
    del found
    return took


def measured(merging: Merging, weights: Mapping[str, Tensor], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of one pass and of merging, in turn."""
    device = next(iter(weights.values())).device.type
    passes, merges = [], []
    for turn in range(rounds):
        passes.append(seconds(lambda: one_pass(weights), device))
        merges.append(seconds(lambda turn=turn: merging(weights, 0.5 + turn / 100), device))  # type: ignore[misc]
    return passes, merges


def judged(merging: Merging, weights: Mapping[str, Tensor], files: Counting, rounds: int) -> int:
    """Measure, print, and compare with what is allowed."""
    reads = files.reads
    passes, merges = measured(merging, weights, rounds)
    one, other = min(passes), min(merges)
    print(f"one pass {one * 1000:,.0f} ms, the LoRA {other * 1000:,.0f} ms: {other / one:.2f} times, at most {MOST} is allowed")
    print(f"the strength was switched {rounds} times, and the file read {files.reads - reads} times for it ({reads} before)")
    return 0 if other <= MOST * one and files.reads == reads else 1


if __name__ == "__main__":
    sys.exit(main())
