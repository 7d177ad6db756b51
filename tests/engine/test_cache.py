"""The cache never exceeds its bytes and lets go of what was used longest ago."""
from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.engine.cache import ByteCache, nbytes


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12)), max_size=40))
def test_the_size_is_that_of_the_values_and_within_bounds(puts: list[tuple[int, int]]) -> None:
    cache: ByteCache[int] = ByteCache(10)
    sizes: dict[int, int] = {}
    for key, size in puts:
        assert cache.put(key, size, size) == size
        sizes[key] = size
        assert cache.size <= 10
        assert cache.size == sum(sizes[each] for each in range(6) if each in cache)
        assert (key in cache) == (size <= 10)


def test_use_keeps_alive_and_clear_empties() -> None:
    cache: ByteCache[str] = ByteCache(2)
    cache.put("a", "A", 1)
    cache.put("b", "B", 1)
    assert cache.get("a") == "A"
    cache.put("c", "C", 1)
    assert cache.get("b") is None
    assert cache.get("a") == "A"
    cache.clear()
    assert cache.get("a") is None
    assert cache.size == 0


def test_bytes_of_tensors() -> None:
    assert nbytes([torch.zeros(3, 2), torch.zeros(4, dtype=torch.float16)]) == 32
