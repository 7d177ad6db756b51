"""Attention in parts is attention: the same numbers as torch's kernel, and the digits kept where keys have much in common."""
from __future__ import annotations

import pytest
import torch
from torch import Tensor

from webui.nets import dot_product

SIZES = [(700, 700, 48, 3), (512, 600, 64, 1), (3, 1030, 40, 5), (1025, 512, 16, 2)]


def given(count: int, keys: int, channels: int, dtype: torch.dtype = torch.bfloat16) -> tuple[Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, count, channels, generator=source).to(dtype),
        torch.randn(2, keys, channels, generator=source).to(dtype),
        torch.randn(2, keys, channels, generator=source).to(dtype),
    )


def exact(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention written out, in double precision."""
    q, k, v = (x.double().unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def error(ours: Tensor, truth: Tensor) -> float:
    return float((ours.double() - truth).norm() / truth.norm())


@pytest.mark.parametrize(("count", "keys", "channels", "heads"), SIZES)
def test_in_parts_is_attention(count: int, keys: int, channels: int, heads: int) -> None:
    q, k, v = given(count, keys, channels)
    truth = exact(q, k, v, heads)
    assert error(dot_product.attend_in_parts(q, k, v, heads), truth) < 1e-2
    in_float32 = dot_product.attend_in_parts(q.float(), k.float(), v.float(), heads)
    assert error(in_float32, truth) < 1e-6 and error(dot_product.attend(q.float(), k.float(), v.float(), heads), truth) < 1e-6


def test_what_keys_have_in_common_costs_no_digits() -> None:
    q, k, v = given(600, 600, 64)
    far = (k.float() + 40 * torch.randn(64, generator=torch.Generator().manual_seed(1))).to(k.dtype)  # scores in the hundreds
    assert error(dot_product.attend_in_parts(q, far, v, 2), exact(q, far, v, 2)) < 1e-2


def test_it_is_used_for_long_bfloat16_sequences_on_few_threads_only() -> None:
    threads = torch.get_num_threads()
    q, k, v = given(4, dot_product.FEWEST_KEYS, 8)
    try:
        torch.set_num_threads(dot_product.MOST_THREADS)
        assert dot_product.in_parts(q, k, v)
        assert not dot_product.in_parts(q.float(), k.float(), v.float())
        assert not dot_product.in_parts(q, k[:, 1:], v)
        for place in range(3):  # training may change any of the three alone
            changed = [each.detach().requires_grad_(number == place) for number, each in enumerate((q, k, v))]
            assert not dot_product.in_parts(changed[0], changed[1], changed[2])
            dot_product.attend(changed[0], changed[1], changed[2], 2).sum().backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            assert dot_product.in_parts(q.requires_grad_(), k, v)
        torch.set_num_threads(dot_product.MOST_THREADS + 1)
        assert not dot_product.in_parts(q.detach(), k, v)
    finally:
        torch.set_num_threads(threads)
