"""What ControlNets add to each row of a picture: they are asked what they make of its latent, time and text, and of a map."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from webui.extension import Ask, Call, ChangeRow, Job, NoiseTable, Row, UserError, open_controlnet, quoted

from .maps import map_of
from .units import ESTIMATORS, FOLDERS, Unit


@dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """A unit in a pass of a picture: its `network` for asks, how many results that has, and its `picture` uint8 [4, H, W].

    `maps` are those made so far, by their size.
    """

    unit: Unit
    network: str
    sites: int
    factor: int
    picture: Tensor
    estimator: str
    maps: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def seen(self, latent: Tensor) -> Generator[Ask, Any, Tensor]:
        """Its map for a latent [C, h, w], on the latent's device."""
        size = latent.shape[-2] * self.factor, latent.shape[-1] * self.factor
        if size not in self.maps:
            made = yield from map_of(self.unit, self.picture, *size, self.estimator)
            self.maps[size] = made.to(latent.device)
        return self.maps[size]

    def residuals(self, row: Row, t: float) -> Generator[Ask, Any, tuple[Tensor, ...]]:
        """What it adds to a row at the training step t; x is scaled as the model itself sees it."""
        inputs: dict[str, Any] = {
            "x": row.x / (row.at.sigma**2 + 1) ** 0.5, "t": t, "context": row.conditioning.tokens,
            "picture": (yield from self.seen(row.x)), "padding": row.patches.padding or "zeros",
        }  # fmt: skip
        if row.conditioning.vector is not None:
            inputs["y"] = row.conditioning.vector
        found = yield Call(self.network, inputs, keep=False)
        strengths = self.unit.strengths(self.sites)
        return tuple(strength * each.to(row.x.device) for strength, each in zip(strengths, found, strict=True))


def controls(job: Job, units: Sequence[Unit], noted: Mapping[str, Any]) -> list[Control]:
    """The ControlNets of a pass; `UserError` where one was made for another family than the model."""
    found = []
    for unit in units:
        told = noted[str(unit.number)]
        path = job.files.found(FOLDERS, told["name"], told["sha256"])
        source = open_controlnet(Path(path))
        if not source.spec.fits(job.spec.unet, job.spec.vae.latent_channels):
            raise UserError(
                f"{unit.title}: {quoted(told['name'])} is {source.title}, and the model is {job.spec.title}; "
                "choose a ControlNet that was made for the model's family."
            )
        estimator = ""
        if "estimator" in told:
            estimator = job.network_of(f"depth:{job.files.found(ESTIMATORS, told['estimator'], told['estimator_sha256'])}")
        found.append(Control(
            unit=unit, network=job.network_of(f"controlnet:{path}"), sites=source.spec.sites, factor=source.spec.factor,
            picture=job.pictures[f"picture_{unit.number}"], estimator=estimator,
        ))  # fmt: skip
    return found


def steered(job: Job, own: Sequence[Control]) -> ChangeRow:
    """What changes each row of a pass: the sum of what all ControlNets add that work at its moment."""
    table = NoiseTable.from_spec(job.spec)
    last = len(table.sigmas) - 1

    def change(row: Row) -> Generator[Ask, Any, Row]:
        t = table.t_of(row.at.sigma) if row.time is None else row.time
        total: list[Tensor] = list(row.residuals)
        for control in own:
            if row.network == job.network and control.unit.works(row.at, 1 - t / last, guided=row.role != "uncond"):
                added = yield from control.residuals(row, t)
                total = [torch.add(*both) for both in zip(total, added, strict=True)] if total else list(added)
        return replace(row, residuals=tuple(total)) if total else row

    return change
