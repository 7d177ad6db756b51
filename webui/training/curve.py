"""The loss curve of a run as a small PNG."""

from __future__ import annotations

import json
import math
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT, MARGIN = 640, 200, 24
NOT_DRAWN = ("step", "time", "steps/s")
INK, LINE, PAPER = (60, 60, 70), (30, 110, 200), (255, 255, 255)


def draw_curves(records: Path, picture: Path) -> None:
    """Draw each named value of a file of JSON lines ({"step": 20, "loss": 0.1, ...}) against the step, one panel a value.

    Lines that a crash cut short and values that are not finite are left out; nothing is drawn where nothing is left.
    """
    lines = [line for text in records.read_text(encoding="utf-8").splitlines() if (line := record(text))]
    curves = {name: [(line["step"], line[name]) for line in lines if name in line] for name in (lines[-1] if lines else ())}
    curves = {name: points for name, points in curves.items() if name not in NOT_DRAWN}
    if not curves:
        return
    image = Image.new("RGB", (WIDTH, HEIGHT * len(curves)), PAPER)
    draw = ImageDraw.Draw(image)
    for number, (name, points) in enumerate(curves.items()):
        panel(draw, points, name, top=number * HEIGHT)
    image.save(picture)


def record(text: str) -> dict[str, float]:
    """The finite numbers of a line by name; none where it is not whole or has no step."""
    try:
        plain = json.loads(text)
        numbers = {name: float(value) for name, value in plain.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
    finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
    return finite if "step" in finite else {}


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
