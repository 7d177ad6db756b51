"""Data sets on disk: shards of pictures, masks and depth that can be mapped into memory, and their scenes as JSON lines.

    python -m models.builtin.recipe.dataset OUT --count 40000 --seed 1

Scene i of a seed is the same whatever the count, the shards or the device. A run that stops goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from webui.errors import UserError

from .captions import caption, mirror
from .scenes import sample_scene
from .things import Scene, from_dict, to_dict
from .tracer import render

SHARD = 500
"""Scenes in a shard."""


def scene_of(seed: int, index: int) -> Scene:
    """Scene `index` of the training set with that seed."""
    return sample_scene(np.random.default_rng((seed, index)))


def build(
    folder: Path | str, count: int, seed: int, size: int = 128, workers: int = 1, device: str = "cpu", shard: int = SHARD
) -> None:
    """Write `count` scenes, rounded up to whole shards, into the folder.

    Shard k is pictures-k.npy (uint8 [S, 3, size, size]), masks-k.npy (uint8 [S, size, size]), depth-k.npy (float16
    [S, size / 2, size / 2], metres) and scenes-k.jsonl. The scenes come last, so a shard that has them is complete.
    Raises ValueError where the folder holds another set.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"seed": seed, "size": size, "shard": shard}
    note = folder / "set.json"
    if note.exists() and json.loads(note.read_text()) != facts:
        raise ValueError(f"{folder} holds the set {note.read_text()}, not {facts}; choose another folder.")
    note.write_text(json.dumps(facts))
    missing = [k for k in range(-(-count // shard)) if not (folder / f"scenes-{k:04d}.jsonl").exists()]
    tasks = [(folder, k, seed, size, device, shard) for k in missing]
    began = time.monotonic()
    if workers <= 1:
        for done, task in enumerate(tasks, 1):
            _write_shard(task)
            _tell(done, len(tasks), shard, began)
        return
    with get_context("spawn").Pool(workers) as pool:
        for done, _ in enumerate(pool.imap_unordered(_write_shard, tasks), 1):
            _tell(done, len(tasks), shard, began)


def _tell(done: int, total: int, shard: int, began: float) -> None:
    rate = done * shard / max(time.monotonic() - began, 1e-9)
    left = (total - done) * shard / rate / 60
    print(f"{done}/{total} shards, {rate:.0f} pictures/s, {left:.1f} minutes left", flush=True)


def _write_shard(task: tuple[Path, int, int, int, str, int]) -> None:
    folder, number, seed, size, device, shard = task
    if device == "cpu":
        torch.set_num_threads(1)
    scenes = [scene_of(seed, index) for index in range(number * shard, (number + 1) * shard)]
    result = render(scenes, size, device=device)
    half = result.depth[:, ::2, ::2]
    _save(folder / f"pictures-{number:04d}.npy", result.pictures.cpu().numpy())
    _save(folder / f"masks-{number:04d}.npy", result.masks.cpu().numpy())
    _save(folder / f"depth-{number:04d}.npy", half.to(torch.float16).cpu().numpy())
    lines = "".join(json.dumps(to_dict(scene), separators=(",", ":")) + "\n" for scene in scenes)
    last = folder / f"scenes-{number:04d}.jsonl"
    part = last.with_suffix(".part")
    part.write_text(lines)
    os.replace(part, last)


def _save(path: Path, array: NDArray[np.generic]) -> None:
    """Write whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, array)
    os.replace(part, path)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A finished set: arrays mapped from disk, shard by shard, and all scenes."""

    shard: int
    pictures: Sequence[NDArray[np.uint8]]
    masks: Sequence[NDArray[np.uint8]]
    depth: Sequence[NDArray[np.float16]]
    scenes: tuple[Scene, ...]

    def __len__(self) -> int:
        return len(self.scenes)

    def picture(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Pictures [B, 3, H, W] of the indices."""
        return np.stack([self.pictures[i // self.shard][i % self.shard] for i in indices])

    def depth_of(self, indices: NDArray[np.integer]) -> NDArray[np.float16]:
        """Depth [B, H / 2, W / 2] of the indices in metres, of every other pixel."""
        return np.stack([self.depth[i // self.shard][i % self.shard] for i in indices])

    def mask_of(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Masks [B, H, W] of the indices: 0 for the background, i for the i-th thing."""
        return np.stack([self.masks[i // self.shard][i % self.shard] for i in indices])

    def captions(
        self, indices: NDArray[np.integer], rng: np.random.Generator, flipped: NDArray[np.bool_] | None = None
    ) -> list[str]:
        """New captions of the indices; of the mirrored scene where `flipped` says so (never flip cards)."""
        return [caption(scene, rng) for scene in self.seen(indices, flipped)]

    def seen(self, indices: NDArray[np.integer], flipped: NDArray[np.bool_] | None = None) -> list[Scene]:
        """The scenes of the indices, mirrored where `flipped` says so."""
        scenes = [self.scenes[i] for i in indices]
        if flipped is None:
            return scenes
        return [mirror(scene) if flip else scene for scene, flip in zip(scenes, flipped, strict=True)]


def load(folder: Path | str) -> DataSet:
    """Open the complete shards of a folder, in order; raises UserError where there are none."""
    folder = Path(folder)
    names = sorted(path.stem.removeprefix("scenes-") for path in folder.glob("scenes-*.jsonl"))
    if not names:
        raise UserError(f"There are no training pictures in {folder} yet; run the stage data first, or all stages in order.")

    def arrays(kind: str) -> list[NDArray[Any]]:
        return [np.load(folder / f"{kind}-{name}.npy", mmap_mode="r") for name in names]

    lines = [line for name in names for line in (folder / f"scenes-{name}.jsonl").read_text().splitlines()]
    return DataSet(
        shard=json.loads((folder / "set.json").read_text())["shard"],
        pictures=arrays("pictures"),
        masks=arrays("masks"),
        depth=arrays("depth"),
        scenes=tuple(from_dict(json.loads(line)) for line in lines),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Build a set from the command line."""
    parser = argparse.ArgumentParser(description="Render a training set of the built-in model.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=40000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shard", type=int, default=SHARD, help="scenes in a shard")
    options = parser.parse_args(arguments)
    build(options.folder, options.count, options.seed, options.size, options.workers, options.device, options.shard)


if __name__ == "__main__":
    main()
