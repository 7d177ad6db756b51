"""The loss curve of a run as a small PNG."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT, MARGIN = 640, 200, 24
INK, LINE, PAPER = (60, 60, 70), (30, 110, 200), (255, 255, 255)


def draw_curves(records: Path, picture: Path) -> None:
    """Draw each named value of a file of JSON lines ({"step": 20, "loss": 0.1, ...}) against the step, one panel a value."""
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    names = [name for name in lines[-1] if name not in ("step", "time", "steps/s")]
    image = Image.new("RGB", (WIDTH, HEIGHT * len(names)), PAPER)
    draw = ImageDraw.Draw(image)
    for number, name in enumerate(names):
        points = [(float(line["step"]), float(line[name])) for line in lines if name in line]
        panel(draw, points, name, top=number * HEIGHT)
    image.save(picture)


def panel(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], name: str, top: int) -> None:
    """One curve with its name, range and last value, its axes fitted to the points."""
    last_step = max(step for step, _ in points) or 1.0
    low, high = min(value for _, value in points), max(value for _, value in points)
    span = (high - low) or 1.0
    inner_width, inner_height = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    bottom = top + HEIGHT - MARGIN
    path = [(MARGIN + step / last_step * inner_width, bottom - (value - low) / span * inner_height) for step, value in points]
    if len(path) > 1:
        draw.line(path, fill=LINE, width=2)
    title = f"{name}: {points[-1][1]:.4g} at step {points[-1][0]:.0f}, range {low:.4g} to {high:.4g}"
    draw.text((MARGIN, top + 4), title, fill=INK)
