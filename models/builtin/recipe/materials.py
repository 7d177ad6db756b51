"""Light: paint, stripes, planks, soft shadow, contact shadow, highlights and simple reflections."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .shapes import CARD_HALF, DISTANCES, KINDS, RING_MAJOR, RING_MINOR
from .vocabulary import FINISHES
from .world import World, by_kind, to_local

SUN = 0.95
SKY = 0.36
AMBIENT = 0.08
BOUNCE = 0.22
COARSE_STEPS = 7
FINE_STEPS = (-0.66, -0.44, -0.22, 0.22, 0.44, 0.66)
SHADOW_SPREAD = 0.16
"""Half width of the half-shadow, per metre from the body that throws it."""

CONTACT = 0.22
"""Reach in metres of the darkening where things touch."""

STRIPES, STRIPE_START = 3.4, 0.65
"""Stripes per metre of a body in unit size, and where they begin: flat tops are of the thing's own colour."""

MATTE, SHINY, METAL, STRIPED = range(len(FINISHES))
CARD = KINDS.index("card")
TORUS = KINDS.index("torus")


@dataclass(frozen=True, kw_only=True)
class Surface:
    """What P rays meet: the ray parameter [P], the point, unit normal and point in the body's own frame [3, P], the body's
    slot [P] or -1, and whether the background is the floor there [P]."""

    distance: Tensor
    point: Tensor
    normal: Tensor
    local: Tensor
    slot: Tensor
    on_floor: Tensor


def shade(world: World, picture: Tensor, direction: Tensor, surface: Surface) -> Tensor:
    """Display colour [3, P], about 0 to 1, of what the rays meet."""
    light = world.light.index_select(1, picture)
    paint = _background(world, picture, surface)
    things = (surface.slot >= 0).nonzero().squeeze(1)
    column = surface.slot[things] * world.pictures + picture[things]
    paint[:, things] = _paint(world, column, surface.local.index_select(1, things))
    lit, open_sky = _shadows(world, picture, light, surface)
    facing = (light * surface.normal).sum(0).clamp(min=0) * lit
    # The floor is seen by everything that looks down, in its own colour.
    upward = surface.normal[1] * 0.5 + 0.5
    bounce = world.floor.index_select(1, picture) * (BOUNCE * (1 - upward))
    colour = paint * ((SUN * facing + SKY * upward * open_sky + AMBIENT * open_sky) + bounce * open_sky)
    # The light pools in the middle of the floor and fades up the wall.
    away = surface.point[0] ** 2 + (surface.point[2] - 0.3) ** 2
    ground = torch.where(surface.on_floor, 1.06 - 0.018 * away, 1.42 - 0.03 * away - 0.06 * surface.point[1])
    pool = torch.where(surface.slot >= 0, torch.ones_like(away), ground)
    colour = colour * pool
    view = direction.index_select(1, things)
    colour[:, things] = _polish(world, column, picture[things], view, surface, things, lit, colour[:, things])
    return _tone(colour)


def _tone(colour: Tensor) -> Tensor:
    """Linear light to display values; only what is brighter than 0.8 is compressed, so that colours stay pure."""
    bright = (colour - 0.8).clamp(min=0)
    return (colour.clamp(max=0.8) + 0.2 * (1 - torch.exp(-bright / 0.2))).clamp(min=1e-5) ** (1 / 2.2)


def _background(world: World, picture: Tensor, surface: Surface) -> Tensor:
    """The paint [3, P] of the floor or the wall, with planks on wooden floors."""
    paint = torch.where(surface.on_floor, world.floor.index_select(1, picture), world.wall.index_select(1, picture))
    planks = world.planks.index_select(0, picture)
    wooden = (surface.on_floor & (planks >= 0) & (surface.slot < 0)).nonzero().squeeze(1)
    if len(wooden):
        paint[:, wooden] *= _planks(surface.point[0, wooden], surface.point[2, wooden], planks[wooden])
    return paint


def _planks(x: Tensor, z: Tensor, seed: Tensor) -> Tensor:
    """How bright a wooden floor is: boards that run away from the viewer, each with its own tone and a faint grain."""
    place = x / 0.62 + seed * 0.37
    board = place.floor()
    across = place - board
    tone = torch.frac(torch.sin(board * 12.9898 + seed) * 43.7585).abs()
    phase = tone * 40
    grain = torch.sin(across * 25 + phase + 0.8 * torch.sin(z * 1.7 + phase)) * torch.sin(across * 9 - z * 0.6 + phase)
    seam = torch.exp(-((0.5 - (across - 0.5).abs()) ** 2) / 0.0006)
    return (0.90 + 0.2 * tone + 0.05 * grain) * (1 - 0.4 * seam)


def _paint(world: World, column: Tensor, local: Tensor) -> Tensor:
    """The paint [3, P] of things: plain, striped, or a card with ink."""
    paint = world.paint.index_select(1, column)
    kind, finish = world.kind[column], world.finish[column]
    striped = (finish == STRIPED).nonzero().squeeze(1)
    if len(striped):
        x, y = local[:2, striped]
        ring = torch.atan2(x, y - RING_MAJOR - RING_MINOR) * (5 / math.pi)
        wave = torch.where(kind[striped] == TORUS, ring, y * STRIPES + STRIPE_START)
        pale = world.pale[column[striped]]
        # White things have thin grey stripes, all others white ones: grey with white and white with grey stay apart.
        second = (wave - wave.floor()) < 0.4 - 0.15 * pale
        other = 0.92 - 0.58 * pale
        paint[:, striped] = torch.where(second, other, paint[:, striped])
    for index, pieces in world.ink:
        face = ((kind == CARD) & (column % world.pictures == index) & (local[2] < -0.9 * CARD_HALF[2])).nonzero().squeeze(1)
        if len(face):
            paint[:, face] *= 1 - 0.96 * _ink(local[0, face], local[1, face], pieces)
    return paint


def _ink(x: Tensor, y: Tensor, pieces: Tensor) -> Tensor:
    """How much ink [P], 0 to 1, a digit's strokes leave at points of the card."""
    u, v = (x / 0.98 + 0.5)[:, None], ((y - CARD_HALF[1]) / 1.2 + 0.5)[:, None]
    ax, ay = pieces[:, 0], pieces[:, 1]
    bx, by = pieces[:, 2] - ax, pieces[:, 3] - ay
    # Distances are measured on the card, where the digit's square is 0.98 wide and 1.2 tall.
    square = (bx * 0.98) ** 2 + (by * 1.2) ** 2
    share = (((u - ax) * bx * 0.9604 + (v - ay) * by * 1.44) / square).clamp(0, 1)
    away = (((u - ax - share * bx) * 0.98) ** 2 + ((v - ay - share * by) * 1.2) ** 2).amin(1).sqrt()
    return ((0.075 - away) / 0.02).clamp(0, 1)


def _shadows(world: World, picture: Tensor, light: Tensor, surface: Surface) -> tuple[Tensor, Tensor]:
    """How much of the light [P] and of the sky [P] each point sees past the other things."""
    lit, open_sky = torch.ones_like(surface.distance), torch.ones_like(surface.distance)
    for index in range(world.slots):
        column = index * world.pictures + picture
        bound = world.bound.index_select(1, column)
        delta = bound[:3] - surface.point
        along = (delta * light).sum(0)
        squared = delta.square().sum(0)
        other = surface.slot != index
        spread = bound[3] + SHADOW_SPREAD * along.clamp(min=0)
        for kind, rays in by_kind(world, column, other & (along > -bound[3]) & (squared - along * along < spread**2)):
            frame = world.frame.index_select(1, column[rays])
            start, heading = to_local(frame, surface.point.index_select(1, rays), light.index_select(1, rays))
            lit[rays] *= _light_past(kind, start, heading, along[rays] / frame[3], bound[3, rays] / frame[3])
        close = other & (squared < (bound[3] + CONTACT * 2.5) ** 2)
        for kind, rays in by_kind(world, column, close):
            frame = world.frame.index_select(1, column[rays])
            above = surface.point.index_select(1, rays) + 0.06 * surface.normal.index_select(1, rays)
            gap = DISTANCES[kind](to_local(frame, above, above)[0]).clamp(min=0) * frame[3]
            open_sky[rays] *= 1 - 0.62 * torch.exp(-gap / CONTACT)
    return lit, open_sky


def _light_past(kind: int, start: Tensor, heading: Tensor, along: Tensor, radius: Tensor) -> Tensor:
    """The share of the light that passes a body: the nearest miss, or deepest cut, against the width of the half-shadow.

    Signed distances along the ray give a shadow that is soft on both sides of its edge (after Quilez, soft shadows).
    """
    # `heading` is one over the scale long; lengths here are in unit size.
    unit = heading / heading.square().sum(0).sqrt()
    first = (along - radius).clamp(min=0.01)
    step = (along + radius - first) / COARSE_STEPS
    best, nearest = first, torch.full_like(along, math.inf)
    for index in range(COARSE_STEPS):
        away = first + (index + 0.5) * step
        miss = DISTANCES[kind](start + away * unit) / (0.025 + SHADOW_SPREAD * away)
        best, nearest = torch.where(miss < nearest, away, best), torch.minimum(nearest, miss)
    # Around the best coarse step once more, or the shadows of thin bodies and sharp edges show the steps as stripes.
    for part in FINE_STEPS:
        away = (best + part * step).clamp(min=0.01)
        nearest = torch.minimum(nearest, DISTANCES[kind](start + away * unit) / (0.025 + SHADOW_SPREAD * away))
    share = (nearest * 0.5 + 0.5).clamp(0, 1)
    return share * share * (3 - 2 * share)


def _polish(
    world: World,
    column: Tensor,
    picture: Tensor,
    direction: Tensor,
    surface: Surface,
    things: Tensor,
    lit: Tensor,
    colour: Tensor,
) -> Tensor:
    """Highlights [3, P] (Blinn 1977) on shiny things, a tinted world in metal ones, little on matte ones."""
    finish = world.finish[column]
    normal, light, shadow = surface.normal.index_select(1, things), world.light.index_select(1, picture), lit[things]
    view = direction / direction.square().sum(0).sqrt()
    half = light - view
    half = half / half.square().sum(0).sqrt()
    glance = (half * normal).sum(0).clamp(min=0)
    towards = -(view * normal).sum(0)
    mirror = view + 2 * towards * normal
    world_there = _surroundings(world.floor.index_select(1, picture), mirror, light)
    edge = (1 - towards.clamp(0, 1)) ** 4
    # A flat face would catch the lamp all at once and lose its colour.
    kind = world.kind[column]
    flat = (kind == KINDS.index("cube")) | (kind == KINDS.index("pyramid")) | (kind == CARD)
    shiny = ((finish == SHINY) | (finish == STRIPED)).float() * torch.where(finish == STRIPED, 0.35, 1.0)
    gloss = (glance**60 * 0.9 + glance**400 * 0.8) * torch.where(flat, 0.25, 1.0)
    result = colour + shiny * (gloss * shadow + (0.03 + 0.30 * edge) * world_there)
    result = result + (finish == MATTE).float() * 0.04 * glance**8 * shadow
    paint = world.paint.index_select(1, column) + 0.02
    metal = paint * _studio(mirror, light) * (0.6 + 0.4 * world_there) + (0.2 + 0.8 * paint) * glance**50 * shadow
    # Some of the diffuse colour: it carries the contact shadow, and flat faces keep their hue.
    return torch.where(finish == METAL, metal + 0.22 * colour, result)


def _studio(mirror: Tensor, light: Tensor) -> Tensor:
    """How bright a photographer's studio is [P] where a polished metal looks: a dark floor and horizon, a bright ceiling,
    and two tall lamps, the one on the light's side wider."""
    height = mirror[1]
    flat = torch.sqrt(mirror[0] ** 2 + mirror[2] ** 2).clamp(min=1e-4)
    turn = (mirror[0] * light[0].sign()) / flat
    wide = torch.exp(-(((turn - 0.62) / 0.24) ** 2))
    narrow = torch.exp(-(((turn + 0.80) / 0.12) ** 2))
    lamps = (1.5 * wide + 0.8 * narrow) * ((0.95 - height.abs()) / 0.3).clamp(0, 1)
    ceiling = 1.1 * ((height - 0.35) / 0.5).clamp(0, 1)
    floor = 0.45 * ((-height - 0.25) / 0.6).clamp(0, 1)
    return 0.16 + lamps + ceiling + floor


def _surroundings(floor: Tensor, mirror: Tensor, light: Tensor) -> Tensor:
    """What a mirror sees [3, P]: the floor below, a wall that brightens upwards, and a broad lamp."""
    height = mirror[1]
    above = (height * 1.4).clamp(0, 1)
    # Half grey, so that a metal keeps its own hue on a coloured floor.
    below = (floor + floor.mean(0)) * 0.5 * (0.75 + 0.25 * height).clamp(min=0.3) * 0.8
    sky = 0.30 + 0.55 * above * above
    lamp = (((mirror * light).sum(0) - 0.80) / 0.14).clamp(0, 1)
    share = (height / 0.08 + 0.5).clamp(0, 1)
    return below * (1 - share) + (sky * share + 0.9 * lamp * lamp * share)
