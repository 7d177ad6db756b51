"""The table of benchmarks/parity.py: the worst of everything measured counts."""

from __future__ import annotations

from benchmarks.parity import table, worst
from tests.nets.families import Difference

NEAR, FAR = Difference(rms=1e-6, most=2e-6), Difference(rms=2e-6, most=4e-5)


def test_the_worst_of_both_weights_and_all_layers_counts() -> None:
    found = worst([("sd15", "UNet", NEAR), ("sd15", "clip, clip skip 1, normed", FAR), ("sd15", "clip, pooled", NEAR)])
    worst([("sd15", "UNet", Difference(rms=5e-7, most=9e-6)), ("sd15", "clip, clip skip 2, as it is", NEAR)], found)
    assert found == {
        ("sd15", "UNet"): Difference(rms=1e-6, most=9e-6), ("sd15", "clip"): FAR, ("sd15", "clip, pooled"): NEAR,
    }  # fmt: skip
    head, _, line = table(found).splitlines()
    assert head == "| family | UNet | text |"
    assert line == "| sd15 | 1.0e-06, 9.0e-06 | **2.0e-06, 4.0e-05: too far** |"  # what it pools is in the tower's column
    assert table({("a", "b"): Difference(rms=0.0, most=0.0)}).endswith("| 0, 0 |")
