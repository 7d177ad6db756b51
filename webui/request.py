"""A request: everything a picture is a function of, as plain data with nothing left open."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from webui.drawing import (
    CPU_NOISE,
    DEFAULT_NOISE,
    ORIGINAL_EMPHASIS,
    SAME_MODEL,
    SAME_SAMPLER,
    SAME_SCHEDULE,
    Drawing,
)
from webui.errors import UserError, unknown
from webui.params import AUTOMATIC, LARGEST_SEED, NONE, RANDOM_SEED, SWITCH_AT, Params, parameters
from webui.tasks import A1111, EXTRAS, MAP, MASKED, ORIGINAL, STRETCH, TASKS, WHOLE, Depth, Extras, task_of

SHORT_HASH = 10  # digits by which the community names a model
SECOND = ("upscaler", "upscaler_hash", "width", "height", "steps", "strength", "sampler", "schedule", "sampler_options", "scale")
"""What the second pass of a picture always says itself."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One job of `count` pictures: strings, numbers, and mappings of such.

    `seed` is that of the first picture; `clip_skip` None reads the layer the model was trained with. `vae` names an autoencoder
    in place of the model's own, `refiner` a model that takes over at `refiner_switch_at`, a part of the training steps from 0
    to 1; "" is none. `override` and `refiner_override` hold what an owner set for the model's and the refiner's file against
    what it says itself (fields of `webui.weights.families.Override`). `sampler_options` holds what was chosen instead of the
    sampler's own. `inputs` maps names to the SHA-256 of pictures, masks and maps; `extensions` maps names to plain values.
    `reproducible` forbids sharing calls with other jobs. `schedule_options` holds what was chosen instead of the schedule's own.
    `variation_seed` is None where no other noise is mixed in. `hires` is the second pass of a picture that is drawn small
    first, resolved (`SECOND`, which `second` makes a request of); {} where there is none. Its prompt, negative prompt and model
    are "" where they are the same. The picture is first enlarged to `full_width` x `full_height`, of which the middle is kept;
    `scale_by`, or `to_width` and `to_height`, are what the size follows from, None where they were not said.

    `prompts` and `negatives` hold a text for each picture where an extension wrote them out of what the person wrote, which is
    then in `template` and `negative_template`; () is one for all. `hires` has lists of that name where they are its own.

    `task` is one of `webui.tasks.TASKS`, or "map" for a depth map alone; the fields of the other tasks are those of their
    parameters, and mean nothing to a task that has no such parameter. `estimator` is the depth estimator by its own name, "" for
    none; `upscaler` and `upscaler_2` likewise. `width` and `height` are those of the result, but for a picture inpainted in its
    masked part alone: there they are what the part is enlarged to. `scale_by` is what the size of a picture made larger follows
    from, None where it was said itself; only its text has that.
    """

    task: str = "txt2img"
    model: str
    model_hash: str = ""
    prompt: str
    negative: str = ""
    steps: int
    sampler: str
    schedule: str
    scale: float
    seed: int
    width: int
    height: int
    count: int = 1
    clip_skip: int | None = None
    vae: str = ""
    vae_hash: str = ""
    refiner: str = ""
    refiner_hash: str = ""
    refiner_switch_at: float | None = None
    override: Mapping[str, Any] = field(default_factory=dict)
    refiner_override: Mapping[str, Any] = field(default_factory=dict)
    sampler_options: Mapping[str, float] = field(default_factory=dict)
    schedule_options: Mapping[str, float] = field(default_factory=dict)
    emphasis: str = ORIGINAL_EMPHASIS
    old_schedules: bool = False
    rng: str = CPU_NOISE
    ensd: int = 0
    variation_seed: int | None = None
    variation_strength: float = 0.0
    seed_width: int | None = None
    seed_height: int | None = None
    discard_penultimate: bool = False
    sgm_noise: bool = False
    noise_schedule: str = DEFAULT_NOISE
    guidance_start: float = 0.0
    guidance_end: float = 1.0
    ngms: float = 0.0
    ngms_all: bool = False
    rescale: float = 0.0
    tiling: bool = False
    hires: Mapping[str, Any] = field(default_factory=dict)
    prompts: Sequence[str] = ()
    negatives: Sequence[str] = ()
    template: str = ""
    negative_template: str = ""
    reproducible: bool = False
    inputs: Mapping[str, str] = field(default_factory=dict)
    strength: float = 1.0
    convention: str = A1111
    all_steps: bool = False
    resize_mode: str = STRETCH
    loops: int = 1
    mask_mode: str = MASKED
    mask_grow: int = 0
    mask_blur: int = 4
    masked_content: str = ORIGINAL
    area: str = WHOLE
    padding: int = 32
    soft: bool = False
    outpaint_left: int = 0
    outpaint_right: int = 0
    outpaint_top: int = 0
    outpaint_bottom: int = 0
    estimator: str = ""
    estimator_hash: str = ""
    depth_invert: bool = False
    depth_near: float = 1.0
    depth_far: float = 0.0
    upscaler: str = ""
    upscaler_hash: str = ""
    upscaler_2: str = ""
    upscaler_2_hash: str = ""
    visibility_2: float = 0.0
    crop: bool = True
    scale_by: float | None = None
    extensions: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("prompts", "negatives"):  # JSON knows lists only
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def picture(self, index: int) -> Request:
        """The request of the picture number `index` (from 0) alone: the same picture that the whole job makes of it."""
        if not 0 <= index < self.count:
            raise IndexError(f"There is no picture {index} among {self.count}.")
        own: dict[str, Any] = {"seed": (self.seed + index) % (LARGEST_SEED + 1)}
        if self.variation_seed is not None:  # then all pictures share the seed
            own = {"variation_seed": (self.variation_seed + index) % (LARGEST_SEED + 1)}
        hires = {name: value for name, value in self.hires.items() if name not in ("prompts", "negatives")}
        for text, texts in (("prompt", "prompts"), ("negative", "negatives")):
            own |= {text: getattr(self, texts)[index], texts: ()} if getattr(self, texts) else {}
            hires |= {text: self.hires[texts][index]} if texts in self.hires else {}
        return replace(self, count=1, hires=hires, **own)

    def second(self) -> Request:
        """The second pass of a picture that is drawn small first, as a request of its own: all its steps are taken."""
        own = {name: self.hires[name] for name in SECOND}
        if self.hires["model"]:
            own |= {name: self.hires[name] for name in ("model", "model_hash", "override")}
        for name in ("prompt", "negative"):
            own |= {name: self.hires[name], f"{name}s": ()} if self.hires[name] else {}
        return replace(self, hires={}, convention=A1111, all_steps=True, **own)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {**dataclasses.asdict(self), "prompts": list(self.prompts), "negatives": list(self.negatives)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Request:
        """The inverse of `to_dict`; `UserError` names fields that are unknown or missing."""
        known = {each.name for each in dataclasses.fields(cls)}
        for name in plain:
            if name not in known:
                raise unknown("field of a request", name, sorted(known))
        try:
            return cls(**plain)
        except TypeError as error:
            raise UserError(f"The request is incomplete: {error}.") from error


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a request takes from its model: the name and hash it is known by, what an owner set for it, and its defaults.

    `beside` is what the noise predictor takes behind the latent (`webui.nets.spec.Beside`); `own_estimator` whether there is a
    depth estimator among the model's weights.
    """

    name: str
    hash: str = ""
    override: Mapping[str, Any] = field(default_factory=dict)
    native_size: int
    steps: int = 20
    scale: float = 7.0
    sampler: str = "DPM++ 2M"
    schedule: str = AUTOMATIC
    text_layers: int = 12
    beside: str = "nothing"
    own_estimator: bool = False


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What a request takes from a further file: the name and hash it is known by, "" where there is none or it was never read."""

    name: str = ""
    hash: str = ""
    override: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SamplerFacts:
    """What a request takes from its sampler: the registered names it and its schedule go by, and which options it has."""

    name: str
    schedule: str
    options: Collection[str] = ()


NO_FILE = FileFacts()


@dataclass(frozen=True, kw_only=True)
class InputFacts:
    """What a request takes from a picture it is given: its SHA-256, its size once upright, whether something may show through."""

    digest: str
    width: int
    height: int
    transparent: bool = False


NO_INPUTS: Mapping[str, InputFacts] = MappingProxyType({})
DRAWN = (
    "emphasis", "old_schedules", "rng", "ensd", "variation_strength", "seed_width", "seed_height", "discard_penultimate",
    "sgm_noise", "noise_schedule", "guidance_start", "guidance_end", "ngms", "ngms_all", "rescale", "tiling",
)  # fmt: skip
"""Fields of a request that are parameters of every picture as they are."""
COPIED = (
    "convention", "all_steps", "resize_mode", "loops", "mask_mode", "mask_grow", "mask_blur", "masked_content", "area", "padding",
    "soft", "outpaint_left", "outpaint_right", "outpaint_top", "outpaint_bottom", "depth_invert", "depth_near", "depth_far",
)  # fmt: skip
"""Fields of a request that are a task's parameters as they are, besides the strength."""


def resolve(
    params: Drawing, *, model: ModelFacts, sampler: SamplerFacts, random_seed: Callable[[], int], vae: FileFacts = NO_FILE,
    refiner: FileFacts = NO_FILE, estimator: FileFacts = NO_FILE, inputs: Mapping[str, InputFacts] = NO_INPUTS,
    size: tuple[int, int] | None = None,
) -> Request:
    """Fill in what `params` leave open: the model's defaults, the names that aliases stand for, and the seed.

    `size` is what the parameters mean for the pictures among `inputs`. Options that the sampler does not have are dropped, and
    what is done to a picture where there is none, so that equal pictures have equal requests.
    """
    check_clip_skip(params, model)
    named = (name for name, parameter in parameters(params).items() if parameter.option and name in sampler.options)
    options = {name: getattr(params, name) for name in named}
    native = (model.native_size, model.native_size) if size is None else size
    return Request(
        task=task_of(params),
        model=model.name,
        model_hash=model.hash,
        prompt=params.prompt,
        negative=params.negative,
        steps=model.steps if params.steps is None else params.steps,
        sampler=sampler.name,
        schedule=sampler.schedule,
        scale=model.scale if params.scale is None else params.scale,
        seed=random_seed() if params.seed == RANDOM_SEED else params.seed,
        width=native[0] if params.width is None else params.width,
        height=native[1] if params.height is None else params.height,
        count=params.count,
        clip_skip=params.clip_skip,
        vae=vae.name,
        vae_hash=vae.hash,
        refiner=refiner.name,
        refiner_hash=refiner.hash,
        refiner_switch_at=_switch_at(params) if refiner.name else None,
        override=dict(model.override),
        refiner_override=dict(refiner.override),
        sampler_options={name: value for name, value in options.items() if value is not None},
        schedule_options=_schedule_options(params),
        variation_seed=_variation_seed(params, random_seed),
        **{name: getattr(params, name) for name in DRAWN},
        reproducible=params.reproducible,
        inputs=_digests(inputs),
        estimator=estimator.name,
        estimator_hash=estimator.hash,
        **_of_the_task(params, inputs),
    )


def check_clip_skip(params: Drawing, model: ModelFacts) -> None:
    """Raise `UserError` where a layer is to be read that a model's text tower does not have."""
    if params.clip_skip is not None and params.clip_skip > model.text_layers:
        layers = f"the text tower of {model.name} has {model.text_layers} layers"
        raise UserError(f"Clip skip was {params.clip_skip}; {layers}: use 1 to {model.text_layers}, or leave it out.")


def resolve_map(
    params: Depth, *, inputs: Mapping[str, InputFacts], estimator: FileFacts, size: tuple[int, int], model: ModelFacts | None
) -> Request:
    """The request of a depth map alone; `model` is the one whose own estimator makes it."""
    own: dict[str, Any] = {}
    if model is not None:
        own = {"model": model.name, "model_hash": model.hash, "override": dict(model.override)}
    copied = {name: getattr(params, name) for name in ("depth_invert", "depth_near", "depth_far")}
    return Request(
        **{**NO_MODEL, **own}, task=MAP, width=size[0], height=size[1], inputs=_digests(inputs), estimator=estimator.name,
        estimator_hash=estimator.hash, **copied,
    )  # fmt: skip


def resolve_extras(
    params: Extras, *, inputs: Mapping[str, InputFacts], upscalers: tuple[FileFacts, FileFacts], size: tuple[int, int]
) -> Request:
    """The request of a picture made larger; a second upscaler of which nothing is seen is left out."""
    first, second = upscalers
    sides = params.width is not None or params.height is not None
    return Request(
        **NO_MODEL, task=task_of(params), width=size[0], height=size[1], inputs=_digests(inputs), upscaler=first.name,
        upscaler_hash=first.hash, upscaler_2=second.name, upscaler_2_hash=second.hash,
        visibility_2=params.visibility_2 if second.name else 0.0, crop=params.crop if sides else True,
        scale_by=None if sides else params.scale_by,
    )  # fmt: skip


NO_MODEL: Mapping[str, Any] = MappingProxyType(
    {"model": "", "prompt": "", "steps": 1, "sampler": "", "schedule": "", "scale": 1.0, "seed": 0}
)
"""What a request says that no model answers."""


def parameters_of(
    request: Request, tasks: Mapping[str, type[Params]] = TASKS, further: Mapping[str, Any] = MappingProxyType({})
) -> Params:
    """The parameters that resolve to `request`, with nothing left open.

    `tasks` are the parameters of each task with those of extensions, whose values here are `further`.
    """
    cls = tasks.get(request.task, Depth)
    plain = request.to_dict()
    own = {name: plain[name] for name in parameters(cls) if name in plain} | dict(further)
    if issubclass(cls, Extras):
        by_scale = {} if request.scale_by is None else {"width": None, "height": None}
        return cls(**own | by_scale | {"upscaler_2": request.upscaler_2 or NONE})
    short = {name: plain[name][:SHORT_HASH] or None for name in ("model_hash", "vae_hash")}
    files = {"vae": request.vae or NONE, "refiner": named(request.refiner, request.refiner_hash) or NONE}
    files |= {"estimator": request.estimator or NONE} if "estimator" in own else {}
    options = dict(request.hires.get("sampler_options", {})) | dict(request.sampler_options) | dict(request.schedule_options)
    return cls(**own | options | short | files | _of_second(request))


def _of_second(request: Request) -> dict[str, Any]:
    """The parameters of a request's second pass."""
    own = request.hires
    if not own:
        return {}
    same = {name: own[name] == getattr(request, name) for name in ("steps", "scale", "sampler", "schedule")}
    return {
        "hires_upscaler": own["upscaler"], "hires_scale": own["scale_by"], "hires_width": own["to_width"],
        "hires_height": own["to_height"], "hires_steps": None if same["steps"] else own["steps"],
        "hires_strength": own["strength"], "hires_sampler": SAME_SAMPLER if same["sampler"] else own["sampler"],
        "hires_schedule": SAME_SCHEDULE if same["schedule"] else own["schedule"], "hires_prompt": own["prompt"],
        "hires_negative": own["negative"], "hires_cfg": None if same["scale"] else own["scale"],
        "hires_model": named(own["model"], own["model_hash"]) or SAME_MODEL,
    }  # fmt: skip


def needs_model(request: Request) -> bool:
    """Whether a model is asked for the request's picture."""
    return request.task not in (EXTRAS, MAP) or bool(request.model)


def named(name: str, digest: str) -> str:
    """A file's name and hash as the community writes both at once: `name [0123456789]`."""
    return f"{name} [{digest[:SHORT_HASH]}]" if name and digest else name


def _digests(inputs: Mapping[str, InputFacts]) -> dict[str, str]:
    return {name: facts.digest for name, facts in sorted(inputs.items())}


def _of_the_task(params: Params, inputs: Mapping[str, InputFacts]) -> dict[str, Any]:
    """The fields of a request that are a task's own parameters."""
    own = {name: getattr(params, name) for name in COPIED if name in parameters(params)}
    if "picture" not in inputs:
        return {name: value for name, value in own.items() if name.startswith("depth_")}
    return own | {"strength": getattr(params, "strength", 1.0)}


def _schedule_options(params: Drawing) -> dict[str, float]:
    """The numbers; texts are those of an extension, which notes what its schedules are to be handed."""
    own = {name: getattr(params, name) for name, parameter in parameters(params).items() if parameter.schedule_option}
    return {name: value for name, value in own.items() if value is not None and not isinstance(value, str)}


def _variation_seed(params: Drawing, random_seed: Callable[[], int]) -> int | None:
    if params.variation_strength == 0:
        return None
    return random_seed() if params.variation_seed in (None, RANDOM_SEED) else params.variation_seed


def _switch_at(params: Drawing) -> float:
    return SWITCH_AT if params.refiner_switch_at is None else params.refiner_switch_at
