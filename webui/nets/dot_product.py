"""Softmax attention, in the way that is fastest where it runs (Vaswani et al. 2017, arXiv:1706.03762, eq. 1)."""
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

QUERIES = 512  # of one head at a time: with 4096 keys their scores stay in the processor's cache
FEWEST_KEYS = 512  # with fewer, torch's own kernel is as fast
MOST_THREADS = 4  # with more, torch's kernel gains by giving each thread a head of its own


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention: q [B, N, C], k and v [B, M, C], heads side by side in C -> [B, N, C]."""
    if in_parts(q, k, v):
        return attend_in_parts(q, k, v, heads)
    batch, count, channels = q.shape
    q, k, v = (x.view(batch, -1, heads, channels // heads).transpose(1, 2) for x in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, count, channels)


def in_parts(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether plain matrix products beat torch's attention: long bfloat16 sequences on a CPU with few threads, no gradients.

    torch's kernel for the CPU works in tiles too small for the bfloat16 units: 90 % of its time goes into products at a third of
    the speed that large ones reach (measured with SD 1.5's 4096 pixels: 387 against 235 ms a call, 2 threads, torch 2.13).
    """
    small = q.device.type == "cpu" and q.dtype == torch.bfloat16 and torch.get_num_threads() <= MOST_THREADS
    return small and k.shape[1] >= FEWEST_KEYS and not (torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)))


def attend_in_parts(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """The same as `attend`, one head and `QUERIES` of its rows at a time.

    Scores are rounded to bfloat16. What all keys of a head have in common changes no softmax but would take the digits from what
    tells them apart, so it is taken off first.
    """
    batch, count, channels = q.shape
    width = channels // heads
    k = ((k.float() - k.mean(dim=1, keepdim=True, dtype=torch.float32)) * width**-0.5).to(k.dtype)
    out = q.new_empty(batch, heads, width, count)  # transposed: the second product is faster that way round
    room = q.new_empty(2, min(QUERIES, count), k.shape[1])  # written over and over: new memory would be slower
    for row in range(batch):
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            attend_one_head(q[row, :, own], k[row, :, own].T, v[row, :, own].T.contiguous(), out[row, head], room)
    return out.reshape(batch, channels, count).transpose(1, 2).contiguous()


def attend_one_head(q: Tensor, k: Tensor, v: Tensor, out: Tensor, room: Tensor) -> None:
    """Write softmax(q k) v to out [width, N], for q [N, width] and k, v [width, M]; `room` is [2, rows at once, M]."""
    for begin in range(0, q.shape[0], room.shape[1]):
        part = q[begin : begin + room.shape[1]]
        scores, weights = room[0, : len(part)], room[1, : len(part)]
        torch.mm(part, k, out=scores)
        torch.softmax(scores, dim=-1, out=weights)
        out[:, begin : begin + len(part)] = v @ weights.T
