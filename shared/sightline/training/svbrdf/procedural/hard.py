"""Stone, ceramics, metal, wood and ground."""

import numpy as np

from sightline.training.svbrdf.procedural.drafts import Draft, aged, any_colour, blend, colour, near, ramp, speckled
from sightline.training.svbrdf.procedural.noise import Field, Rng, cells, fbm, grain, lines, ridged, smoothstep, warp
from sightline.training.svbrdf.procedural.patterns import Courses, bumps, courses

STONE = (0.03, 0.13), (0.0, 0.35), (0.2, 0.85)
EARTH = (0.04, 0.12), (0.1, 0.6), (0.08, 0.55)
WOOD = (0.045, 0.1), (0.3, 0.8), (0.15, 0.85)


def masonry(rng: Rng, size: int) -> Draft:
    """Walls of brick or ashlar with mortar."""
    rows = rng.uniform(3, 12)
    wall = courses(rng, size, rows, rows * rng.uniform(0.35, 0.7), shift=0.5, ragged=rng.choice([0.0, 0.4]))
    gap = rng.uniform(0.015, 0.06) * size / rows
    brick = wall.raised(gap, rng.uniform(1, 5))
    brick = brick * smoothstep(-0.2, 0.25, fbm(rng, size, rng.uniform(10, 30)))
    base = colour(rng, (0.0, 0.08), (0.3, 0.7), (0.3, 0.7)) if rng.random() < 0.6 else colour(rng, *STONE)
    tones = _tones(rng, wall, base, 0.12)
    albedo = blend(np.broadcast_to(colour(rng, *STONE), tones.shape), tones, brick)
    albedo = speckled(rng, albedo, fbm(rng, size, rng.uniform(10, 40)), 0.25)
    relief = fbm(rng, size, rng.uniform(8, 30)) * rng.uniform(0.5, 3) + grain(rng, size)
    height = np.float32(rng.uniform(2, 7)) * brick + relief + brick * wall.values(rng, 0, 2)
    roughness = rng.uniform(0.65, 0.95) + 0.1 * (1 - brick)
    return aged(rng, Draft(albedo, np.asarray(height, np.float32), np.asarray(roughness, np.float32)))


def concrete(rng: Rng, size: int) -> Draft:
    """Concrete, plaster and rough stone, with pores."""
    base = colour(rng, (0.05, 0.15), (0, 0.25), (0.3, 0.9))
    clouds, rough = fbm(rng, size, rng.uniform(1, 6)), fbm(rng, size, rng.uniform(6, 40), gain=rng.uniform(0.4, 0.7))
    pores = smoothstep(0.75, 0.85, fbm(rng, size, rng.uniform(15, 50), octaves=2)) * np.float32(rng.random() < 0.6)
    albedo = speckled(rng, speckled(rng, np.broadcast_to(base, (size, size, 3)), clouds, 0.25), rough, 0.15)
    height = np.float32(rng.uniform(0.5, 10)) * rough + np.float32(rng.uniform(0, 0.5)) * grain(rng, size) - 3 * pores
    roughness = rng.uniform(0.6, 0.95) + 0.1 * pores - 0.1 * clouds
    return aged(
        rng, Draft(blend(albedo, base * 0.5, pores), np.asarray(height, np.float32), np.asarray(roughness, np.float32))
    )


def cobbles(rng: Rng, size: int) -> Draft:
    """Paving of rounded stones."""
    stones = cells(rng, size, int(rng.integers(20, 160)), regular=rng.uniform(0, 0.7))
    depth = warp(stones.depth, rng, rng.uniform(1, 6), 8)
    dome = smoothstep(0, float(np.quantile(depth, 0.95)), depth) ** np.float32(0.6)
    base = colour(rng, *STONE)
    tone = np.float32(0.7) + np.float32(0.6) * stones.values(rng)
    albedo = blend(
        np.broadcast_to(colour(rng, *EARTH), (size, size, 3)), base * tone[..., None], smoothstep(0.1, 0.4, dome)
    )
    albedo = speckled(rng, albedo, fbm(rng, size, rng.uniform(10, 40)), 0.25)
    height = np.float32(rng.uniform(4, 16)) * dome + 2 * fbm(rng, size, 20)
    return aged(rng, Draft(albedo, np.asarray(height, np.float32), np.float32(rng.uniform(0.6, 0.9)) - 0.15 * dome))


def marble(rng: Rng, size: int) -> Draft:
    """Polished slabs with veins, whole or as tiles."""
    base, vein = colour(rng, (0, 1), (0, 0.25), (0.1, 0.95)), colour(rng, (0, 0.2), (0, 0.5), (0.1, 0.9))
    clouds = fbm(rng, size, rng.uniform(1, 4))
    veins = smoothstep(rng.uniform(0.75, 0.88), 1, warp(ridged(rng, size, rng.uniform(1, 4)), rng, 12, 5))
    albedo = blend(speckled(rng, np.broadcast_to(base, (size, size, 3)), clouds, 0.2), vein, veins * np.float32(0.8))
    return _polished(rng, size, albedo)


def granite(rng: Rng, size: int) -> Draft:
    """Polished terrazzo and granite: chips of several colours."""
    chips = cells(rng, size, int(np.exp(rng.uniform(np.log(200), np.log(6000)))))
    palette = np.stack([colour(rng, (0, 0.15), (0, 0.3), (0.05, 0.9)) for _ in range(int(rng.integers(3, 7)))])
    albedo = palette[np.minimum((chips.values(rng) * len(palette)).astype(int), len(palette) - 1)]
    if rng.random() < 0.5:
        albedo = blend(np.broadcast_to(colour(rng, *STONE), albedo.shape), albedo, smoothstep(1.5, 2.5, chips.depth))
    return _polished(rng, size, speckled(rng, albedo, grain(rng, size), 0.1))


def glazed_tiles(rng: Rng, size: int) -> Draft:
    """Ceramic tiles in one colour or two, with grout."""
    base = any_colour(rng)
    return _polished(rng, size, np.broadcast_to(base, (size, size, 3)), tiled=True)


def _polished(rng: Rng, size: int, albedo: Field, *, tiled: bool | None = None) -> Draft:
    """Gloss over what is already coloured, cut into tiles by chance."""
    roughness = np.float32(rng.uniform(0.08, 0.4)) + 0.06 * (fbm(rng, size, rng.uniform(2, 8)) - 0.5)
    height = np.float32(rng.uniform(0, 2)) * fbm(rng, size, rng.uniform(1, 6), octaves=2)
    if rng.random() < 0.4 if tiled is None else tiled:
        rows = rng.uniform(2, 14)
        floor = courses(rng, size, rows, rows * rng.choice([1.0, 1.0, 0.5]), shift=rng.choice([0.0, 0.5]))
        tile = floor.raised(rng.uniform(0.01, 0.04) * size / rows, rng.uniform(1, 4))
        albedo = albedo * (1 + np.float32(rng.uniform(0, 0.2)) * (floor.values(rng) - 0.5)[..., None])
        albedo = blend(np.broadcast_to(colour(rng, *STONE), albedo.shape), albedo, tile)
        roughness = blend(np.full_like(roughness, rng.uniform(0.6, 0.95)), roughness, tile)
        lean = floor.values(rng, -0.5, 0.5) * floor.along * np.float32(rng.uniform(0, 0.06) * size / rows)
        height = height + np.float32(rng.uniform(1, 5)) * tile + lean
    return aged(
        rng, Draft(np.asarray(albedo, np.float32), np.asarray(height, np.float32), np.asarray(roughness, np.float32))
    )


def brushed_metal(rng: Rng, size: int) -> Draft:
    """Sheet metal, brushed one way or rolled."""
    brush = fbm(rng, size, rng.uniform(60, 150), octaves=2, stretch=rng.uniform(8, 60))
    clouds = fbm(rng, size, rng.uniform(1, 5))
    albedo = speckled(rng, np.broadcast_to(_metal_colour(rng), (size, size, 3)), brush, rng.uniform(0.02, 0.12))
    roughness = rng.uniform(0.18, 0.55) + 0.12 * (brush - 0.5) + rng.uniform(0, 0.2) * (clouds - 0.5)
    height = np.float32(rng.uniform(0, 0.8)) * brush + np.float32(rng.uniform(0, 4)) * clouds
    return _dirty_metal(rng, Draft(albedo, np.asarray(height, np.float32), np.asarray(roughness, np.float32), 1.0))


def formed_metal(rng: Rng, size: int) -> Draft:
    """Tread plate, hammered or perforated sheet, riveted panels."""
    count = rng.uniform(4, 18)
    shape = rng.integers(3)
    if shape == 0:
        relief = bumps(size, count, radius=rng.uniform(0.2, 0.45), long=rng.uniform(1, 4), staggered=False)
    elif shape == 1:
        dents = cells(rng, size, int(count**2))
        relief = 1 - np.clip(dents.distance / max(float(dents.distance.max()) * 0.6, 1), 0, 1) ** 2
    else:
        panel = courses(rng, size, count / 3, count / 4, shift=rng.choice([0.0, 0.5]))
        relief = panel.raised(1, 3) + bumps(size, count, radius=0.12, staggered=False)
    relief = np.asarray(relief, np.float32)
    albedo = speckled(rng, np.broadcast_to(_metal_colour(rng), (size, size, 3)), relief, rng.uniform(0, 0.2))
    height = np.float32(rng.uniform(0.05, 0.22) * size / count) * relief + np.float32(0.3) * grain(rng, size)
    roughness = np.float32(rng.uniform(0.2, 0.55)) - np.float32(rng.uniform(0, 0.15)) * relief
    return _dirty_metal(rng, Draft(albedo, height, np.asarray(roughness + 0.1 * fbm(rng, size, 4), np.float32), 1.0))


def _metal_colour(rng: Rng) -> Field:
    """Steel and aluminium, or brass, copper and gold."""
    if rng.random() < 0.65:
        return colour(rng, (0.05, 0.65), (0, 0.08), (0.5, 0.95))
    return colour(rng, (0.03, 0.13), (0.25, 0.6), (0.55, 0.95))


def _dirty_metal(rng: Rng, draft: Draft) -> Draft:
    size = draft.height.shape[0]
    marks = lines(rng, size, int(rng.integers(0, 80)), angle=None if rng.random() < 0.5 else 0.0)
    rust = smoothstep(0.6, 0.75, fbm(rng, size, rng.uniform(2, 6))) * np.float32(rng.random() < 0.35)
    brown = ramp(fbm(rng, size, 20), [colour(rng, (0.02, 0.06), (0.5, 0.9), (0.1, 0.5)) for _ in range(2)])
    return aged(
        rng,
        Draft(
            blend(draft.albedo, brown, rust),
            np.asarray(draft.height - 0.4 * marks + rust * grain(rng, size), np.float32),
            blend(np.asarray(draft.roughness + 0.15 * marks, np.float32), 0.85, rust),
            draft.metallic * (1 - float(rust.mean())),
        ),
    )


def planks(rng: Rng, size: int) -> Draft:
    """Boards and parquet, raw, oiled or varnished."""
    rows = rng.uniform(3, 9)
    floor = courses(rng, size, rows, rng.uniform(0.3, 2.5), shift=0.0, ragged=1.0)
    base = colour(rng, *WOOD)
    board = floor.raised(0, rng.uniform(1, 3))
    figure = _figure(rng, size, offset=floor.values(rng, 0, 40))
    albedo = _wooden(rng, base, figure) * (0.75 + 0.5 * floor.values(rng)[..., None])
    albedo = blend(np.broadcast_to(base * np.float32(0.15), albedo.shape), albedo, board)
    height = np.float32(rng.uniform(1, 4)) * board + np.float32(rng.uniform(0, 1.5)) * figure
    roughness = rng.uniform(0.2, 0.75) + 0.1 * (figure - 0.5) + 0.2 * (1 - board)
    draft = Draft(np.asarray(albedo, np.float32), np.asarray(height, np.float32), np.asarray(roughness, np.float32))
    return aged(rng, _turned(rng, draft))


def veneer(rng: Rng, size: int) -> Draft:
    """One piece of wood with its figure."""
    figure = _figure(rng, size, offset=np.zeros((size, size), np.float32))
    albedo = _wooden(rng, colour(rng, *WOOD), figure)
    height = np.float32(rng.uniform(0, 2)) * figure + np.float32(rng.uniform(0, 3)) * fbm(rng, size, 2, octaves=2)
    roughness = rng.uniform(0.15, 0.7) + rng.uniform(-0.2, 0.2) * (figure - 0.5)
    return aged(rng, _turned(rng, Draft(albedo, np.asarray(height, np.float32), np.asarray(roughness, np.float32))))


def _figure(rng: Rng, size: int, *, offset: Field) -> Field:
    """Growth rings cut lengthwise, along x, and fine fibres."""
    rings = fbm(rng, size, rng.uniform(0.6, 2), octaves=3, stretch=1 / rng.uniform(3, 9)) * rng.uniform(4, 18) + offset
    fibres = fbm(rng, size, rng.uniform(4, 10), octaves=4, gain=0.8, stretch=1 / rng.uniform(8, 20))
    mix = rng.uniform(0.3, 0.8)
    return np.asarray(mix * (0.5 + 0.5 * np.sin(2 * np.pi * rings)) + (1 - mix) * fibres, np.float32)


def _wooden(rng: Rng, base: Field, figure: Field) -> Field:
    return ramp(figure, [base * np.float32(rng.uniform(0.35, 0.85)), base, near(rng, base, 0.05)])


def _turned(rng: Rng, draft: Draft) -> Draft:
    if rng.random() < 0.5:
        return draft
    albedo, height, roughness = (
        np.ascontiguousarray(np.rot90(part)) for part in (draft.albedo, draft.height, draft.roughness)
    )
    return Draft(albedo, height, roughness)


def _tones(rng: Rng, layout: Courses, base: Field, spread: float) -> Field:
    palette = np.stack([near(rng, base, spread) for _ in range(int(layout.ids.max()) + 1)])
    return np.asarray(palette[layout.ids], np.float32)


def soil(rng: Rng, size: int) -> Draft:
    """Earth, sand and moss with some stones in it."""
    rough = fbm(rng, size, rng.uniform(4, 25), octaves=6, gain=rng.uniform(0.5, 0.75))
    base, other = colour(rng, *EARTH), colour(rng, (0.05, 0.3), (0.1, 0.7), (0.1, 0.55))
    patches = smoothstep(0.5, 0.65, fbm(rng, size, rng.uniform(2, 8)))
    albedo = speckled(rng, blend(np.broadcast_to(base, (size, size, 3)), other, patches), rough, 0.5)
    height = np.float32(rng.uniform(3, 14)) * rough + np.float32(rng.uniform(0.3, 2)) * grain(rng, size)
    return Draft(albedo, np.asarray(height, np.float32), np.asarray(rng.uniform(0.75, 1) - 0.15 * rough, np.float32))


def gravel(rng: Rng, size: int) -> Draft:
    """Pebbles of one size over smaller ones."""
    height, albedo = np.zeros((size, size), np.float32), np.zeros((size, size, 3), np.float32)
    base = colour(rng, *STONE)
    count = int(np.exp(rng.uniform(np.log(150), np.log(1500))))
    for layer in (4, 1):
        stones = cells(rng, size, count * layer)
        reach = float(np.quantile(stones.depth, 0.98))
        dome = np.sqrt(smoothstep(0, reach, warp(stones.depth, rng, 2, 20))) * stones.values(rng, 0.4, 1.2)
        top = np.asarray(dome * reach * rng.uniform(0.4, 0.9), np.float32)
        share = smoothstep(-0.3, 0.3, top - height) if layer == 1 else np.ones_like(top)
        albedo = blend(albedo, base * stones.values(rng, 0.4, 1.3)[..., None], share)
        height = np.maximum(height, top)
    albedo = speckled(rng, albedo, fbm(rng, size, 40), 0.2) * (0.5 + 0.5 * smoothstep(0, 3, height)[..., None])
    return Draft(np.asarray(albedo, np.float32), height, np.full((size, size), rng.uniform(0.6, 0.95), np.float32))


def grass(rng: Rng, size: int) -> Draft:
    """Blades, needles or leaves lying in all directions."""
    height, albedo = np.zeros((size, size), np.float32), np.zeros((size, size, 3), np.float32)
    base = colour(rng, (0.12, 0.33), (0.3, 0.8), (0.2, 0.6)) if rng.random() < 0.7 else colour(rng, *EARTH)
    albedo += base * np.float32(0.25)
    for layer in range(6):
        blades = lines(rng, size, int(rng.integers(200, 700)), longest=rng.uniform(0.1, 0.3))
        albedo = blend(albedo, near(rng, base, 0.12) * np.float32(0.5 + 0.1 * layer), smoothstep(0.1, 0.6, blades))
        height = np.maximum(height, (layer + 1) * blades)
    height = height * np.float32(rng.uniform(0.4, 1)) + 4 * fbm(rng, size, 8)
    return Draft(albedo, np.asarray(height, np.float32), np.full((size, size), rng.uniform(0.6, 0.9), np.float32))
