"""The published evaluation of the built-in model: 300 prompts, a reader trained on fresh renders, and the other figures.

Everything is made anew from fixed seeds; only the reader is kept in the folder between runs. Results are written beside the
model as evaluation.json and grid.png.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from webui.training.clip import ClipPair
from webui.training.loop import Plan, train
from webui.training.state import load_average
from webui.weights.files import read_tensors
from webui.weights.model import LoadedModel, load

from .batches import to_unit, token_rows
from .captions import caption
from .card import table, write_figures
from .dataset import scene_of
from .digits import DigitReader, cards
from .draw import draw_from_maps, draw_pictures
from .estimator import ESTIMATOR, shipped_estimator
from .fitting import CAPTION_TOKENS, MODEL, channels_last, reporter
from .judge import accuracy, all_verdicts, figures, namer, train_relations
from .pack import CHECKPOINT, IMAGE_TOWER, shipped_clip
from .prompts import Prompt, load_prompts
from .reader import Eyes, Reader, make_pool, reader_loss
from .structure import measure
from .tracer import render

N = TypeVar("N", bound=nn.Module)
READER_PLAN = Plan(steps=3000, rate=2e-3, warmup=100, decay=0.5, average=0.99, seed=21)
POOL, BATCH = 16_000, 32
DIGIT_PLAN = Plan(steps=1500, rate=2e-3, warmup=50, decay=0.5, average=0.99, seed=22)
CARDS, DIGIT_BATCH = 5000, 64
HELD_OUT_SEED = 900_001
"""Seed of the scenes nobody trains on: the training set has another one."""
GRID = (6, 4)


def trained(folder: Path, network: N, plan: Plan, data: Callable[[], Callable[[torch.Generator], dict[str, Tensor]]]) -> N:
    """The network, trained if the folder has none yet; `data` renders what it learns from and returns its loss."""
    if not (folder / "finished").exists():
        train(network, data(), plan, folder, report=reporter(folder, plan))
        (folder / "finished").touch()
    load_average(folder, network)
    network.eval().requires_grad_(False)
    return network


def trained_eyes(folder: Path) -> Eyes:
    """The reader and the reader of digits, trained on fresh renders."""
    torch.manual_seed(READER_PLAN.seed)
    reader, digits = channels_last(Reader()), DigitReader()

    def look() -> Callable[[torch.Generator], dict[str, Tensor]]:
        pool = make_pool(POOL, np.random.default_rng(READER_PLAN.seed))

        def loss(generator: torch.Generator) -> dict[str, Tensor]:
            labels = pool.take(torch.randint(POOL, (BATCH,), generator=generator))
            with torch.autocast("cpu", torch.bfloat16):
                return reader_loss(reader, labels)

        return loss

    def look_at_cards() -> Callable[[torch.Generator], dict[str, Tensor]]:
        pictures, wanted = cards(CARDS, np.random.default_rng(DIGIT_PLAN.seed))

        def loss(generator: torch.Generator) -> dict[str, Tensor]:
            chosen = torch.randint(CARDS, (DIGIT_BATCH,), generator=generator)
            return {"loss": torch.nn.functional.cross_entropy(digits(pictures[chosen]), wanted[chosen])}

        return loss

    return Eyes(
        reader=trained(folder / "reader", reader, READER_PLAN, look),
        digits=trained(folder / "digits", digits, DIGIT_PLAN, look_at_cards),
    )


def held_out(count: int) -> tuple[list[str], Tensor]:
    """Captions and pictures [N, 3, 128, 128] in [-1, 1] of scenes outside the training set."""
    scenes = [scene_of(HELD_OUT_SEED, index) for index in range(count)]
    rng = np.random.default_rng(HELD_OUT_SEED)
    return [caption(scene, rng) for scene in scenes], to_unit(render(scenes).pictures.numpy(), torch.device("cpu"))


@torch.no_grad()
def vae_psnr(model: LoadedModel, pictures: Tensor) -> float:
    """Mean PSNR in dB of pictures [-1, 1] through the VAE, in float32 and without sampling."""
    values = []
    for start in range(0, len(pictures), 20):
        batch = pictures[start : start + 20]
        error = (model.vae(batch).clamp(-1, 1) - batch).square().mean(dim=(1, 2, 3))
        values.append(10 * torch.log10(4 / error))
    return round(float(torch.cat(values).mean()), 2)


@torch.no_grad()
def retrieval(pair: ClipPair, model: LoadedModel, captions: list[str], pictures: Tensor) -> float:
    """How often, in percent, a picture's own caption is the nearest of 100 (chance: 1)."""
    right = []
    for start in range(0, len(captions), 100):
        ids = token_rows(captions[start : start + 100], model.tokenizers[0], CAPTION_TOKENS)
        near = pair.place_pictures(pictures[start : start + 100, :, ::2, ::2]) @ pair.place_texts(ids).T
        right.append((near.argmax(dim=1) == torch.arange(len(ids))).float().mean())
    return round(100 * float(torch.stack(right).mean()), 1)


def evaluate(folder: Path) -> dict[str, Any]:
    """All figures of the shipped files."""
    rng = np.random.default_rng(HELD_OUT_SEED)
    eyes = trained_eyes(folder)
    name = namer(train_relations(eyes, rng))
    seen = accuracy(eyes, name, rng)
    print("the reader on fresh renders:", seen, flush=True)
    model = load(MODEL / CHECKPOINT)
    captions, pictures = held_out(1000)
    clip = shipped_clip(model.text[0], dict(read_tensors(MODEL / IMAGE_TOWER)))
    others = {
        "VAE, mean PSNR of 200 held-out renders, dB": vae_psnr(model, pictures[:200]),
        "CLIP, the right one of 100 held-out captions is nearest, %": retrieval(clip, model, captions, pictures),
    }
    print(others, flush=True)
    prompts = load_prompts()
    drawn = draw_pictures([prompt.text for prompt in prompts])
    verdicts = all_verdicts(eyes, name, prompts, to_unit(drawn, torch.device("cpu")))
    shuffled: list[Prompt] = [prompts[i] for i in np.random.default_rng(0).permutation(len(prompts))]
    control = all_verdicts(eyes, name, shuffled, to_unit(drawn, torch.device("cpu")))
    draw_grid(drawn, MODEL / "grid.png")
    rows = [{"text": prompt.text, **asdict(verdict)} for prompt, verdict in zip(prompts, verdicts, strict=True)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "verdicts.json").write_text("\n".join(json.dumps(row) for row in rows))
    found = {"prompts": figures(prompts, verdicts), "control": figures(shuffled, control), "reader": seen, "others": others}
    print(found["prompts"], flush=True)
    return {**found, "depth": measure(draw_from_maps, shipped_estimator(MODEL / ESTIMATOR), eyes, name)}


def draw_grid(pictures: np.ndarray, file: Path, across: int = GRID[0], down: int = GRID[1]) -> None:
    """Every n-th of many pictures [N, 3, H, W], so that nobody chooses, as one PNG of `across` x `down` pictures."""
    chosen = pictures[:: max(1, len(pictures) // (across * down))][: across * down]
    rows = chosen.reshape(down, across, *chosen.shape[1:]).transpose(0, 3, 1, 4, 2)
    Image.fromarray(rows.reshape(down * chosen.shape[2], across * chosen.shape[3], 3)).save(file, optimize=True)


def main(folder: Path) -> int:
    """Evaluate, print, and write evaluation.json and the model card's figures."""
    found = evaluate(folder)
    text = json.dumps(found, indent=2)
    (MODEL / "evaluation.json").write_text(text + "\n")
    write_figures(MODEL / "README.md", table(**found))
    print(text)
    return 0
