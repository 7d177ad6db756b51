"""Plots and tables of docs/samplers.md: where each sampler asks its network, and how its error falls with the number of steps.

    python -m benchmarks.samplers [--plots docs/samplers] [--tables]

Every sampler runs along its own schedule ("Automatic") on the problems of `tests/analytic.py`, whose solutions are known: without
fresh noise its result is compared with the flow of a mixture of Gaussians, with fresh noise the variance of what it makes of one
Gaussian with the true one. `--tables` writes the tables of the document, and no plots. Takes about a minute.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks import document
from tests.analytic import DEVIATION, PROBLEMS, exact
from tests.sampling import Run, moments_of_the_result, noise_of
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.samplers import SamplerInfo
from webui.pipeline.schedules import Schedule, options_of
from webui.service.extensions import bundled

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "samplers.md"
FOLDER = DOCUMENT.with_suffix("")
TABLE = NoiseTable.from_betas()
SHOWN = 20  # steps of the plots of sigmas
COUNTS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 150)
TOLERANCES = (4.0, 1.0, 0.25, 0.06, 0.015, 0.004)  # of DPM adaptive, as parts of its own
WIDTH, HEIGHT, LEFT, RIGHT, BELOW, ABOVE = 330, 230, 46, 14, 34, 20  # of a panel and its margins, pixels
COMPARED = ("Euler", "Heun", "DPM++ 2M", "DPM++ SDE", "LMS", "DEIS", "IPNDM", "UniPC vary")  # in one plot
COLOURS = ("#1f5fa8", "#c4511d", "#2f7d3b", "#7d4fa3", "#9a7b00", "#008a8a", "#b03060", "#555555")

Points = list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a plot; marks are dots without a line between them."""

    points: Points
    name: str = ""
    dashed: bool = False
    marks: bool = False


# The order that its error falls with, and what it is good for; both for people.
SAMPLERS: dict[str, tuple[str, str]] = {
    "DPM++ 2M": ("2", "The usual choice: good pictures in 15 to 30 steps."),
    "DPM++ SDE": ("2", "Fresh noise hides errors of few steps; each costs two. Good from 8 steps on."),
    "DPM++ 2M SDE": ("2", "Fresh noise at the price of `DPM++ 2M`; wants 20 steps or more."),
    "DPM++ 2M SDE Heun": ("2", "`DPM++ 2M SDE` with another weight for the last answer; softer with few steps."),
    "DPM++ 2S a": ("2", "Ancestral: pictures go on changing with more steps. Two evaluations a step."),
    "DPM++ 3M SDE": ("2, with a smaller error", "Fine detail with 30 steps or more and a scale below 7."),
    "Euler a": ("1", "Ancestral: soft, varied pictures in 20 to 40 steps; they go on changing with more."),
    "Euler": ("1", "The plainest one: a step along the slope. Needs twice the steps of `DPM++ 2M`."),
    "LMS": ("up to 4", "Exact weights for uneven steps; rough with few."),
    "Heun": ("2", "Two evaluations a step, and steady: a reference."),
    "DPM2": ("2", "The slope halfway; two evaluations a step."),
    "DPM2 a": ("2", "`DPM2` with fresh noise."),
    "DPM fast": ("up to 3", "Steps of its own, as many evaluations as steps; for 15 and more."),
    "DPM adaptive": ("3", "Chooses how many steps to take; the number set for steps has no effect."),
    "Restart": ("2", "Heun that goes up again from 20 steps on, which takes back errors made above."),
    "HeunPP2": ("1", "Three evaluations a step; steady with very few."),
    "IPNDM": ("2", "For even steps; cheap and good with 10 to 20."),
    "IPNDM_V": ("2 to 3", "For uneven steps, with the weights of its published code."),
    "DEIS": ("2 to 3", "Good with 10 to 15 steps."),
    "DDPM": ("1", "The model's own chain, as `Euler a`; wants many steps."),
    "LCM": ("none", "For latent consistency models and LCM LoRAs: 4 to 8 steps at a scale of 1 to 2."),
    "TCD": ("none", "For models distilled by trajectory consistency; `eta` from 0 (sharp) to 1 (as `LCM`)."),
    "DDIM": ("1", "Old pictures made with it; `eta` adds noise. Ends with the noise of the first training step."),
    "DDIM CFG++": ("1", "Guidance that stays nearer to what the model knows; the scale counts a 12.5th."),
    "PLMS": ("2", "Old pictures made with it."),
    "UniPC": ("2 to 3", "Good with 8 to 15 steps: each answer corrects the step before."),
    "UniPC bh2": ("2 to 3", "`UniPC` with its other weight, for stronger guidance."),
    "UniPC vary": ("2 to 3", "`UniPC` with exact weights."),
}  # fmt: skip
SCHEDULES: dict[str, str] = {
    "Uniform": "Even training steps; what a model was trained on.",
    "Karras": "More steps at low noise, where details are made; the usual choice.",
    "Exponential": "The same part of the noise in each step; for samplers with fresh noise.",
    "SGM Uniform": "Even training steps that stop a step before the last; for SDXL Lightning, LCM and other distilled models.",
    "Simple": "As SGM Uniform, on whole training steps.",
    "DDIM": "Every so many training steps from the first on, then 0; a few more than asked for where that does not divide 1,000.",
    "DDIM timesteps": "The same, ending at the first training step: for the samplers DDIM, PLMS and DDIM CFG++.",
    "LCM": "Of the fifty training steps that consistency models know, first and last included.",
    "Polyexponential": "Exponential bent by rho; 1 is Exponential.",
    "KL Optimal": "Arctangents of sigma are even; ends at the lowest level, without a step to 0.",
    "Align Your Steps": "Found by optimisation for SD 1 and for SDXL, each of its own; best with 10 steps.",
    "Align Your Steps 11": "The same under Forge's name.",
    "Align Your Steps 32": "Found for 31 steps; begins to differ from the other where steps are many.",
    "Align Your Steps GITS": "Found from the shape of trajectories, for SD 1 and for SDXL; very few steps.",
    "Normal": "Uniform under ComfyUI's name.",
    "Beta": "Quantiles of a beta distribution over sigma: many steps at both ends. `beta_alpha` and `beta_beta` shape it.",
    "Turbo": "Whole training steps down from the last; for Turbo models with 1 to 4 steps.",
    "VP": "Song's variance-preserving diffusion, the same for every model.",
    "TCD": "Of the fifty training steps that consistency models know, the last left out.",
    "UniPC": "Even training steps down to the first, without a step to 0: UniPC's `time_uniform`.",
    "UniPC quadratic": "The roots of training steps are even: UniPC's `time_quadratic`.",
    "UniPC logSNR": "The logarithms of sigma are even: UniPC's `logSNR`.",
}  # fmt: skip


# --- what is measured -------------------------------------------------------------------------------------------------------


def schedules() -> dict[str, Schedule]:
    """The bundled schedules; what somebody types or draws is none of its own."""
    found = bundled()
    return {name: each for name, each in found.schedules.items() if found.owners.get(f"schedule {name}") != "schedules"}


def levels(info: SamplerInfo, steps: int) -> tuple[float, ...]:
    """The sigmas of a sampler's own schedule, as it is given them."""
    schedule = schedules()[info.schedule]
    if not info.discards_penultimate:
        return schedule(steps, TABLE)
    *falling, _, last = schedule(steps + 1, TABLE)
    return (*falling, last)


def visited(info: SamplerInfo, steps: int = SHOWN) -> Points:
    """The sigma of each evaluation along a sampler's own schedule."""
    sigmas = levels(info, steps)
    run = Run(PROBLEMS["gmm"], pairs=info.cfg_pp)
    run(info.function, noise_of() * sigmas[0], sigmas)
    return [(number, at.sigma) for number, at in enumerate(run.asked, 1)]


def flow_error(info: SamplerInfo, steps: int, **options: float) -> tuple[float, float]:
    """The steps, those that were taken where a sampler chooses, and the mean error against the mixture's exact flow."""
    sigmas = levels(info, steps)
    run, x = Run(PROBLEMS["gmm"], pairs=info.cfg_pp), noise_of() * sigmas[0]
    found = run(info.function, x, sigmas, **options) * (math.sqrt(1 + sigmas[-1] ** 2) if info.unit_start else 1)
    end = min(sigma for sigma in sigmas if sigma > 0) if info.own_steps else sigmas[-1]
    taken = len(run.told) if run.told[0].at.steps is None else steps
    return taken, float((found - exact("gmm", x, sigmas[0], end)).abs().mean())


def variance_error(info: SamplerInfo, steps: int) -> tuple[float, float]:
    """The steps, and by what part the variance of one Gaussian is missed, with the noise that a sampler adds by itself."""
    sigmas = levels(info, steps)
    _, variance = moments_of_the_result(info.function, sigmas, brownian=info.brownian, pairs=info.cfg_pp)
    end = min(sigma for sigma in sigmas if sigma > 0) if info.own_steps else sigmas[-1]
    scale = 1 + sigmas[-1] ** 2 if info.unit_start else 1
    true = DEVIATION**2 + end**2
    return steps, abs(variance * scale - true) / true


def quiet(info: SamplerInfo) -> dict[str, float]:
    """The options with which a sampler adds no noise."""
    return {"eta": 0.0} if "eta" in info.options else {}


def errors(info: SamplerInfo) -> Iterator[Line]:
    """What the error of a sampler falls like, without its noise and with it, as far as each means something."""
    still = quiet(info)
    if info.name == "DPM adaptive":
        tolerances = ({"rtol": info.options["rtol"] * part, "atol": info.options["atol"] * part} for part in TOLERANCES)
        yield Line(points=[flow_error(info, SHOWN, **still, **each) for each in tolerances], name="flow, without noise")
        return
    if still or not info.uses_noise:
        yield Line(points=[flow_error(info, steps, **still) for steps in COUNTS], name="flow, without noise")
    if info.uses_noise:
        yield Line(points=[variance_error(info, steps) for steps in COUNTS], name="variance, with noise", dashed=True)


# --- drawing ----------------------------------------------------------------------------------------------------------------


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from below `low` to above `high`: powers of ten, halved and doubled where there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if len(powers) > 4 else (1, 2, 5)
    found = [step * 10.0**power for power in powers for step in steps]
    first = max((i for i, tick in enumerate(found) if tick <= low * 1.001), default=0)
    last = min((i for i, tick in enumerate(found) if tick >= high * 0.999), default=len(found) - 1)
    return found[first : last + 1]


def panel(left: float, title: str, lines: Sequence[Line], label: str, *, even: bool = False) -> Iterator[str]:
    """The SVG elements of one plot with a logarithmic upright axis; `even` makes the other one linear."""
    xs, ys = ([point[axis] for line in lines for point in line.points] for axis in (0, 1))
    ups = ticks(max(min(ys), 1e-12), max(ys))
    pace = 5 * math.ceil(max(xs) / 20)
    sides = [float(i) for i in range(0, int(max(xs)) + 1, pace)] if even else ticks(min(xs), max(xs))
    inner, tall = WIDTH - LEFT - RIGHT, HEIGHT - BELOW - ABOVE

    def across(x: float) -> float:
        part = x / max(xs) if even else math.log(x / sides[0]) / math.log(sides[-1] / sides[0])
        return left + LEFT + part * inner

    def up(y: float) -> float:
        return ABOVE + tall * (1 - math.log(max(y, ups[0]) / ups[0]) / math.log(ups[-1] / ups[0]))

    yield f'<text x="{left + LEFT}" y="13" font-weight="bold">{escape(title)}</text>'
    for tick in ups:
        yield f'<path d="M{left + LEFT:.1f} {up(tick):.1f}h{inner:.1f}" stroke="#ddd"/>'
        yield f'<text x="{left + LEFT - 4:.1f}" y="{up(tick) + 3.5:.1f}" text-anchor="end">{tick:g}</text>'
    for tick in sides:
        yield f'<path d="M{across(tick):.1f} {ABOVE}v{tall:.1f}" stroke="#eee"/>'
        yield f'<text x="{across(tick):.1f}" y="{ABOVE + tall + 13:.1f}" text-anchor="middle">{tick:g}</text>'
    yield f'<text x="{left + LEFT + inner / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(label)}</text>'
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        places = [(across(x), up(y)) for x, y in line.points]
        if line.marks:
            yield f'<path d="{"".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)}" stroke="{colour}" stroke-width="4"/>'
        dash = ' stroke-dasharray="5 3"' if line.dashed else ""
        if not line.marks or len(places) > 1:
            width = 0.5 if line.marks else 1.6
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}/>'
        if line.name:
            below = ABOVE + tall - 8 - 12 * (len(lines) - 1 - number)
            yield f'<text x="{left + LEFT + 6}" y="{below:.1f}" fill="{colour}">{escape(line.name)}</text>'


def picture(panels: Sequence[Callable[[float], Iterator[str]]]) -> str:
    """An SVG of plots side by side."""
    width = WIDTH * len(panels)
    inside = "\n".join(part for number, each in enumerate(panels) for part in each(WIDTH * number))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}"'
    style = 'font-family="sans-serif" font-size="10" stroke-linecap="round" stroke-linejoin="round"'
    return f'{head} {style}>\n<rect width="100%" height="100%" fill="#fff"/>\n<g fill="#333">\n{inside}\n</g>\n</svg>\n'


def plot_of(info: SamplerInfo) -> str:
    """The plot of one sampler: the sigmas of its evaluations, and its error against its steps."""
    levels = Line(points=visited(info), marks=True)
    found = list(errors(info))
    return picture([
        lambda left: panel(left, f"sigma at each evaluation, {info.schedule}, {SHOWN} steps", [levels], "evaluation", even=True),
        lambda left: panel(left, "error", found, "steps"),
    ])  # fmt: skip


def plot_of_schedule(name: str, schedule: Schedule) -> str:
    """The plot of one schedule: its sigmas above 0 at 10 and at 20 steps."""
    lines = [
        Line(points=[(number, sigma) for number, sigma in enumerate(schedule(steps, TABLE)) if sigma > 0], marks=True)
        for steps in (10, SHOWN)
    ]
    return picture([lambda left: panel(left, f"{name}: sigma at each step, of 10 and {SHOWN}", lines, "step", even=True)])


def overview() -> str:
    """The plots of several samplers together, along Karras' schedule: against steps, and against evaluations of the network."""
    by_steps, by_work = [], []
    for name in COMPARED:
        info = bundled().samplers[name]
        alike = replace(info, schedule="Karras")
        points = [flow_error(alike, steps, **quiet(info)) for steps in COUNTS]
        by_steps.append(Line(points=points, name=name))
        work = [len(visited(alike, steps)) for steps in COUNTS]
        by_work.append(Line(points=[(count, error) for count, (_, error) in zip(work, points, strict=True)], name=name))
    return picture([
        lambda left: panel(left, "error of the flow, Karras", by_steps, "steps"),
        lambda left: panel(left, "error of the flow, Karras", by_work, "evaluations of the network"),
    ])  # fmt: skip


def slug(name: str) -> str:
    """A name as a file's: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.casefold().replace("++", "pp")).strip("-")


# --- the document -----------------------------------------------------------------------------------------------------------


def paper(function: Callable[..., object]) -> str:
    """The first paper that a function's description names, as a link; a dash where it names none."""
    found = re.search(r"arXiv:(\d{4}\.\d{5})", function.__doc__ or "")
    return f"[{found[1]}](https://arxiv.org/abs/{found[1]})" if found else "–"


def sampler_table() -> str:
    """The table of samplers, each with its plot behind its name."""
    heads = ("Sampler", "Paper", "Order", "Evaluations a step", "Fresh noise", "Automatic schedule", "Options", "For")
    rows = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name, info in bundled().samplers.items():
        order, use = SAMPLERS[name]
        noise = ("Brownian" if info.brownian else "yes") if info.uses_noise else "no"
        options = ", ".join(f"`{option}`" for option in info.options) or "–"
        named, count = f"[{name}](#{anchor(name)})", str(info.evaluations)
        rows.append("| " + " | ".join((named, paper(info.function), order, count, noise, info.schedule, options, use)) + " |")
    return "\n".join(rows)


def schedule_table() -> str:
    """The table of schedules."""
    rows = ["| Schedule | Paper | Options | What it visits | Sigmas |", "|---|---|---|---|---|"]
    for name, schedule in schedules().items():
        options = ", ".join(f"`{option}`" for option in options_of(schedule)) or "–"
        plot = f"![Sigmas of {name}](samplers/schedule-{slug(name)}.svg)"
        rows.append(f"| {name} | {paper(schedule)} | {options} | {SCHEDULES[name]} | {plot} |")
    return "\n".join(rows)


def sampler_plots() -> str:
    """The plots of samplers, each under its name."""
    parts = []
    for name, info in bundled().samplers.items():
        first = (info.function.__doc__ or "").strip().splitlines()[0]
        parts.append(f"### {name}\n\n{first}\n\n![Sigmas and errors of {name}](samplers/{slug(name)}.svg)")
    return "\n\n".join(parts)


def anchor(name: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^a-z0-9 _-]", "", name.casefold()).replace(" ", "-")


def main() -> None:
    """Draw the plots or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plots", type=Path, default=FOLDER, help="the folder that plots are written to")
    parser.add_argument("--tables", action="store_true", help="write the document's tables only")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for name, make in (("samplers", sampler_table), ("schedules", schedule_table), ("plots", sampler_plots)):
        document.replace(name, make(), DOCUMENT)
    if chosen.tables:
        return
    chosen.plots.mkdir(parents=True, exist_ok=True)
    for name, info in bundled().samplers.items():
        print(name, file=sys.stderr, flush=True)
        (chosen.plots / f"{slug(name)}.svg").write_text(plot_of(info), "utf-8")
    (chosen.plots / "overview.svg").write_text(overview(), "utf-8")
    for name, schedule in schedules().items():
        (chosen.plots / f"schedule-{slug(name)}.svg").write_text(plot_of_schedule(name, schedule), "utf-8")


if __name__ == "__main__":
    main()
