"""CLIP: a text tower and an image tower that put a picture and its caption at the same place (Radford et al. 2021)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.nets.text import TextTower

TEMPERATURE = 0.07
"""Of the softmax over pairs, at first; it is learned (Radford et al. 2021, section 2.5)."""
LARGEST_SCALE = 100.0
"""What logits are multiplied with at most, so that training stays stable (the same section)."""


class ClipPair(nn.Module):
    """The two towers with their projections to a common space, and the logarithm of the inverse temperature."""

    def __init__(self, text: TextTower, image: nn.Module, text_width: int, image_width: int, space: int) -> None:
        super().__init__()
        self.text = text
        self.image = image
        self.text_projection = nn.Linear(text_width, space, bias=False)
        self.image_projection = nn.Linear(image_width, space, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))

    def place_texts(self, ids: Tensor) -> Tensor:
        """Unit vectors [B, space] of token ids [B, length]."""
        return functional.normalize(self.text_projection(self.text(ids).pooled).float(), dim=-1)

    def place_pictures(self, pictures: Tensor) -> Tensor:
        """Unit vectors [B, space] of pictures [B, 3, H, W] in [-1, 1]."""
        return functional.normalize(self.image_projection(self.image(pictures)).float(), dim=-1)


class PictureTower(nn.Module):
    """A small convolutional image tower: halve and widen, then pool by what matters at each place.

    `width` is that of the result; pictures are [B, 3, H, W] in [-1, 1], H and W multiples of 16.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = (3, width // 8, width // 4, width // 2, width)
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.SiLU()]
            layers += [nn.Conv2d(after, after, 3, padding=1), nn.GroupNorm(4, after), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.places = nn.Parameter(torch.zeros(1, 64, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.mixer = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """One vector [B, width] a picture."""
        tokens = self.body(pictures).flatten(2).transpose(1, 2)
        mixed: Tensor = self.mixer(tokens + self.places[:, : tokens.shape[1]])
        return mixed.mean(dim=1)


def clip_loss(pair: ClipPair, pictures: Tensor, ids: Tensor, wrong: Tensor | None = None) -> dict[str, Tensor]:
    """The symmetric contrastive loss of N pictures and their N captions, and how often the right caption is nearest.

    `wrong` [M, length] are captions of none of the pictures, which each picture must also be far from: nearly right ones make
    the text tower heed the order of words (Yuksekgonul et al. 2023, arXiv 2210.01936).
    """
    count = len(ids)
    texts, images = pair.place_texts(ids if wrong is None else torch.cat([ids, wrong])), pair.place_pictures(pictures)
    logits = pair.logit_scale.clamp(max=math.log(LARGEST_SCALE)).exp() * images @ texts.T
    right = torch.arange(count, device=logits.device)
    loss = 0.5 * (functional.cross_entropy(logits, right) + functional.cross_entropy(logits[:, :count].T, right))
    return {"loss": loss, "right": (logits.argmax(dim=1) == right).float().mean()}
