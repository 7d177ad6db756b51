"""`launch.py train`: make a model by its recipe, in slices that go on where they stopped, or evaluate a finished one."""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from webui.errors import UserError, unknown

RECIPES = "models"
NO_TIME = "The time is used up; the same command goes on from here."
ROOT = Path(__file__).resolve().parents[2]  # the program's folder, wherever it is started from


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(prog="launch.py train", description=__doc__)
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument("--recipe", metavar="NAME", help="train the model in models/NAME by its recipe")
    what.add_argument("--evaluate", metavar="NAME", help="judge the model in models/NAME and print its figures")
    made.add_argument("--stage", help="run this stage only (default: all); unpack makes state of what ships, samples draws")
    made.add_argument("--seconds", type=float, help="stop after about this long; the same command goes on from there")
    made.add_argument("--folder", type=Path, help="where data and state are kept (default: models/NAME/training)")
    made.add_argument("--device", help="cuda, cpu, ... (default: the fastest there is)")
    made.add_argument("--steps", action="append", default=[], metavar="STAGE=N", help="another number of steps for a stage")
    made.add_argument("--threads", type=int, help="CPU threads to use (default: all)")
    return made


def recipe_part(name: str, part: str) -> ModuleType:
    """The module `part` of a model's recipe.

    Raises:
        UserError: there is no recipe of that name.
    """
    module = f"{RECIPES}.{name}.recipe.{part}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.startswith(error.name):
            known = sorted(path.parent.name for path in (ROOT / RECIPES).glob("*/recipe"))
            raise unknown("recipe", name, known) from error
        raise


def lengths(given: Sequence[str]) -> dict[str, int]:
    """`["noise=900"]` as `{"noise": 900}`; `UserError` where an entry is not of that form."""
    found = {}
    for entry in given:
        stage, mark, number = entry.partition("=")
        if not mark or not number.isdecimal() or int(number) < 1:
            raise UserError(f"--steps was '{entry}'; it must be a stage and a whole number, as in noise=5000.")
        found[stage] = int(number)
    return found


def best_device(wanted: str | None) -> torch.device:
    """The device asked for, or the fastest there is; `UserError` where torch can't use it."""
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"The device '{wanted}' can't be used: {str(error).splitlines()[0]} Give cpu or nothing.") from error
    return device


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code: 0 done, 3 stopped by --seconds with work left."""
    options = parser().parse_args(arguments)
    if options.evaluate:
        refuse_for_evaluation(options)
    if options.threads is not None:
        if options.threads < 1:
            raise UserError(f"--threads was {options.threads}; it must be 1 or more.")
        torch.set_num_threads(options.threads)
    if options.evaluate:
        evaluate = recipe_part(options.evaluate, "evaluate")
        return int(evaluate.main(folder_of(options.evaluate, options.folder)))
    stages = recipe_part(options.recipe, "stages")
    chosen = chosen_stages(stages, options.stage)
    steps = lengths(options.steps)
    for name in steps:
        if name not in stages.TRAINED:
            raise unknown("stage to give --steps for", name, stages.TRAINED)
        if name not in chosen:
            raise UserError(f"--steps was {name}={steps[name]}, but only the stage {options.stage} is run; leave one out.")
    end = None if options.seconds is None else time.monotonic() + options.seconds
    for name, stage in chosen.items():
        left = None if end is None else end - time.monotonic()
        if left is not None and not left > 0:  # nor is NaN
            print(NO_TIME)
            return 3
        print(f"stage {name}", flush=True)
        folder = folder_of(options.recipe, options.folder)
        if not stage(stages.Run(folder=folder, device=best_device(options.device), seconds=left, steps=steps)):
            print(NO_TIME)
            return 3
    return 0


def refuse_for_evaluation(options: argparse.Namespace) -> None:
    """Raise `UserError` for what is said of making a model where one is only judged."""
    given = [name for name in ("stage", "seconds", "device", "steps") if getattr(options, name) not in (None, [])]
    if given:
        flags = " and ".join(f"--{name}" for name in given)
        raise UserError(f"{flags} tells how a model is made, and goes with --recipe; --evaluate only judges one: leave it out.")


def chosen_stages(stages: ModuleType, name: str | None) -> dict[str, Callable[[Any], bool]]:
    """The stages to run by name: those in order, or the one that was asked for, which may be one that is never run unasked."""
    if name is None:
        return dict(stages.STAGES)
    known = {**stages.STAGES, **stages.EXTRA_STAGES}
    if name not in known:
        raise unknown("stage", name, known)
    return {name: known[name]}


def folder_of(name: str, given: Path | None) -> Path:
    """Where a recipe keeps its data and state: the folder given, else one in the program's own."""
    return given if given is not None else ROOT / RECIPES / name / "training"
