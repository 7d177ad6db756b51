"""Ray intersections against an independent search: marching along the ray to the first change of sign of the distance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.builtin.recipe.shapes import BOUNDS, DISTANCES, HITS, KINDS


def rays(kind: int, count: int) -> tuple[Tensor, Tensor]:
    """Rays in float64 from all around, aimed at points in and near the body; directions have any length."""
    generator = torch.Generator().manual_seed(kind)
    centre, radius = BOUNDS[kind]
    middle = torch.tensor([0.0, centre, 0.0], dtype=torch.float64)[:, None]
    origin = torch.randn(3, count, generator=generator, dtype=torch.float64)
    origin = 4 * origin / origin.norm(dim=0) + middle
    aim = middle + 0.7 * radius * torch.randn(3, count, generator=generator, dtype=torch.float64)
    return origin, (aim - origin) * (0.2 + torch.rand(count, generator=generator, dtype=torch.float64))


def march(kind: int, origin: Tensor, direction: Tensor) -> Tensor:
    """The first crossing into the body, by 600 plain steps and 40 halvings; infinite where there is none."""
    length = direction.norm(dim=0)
    reach = torch.linspace(0, 9, 601, dtype=torch.float64)[:, None] / length
    points = origin[:, None] + reach * direction[:, None]
    inside = DISTANCES[kind](points) < 0
    first = inside.float().argmax(0)
    high = reach.gather(0, first[None])[0]
    low = reach.gather(0, (first - 1).clamp(min=0)[None])[0]
    for _ in range(40):
        middle = (low + high) / 2
        within = DISTANCES[kind](origin + middle * direction) < 0
        low, high = torch.where(within, low, middle), torch.where(within, middle, high)
    return torch.where(inside.any(0), high, torch.inf)


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_intersections_agree_with_marching(kind: int) -> None:
    origin, direction = rays(kind, 500)
    found, normal = HITS[kind](origin, direction)
    expected = march(kind, origin, direction)
    both = found.isfinite() & expected.isfinite()
    assert both.sum() > 100
    # A ray that only grazes a body may slip between two steps of the march, but not more than a few do.
    assert (found.isfinite() != expected.isfinite()).sum() <= 8
    gap = ((found - expected).abs() * direction.norm(dim=0))[both]
    assert (gap > 5e-3).sum() <= 3
    assert gap.median() < 1e-3
    near = normal[:, both]
    assert torch.allclose(near.norm(dim=0), torch.ones(both.sum(), dtype=torch.float64), atol=1e-4)
    assert ((near * direction[:, both]).sum(0) < 1e-6).all()


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_normals_are_the_gradient_of_the_distance(kind: int) -> None:
    origin, direction = rays(kind, 300)
    found, normal = HITS[kind](origin, direction)
    hit = found.isfinite()
    # A little outside, where no edge of a body makes the gradient jump for most points.
    point = (origin + found * direction)[:, hit] + 1e-3 * normal[:, hit]
    point.requires_grad_(True)
    (gradient,) = torch.autograd.grad(DISTANCES[kind](point).sum(), point)
    agree = (gradient * normal[:, hit]).sum(0) / gradient.norm(dim=0)
    assert (agree > 0.99).double().mean() > 0.97


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_bounding_spheres_bound(kind: int) -> None:
    generator = torch.Generator().manual_seed(9)
    centre, radius = BOUNDS[kind]
    points = 3 * torch.rand(3, 20000, generator=generator) - torch.tensor([1.5, 0.7, 1.5])[:, None]
    inside = points[:, DISTANCES[kind](points) < 0]
    assert inside.shape[1] > 20
    reach = (inside - torch.tensor([0.0, centre, 0.0])[:, None]).norm(dim=0).max()
    assert reach <= radius + 1e-5
    assert reach > 0.8 * radius
    assert inside[1].min() >= 0
