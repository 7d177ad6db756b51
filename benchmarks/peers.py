"""Steps of full-size models, ours and diffusers' in turn in the same run, and what the machine could do at best.

    python benchmarks/peers.py [--family sd15|sd21-v|sdxl-base] [--size 512] [--steps 3] [--rounds 3] [--write]

The weights are random, in the published sizes; both sides hold the same ones. diffusers runs its own pipeline from given text
embeddings to a latent: as it comes (float32, or float16 on a GPU), and in the settings that its documentation recommends
(bfloat16 and channels-last on a CPU that has it; channels-last and torch.compile on a GPU). We run our sampler and the engine's
networks with what the program itself would choose here. A step is one guided step: two rows. Times are wall time, the median of
the rounds; run it on a machine with nothing else to do. The floor is the operations of two rows at the rate at which this machine
multiplies large matrices in the same number type, or the bytes of the weights at the rate at which it copies memory, whichever is
longer.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import multiprocessing
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import document
from tests.in_memory import InMemory
from tests.nets.references import their_unet
from webui.engine.allocator import keep_freed_memory
from webui.engine.batching import call_of
from webui.engine.device import Choice, by_rule, facts
from webui.engine.local import LocalNetworks
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import ModelSpec
from webui.nets.unet import UNetModel
from webui.pipeline.guidance import guided, plain_row
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.protocol import Conditioning, Decode, Rows, answer_all
from webui.pipeline.samplers import SAMPLERS
from webui.pipeline.schedules import SCHEDULES
from webui.pipeline.texts import Part, Texts, constant
from webui.weights import layouts
from webui.weights.families import FAMILIES
from webui.weights.model import LoadedModel
from webui.weights.source import build

TOKENS, SCALE = 77, 7.0


@dataclass(frozen=True)
class Way:
    """One way to draw: ours (`peer` False) or diffusers' in some settings."""

    name: str
    peer: bool
    choice: Choice
    compiled: bool = False


class Run:
    """A way to draw in a process of its own, so that neither side's settings help or harm the other."""

    def __init__(self, way: Way, family: str, size: int) -> None:
        self.name, self.seconds = way.name, list[float]()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs_end = context.Pipe()
        self._process = context.Process(target=child, args=(theirs_end, way, family, size), daemon=True)
        self._process.start()
        theirs_end.close()  # so that a child that died is noticed
        self.ask("steps", 1)

    def ask(self, what: str, count: int) -> float:
        """Seconds of one of so many steps ("steps") or decoded pictures ("decode")."""
        self._pipe.send((what, count))
        seconds: float = self._pipe.recv()
        return seconds

    @property
    def median(self) -> float:
        """Seconds a step."""
        return statistics.median(self.seconds)

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()


def child(pipe: Any, way: Way, family: str, size: int) -> None:
    """Draw when told to; the life of a run's process."""
    spec = FAMILIES[family]
    loaded = model(spec)
    if way.peer:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        work = {"steps": theirs(loaded, size, way)}
    else:
        keep_freed_memory()
        networks = LocalNetworks({"model": InMemory(loaded)}.__getitem__, way.choice)
        work = {"steps": ours(networks, spec, size), "decode": lambda count: decoding(networks, spec, size, count)}
    with torch.no_grad(), contextlib.suppress(EOFError):  # at the end nobody asks any more
        while True:
            what, count = pipe.recv()
            began = time.perf_counter()
            work[what](count)
            pipe.send((time.perf_counter() - began) / count)


def random_weights(module: nn.Module, seed: int) -> nn.Module:
    """Weights of the size trained ones have; a sixteenth of them are drawn, and repeated."""
    generator = torch.Generator().manual_seed(seed)
    module.to_empty(device="cpu")
    for weight in module.parameters():
        count = weight.numel()
        drawn = torch.randn(min(count, max(count // 16, 1 << 16)), generator=generator)
        values = drawn.repeat(-(-count // len(drawn)))[:count].reshape(weight.shape)
        weight.data = values / max(weight[0].numel(), 1) ** 0.5 if weight.dim() > 1 else 1 + 0.1 * values
    return module.eval().requires_grad_(False)


def model(spec: ModelSpec) -> LoadedModel:
    """Noise predictor and autoencoder of a family; texts are given as embeddings, so there are no towers."""
    with torch.device("meta"):
        unet, vae = UNetModel(spec.unet), AutoencoderKL(spec.vae)
    random_weights(unet, 0), random_weights(vae, 1)
    return LoadedModel(spec=replace(spec, text=()), unet=unet, vae=vae, text=(), tokenizers=(), path=Path("random"))


def texts(spec: ModelSpec) -> list[Conditioning]:
    """Two made-up texts."""
    generator = torch.Generator().manual_seed(2)
    width, label = spec.unet.context_width, spec.unet.label_width
    vectors = [None if label is None else torch.randn(label, generator=generator) for _ in range(2)]
    return [Conditioning(torch.randn(TOKENS, width, generator=generator), vector, key=str(vector is None)) for vector in vectors]


def ours(networks: LocalNetworks, spec: ModelSpec, size: int) -> Callable[[int], Tensor]:
    """Our sampler, guidance and networks."""
    cond, uncond = texts(spec)
    table = NoiseTable.from_spec(spec)
    shape = (spec.vae.latent_channels, size // spec.vae.factor, size // spec.vae.factor)
    device = networks.device_of("model")

    def answer(ask: Any) -> object:
        assert isinstance(ask, Rows)
        predicted = networks.predict(call_of(ask.rows))
        predicted.finite()
        return predicted.rows

    def steps(count: int) -> Tensor:
        sigmas = SCHEDULES["Uniform"](count, table)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(device) * sigmas[0]
        both = Texts(parts=(Part(course=constant(cond)),), course=constant(uncond))
        denoise = guided(both, SCALE, plain_row("model"))
        return answer_all(SAMPLERS["Euler"].function(denoise, x, sigmas, lambda *_: torch.zeros(shape)), answer)

    return steps


def theirs(loaded: LoadedModel, size: int, way: Way) -> Callable[[int], Any]:
    """diffusers' pipeline of the family, from embeddings to a latent."""
    device, dtype = way.choice.device, way.choice.torch_dtype
    from diffusers import AutoencoderKL as TheirAutoencoder
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline

    spec = loaded.spec
    unet = their_unet(spec.unet, {f"{layouts.UNET}{key}": value for key, value in loaded.unet.state_dict().items()})
    unet = unet.to(device=device, dtype=dtype)
    if way.choice.channels_last:
        unet = unet.to(memory_format=torch.channels_last)
    if way.compiled:
        unet = torch.compile(unet, mode="max-autotune", fullgraph=True)
    scheduler = EulerDiscreteScheduler(beta_start=spec.betas[0], beta_end=spec.betas[1], beta_schedule="scaled_linear",
                                       prediction_type={"eps": "epsilon", "v": "v_prediction"}[spec.prediction])
    vae = TheirAutoencoder(block_out_channels=(32, 32, 32, 32), down_block_types=("DownEncoderBlock2D",) * 4,
                           up_block_types=("UpDecoderBlock2D",) * 4)  # only its factor is asked for
    kind = StableDiffusionXLPipeline if spec.unet.label_width else StableDiffusionPipeline
    absent = ("text_encoder_2", "tokenizer_2") if spec.unet.label_width else ("safety_checker", "feature_extractor")
    pipe = kind(vae=vae, unet=unet, scheduler=scheduler, **dict.fromkeys(("text_encoder", "tokenizer", *absent)))
    pipe.set_progress_bar_config(disable=True)
    cond, uncond = (each.tokens[None].to(device, dtype) for each in texts(spec))
    more = {}
    if spec.unet.label_width:
        pooled = torch.zeros(1, spec.unet.label_width - 6 * 256, dtype=dtype, device=device)
        more = {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": pooled}

    def steps(count: int) -> Any:
        made = pipe(prompt_embeds=cond, negative_prompt_embeds=uncond, num_inference_steps=count, guidance_scale=SCALE,
                    height=size, width=size, output_type="latent", **more)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return made

    return steps


def operations(spec: ModelSpec, size: int) -> float:
    """Floating point operations of one row of a step, counted on the meta device."""
    from torch.utils.flop_counter import FlopCounterMode

    side = size // spec.vae.factor
    with torch.device("meta"):
        unet = UNetModel(spec.unet)
        y = None if spec.unet.label_width is None else torch.zeros(1, spec.unet.label_width)
        x, context = torch.zeros(1, spec.unet.in_channels, side, side), torch.zeros(1, TOKENS, spec.unet.context_width)
        t = torch.zeros(1)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet(x, t, context, y)
    return float(counter.get_total_flops())


def rates(choice: Choice) -> tuple[float, float]:
    """Operations a second of a large matrix product in a choice's number type, and bytes a second of a copy."""
    a = torch.randn(4096, 4096).to(choice.device, choice.torch_dtype)
    large = torch.empty(1 << 28, dtype=torch.uint8, device=choice.device)

    def best(work: Callable[[], object], count: int) -> float:
        least = float("inf")
        for _ in range(count):
            began = time.perf_counter()
            work()
            if choice.device.startswith("cuda"):
                torch.cuda.synchronize()
            least = min(least, time.perf_counter() - began)
        return least

    return 2 * 4096**3 / best(lambda: a @ a, 5), 2 * large.numel() / best(large.clone, 5)


def ways(choice: Choice) -> Iterator[Way]:
    """Ours as the program chooses, then diffusers as it comes and as it is recommended."""
    yield Way(f"ours, {choice.name}", False, choice)
    if choice.device == "cpu":
        yield Way("diffusers, float32", True, Choice())
        if choice.dtype == "bfloat16":
            yield Way("diffusers, bfloat16, channels-last", True, choice)
        return
    yield Way("diffusers, float16", True, replace(choice, channels_last=False))
    yield Way("diffusers, float16, channels-last, compiled", True, choice, compiled=True)


def decoding(networks: LocalNetworks, spec: ModelSpec, size: int, count: int) -> None:
    """Decode so many pictures."""
    side = size // spec.vae.factor
    for index in range(count):
        latent = torch.randn(spec.vae.latent_channels, side, side, generator=torch.Generator().manual_seed(index))
        networks.decode(Decode(latent, network="model")).cpu()


def floor(spec: ModelSpec, size: int, choice: Choice) -> tuple[str, float]:
    """What bounds a step here, in words, and its seconds."""
    work, (speed, copying) = 2 * operations(spec, size), rates(choice)
    weights = sum(weight.numel() for weight in build(spec)["unet"].parameters()) * choice.torch_dtype.itemsize
    words = (
        f"floor: {work / 1e9:,.0f} GFLOP at {speed / 1e9:,.0f} GFLOP/s, {weights / 1e9:.2f} GB of weights at "
        f"{copying / 1e9:.1f} GB/s"
    )
    return words, max(work / speed, weights / copying)


def table(runs: Sequence[Run], bound: tuple[str, float]) -> Iterator[str]:
    """The lines of the table; ours is the first run."""
    own = runs[0].median
    yield "| what | s/step, median (least to most) | ours takes so many times as long |"
    yield "|---|---|---|"
    for run in runs:
        yield f"| {run.name} | {run.median:.3f} ({min(run.seconds):.3f} to {max(run.seconds):.3f}) | {own / run.median:.2f} |"
    yield f"| {bound[0]} | {bound[1]:.3f} | {own / bound[1]:.2f} |"


def main() -> None:
    """Measure and print; with --write, into docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="sd15", choices=["sd15", "sd21-v", "sdxl-base"])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    machine = facts()
    spec, choice = FAMILIES[chosen.family], by_rule(machine)
    runs = [Run(way, chosen.family, chosen.size) for way in ways(choice)]
    for _ in range(chosen.rounds):
        for run in runs:
            run.seconds.append(run.ask("steps", chosen.steps))
    lines = [
        f"{machine.name}, {machine.threads} threads, torch {machine.torch}: {spec.title}, {chosen.size} x {chosen.size}, one "
        f"picture, guided; {chosen.rounds} rounds of {chosen.steps} steps in turn.",
        "",
        *table(runs, floor(spec, chosen.size, choice)),
        "",
        f"Decoding one picture: {runs[0].ask('decode', chosen.rounds):.2f} s (float32).",
    ]
    for run in runs:
        run.close()
    print("\n".join(lines))
    if chosen.write:
        document.replace(f"peers {chosen.family}", "\n".join(lines))


if __name__ == "__main__":
    main()
