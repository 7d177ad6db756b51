"""The straight line from a request to a picture. Read it top to bottom; every stage is a function of what it is given.

`generate` is a generator: it asks for network work (see `protocol.py`) and is sent the answers, so that one engine can serve
many generations with the same calls. Nothing here touches a device, a file, a setting or the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from webui.errors import Stopped
from webui.nets.spec import ModelSpec
from webui.pipeline.beside import beside, check_beside
from webui.pipeline.brownian import noise_of_steps
from webui.pipeline.canvas import Canvas, canvas_of
from webui.pipeline.conditioning import conditionings
from webui.pipeline.depth import depth_of, map_alone
from webui.pipeline.extended import JobHooks
from webui.pipeline.extended_line import NOTHING_IN_REACH, Extended, Pass, Reach
from webui.pipeline.given import NOTHING_GIVEN, Given
from webui.pipeline.guidance import distilled, guidance_of, guided, plain_row
from webui.pipeline.hires import Stages, enlarged_canvas, enlarged_latent, steps_between, told_larger
from webui.pipeline.loops import counted
from webui.pipeline.model import Model
from webui.pipeline.noise import initial, seeds_of
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.patches import NO_PATCHES, Patches
from webui.pipeline.picture import Picture
from webui.pipeline.pictures import rounded_up
from webui.pipeline.protocol import Ask, Decode, Denoise, Interrupted, Read
from webui.pipeline.refiner import check_pair, handed_over, is_over
from webui.pipeline.samplers import SAMPLERS, SamplerInfo, resolve
from webui.pipeline.schedules import SCHEDULES, Schedule
from webui.pipeline.seamless import SEAMLESS, seamless
from webui.pipeline.start import started
from webui.pipeline.strength import way
from webui.pipeline.upscale import enlarged
from webui.request import Request

__all__ = ["Generation", "Model", "Picture", "Registry", "depth_map", "enlarge", "generate"]


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The samplers and schedules a job may name, and what extensions do in jobs: a snapshot, which loading one never touches."""

    samplers: Mapping[str, SamplerInfo] = field(default_factory=lambda: SAMPLERS)
    schedules: Mapping[str, Schedule] = field(default_factory=lambda: SCHEDULES)
    hooks: Sequence[JobHooks] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Means:
    """What pictures are made with: a model and perhaps its refiner, by the names of their networks, and everything else.

    `larger` is the model of the second pass, `upscaler` what enlarges for it, and `before` the request of the pass before.
    `extended` says which extensions take part.
    """

    model: Model
    registry: Registry
    patches: Patches
    device: str
    refiner: Model | None
    vae: str
    larger: Model
    upscaler: str
    estimator: str
    extended: Extended
    before: Request | None = None

    def patches_of(self, model: Model) -> Patches:
        """The patches of a model: weights and token vectors are patched by name, and the names of other models are others."""
        return self.patches if model == self.model else Patches(padding=self.patches.padding)

    def nested(self, request: Request, pictures: Mapping[str, Tensor]) -> Generation:
        """Another picture, made within one by the same means, from pictures by their names in `Given`."""
        return generate(
            request, self.model, self.registry, replace(self.patches, padding=None), self.device, refiner=self.refiner,
            vae=self.vae, given=Given(**pictures), estimator=self.estimator, larger=self.larger, upscaler=self.upscaler,
            reach=self.extended.reach.within(),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """A clean latent [C, h, w], the model whose it is, what it was drawn on, and whether it was interrupted before its end."""

    latent: Tensor
    model: Model
    canvas: Canvas
    early: bool = False


Generation = Generator[Ask, Any, Picture]
Drawing = Generator[Ask, Any, Drawn]


def generate(
    request: Request, model: Model, registry: Registry = Registry(), patches: Patches = NO_PATCHES, device: str = "cpu",
    *, refiner: Model | None = None, vae: str = "", given: Given = NOTHING_GIVEN, estimator: str = "",
    canvas: Callable[[], Canvas] | None = None, larger: Model | None = None, upscaler: str = "", reach: Reach = NOTHING_IN_REACH,
) -> Generation:
    """Make the one picture of `request`; raises `Stopped` where it is interrupted before its first step has ended.

    `device` is where the answers come from and the state is kept; noise is drawn on the CPU, but where a GPU's own is asked for.
    `refiner` is the model that takes over at the request's `refiner_switch_at`; `vae` names an autoencoder in place of the
    model's own, `estimator` the network that makes a depth map where none is given, "" for none. `canvas` gives what is drawn on,
    where that is known already: it is the same for all pictures of a job, and grown masks take their time. `larger` is the model
    of the second pass, None for the same, and `upscaler` what enlarges for it: a name of `LATENT_UPSCALES`, `LANCZOS`, `NEAREST`,
    or a network's. `reach` is what extensions that take part reach besides.
    """
    extended = Extended.of(request, registry.hooks, reach, device)
    means = Means(
        model=model, registry=registry, patches=patches + SEAMLESS if request.tiling else patches, device=device, refiner=refiner,
        vae=vae, larger=larger or model, upscaler=upscaler, estimator=estimator, extended=extended,
    )  # fmt: skip
    line = picture_of(request, means, given, canvas or (lambda: canvas_of(request, given)))
    line = seamless(line) if request.tiling else line
    if not extended.hooks:
        return line
    last = replace(means, model=means.larger) if request.hires else means
    return extended.finished(line, request, last.model, last.nested)


def picture_of(request: Request, means: Means, given: Given, canvas: Callable[[], Canvas]) -> Generation:
    """The line itself: a canvas, a depth map where the task is one, and as often as there are loops a latent and its picture."""
    check_beside(means.model, request.task)
    drawn = canvas()
    if drawn.picture is not None and (request.strength == 0 or drawn.untouched):
        return Picture(pixels=drawn.picture)
    depth = None
    if request.task == "depth":
        depth = yield from depth_of(request, given, drawn.picture, means.estimator)
    maps = {} if depth is None else {"depth": depth}
    result = None
    for loop in range(request.loops):
        own = replace(request, seed=request.seed + loop)
        drawing = draw_twice(own, means, drawn) if request.hires else draw(own, means, drawn, depth)
        try:
            made = yield from counted(drawing, loop, request.loops)
        except Interrupted:
            if result is None:
                sentence = "The picture was interrupted before its first step had ended, so there is nothing to keep."
                raise Stopped(sentence) from None
            return result  # the loop before is finished, this one has hardly begun
        pixels = yield Decode(made.latent, network=made.model.name, vae=means.vae)
        if drawn.mask is not None:
            pixels = yield Read(pixels)
        result = Picture(pixels=made.canvas.finished(pixels), latent=made.latent, maps=maps)
        if made.early:
            return result
        drawn = drawn.again(result.pixels)
    assert result is not None
    return result


def draw_twice(request: Request, means: Means, canvas: Canvas) -> Drawing:
    """A picture drawn small, enlarged, and drawn on (hires fix); as A1111 has it, a refiner takes over in the second pass alone.

    What is interrupted after the first pass and before the first step of the second is the picture of the first.
    """
    second, model, larger = request.second(), means.model, means.larger
    check_pair(model, larger)
    stages = Stages(request.steps, steps_between(request, means.upscaler), second.steps)
    small = yield from stages.next(draw(request, replace(means, refiner=None), canvas, None))
    if small.early:
        return small
    later = replace(means, model=larger, patches=means.patches_of(larger), before=request)
    try:
        latent = yield from stages.next(
            enlarged_latent(
                small.latent, request, means.upscaler, model.spec.vae.factor, network=model.name, later=larger.name, vae=means.vae
            ),
            shown=small.latent,
        )
        again = enlarged_canvas(second, latent)
        if second.strength == 0:
            return Drawn(latent=latent, model=larger, canvas=again)
        return (yield from stages.next(draw(second, later, again, None)))
    except Interrupted:
        return replace(small, early=True)


def draw(request: Request, means: Means, canvas: Canvas, depth: Tensor | None) -> Drawing:
    """What is drawn on a canvas; an interruption before the first step has ended is the caller's."""
    model, table = means.model, table_of(request, means.model.spec)
    extended = means.extended.started(request, said(request, means), model, means.nested, second=means.before is not None)
    request = of_size(request, canvas, model.spec.vae.factor)
    denoise = yield from denoiser(request, means, model, canvas, depth, extended)
    if means.refiner is not None:
        check_pair(model, means.refiner)
        second = denoiser(request, means, means.refiner, canvas, depth, Pass())
        denoise = handed_over(denoise, second, is_over(table, request.refiner_switch_at))
    try:
        return Drawn(latent=(yield from sample(request, means, table, canvas, denoise)), model=model, canvas=canvas)
    except Interrupted as early:
        if early.latent is None:
            raise
        return Drawn(latent=early.latent, model=model, canvas=canvas, early=True)


def said(request: Request, means: Means) -> Request:
    """The request as its texts are read for it."""
    return request if means.before is None else told_larger(request, means.before)


def denoiser(
    request: Request, means: Means, model: Model, canvas: Canvas, depth: Tensor | None, extended: Pass
) -> Generator[Ask, Any, Denoise]:
    """From a state to the clean latent that the request's texts see in it, by one model, with guidance and what extends it."""
    patches, first = extended.patched(means.patches_of(model)), means.before
    info, _ = sampler_of(request, means.registry)
    calls = 0 if first is None else first.steps * sampler_of(first, means.registry)[0].evaluations
    texts = yield from conditionings(
        said(request, means), model, patches, evaluations=info.evaluations, hires=first is not None, first_steps=calls
    )
    _, height, width = latent_shape(request, model.spec)
    channels = yield from beside(
        model.spec, canvas, depth, height, width, network=means.model.name, vae=means.vae, device=means.device
    )
    row = plain_row(model.name, patches, channels, NoiseTable.asked(request.noise_schedule, model.spec))
    options = guidance_of(request, info, table_of(request, model.spec))
    answer = guided if model.spec.unet.guidance_width is None else distilled
    return extended.around(answer(texts, request.scale, row, options, extended.guides()), paired=options.paired)


def sample(
    request: Request, means: Means, table: NoiseTable, canvas: Canvas, denoise: Denoise
) -> Generator[Ask, Any, Tensor]:
    """From noise, or a picture under noise, to a clean latent [C, h, w], by the request's sampler along its schedule."""
    model, device, options = means.model, means.device, request.sampler_options
    info, schedule = sampler_of(request, means.registry)
    path = way(request, info, schedule, table)
    shape, seeds = latent_shape(request, model.spec), seeds_of(request, model.spec.vae.factor)
    refiner = None if means.refiner is None else means.refiner.spec
    with noise_of_steps(seeds, shape, info, path.sigmas, table, options, highest=path.highest, device=device) as fresh:
        begin = replace(info, unit_start=info.unit_start or request.sgm_noise)
        start = yield from started(
            request, model.spec, canvas, path, begin, initial(seeds, shape, device=device), denoise, network=model.name,
            vae=means.vae, refiner=refiner,
        )  # fmt: skip
        latent: Tensor = yield from info.run(start.denoise, start.state, path.sigmas, fresh, table, options)
    return start.settle(latent)


def sampler_of(request: Request, registry: Registry) -> tuple[SamplerInfo, Schedule]:
    """The sampler and the schedule that a request names; `UnknownName` where there is none."""
    info, schedule = resolve(request.sampler, request.schedule, samplers=registry.samplers, schedules=registry.schedules)
    return info, registry.schedules[schedule]


def table_of(request: Request, spec: ModelSpec) -> NoiseTable:
    """The noise levels of a model, as the request has them."""
    return NoiseTable.asked(request.noise_schedule, spec) or NoiseTable.from_spec(spec)


def of_size(request: Request, canvas: Canvas, factor: int) -> Request:
    """The request of what is drawn on a canvas: its sides are the next multiples of the autoencoder's factor.

    Where there is no picture to take anything from, all is made anew.
    """
    width, height = rounded_up(canvas.width, factor), rounded_up(canvas.height, factor)
    anew = canvas.picture is None and canvas.latent is None
    return replace(request, width=width, height=height, strength=1.0 if anew else request.strength)


def latent_shape(request: Request, spec: ModelSpec) -> tuple[int, int, int]:
    """Channels, height and width of the request's latent."""
    return spec.vae.latent_channels, request.height // spec.vae.factor, request.width // spec.vae.factor


def enlarge(
    request: Request, given: Given, device: str = "cpu", *, upscalers: tuple[str, ...] = ()  # noqa: ARG001  (as `generate` has it)
) -> Generation:
    """Make a picture larger, to the request's size; the names are those of networks, `LANCZOS`, `NEAREST`, or "" for none."""
    return Picture(pixels=(yield from enlarged(request, given, upscalers)))


def depth_map(
    request: Request, given: Given, device: str = "cpu", *, estimator: str = ""  # noqa: ARG001  (as `generate` has it)
) -> Generation:
    """Make the depth map of a picture, at its own size; `pixels` are the map as a grey picture."""
    depth = yield from map_alone(request, given, estimator)
    return Picture(pixels=depth.expand(3, *depth.shape), maps={"depth": depth})
