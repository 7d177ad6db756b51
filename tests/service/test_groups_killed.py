"""kill -9 at random moments while plots are made: every cell has one picture, and every plot one grid."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tests.service.killed_groups import CELLS
from tests.service.test_kill import root  # noqa: F401  a folder in memory
from webui.service.database import Database

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="killing many processes in seconds needs fork")
def test_kills_lose_no_cell_make_none_twice_and_leave_one_grid_each(root: Path) -> None:  # noqa: F811
    seed = random.randrange(2**32)
    command = [sys.executable, "-m", "tests.service.killed_groups", str(root), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    queued = json.loads(done.stdout)
    assert len(queued) >= 15, "every second child was spared until it had submitted"

    database = Database(root / "data" / "webui.sqlite3")
    groups = {row["id"]: row for row in database.all("SELECT * FROM groups")}
    cells = database.all("SELECT * FROM cells")
    pictures = {row["id"]: row for row in database.all("SELECT * FROM pictures")}
    requeued = database.one("SELECT COUNT(*) FROM events WHERE kind = 'requeued'")
    jobs = database.all("SELECT id FROM jobs")
    assert database.all("SELECT * FROM saving") == []
    database.close()

    assert set(queued) <= set(groups), "a group that was reported is gone"
    assert {row["state"] for row in groups.values()} == {"done"} and {row["state"] for row in cells} == {"done"}
    assert Counter(row["grouped"] for row in cells) == dict.fromkeys(groups, CELLS)
    parts, grids = [row["picture"] for row in cells], [row["grid"] for row in groups.values()]
    assert len(jobs) == len(parts) == len(set(parts)), "no cell was queued twice"
    assert sorted([*parts, *grids]) == sorted(pictures), "every picture is a part or a grid, once"
    assert {row["job"] for row in cells} == {row["id"] for row in jobs}
    assert requeued is not None and requeued[0] > 0, "no kill hit a running job"
    assert sorted(str(path.relative_to(root)) for path in (root / "outputs").rglob("*.png")) == sorted(
        row["path"] for row in pictures.values()
    )
    for grid in grids:
        with Image.open(root / pictures[grid]["path"]) as picture:
            picture.load()
            assert "Script: X/Y/Z plot" in picture.info["parameters"]
