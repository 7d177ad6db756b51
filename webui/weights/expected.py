"""Which weights a model's networks have, by key and shape, from its spec alone: so that a file can be checked without torch.

The tests hold these tables against the networks themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

from webui.nets.spec import ModelSpec, TextSpec, UNetSpec, VAESpec

Shape = tuple[int, ...]
Weights = Iterator[tuple[str, Shape]]


def expected(spec: ModelSpec) -> dict[str, dict[str, Shape]]:
    """Return key -> shape of every weight of a model, by part: "unet", "vae", "text0" and, where there is one, "text1"."""
    towers = {f"text{index}": dict(text_weights(tower)) for index, tower in enumerate(spec.text)}
    return {"unet": dict(unet_weights(spec.unet)), "vae": dict(vae_weights(spec.vae)), **towers}


def unet_weights(spec: UNetSpec) -> Weights:
    """Yield the noise predictor's."""
    channels, time = spec.model_channels, spec.time_width
    yield from _layer("time_embed.0", time, channels)
    yield from _layer("time_embed.2", time, time)
    if spec.guidance_width is not None:
        yield "time_embedding.cond_proj.weight", (channels, spec.guidance_width)
    if spec.label_width is not None:
        yield from _layer("label_emb.0.0", time, spec.label_width)
        yield from _layer("label_emb.0.2", time, time)
    yield from _layer("input_blocks.0.0", channels, spec.in_channels, 3, 3)
    widths = [channels]
    for level, mult in enumerate(spec.channel_mult):
        width = mult * channels
        for _ in range(spec.res_blocks):
            yield from _unet_block(spec, f"input_blocks.{len(widths)}", widths[-1], width, spec.transformer_depth[level])
            widths.append(width)
        if level < spec.levels - 1:
            yield from _layer(f"input_blocks.{len(widths)}.0.op", width, width, 3, 3)
            widths.append(width)
    yield from _unet_block(spec, "middle_block", widths[-1], widths[-1], spec.middle_depth)
    yield from _unet_resnet(f"middle_block.{2 if spec.middle_depth else 1}", widths[-1], widths[-1], time)
    yield from _going_up(spec, widths)
    yield from _layer("out.0", channels)
    yield from _layer("out.2", spec.out_channels, channels, 3, 3)


def _going_up(spec: UNetSpec, widths: list[int]) -> Weights:
    channels, number = widths[-1], 0
    for level, mult in reversed(list(enumerate(spec.channel_mult))):
        width, depth = mult * spec.model_channels, spec.transformer_depth[level]
        for index in range(spec.res_blocks + 1):
            yield from _unet_block(spec, f"output_blocks.{number}", channels + widths.pop(), width, depth)
            if level > 0 and index == spec.res_blocks:
                yield from _layer(f"output_blocks.{number}.{2 if depth else 1}.conv", width, width, 3, 3)
            channels, number = width, number + 1


def _unet_block(spec: UNetSpec, name: str, channels: int, width: int, depth: int) -> Weights:
    yield from _unet_resnet(f"{name}.0", channels, width, spec.time_width)
    if depth:
        square = (width, width) if spec.linear_projection else (width, width, 1, 1)
        yield from _layer(f"{name}.1.norm", width)
        yield from _layer(f"{name}.1.proj_in", *square)
        for number in range(depth):
            yield from _transformer(f"{name}.1.transformer_blocks.{number}", width, spec.context_width)
        yield from _layer(f"{name}.1.proj_out", *square)


def _unet_resnet(name: str, channels: int, width: int, time: int) -> Weights:
    yield from _layer(f"{name}.in_layers.0", channels)
    yield from _layer(f"{name}.in_layers.2", width, channels, 3, 3)
    yield from _layer(f"{name}.emb_layers.1", width, time)
    yield from _layer(f"{name}.out_layers.0", width)
    yield from _layer(f"{name}.out_layers.3", width, width, 3, 3)
    if channels != width:
        yield from _layer(f"{name}.skip_connection", width, channels, 1, 1)


def _transformer(name: str, width: int, context: int) -> Weights:
    for norm in ("norm1", "norm2", "norm3"):
        yield from _layer(f"{name}.{norm}", width)
    for attention, source in (("attn1", width), ("attn2", context)):
        yield f"{name}.{attention}.to_q.weight", (width, width)
        yield f"{name}.{attention}.to_k.weight", (width, source)
        yield f"{name}.{attention}.to_v.weight", (width, source)
        yield from _layer(f"{name}.{attention}.to_out.0", width, width)
    yield from _layer(f"{name}.ff.net.0.proj", 8 * width, width)
    yield from _layer(f"{name}.ff.net.2", width, 4 * width)


def vae_weights(spec: VAESpec) -> Weights:
    """Yield the autoencoder's."""
    latent, deepest = spec.latent_channels, spec.channel_mult[-1] * spec.channels
    yield from _layer("quant_conv", 2 * latent, 2 * latent, 1, 1)
    yield from _layer("post_quant_conv", latent, latent, 1, 1)
    yield from _layer("encoder.conv_in", spec.channels, spec.picture_channels, 3, 3)
    yield from _layer("decoder.conv_in", deepest, latent, 3, 3)
    channels = spec.channels
    for level, mult in enumerate(spec.channel_mult):
        last = level == len(spec.channel_mult) - 1
        yield from _vae_level(f"encoder.down.{level}", channels, mult * spec.channels, spec.res_blocks, not last)
        channels = mult * spec.channels
    channels = deepest
    for level, mult in reversed(list(enumerate(spec.channel_mult))):
        yield from _vae_level(f"decoder.up.{level}", channels, mult * spec.channels, spec.res_blocks + 1, level > 0)
        channels = mult * spec.channels
    for half in ("encoder", "decoder"):
        for block in ("block_1", "block_2"):
            yield from _vae_resnet(f"{half}.mid.{block}", deepest, deepest)
        yield from _layer(f"{half}.mid.attn_1.norm", deepest)
        for layer in ("q", "k", "v", "proj_out"):
            yield from _layer(f"{half}.mid.attn_1.{layer}", deepest, deepest, 1, 1)
    yield from _layer("encoder.norm_out", deepest)
    yield from _layer("encoder.conv_out", 2 * latent, deepest, 3, 3)
    yield from _layer("decoder.norm_out", channels)
    yield from _layer("decoder.conv_out", spec.picture_channels, channels, 3, 3)


def _vae_level(name: str, channels: int, width: int, blocks: int, sampled: bool) -> Weights:
    for number in range(blocks):
        yield from _vae_resnet(f"{name}.block.{number}", channels if number == 0 else width, width)
    if sampled:
        sampling = "downsample" if ".down." in name else "upsample"
        yield from _layer(f"{name}.{sampling}.conv", width, width, 3, 3)


def _vae_resnet(name: str, channels: int, width: int) -> Weights:
    yield from _layer(f"{name}.norm1", channels)
    yield from _layer(f"{name}.conv1", width, channels, 3, 3)
    yield from _layer(f"{name}.norm2", width)
    yield from _layer(f"{name}.conv2", width, width, 3, 3)
    if channels != width:
        yield from _layer(f"{name}.nin_shortcut", width, channels, 1, 1)


def text_weights(spec: TextSpec) -> Weights:
    """Yield a text tower's."""
    width = spec.width
    yield "embeddings.token_embedding.weight", (spec.vocabulary, width)
    yield "embeddings.position_embedding.weight", (spec.positions, width)
    for number in range(spec.layers):
        name = f"encoder.layers.{number}"
        for layer in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _layer(f"{name}.self_attn.{layer}", width, width)
        yield from _layer(f"{name}.layer_norm1", width)
        yield from _layer(f"{name}.mlp.fc1", spec.hidden, width)
        yield from _layer(f"{name}.mlp.fc2", width, spec.hidden)
        yield from _layer(f"{name}.layer_norm2", width)
    yield from _layer("final_layer_norm", width)
    if spec.projection is not None:
        yield "text_projection.weight", (spec.projection, width)


def _layer(name: str, *shape: int) -> Weights:
    """A layer's weight, and its bias of as many numbers as the weight has rows."""
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]
