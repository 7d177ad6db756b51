"""Digits as pen strokes, shaken by a hand: points in the unit square, x to the right, y up."""

from __future__ import annotations

import math

import numpy as np

STROKES: tuple[tuple[tuple[tuple[float, float], ...], ...], ...] = (
    (((0.5, 0.95), (0.25, 0.8), (0.18, 0.5), (0.25, 0.18), (0.5, 0.05), (0.75, 0.2), (0.82, 0.5), (0.75, 0.82), (0.5, 0.95)),),
    (((0.3, 0.72), (0.45, 0.84), (0.55, 0.96)), ((0.55, 0.96), (0.54, 0.5), (0.54, 0.04))),
    (
        ((0.22, 0.72), (0.32, 0.92), (0.55, 0.96), (0.76, 0.82), (0.74, 0.6), (0.5, 0.33), (0.2, 0.06)),
        ((0.2, 0.06), (0.5, 0.07), (0.82, 0.06)),
    ),
    (
        ((0.24, 0.84), (0.45, 0.96), (0.7, 0.9), (0.74, 0.72), (0.6, 0.57), (0.42, 0.53)),
        ((0.42, 0.53), (0.66, 0.5), (0.78, 0.33), (0.7, 0.12), (0.45, 0.04), (0.22, 0.14)),
    ),
    (
        ((0.52, 0.95), (0.36, 0.65), (0.18, 0.36)),
        ((0.18, 0.36), (0.5, 0.36), (0.86, 0.36)),
        ((0.66, 0.62), (0.66, 0.3), (0.66, 0.04)),
    ),
    (
        ((0.76, 0.94), (0.5, 0.94), (0.3, 0.94)),
        ((0.3, 0.94), (0.27, 0.75), (0.25, 0.54)),
        ((0.25, 0.54), (0.5, 0.62), (0.74, 0.5), (0.78, 0.3), (0.66, 0.1), (0.42, 0.04), (0.2, 0.14)),
    ),
    (
        (
            (0.7, 0.95), (0.42, 0.75), (0.25, 0.45), (0.26, 0.18), (0.48, 0.04),
            (0.72, 0.14), (0.76, 0.34), (0.6, 0.5), (0.4, 0.46), (0.27, 0.3),
        ),
    ),
    (((0.18, 0.93), (0.5, 0.93), (0.82, 0.93)), ((0.82, 0.93), (0.6, 0.5), (0.42, 0.04))),
    (
        (
            (0.52, 0.53), (0.3, 0.66), (0.28, 0.84), (0.5, 0.96), (0.72, 0.84), (0.7, 0.66), (0.5, 0.52), (0.26, 0.36),
            (0.24, 0.16), (0.5, 0.04), (0.76, 0.16), (0.74, 0.38), (0.52, 0.53),
        ),
    ),
    (((0.74, 0.72), (0.66, 0.9), (0.46, 0.96), (0.28, 0.84), (0.27, 0.64), (0.44, 0.52), (0.64, 0.58), (0.74, 0.72)),
     ((0.74, 0.72), (0.72, 0.4), (0.62, 0.04))),
)  # fmt: skip
"""The strokes of 0 to 9 through which a smooth pen line runs."""

PIECES = 4
"""Straight pieces between two points of a stroke."""


def digit_segments(digit: int, hand: int) -> np.ndarray:
    """The straight pieces [S, 4] (x0, y0, x1, y1) of a digit as written by the hand of that seed."""
    rng = np.random.default_rng([hand, digit])
    slant, turn = rng.uniform(-0.18, 0.22), rng.uniform(-0.12, 0.12)
    wide, tall = rng.uniform(0.85, 1.1), rng.uniform(0.9, 1.05)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix = matrix @ np.array([[wide, slant], [0.0, tall]])
    shaken: dict[tuple[float, float], np.ndarray] = {}
    pieces = []
    for stroke in STROKES[digit]:
        for point in stroke:
            # A point that two strokes have in common moves for both.
            shaken.setdefault(point, np.array(point) + rng.normal(0.0, 0.022, 2))
        line = _smooth(np.stack([shaken[point] for point in stroke]))
        line = (line - 0.5) @ matrix.T + 0.5
        pieces.append(np.concatenate([line[:-1], line[1:]], axis=1))
    return np.concatenate(pieces).astype(np.float32)


def _smooth(points: np.ndarray) -> np.ndarray:
    """A Catmull-Rom curve through the points (Catmull and Rom 1974)."""
    closed = np.allclose(points[0], points[-1])
    before = points[-2] if closed else 2 * points[0] - points[1]
    after = points[1] if closed else 2 * points[-1] - points[-2]
    padded = np.concatenate([before[None], points, after[None]])
    curve = []
    for i in range(len(points) - 1):
        a, b, c, d = padded[i : i + 4]
        for t in np.arange(PIECES) / PIECES:
            curve.append(b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))
    curve.append(points[-1])
    return np.array(curve)
