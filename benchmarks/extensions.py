"""What the bundled extensions cost when the program starts: each loaded in fresh processes, against an empty folder.

    python -m benchmarks.extensions [--runs 7]

A run is a process of its own that imports what the page needs anyway, and then loads a folder of extensions; the time is that
of the load alone. The median is printed, and what each extension takes by itself. Whether torch was imported is said too: it
must not be.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 0.5  # seconds that all of them may take together
CHILD = """
import json, sys, time
from pathlib import Path
from webui.service import studio
from webui.service.extensions import load
folder = Path(sys.argv[1])
began = time.perf_counter()
found = load((folder,))
took = time.perf_counter() - began
said = {"extensions": list(found.versions), "problems": dict(found.problems), "torch": "torch" in sys.modules}
print(json.dumps({"seconds": took, **said}))
"""


def measured(folder: Path) -> dict[str, object]:
    """One run: what a fresh process took to load a folder."""
    done = subprocess.run([sys.executable, "-c", CHILD, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def median(folder: Path, runs: int) -> float:
    """The median of some runs, in seconds."""
    return statistics.median(float(str(measured(folder)["seconds"])) for _ in range(runs))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    bundled = ROOT / "extensions"
    first = measured(bundled)
    with tempfile.TemporaryDirectory() as temporary:
        nothing = median(Path(temporary), runs)
        together = median(bundled, runs)
        print(f"no extensions  {nothing * 1000:7.1f} ms")
        for place in sorted(path.parent for path in bundled.glob("*/extension.toml")):
            alone = Path(temporary) / f"only {place.name}"
            alone.mkdir()
            (alone / place.name).symlink_to(place, target_is_directory=True)
            print(f"{place.name:<18} {(median(alone, max(runs // 2, 1)) - nothing) * 1000:7.1f} ms")
    names = first["extensions"]
    assert isinstance(names, list)
    print(f"all {len(names)} together {together * 1000:7.1f} ms, {together / LIMIT:.2f} of the {LIMIT:g} s they may take")
    print(f"torch was imported: {first['torch']}; problems: {first['problems'] or 'none'}")


if __name__ == "__main__":
    main()
