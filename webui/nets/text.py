"""Text towers: CLIP's text transformer (Radford et al. 2021, arXiv:2103.00020), read at the layer a model family wants."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from webui.nets.running import Run, call
from webui.nets.spec import TextSpec


class TextOutput(NamedTuple):
    """`tokens` [B, N, width] for cross-attention; `pooled` [B, projection], or [B, width] for a tower without projection."""

    tokens: Tensor
    pooled: Tensor


class TextTower(nn.Module):
    """The text transformer of `transformers`, built from a `TextSpec` without any file.

    Its keys are those of SD 1's checkpoints after `cond_stage_model.transformer.text_model.`, and `text_projection.weight`
    ([projection, width]) where there is a projection.
    """

    def __init__(self, spec: TextSpec) -> None:
        super().__init__()
        # Imported here because it takes two seconds, which whoever only reads a spec should not wait for.
        from transformers.models.clip.configuration_clip import CLIPTextConfig
        from transformers.models.clip.modeling_clip import CLIPTextModel

        config = CLIPTextConfig(
            vocab_size=spec.vocabulary,
            hidden_size=spec.width,
            intermediate_size=spec.hidden,
            num_hidden_layers=spec.layers,
            num_attention_heads=spec.heads,
            max_position_embeddings=spec.positions,
            hidden_act=spec.activation,
            bos_token_id=spec.start,
            eos_token_id=spec.end,
            pad_token_id=spec.padding,
            attn_implementation="sdpa",
        )
        model = CLIPTextModel(config)
        self.spec = spec
        # The published embeddings also hold a table 0, 1, 2, ... of positions, which a model built on the meta device could
        # not load from a file; positions are sliced instead.
        self.embeddings = Embeddings(model.embeddings.token_embedding, model.embeddings.position_embedding)
        self.encoder = model.encoder
        self.final_layer_norm = model.final_layer_norm
        if spec.projection is not None:
            self.text_projection = nn.Linear(spec.width, spec.projection, bias=False)
            nn.init.normal_(self.text_projection.weight, std=spec.width**-0.5)

    def forward(
        self, ids: Tensor, vectors: Sequence[Mapping[int, Tensor]] | None = None, clip_skip: int | None = None, *, run: Run = call
    ) -> TextOutput:
        """Read token ids [B, N], N at most `positions`.

        `vectors` holds one mapping a row, position -> [width], of vectors that stand in for tokens (textual inversion).
        `clip_skip` counts the layer to read from the end: 1 is the last; None the family's own. The pooled output is always
        the last layer's, at the first end token. `run(layer, ...)` invokes each layer. A ValueError names a clip_skip that is not
        from 1 to `layers`.
        """
        skip = self.spec.skip if clip_skip is None else clip_skip
        if not 1 <= skip <= self.spec.layers:
            raise ValueError(f"clip_skip is {skip}; this text tower has {self.spec.layers} layers: use 1 to {self.spec.layers}.")
        hidden = run(self.embeddings, ids, vectors)
        tokens = hidden
        for number, layer in enumerate(self.encoder.layers, start=1):
            hidden = run(layer, hidden, None, is_causal=True)
            if number == self.spec.layers - skip + 1:
                tokens = hidden
        return TextOutput(run(self.final_layer_norm, tokens) if self.spec.final_norm else tokens, self._pool(ids, hidden, run))

    def _pool(self, ids: Tensor, hidden: Tensor, run: Run) -> Tensor:
        rows = torch.arange(ids.shape[0], device=ids.device)
        first_end = (ids == self.spec.end).int().argmax(dim=-1)
        pooled: Tensor = run(self.final_layer_norm, hidden[rows, first_end])
        if self.spec.projection is not None:
            pooled = run(self.text_projection, pooled)
        return pooled


class Embeddings(nn.Module):
    """Token vectors plus position vectors."""

    def __init__(self, token_embedding: nn.Embedding, position_embedding: nn.Embedding) -> None:
        super().__init__()
        self.token_embedding = token_embedding
        self.position_embedding = position_embedding

    def forward(self, ids: Tensor, vectors: Sequence[Mapping[int, Tensor]] | None) -> Tensor:
        """ids [B, N] -> [B, N, width]; `vectors` replace the vectors of tokens, never the table."""
        tokens: Tensor = self.token_embedding(ids)
        if vectors is not None:
            for row, replaced in enumerate(vectors):
                for position, vector in replaced.items():
                    tokens[row, position] = vector.to(tokens)
        return tokens + self.position_embedding.weight[: ids.shape[-1]]
