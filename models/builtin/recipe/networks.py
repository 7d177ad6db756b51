"""The shape of the built-in model: sizes of its networks, and its tokenizer."""

from __future__ import annotations

import dataclasses

from webui.nets.spec import ModelSpec, TextSpec, UNetSpec, VAESpec
from webui.nets.tokenizer import Tokenizer
from webui.weights.vocabulary import clip_merges

from .captions import WORDS
from .depth import NO_MAP

CONTEXT = 192
LATENT_CHANNELS = 8


def tokenizer() -> Tokenizer:
    """CLIP's tokenizer cut down to the words of the captions, the letters and the digits."""
    return Tokenizer(clip_merges()).cut(WORDS)


def model_spec(vocabulary: int) -> ModelSpec:
    """The model's description; `vocabulary` is the size of its tokenizer's."""
    return ModelSpec(
        family="builtin",
        title="Built-in still lifes, 128 x 128",
        unet=UNetSpec(
            in_channels=LATENT_CHANNELS + 1,  # and a depth map
            out_channels=LATENT_CHANNELS,
            model_channels=64,
            channel_mult=(1, 2, 3),
            res_blocks=1,
            transformer_depth=(1, 1, 0),
            middle_depth=1,
            context_width=CONTEXT,
            head_width=32,
        ),
        vae=VAESpec(channels=16, channel_mult=(1, 2, 4, 6), res_blocks=1, latent_channels=LATENT_CHANNELS, scale=1.0, groups=8),
        text=(
            TextSpec(
                width=CONTEXT,
                layers=4,
                heads=4,
                hidden=4 * CONTEXT,
                vocabulary=vocabulary,
                padding=vocabulary - 1,
            ),
        ),
        prediction="v",
        # A longer schedule than Stable Diffusion's (sigma up to 44 instead of 14.6): at its end even the mean colour of a
        # 16 x 16 latent is lost in noise, so that floors and light follow the words and not the noise's mean.
        betas=(0.00085, 0.018),
        native_size=128,
        no_map=NO_MAP,
        # A cell of the latent is 8 x 8 pixels of a picture of 128: one pixel of a map says too little of what is in it.
        smooth_map=True,
    )


def without_map(unet: UNetSpec) -> UNetSpec:
    """The noise predictor as it is until its last lesson: it takes the latent alone."""
    return dataclasses.replace(unet, in_channels=LATENT_CHANNELS)
