"""Tables that benchmarks write into docs/performance.md, each between two marks of its own."""

from __future__ import annotations

from pathlib import Path

PERFORMANCE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
END = "<!-- end -->"


def replace(name: str, text: str, path: Path = PERFORMANCE) -> None:
    """Put `text` between `<!-- name -->` and the next `<!-- end -->`; at the document's end where there are no such marks."""
    begin, whole = f"<!-- {name} -->", path.read_text("utf-8")
    if begin not in whole:
        whole = f"{whole.rstrip()}\n\n{begin}\n{END}\n"
    head, rest = whole.split(begin, 1)
    tail = rest.split(END, 1)[1]
    path.write_text(f"{head}{begin}\n{text.strip()}\n{END}{tail}", "utf-8")
