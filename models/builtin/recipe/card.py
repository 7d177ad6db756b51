"""The figures in the model card: written by the evaluation, never by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

BEGIN, END = "<!-- figures: written by `launch.py train --evaluate builtin` -->", "<!-- end of figures -->"
Figures = Mapping[str, float | None]


def table(prompts: Figures, control: Figures, reader: Figures, others: Mapping[str, float], depth: Mapping[str, float]) -> str:
    """The figures as three Markdown tables."""
    lines = ["| share of pictures in which ... is right, % | prompts | shuffled prompts (control) |", "|---|---|---|"]
    lines += [f"| {name} | {shown(value)} | {shown(control[name])} |" for name, value in prompts.items()]
    lines += ["", "| | |", "|---|---|"]
    lines += [f"| {name} | {value:g} |" for name, value in others.items()]
    lines += [f"| the reader's own accuracy on fresh renders, {name}, % | {shown(value)} |" for name, value in reader.items()]
    lines += ["", "| with depth maps | |", "|---|---|", *(f"| {name} | {value:g} |" for name, value in depth.items())]
    return "\n".join(lines)


def shown(value: float | None) -> str:
    """A figure as the card prints it."""
    return "none" if value is None else f"{value:g}"


def write_figures(card: Path, text: str) -> None:
    """Put `text` between the card's two marks.

    Raises:
        ValueError: the card has no marks.
    """
    whole = card.read_text(encoding="utf-8")
    if whole.count(BEGIN) != 1 or whole.count(END) != 1:
        raise ValueError(f"{card.name} must have the lines '{BEGIN}' and '{END}' once each.")
    before, rest = whole.split(BEGIN)
    after = rest.split(END)[1]
    card.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
