"""From windows of token ids to a conditioning, by the text towers of a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from webui.engine.holding import Tower
from webui.engine.patched import content_key
from webui.errors import JobError
from webui.nets.text import TextOutput
from webui.pipeline.protocol import Conditioning, Encode, TokenChunk


def encode(ask: Encode, towers: Sequence[Tower], *, pooled: bool) -> Conditioning:
    """Encode a text: windows joined along the tokens, towers along the width; float32 on the towers' device.

    `pooled`: the last tower's pooled output of the first window becomes the conditioning's vector (SDXL). Clip skip never reads a
    later layer than the one a tower was used with in training: 1 and 2 are the same for SDXL, which reads the penultimate.
    """
    if len(ask.chunks) != len(towers):
        raise JobError(f"The text was cut for {len(ask.chunks)} text towers; the model {ask.network!r} has {len(towers)}.")
    parts, vector = [], None
    for index, chunks in enumerate(ask.chunks):
        # The tower is named nowhere here: it may have to go before the next one comes.
        output = read(towers[index], chunks, ask.clip_skip, stand_ins(ask, index, towers[index].module.spec.width))
        tokens = weighted(output.tokens.float(), chunks, norm=ask.norm)
        parts.append(tokens.reshape(-1, tokens.shape[-1]))
        vector = output.pooled[0].float() if pooled else None
    return Conditioning(tokens=torch.cat(parts, dim=-1), vector=vector, key=name_of(ask))


def stand_ins(ask: Encode, tower: int, width: int) -> list[dict[int, Tensor]] | None:
    """The vectors [width] that stand in for tokens, by window and place; None where there are none."""
    if not any(chunk.vectors for chunk in ask.chunks[tower]):
        return None
    fitting = {
        each.content: each.vectors[tower] for each in ask.patches.tokens
        if tower < len(each.vectors) and each.vectors[tower].shape[-1] == width
    }  # fmt: skip
    if any(content not in fitting for chunk in ask.chunks[tower] for _, content, _ in chunk.vectors):
        raise JobError(f"The prompt names an embedding made for another kind of model than {ask.network!r}; leave it out.")
    return [{place: fitting[content][row] for place, content, row in chunk.vectors} for chunk in ask.chunks[tower]]


def read(
    tower: Tower, chunks: Sequence[TokenChunk], clip_skip: int | None, vectors: list[dict[int, Tensor]] | None = None
) -> TextOutput:
    """What one tower makes of its windows."""
    ids = torch.tensor([chunk.ids for chunk in chunks], device=tower.device)
    skip = None if clip_skip is None else max(clip_skip, tower.module.spec.skip)
    output: TextOutput = tower.module(ids, vectors, clip_skip=skip, run=tower.run)
    return output


def weighted(tokens: Tensor, chunks: Sequence[TokenChunk], *, norm: bool = True) -> Tensor:
    """Tokens [windows, N, width] times their weights; `norm`: each window is scaled back to its mean (A1111's emphasis)."""
    if all(weight == 1 for chunk in chunks for weight in chunk.weights):
        return tokens
    weights = torch.tensor([chunk.weights for chunk in chunks], dtype=tokens.dtype, device=tokens.device)
    changed = tokens * weights[..., None]
    if not norm:
        return changed
    return changed * (tokens.mean(dim=(1, 2), keepdim=True) / changed.mean(dim=(1, 2), keepdim=True))


def name_of(ask: Encode) -> str:
    """A name for the content of a text's conditioning: equal for equal asks."""
    parts = (ask.network, ask.chunks, ask.clip_skip, ask.norm, content_key(ask.patches.weights))
    return hashlib.sha256(repr(parts).encode()).hexdigest()
