"""The names of everything a scene may show, and the combinations training never sees."""

from __future__ import annotations

SHAPES = ("sphere", "cube", "cylinder", "cone", "torus", "pyramid")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "grey", "black")
FINISHES = ("matte", "shiny", "metal", "striped")
SIZES = ("small", "large")
FLOORS = ("white", "grey", "sand", "wooden", "teal", "pink")
WALLS = ("white", "grey", "beige")
RELATIONS = ("left of", "right of", "behind", "in front of", "on top of")
OPPOSITE = {"left of": "right of", "right of": "left of", "behind": "in front of", "in front of": "behind"}
MIRRORED = {"left of": "right of", "right of": "left of"}

SCALE = {"small": 0.63, "large": 1.0}
"""How much of a shape's unit size (about 1.4 m) a thing of this size has."""

WITHHELD = (
    ("red", "pyramid"),
    ("orange", "torus"),
    ("yellow", "cylinder"),
    ("green", "cube"),
    ("blue", "torus"),
    ("purple", "cone"),
    ("white", "cone"),
    ("grey", "sphere"),
    ("black", "cylinder"),
)
"""Colour and shape pairs that never leave the training generator: what the model draws of them, it has put together."""

SHOWN = tuple((colour, shape) for colour in COLOURS for shape in SHAPES if (colour, shape) not in WITHHELD)
"""Colour and shape pairs that training sees."""
