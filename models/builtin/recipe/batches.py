"""Batches of pictures, captions and latents for the training stages: each a function of the step's random numbers."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from webui.nets.autoencoder import AutoencoderKL
from webui.nets.tokenizer import Tokenizer

from .dataset import DataSet
from .vocabulary import MIRRORED


def to_unit(pictures: np.ndarray, device: torch.device) -> Tensor:
    """uint8 [B, 3, H, W] to float32 in [-1, 1], in the memory format in which convolutions are fastest."""
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).to(device)
    return (tensor.float() / 127.5 - 1).to(memory_format=torch.channels_last)


def numpy_generator(generator: torch.Generator) -> np.random.Generator:
    """A numpy generator seeded by the next number of a torch one."""
    return np.random.default_rng(int(torch.randint(1 << 62, (1,), generator=generator, device=generator.device)))


def crops(data: DataSet, count: int, side: int, rng: np.random.Generator, device: torch.device) -> Tensor:
    """`count` square crops of random pictures, half of them mirrored, in [-1, 1]."""
    whole = data.picture(rng.integers(len(data), size=count))
    room = whole.shape[-1] - side
    corners = rng.integers(room + 1, size=(count, 2))
    cut = [picture[:, y : y + side, x : x + side] for picture, (y, x) in zip(whole, corners, strict=True)]
    mirrored = [part[:, :, ::-1] if rng.random() < 0.5 else part for part in cut]
    return to_unit(np.stack(mirrored), device)


def chances(data: DataSet, weights: Sequence[float]) -> np.ndarray:
    """How likely each picture is to be drawn, where pictures of n things (a card: 0) have the weight `weights[n]`."""
    drawn = np.array([weights[len(scene.things)] for scene in data.scenes])
    return drawn / drawn.sum()


def choose(
    data: DataSet, count: int, rng: np.random.Generator, likely: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of `count` different pictures (all, if there are fewer) and which to mirror: no cards, whose digits turn over.

    All pictures are equally likely unless `likely` has a chance for each.
    """
    indices = rng.choice(len(data), size=min(count, len(data)), replace=False, p=likely)
    flips = rng.random(len(indices)) < 0.5
    cards = np.array([data.scenes[i].card is not None for i in indices])
    return indices, flips & ~cards


def with_mirrored(data: DataSet, indices: np.ndarray, flips: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The same number of pictures, of which the last, `most` at most, are the first sideways ones the other way round.

    Only where one thing is left or right of another: the mirror image of any other scene might have the same caption.
    """
    sideways = [i for i, index in enumerate(indices) if _sideways(data, int(index))][:most]
    keep = [i for i in range(len(indices)) if i not in set(sideways)][: len(indices) - 2 * len(sideways)]
    order = [*sideways, *keep]
    return (
        np.concatenate([indices[order], indices[sideways]]),
        np.concatenate([flips[order], ~flips[sideways]]),
    )


def _sideways(data: DataSet, index: int) -> bool:
    relation = data.scenes[index].relation
    return relation is not None and relation.kind in MIRRORED


def token_rows(texts: list[str], tokenizer: Tokenizer, length: int) -> Tensor:
    """Token ids [B, length]: start, the text, end, and end again as padding; a text that is too long is cut."""
    rows = ([tokenizer.start, *tokenizer.encode(text)[: length - 2], tokenizer.end] for text in texts)
    return torch.tensor([row + [tokenizer.end] * (length - len(row)) for row in rows])


@dataclass(frozen=True, kw_only=True)
class Latents:
    """The posterior means of all pictures, [N, C, h, w] float16, as they are and mirrored."""

    plain: Tensor
    mirrored: Tensor

    def take(self, indices: np.ndarray, flips: np.ndarray) -> Tensor:
        """Latents [B, C, h, w] float32 of the indices."""
        chosen = torch.from_numpy(indices).to(self.plain.device)
        flipped = torch.from_numpy(flips).to(self.plain.device).view(-1, 1, 1, 1)
        return torch.where(flipped, self.mirrored[chosen], self.plain[chosen]).float()


@torch.no_grad()
def encode_pictures(network: AutoencoderKL, data: DataSet, indices: np.ndarray, flip: bool, device: torch.device) -> Tensor:
    """Posterior means, float32 [N, C, h, w], of pictures by index."""
    means = []
    for start in range(0, len(indices), 32):
        pictures = data.picture(indices[start : start + 32])
        with torch.autocast(device.type, torch.bfloat16):
            means.append(network.encode(to_unit(pictures[..., ::-1] if flip else pictures, device)).mean.float().contiguous())
    return torch.cat(means)


def encode_all(network: AutoencoderKL, data: DataSet, file: Path, device: torch.device) -> Latents:
    """The latents of the whole data set, kept in `file`; made anew where it holds those of another network or set."""
    made_of = origin(network, data)
    if (kept := _kept(file, made_of)) is not None:
        return Latents(plain=kept["plain"].to(device), mirrored=kept["mirrored"].to(device))
    indices = np.arange(len(data))
    plain, mirrored = (encode_pictures(network, data, indices, flip, device).half() for flip in (False, True))
    part = file.with_suffix(".part")
    torch.save({"plain": plain.cpu(), "mirrored": mirrored.cpu(), "origin": made_of}, part)
    os.replace(part, file)  # never over what a running training still reads: that keeps the old file's content
    return Latents(plain=plain, mirrored=mirrored)


def origin(network: AutoencoderKL, data: DataSet) -> str:
    """What latents are made of, in one word: the encoder's weights and the pictures.

    Not of the last layer, into which the latents' mean and deviation are folded: those differ by rounding between machines.
    """
    found = hashlib.sha256(f"{len(data)} {data.scenes[0]}".encode())
    for name, weight in sorted(network.encoder.state_dict().items()):
        found.update(name.encode() + weight.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _kept(file: Path, made_of: str) -> dict[str, Tensor] | None:
    """What `file` holds, if it is whole and of this origin."""
    try:
        kept = torch.load(file, weights_only=True, mmap=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):  # not there, or cut short
        return None
    return kept if isinstance(kept, dict) and kept.get("origin") == made_of else None
