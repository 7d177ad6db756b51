"""What the networks can do so far: two grids of pictures beside the training state.

    launch.py train --recipe builtin --stage samples
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from . import dataset
from .batches import to_unit
from .draw import draw_pictures
from .evaluate import draw_grid
from .fitting import Run, trained_vae
from .pack import make_files
from .showcase import PROMPTS

SHOWN = 8
SAMPLES, RECONSTRUCTIONS = "samples.png", "reconstructions.png"


def make_samples(run: Run) -> bool:
    """Draw samples.png, two seeds of each prompt, and reconstructions.png, renders above what the VAE makes of them."""
    data = dataset.load(run.folder / "data")
    renders = data.picture(np.arange(min(SHOWN, len(data))))
    with torch.no_grad():
        made = trained_vae(run)(to_unit(renders, run.device)).clamp(-1, 1)
    again = ((made + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
    draw_grid(np.concatenate([renders, again]), run.folder / RECONSTRUCTIONS, across=len(renders), down=2)
    root = run.folder / "so far"
    make_files(replace(run, output=root / "models" / "builtin"), "average")
    draw_grid(draw_pictures(PROMPTS * 2, root), run.folder / SAMPLES, across=len(PROMPTS), down=2)
    print(f"Drawn: {run.folder / SAMPLES} and {RECONSTRUCTIONS}.")
    return True
