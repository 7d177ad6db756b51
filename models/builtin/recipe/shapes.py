"""Ray intersections and distances of the shapes, each in its own frame: unit size, base on y = 0, axis along y.

Rays are [3, P] origins and directions; an intersection gives the ray parameter [P] (infinite where there is none) and the
outward unit normal [3, P]. Distances are signed, negative inside, and never larger than the true distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

CUBE_HALF = 0.56
CYLINDER_RADIUS, CYLINDER_HEIGHT = 0.56, 1.25
CONE_RADIUS, CONE_HEIGHT = 0.68, 1.45
BALL_RADIUS = 0.70
RING_MAJOR, RING_MINOR = 0.50, 0.20
PYRAMID_HALF, PYRAMID_HEIGHT = 0.66, 1.30
CARD_HALF = (0.62, 0.80, 0.025)
TORUS_STEPS = 40

KINDS = ("sphere", "cube", "cylinder", "cone", "torus", "pyramid", "card")

CONE_CENTRE = (CONE_HEIGHT**2 - CONE_RADIUS**2) / (2 * CONE_HEIGHT)
PYRAMID_CENTRE = (PYRAMID_HEIGHT**2 - 2 * PYRAMID_HALF**2) / (2 * PYRAMID_HEIGHT)
BOUNDS = (
    (BALL_RADIUS, BALL_RADIUS),
    (CUBE_HALF, CUBE_HALF * math.sqrt(3.0)),
    (CYLINDER_HEIGHT / 2, math.hypot(CYLINDER_RADIUS, CYLINDER_HEIGHT / 2)),
    (CONE_CENTRE, CONE_HEIGHT - CONE_CENTRE),
    (RING_MAJOR + RING_MINOR, RING_MAJOR + RING_MINOR),
    (PYRAMID_CENTRE, PYRAMID_HEIGHT - PYRAMID_CENTRE),
    (CARD_HALF[1], math.hypot(*CARD_HALF)),
)
"""Height of the centre, and radius, of each kind's bounding sphere."""

Hit = tuple[Tensor, Tensor]


def _keep(parameter: Tensor, hit: Tensor) -> Tensor:
    return torch.where(hit, parameter, torch.full_like(parameter, math.inf))


def _safe(value: Tensor) -> Tensor:
    """Away from zero, so that a division stays finite."""
    return torch.where(value.abs() < 1e-7, torch.full_like(value, 1e-7), value)


def hit_sphere(origin: Tensor, direction: Tensor) -> Hit:
    """The near root of the ball's quadratic."""
    ox, oy, oz = origin[0], origin[1] - BALL_RADIUS, origin[2]
    dx, dy, dz = direction
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    c = ox * ox + oy * oy + oz * oz - BALL_RADIUS**2
    inside = b * b - a * c
    near = (-b - inside.clamp(min=0).sqrt()) / a
    normal = torch.stack((ox + near * dx, oy + near * dy, oz + near * dz)) / BALL_RADIUS
    return _keep(near, (inside > 0) & (near > 0)), normal


def _hit_box(origin: Tensor, direction: Tensor, half: tuple[float, float, float]) -> Hit:
    """Slabs: the ray is inside where it is inside all three (Kay and Kajiya 1986)."""
    centre = origin.new_tensor((0.0, half[1], 0.0))[:, None]
    inverse = 1.0 / _safe(direction)
    middle = (centre - origin) * inverse
    spread = origin.new_tensor(half)[:, None] * inverse.abs()
    enter, leave = middle - spread, middle + spread
    near = torch.maximum(torch.maximum(enter[0], enter[1]), enter[2])
    far = torch.minimum(torch.minimum(leave[0], leave[1]), leave[2])
    normal = torch.where(enter == near, -direction.sign(), torch.zeros_like(direction))
    return _keep(near, (near < far) & (near > 0)), normal


def hit_cube(origin: Tensor, direction: Tensor) -> Hit:
    """The cube as three slabs."""
    return _hit_box(origin, direction, (CUBE_HALF, CUBE_HALF, CUBE_HALF))


def hit_card(origin: Tensor, direction: Tensor) -> Hit:
    """The card as three slabs; its face looks along -z."""
    return _hit_box(origin, direction, CARD_HALF)


def hit_cylinder(origin: Tensor, direction: Tensor) -> Hit:
    """The infinite cylinder's interval cut with the slab between the caps."""
    ox, oy, oz = origin
    dx, dy, dz = direction
    a = _safe(dx * dx + dz * dz)
    b = ox * dx + oz * dz
    root = b * b - a * (ox * ox + oz * oz - CYLINDER_RADIUS**2)
    width = root.clamp(min=0).sqrt()
    inverse = 1.0 / _safe(dy)
    middle, spread = (CYLINDER_HEIGHT / 2 - oy) * inverse, CYLINDER_HEIGHT / 2 * inverse.abs()
    side, cap = (-b - width) / a, middle - spread
    near = torch.maximum(side, cap)
    far = torch.minimum((-b + width) / a, middle + spread)
    on_cap = cap > side
    zero = torch.zeros_like(near)
    normal = torch.stack(
        (
            torch.where(on_cap, zero, (ox + near * dx) / CYLINDER_RADIUS),
            torch.where(on_cap, -dy.sign(), zero),
            torch.where(on_cap, zero, (oz + near * dz) / CYLINDER_RADIUS),
        )
    )
    return _keep(near, (root > 0) & (near < far) & (near > 0)), normal


def hit_cone(origin: Tensor, direction: Tensor) -> Hit:
    """The nearest of the double cone's two roots that lies below the apex, and the base disc."""
    slope = CONE_RADIUS / CONE_HEIGHT
    ox, oy, oz = origin
    dx, dy, dz = direction
    below, fall = CONE_HEIGHT - oy, -dy
    a = _safe(dx * dx + dz * dz - slope**2 * fall * fall)
    b = ox * dx + oz * dz - slope**2 * below * fall
    root = b * b - a * (ox * ox + oz * oz - slope**2 * below * below)
    width = root.clamp(min=0).sqrt()
    near = torch.full_like(ox, math.inf)
    for parameter in ((-b - width) / a, (-b + width) / a):
        height = oy + parameter * dy
        good = (root > 0) & (parameter > 0) & (height >= 0) & (height <= CONE_HEIGHT)
        near = torch.minimum(near, _keep(parameter, good))
    base = -oy / _safe(dy)
    across = (ox + base * dx) ** 2 + (oz + base * dz) ** 2
    base = _keep(base, (base > 0) & (across < CONE_RADIUS**2))
    on_base = base < near
    near = torch.minimum(near, base)
    finite = torch.where(near.isfinite(), near, torch.zeros_like(near))
    x, z = ox + finite * dx, oz + finite * dz
    scale = 1.0 / (torch.sqrt(x * x + z * z).clamp(min=1e-6) * math.sqrt(1 + slope**2))
    rise = torch.full_like(x, slope / math.sqrt(1 + slope**2))
    zero = torch.zeros_like(x)
    normal = torch.stack(
        (
            torch.where(on_base, zero, x * scale),
            torch.where(on_base, zero - 1.0, rise),
            torch.where(on_base, zero, z * scale),
        )
    )
    return near, normal


def hit_pyramid(origin: Tensor, direction: Tensor) -> Hit:
    """Five half-spaces: the ray enters at the last plane it crosses inwards and leaves at the first outwards."""
    length = math.hypot(PYRAMID_HALF, PYRAMID_HEIGHT)
    out, rise = PYRAMID_HEIGHT / length, PYRAMID_HALF / length
    planes = ((out, rise, 0.0), (-out, rise, 0.0), (0.0, rise, out), (0.0, rise, -out), (0.0, -1.0, 0.0))
    near = torch.full_like(origin[0], -math.inf)
    far = torch.full_like(origin[0], math.inf)
    normal = torch.zeros_like(origin)
    for x, y, z in planes:
        offset = 0.0 if y < 0 else rise * PYRAMID_HEIGHT
        along = x * direction[0] + y * direction[1] + z * direction[2]
        parameter = (offset - (x * origin[0] + y * origin[1] + z * origin[2])) / _safe(along)
        entering = (along < 0) & (parameter > near)
        near = torch.where(entering, parameter, near)
        far = torch.where(along < 0, far, torch.minimum(far, parameter))
        normal = torch.where(entering, origin.new_tensor((x, y, z))[:, None], normal)
    return _keep(near, (near < far) & (near > 0)), normal


def hit_torus(origin: Tensor, direction: Tensor) -> Hit:
    """Sphere tracing (Hart 1996) from the bounding sphere; the ring stands in the x, y plane."""
    length = direction.square().sum(0).sqrt()
    unit = direction / length
    closest = -(unit[0] * origin[0] + unit[1] * (origin[1] - BOUNDS[4][0]) + unit[2] * origin[2])
    travelled = (closest - BOUNDS[4][1]).clamp(min=0)
    end = closest + BOUNDS[4][1]
    point = origin + travelled * unit
    for _ in range(TORUS_STEPS):
        step = distance_torus(point)
        travelled = travelled + step
        point = point + step * unit
    hit = (distance_torus(point).abs() < 2e-3) & (travelled < end) & (travelled > 0)
    x, y, z = point[0], point[1] - BOUNDS[4][0], point[2]
    ring = torch.sqrt(x * x + y * y).clamp(min=1e-6)
    inward = 1.0 - RING_MAJOR / ring
    normal = torch.stack((x * inward, y * inward, z))
    return _keep(travelled / length, hit), normal / normal.square().sum(0).sqrt().clamp(min=1e-6)


def distance_sphere(point: Tensor) -> Tensor:
    """Signed distance of the ball."""
    return torch.sqrt(point[0] ** 2 + (point[1] - BALL_RADIUS) ** 2 + point[2] ** 2) - BALL_RADIUS


def _distance_box(point: Tensor, half: tuple[float, float, float]) -> Tensor:
    x, y, z = point[0].abs() - half[0], (point[1] - half[1]).abs() - half[1], point[2].abs() - half[2]
    outside = torch.sqrt(x.clamp(min=0) ** 2 + y.clamp(min=0) ** 2 + z.clamp(min=0) ** 2)
    return outside + torch.maximum(torch.maximum(x, y), z).clamp(max=0)


def distance_cube(point: Tensor) -> Tensor:
    """Signed distance of the cube."""
    return _distance_box(point, (CUBE_HALF, CUBE_HALF, CUBE_HALF))


def distance_card(point: Tensor) -> Tensor:
    """Signed distance of the card."""
    return _distance_box(point, CARD_HALF)


def distance_cylinder(point: Tensor) -> Tensor:
    """Signed distance of the cylinder."""
    across = torch.sqrt(point[0] ** 2 + point[2] ** 2) - CYLINDER_RADIUS
    above = (point[1] - CYLINDER_HEIGHT / 2).abs() - CYLINDER_HEIGHT / 2
    outside = torch.sqrt(across.clamp(min=0) ** 2 + above.clamp(min=0) ** 2)
    return outside + torch.maximum(across, above).clamp(max=0)


def distance_cone(point: Tensor) -> Tensor:
    """A lower bound of the cone's distance: the greater of the distances to its side and its base."""
    length = math.hypot(CONE_RADIUS, CONE_HEIGHT)
    across = torch.sqrt(point[0] ** 2 + point[2] ** 2)
    side = (across * CONE_HEIGHT + (point[1] - CONE_HEIGHT) * CONE_RADIUS) / length
    return torch.maximum(side, -point[1])


def distance_torus(point: Tensor) -> Tensor:
    """Signed distance of the standing ring."""
    ring = torch.sqrt(point[0] ** 2 + (point[1] - RING_MAJOR - RING_MINOR) ** 2) - RING_MAJOR
    return torch.sqrt(ring * ring + point[2] ** 2) - RING_MINOR


def distance_pyramid(point: Tensor) -> Tensor:
    """A lower bound of the pyramid's distance: the greatest distance to one of its planes."""
    length = math.hypot(PYRAMID_HALF, PYRAMID_HEIGHT)
    across = torch.maximum(point[0].abs(), point[2].abs())
    side = (across * PYRAMID_HEIGHT + (point[1] - PYRAMID_HEIGHT) * PYRAMID_HALF) / length
    return torch.maximum(side, -point[1])


HITS: tuple[Callable[[Tensor, Tensor], Hit], ...] = (
    hit_sphere,
    hit_cube,
    hit_cylinder,
    hit_cone,
    hit_torus,
    hit_pyramid,
    hit_card,
)
DISTANCES: tuple[Callable[[Tensor], Tensor], ...] = (
    distance_sphere,
    distance_cube,
    distance_cylinder,
    distance_cone,
    distance_torus,
    distance_pyramid,
    distance_card,
)
