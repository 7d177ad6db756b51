"""How far every part of every family is from diffusers and transformers with the same weights, as a table.

    python benchmarks/parity.py [--full] [--write]

Measures what the tests measure, by the same functions, in float32: relative root mean square and relative maximum, the worst of
two sets of random weights (unit gain, and one whose residual stream is so small that a wrong epsilon shows). Small networks are
loaded from files in their real layouts. `--full` takes the published sizes, one network at a time, the largest of 10 GB.
`--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections.abc import Iterable
from datetime import date
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks import document
from tests.nets import measuring
from tests.nets.families import GAINS, MOST_GATE, RMS_GATE, TINY, Difference

SIZES = {"parity": "small networks", "parity, published sizes": "published sizes"}  # the marks around each table
Found = dict[tuple[str, str], Difference]


def worst(rows: Iterable[tuple[str, str, Difference]], found: Found | None = None) -> Found:
    """The largest difference of each family and part, whichever layer of a text tower or weights it is of."""
    found = {} if found is None else found
    for family, part, each in rows:
        kinds = [kind for kind in ("written out", "pooled") if kind in part]
        key = family, ", ".join([part.split(",")[0], *kinds])
        before = found.get(key, each)
        found[key] = Difference(rms=max(before.rms, each.rms), most=max(before.most, each.most))
    return found


def measured(full: bool, folder: Path) -> Found:
    """Everything, telling on the way how far it is."""
    found: Found = {}
    for gain in GAINS:
        for name in measuring.PREDICTORS if full else TINY:
            print(f"gain {gain:g}: {name}", file=sys.stderr, flush=True)
            worst(measuring.full_noise_predictors(name, gain) if full else measuring.small(name, gain, folder), found)
        if full:
            worst(measuring.full_autoencoder(gain), found)
    for tower in measuring.TOWERS if full else ():
        print(tower, file=sys.stderr, flush=True)
        worst(measuring.full_tower(tower), found)
    return found


def column(part: str) -> str:
    """The column of the table that a part is in: both towers, and what they pool, share one."""
    if part.startswith(("UNet", "VAE")):
        return part
    return "text, written out" if "written out" in part else "text"


def table(found: Found) -> str:
    """The differences as Markdown: a line a family, root mean square and maximum in every column."""
    cells: dict[str, dict[str, Difference]] = {}
    for (family, part), each in found.items():
        line = cells.setdefault(family, {})
        before = line.get(column(part), each)
        line[column(part)] = Difference(rms=max(before.rms, each.rms), most=max(before.most, each.most))
    columns = list(dict.fromkeys(name for line in cells.values() for name in line))
    lines = [f"| family | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {family} | {' | '.join(shown(line.get(name)) for name in columns)} |" for family, line in cells.items()]
    return "\n".join(lines)


def shown(each: Difference | None) -> str:
    """A cell of the table."""
    if each is None:
        return ""
    numbers = f"{number(each.rms)}, {number(each.most)}"
    return numbers if each.accepted else f"**{numbers}: too far**"


def number(value: float) -> str:
    """A difference as people write it."""
    return f"{value:.1e}" if value else "0"


def report(found: Found, name: str) -> str:
    """The table and what it was made with."""
    versions = ", ".join(f"{package} {version(package)}" for package in ("torch", "diffusers", "transformers"))
    command = "benchmarks/parity.py" + ("" if name == "parity" else " --full")
    about = (
        f"Relative root mean square (gate {RMS_GATE:g}), then maximum (gate {MOST_GATE:g}); 0 is bit for bit the same. UNet "
        "and VAE against diffusers; text towers, at clip skip 1 to 3 with and without the final norm and what they pool, against "
        'transformers, of whose layers ours are built, and "written out" from the paper.'
    )
    return f"`{command}`, {SIZES[name]}, {versions}, {platform.machine()}, {date.today()}. {about}\n\n{table(found)}"


def main() -> int:
    """Measure, print, and write if wanted; 1 where something is too far from the reference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the published sizes")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    small, full = SIZES
    name = full if options.full else small
    with tempfile.TemporaryDirectory() as folder:
        found = measured(options.full, Path(folder))
    text = report(found, name)
    print(text)
    if options.write:
        document.replace(name, text)
    return 0 if all(each.accepted for each in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
