"""What a picture is drawn with: the parameters of every task that asks a model, and those of a picture from text.

Their order is that of a picture's text.
"""

from __future__ import annotations

from dataclasses import dataclass

from webui.params import (
    AUTOMATIC,
    LARGEST_SEED,
    LARGEST_SIDE,
    LONGEST_PROMPT,
    NONE,
    RANDOM_SEED,
    SWITCH_AT,
    Params,
    check_size,
    param,
)

ORIGINAL_EMPHASIS, NO_NORM, IGNORED, NO_EMPHASIS = "Original", "No norm", "Ignore", "None"
CPU_NOISE, GPU_NOISE, PHILOX_NOISE = "CPU", "GPU", "NV"
DEFAULT_NOISE, ZERO_TERMINAL = "Default", "Zero Terminal SNR"
SAME_SAMPLER, SAME_SCHEDULE, SAME_MODEL = "Use same sampler", "Use same scheduler", "Use same checkpoint"
LARGEST_DELTA = 2**32  # of seeds


@dataclass(frozen=True, kw_only=True)
class Drawing(Params):
    """The parameters that every task has that asks a model for a picture."""

    prompt: str = param("", "Prompt", longest=LONGEST_PROMPT, help="What the picture shows.")
    negative: str = param("", "Negative prompt", longest=LONGEST_PROMPT, help="What the picture should not show.")
    steps: int | None = param(
        None, "Steps", min=1, max=150, step=1, unset="the model's own", infotext="Steps", help="Steps along the schedule.")
    sampler: str = param(
        AUTOMATIC, "Sampling method", choices="samplers", infotext="Sampler",
        help="How the steps are taken; Automatic takes the method that suits the model. Old names that hold a schedule too, such "
        "as `DPM++ 2M Karras`, are understood.")
    schedule: str = param(
        AUTOMATIC, "Schedule type", choices="schedules", infotext="Schedule type",
        help="Which noise levels the steps visit; Automatic takes the one that suits the model and the sampler.")
    scale: float | None = param(
        None, "CFG scale", min=0, max=30, step=0.1, unset="the model's own", infotext="CFG scale",
        help="How strongly the prompt pulls away from the negative prompt (classifier-free guidance): 1 means not at all.")
    seed: int = param(
        RANDOM_SEED, "Seed", min=RANDOM_SEED, max=LARGEST_SEED, step=1, infotext="Seed",
        help="The number the noise follows from, -1 for a random one; further pictures count up from it.")
    width: int | None = param(
        None, "Width", min=64, max=LARGEST_SIDE, step=8, unset="the model's own", infotext="Size-1", help="In pixels.")
    height: int | None = param(
        None, "Height", min=64, max=LARGEST_SIDE, step=8, unset="the model's own", infotext="Size-2", help="In pixels.")
    count: int = param(1, "Count", min=1, max=100, step=1, help="How many pictures to make, with seeds counting up.")
    model_hash: str | None = param(
        None, "Model hash", infotext="Model hash", unset="any",
        help="The first characters of the model's SHA-256, to find it under whatever name.")
    model: str | None = param(
        None, "Model", choices="models", infotext="Model", unset="the built-in one", help="The model's name.")
    vae_hash: str | None = param(
        None, "VAE hash", infotext="VAE hash", unset="any",
        help="The first characters of the autoencoder's SHA-256, to find it under whatever name.")
    vae: str = param(
        AUTOMATIC, "VAE", choices="vaes", infotext="VAE", unwritten=NONE,
        help="The autoencoder that turns latents into the picture: a file of models/VAE, None for the model's own, or Automatic: "
        "the file beside the model that has its name, else its own.")
    clip_skip: int | None = param(
        None, "Clip skip", min=1, max=12, step=1, unset="the model's own", infotext="Clip skip",
        help="Which layer of the text tower is read, counted from the last, which is 1.")
    emphasis: str = param(
        ORIGINAL_EMPHASIS, "Emphasis", one_of=(ORIGINAL_EMPHASIS, NO_NORM, IGNORED, NO_EMPHASIS), infotext="Emphasis",
        unwritten=ORIGINAL_EMPHASIS,
        help="What (brackets:1.2) do: Original keeps the mean of what the text tower says, No norm does not; Ignore reads "
        "the weights and leaves them out; None takes brackets as they stand.")
    old_schedules: bool = param(
        False, "Old prompt editing timelines", infotext="Old prompt editing timelines",
        help="In [from:to:when] numbers below 1 are parts of the steps, others are steps, as before version 1.6 of A1111's UI.")
    rng: str = param(
        CPU_NOISE, "Noise source", one_of=(CPU_NOISE, GPU_NOISE, PHILOX_NOISE), infotext="RNG", unwritten=GPU_NOISE,
        help="Whose random numbers a seed means: the CPU's, which are the same everywhere; NV, those of an NVIDIA GPU, computed "
        "anywhere; GPU, what the device itself draws, on others than NVIDIA's the same as NV.")
    ensd: int = param(
        0, "Eta noise seed delta", min=-LARGEST_DELTA, max=LARGEST_DELTA, step=1, infotext="ENSD", unwritten="0",
        help="A number added to the seed for the noise of the steps; 31337 is an old custom.")
    variation_seed: int | None = param(
        None, "Variation seed", min=RANDOM_SEED, max=LARGEST_SEED, step=1, infotext="Variation seed", unset="a random one",
        help="The seed of the noise that is mixed in where the variation strength is above 0.")
    variation_strength: float = param(
        0.0, "Variation strength", min=0, max=1, step=0.01, infotext="Variation seed strength", unwritten="0",
        help="How far the noise goes over into that of the variation seed; all pictures then share the seed, and the variation "
        "seed counts up.")
    seed_width: int | None = param(
        None, "Resize seed from width", min=64, max=LARGEST_SIDE, step=8, unset="the picture's own",
        infotext="Seed resize from-1",
        help="The noise is drawn for a picture of this width and put in the middle, to keep its composition.")
    seed_height: int | None = param(
        None, "Resize seed from height", min=64, max=LARGEST_SIDE, step=8, unset="the picture's own",
        infotext="Seed resize from-2", help="The same for the height.")
    sigma_min: float | None = param(
        None, "Schedule min sigma", min=0, max=1e6, step=0.001, unset="the model's own", infotext="Schedule min sigma",
        schedule_option=True, help="The lowest noise level a schedule visits before 0.")
    sigma_max: float | None = param(
        None, "Schedule max sigma", min=0, max=1e6, step=0.001, unset="the model's own", infotext="Schedule max sigma",
        schedule_option=True, help="The highest noise level a schedule begins with.")
    rho: float | None = param(
        None, "Schedule rho", min=0, max=100, step=0.1, unset="the schedule's own", infotext="Schedule rho", schedule_option=True,
        help="How a schedule is bent: 7 for Karras, 1 for polyexponential, more visits low noise levels more often.")
    beta_alpha: float | None = param(
        None, "Beta schedule alpha", min=0.01, max=10, step=0.01, unset="0.6", infotext="Beta schedule alpha",
        schedule_option=True, help="The first parameter of the beta distribution that the Beta schedule follows.")
    beta_beta: float | None = param(
        None, "Beta schedule beta", min=0.01, max=10, step=0.01, unset="0.6", infotext="Beta schedule beta",
        schedule_option=True, help="The second one.")
    discard_penultimate: bool = param(
        False, "Discard penultimate sigma", infotext="Discard penultimate sigma",
        help="Leave out the last noise level but one; some samplers always do.")
    sgm_noise: bool = param(
        False, "SGM noise multiplier", infotext="SGM noise multiplier",
        help="Begin with noise as strong as SDXL's own code has it: sqrt(1 + sigma^2) instead of sigma.")
    noise_schedule: str = param(
        DEFAULT_NOISE, "Noise schedule", one_of=(DEFAULT_NOISE, ZERO_TERMINAL), infotext="Noise Schedule",
        unwritten=DEFAULT_NOISE,
        help="Whether the model's noise levels are rescaled to end in nothing but noise (zero-terminal SNR).")
    guidance_start: float = param(
        0.0, "Guidance start", min=0, max=1, step=0.01, infotext="Skip Early CFG", unwritten="0",
        help="The part of the steps after which guidance begins; before it only the prompt counts.")
    guidance_end: float = param(
        1.0, "Guidance end", min=0, max=1, step=0.01, infotext="Guidance end", unwritten="1",
        help="The part of the steps after which guidance ends, which makes them twice as fast.")
    ngms: float = param(
        0.0, "Negative guidance minimum sigma", min=0, max=15, step=0.01, infotext="NGMS", unwritten="0",
        help="Below this noise level the negative prompt is left out in every other step.")
    ngms_all: bool = param(
        False, "Negative guidance minimum sigma in all steps", infotext="NGMS all steps",
        help="Leave the negative prompt out in all steps below that level.")
    rescale: float = param(
        0.0, "CFG rescale", min=0, max=1, step=0.01, infotext="CFG rescale", unwritten="0",
        help="How much of the contrast that guidance adds is taken back (Lin et al. 2023); 0.7 suits zero-terminal SNR.")
    tiling: bool = param(
        False, "Tiling", infotext="Tiling", help="Make a picture whose edges fit together, so that it can be repeated.")
    eta: float | None = param(
        None, "Eta", min=0, max=1, step=0.01, unset="the sampler's own", infotext="Eta",
        infotext_by_sampler={"DDIM": "Eta DDIM", "DDIM CFG++": "Eta DDIM"}, option=True,
        help="How much fresh noise ancestral samplers and DDIM add: 0 none, 1 as much as DDPM.")
    s_churn: float | None = param(
        None, "Sigma churn", min=0, max=100, step=0.01, unset="the sampler's own", infotext="Sigma churn", option=True,
        help="How much noise Euler and Heun put back before each step (Karras et al. 2022, algorithm 2).")
    s_tmin: float | None = param(
        None, "Sigma tmin", min=0, max=1e6, step=0.01, unset="the sampler's own", infotext="Sigma tmin", option=True,
        help="The noise level below which nothing is put back.")
    s_tmax: float | None = param(
        None, "Sigma tmax", min=0, max=1e6, step=0.01, unset="the sampler's own", infotext="Sigma tmax", option=True,
        help="The noise level above which nothing is put back.")
    s_noise: float | None = param(
        None, "Sigma noise", min=0, max=2, step=0.001, unset="the sampler's own", infotext="Sigma noise", option=True,
        help="The strength of noise added or put back; 1 is what theory says.")
    refiner: str = param(
        NONE, "Refiner", choices="refiners", infotext="Refiner", unwritten=NONE,
        help="A model that takes over for the last steps.")
    refiner_switch_at: float | None = param(
        None, "Refiner switch at", min=0.01, max=1, step=0.01, unset=str(SWITCH_AT), infotext="Refiner switch at",
        help="The part of the way from noise, by its levels, after which the refiner takes over; at 1 it never does.")
    reproducible: bool = param(
        False, "Reproducible", infotext="Reproducible",
        help="Share no network call with other jobs, so that a replay on this machine is the same bit by bit.")

    def check_together(self) -> None:
        """A picture has at most `MOST_PIXELS` pixels."""
        check_size(self.width, self.height)


@dataclass(frozen=True, kw_only=True)
class Txt2Img(Drawing):
    """The parameters of a picture from text, which can be drawn small first and then once more, larger (hires fix)."""

    hires_upscaler: str = param(
        NONE, "Hires upscaler", choices="hires_upscalers", infotext="Hires upscaler", unwritten=NONE,
        help="What enlarges the picture before it is drawn once more, larger (hires fix); None draws it once.")
    hires_scale: float | None = param(
        None, "Hires upscale", min=1, max=4, step=0.05, unset="2, or by width and height", infotext="Hires upscale",
        help="How many times as large; it counts where no width and height are given.")
    hires_width: int | None = param(
        None, "Hires width", min=64, max=LARGEST_SIDE, step=8, unset="by scale", infotext="Hires resize-1",
        help="In pixels. Where only one side is given the other follows; where both are, what does not fit is cut off.")
    hires_height: int | None = param(
        None, "Hires height", min=64, max=LARGEST_SIDE, step=8, unset="by scale", infotext="Hires resize-2", help="In pixels.")
    hires_steps: int | None = param(
        None, "Hires steps", min=1, max=150, step=1, unset="as many", infotext="Hires steps",
        help="Steps along the schedule of the second pass.")
    hires_strength: float | None = param(
        None, "Hires denoising strength", min=0, max=1, step=0.01, unset="0.7", infotext="Denoising strength",
        help="How much of the enlarged picture is made anew.")
    hires_sampler: str = param(
        SAME_SAMPLER, "Hires sampling method", choices="hires_samplers", infotext="Hires sampler", unwritten=SAME_SAMPLER,
        help="How the steps of the second pass are taken.")
    hires_schedule: str = param(
        SAME_SCHEDULE, "Hires schedule type", choices="hires_schedules", infotext="Hires schedule type", unwritten=SAME_SCHEDULE,
        help="Which noise levels the second pass visits.")
    hires_prompt: str = param(
        "", "Hires prompt", longest=LONGEST_PROMPT, infotext="Hires prompt", unwritten="", help="In place of the prompt.")
    hires_negative: str = param(
        "", "Hires negative prompt", longest=LONGEST_PROMPT, infotext="Hires negative prompt", unwritten="",
        help="In place of the negative prompt.")
    hires_cfg: float | None = param(
        None, "Hires CFG scale", min=0, max=30, step=0.1, unset="the same", infotext="Hires CFG Scale",
        help="The CFG scale of the second pass.")
    hires_model: str = param(
        SAME_MODEL, "Hires checkpoint", choices="hires_models", infotext="Hires checkpoint", unwritten=SAME_MODEL,
        help="The model of the second pass.")
