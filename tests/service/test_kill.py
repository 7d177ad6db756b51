"""kill -9 at a hundred random moments: no waiting job is lost, and every picture is there exactly once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from webui.service.database import Database

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder in memory where there is such a thing: a kill spares what the disk has still to write."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="killing a hundred processes in seconds needs fork")
def test_a_hundred_kills_lose_nothing_and_make_nothing_twice(root: Path) -> None:
    seed = random.randrange(2**32)
    command = [sys.executable, "-m", "tests.service.killed", str(root), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    queued = json.loads(done.stdout)
    assert len(queued) >= 50, "every second child was spared until it had queued its job"

    database = Database(root / "data" / "webui.sqlite3")
    jobs = {row["id"]: row for row in database.all("SELECT * FROM jobs")}
    pictures = database.all("SELECT * FROM pictures")
    told = Counter((row["job"], row["kind"]) for row in database.all("SELECT job, kind FROM events"))
    assert database.all("SELECT * FROM saving") == []
    database.close()

    assert set(queued) <= set(jobs), "a job that was reported as queued is gone"
    assert {row["state"] for row in jobs.values()} == {"done"}
    assert Counter((row["job"], row["place"]) for row in pictures) == Counter(
        (name, place) for name, row in jobs.items() for place in range(row["pictures"])
    )
    assert all(told[name, "picture"] == row["pictures"] for name, row in jobs.items())
    assert sum(told[name, "requeued"] for name in jobs) > 0, "no kill hit a running job"
    for name in jobs:
        assert told[name, "started"] == 1 + told[name, "requeued"] and told[name, "finished"] == 1

    folder = root / "outputs"
    assert sorted(str(path.relative_to(root)) for path in folder.glob("*.png")) == sorted(row["path"] for row in pictures)
    for row in pictures:
        path = root / row["path"]
        assert path.stat().st_size == row["bytes"]
        with Image.open(path) as picture:
            picture.load()
            assert picture.info["parameters"] == row["parameters"]
