"""Fabric, leather and polymers."""

import numpy as np

from sightline.training.svbrdf.procedural.drafts import Draft, aged, any_colour, blend, colour, near, ramp, speckled
from sightline.training.svbrdf.procedural.noise import Rng, cells, fbm, grain, ridged, smoothstep, warp
from sightline.training.svbrdf.procedural.patterns import bumps, weave


def woven(rng: Rng, size: int) -> Draft:
    """Plain weaves and twills in one colour, two, or stripes."""
    threads = float(np.exp(rng.uniform(np.log(24), np.log(110))))
    cloth = weave(size, threads, twill=int(rng.integers(1, 4)), gap=rng.uniform(0, 0.3))
    base = any_colour(rng)
    other = any_colour(rng) if rng.random() < 0.4 else near(rng, base, 0.05)
    palette = np.stack([near(rng, base if rng.random() < 0.7 else other, 0.03) for _ in range(cloth.thread.max() + 1)])
    albedo = blend(palette[cloth.thread], other, 0.8 * (1 - cloth.over)) * (0.55 + 0.45 * cloth.height[..., None])
    albedo = speckled(rng, albedo, grain(rng, size), 0.15)
    folds = rng.uniform(0, 12) * fbm(rng, size, rng.uniform(1, 3), octaves=2)
    height = cloth.height * np.float32(rng.uniform(0.3, 0.9) * size / threads / 4) + folds
    roughness = rng.uniform(0.6, 0.95) - 0.15 * cloth.height
    return _pulled(rng, Draft(albedo, np.asarray(height, np.float32), np.asarray(roughness, np.float32)))


def knitted(rng: Rng, size: int) -> Draft:
    """Columns of slanted stitches."""
    columns = rng.uniform(10, 40)
    y, x = (np.mgrid[:size, :size] * columns / size).astype(np.float32)
    side = np.abs(x % 1 - 0.5) * 2
    stitch = (y * rng.uniform(0.7, 1.2) + 0.8 * side) % 1
    height = np.sqrt(np.clip(np.sin(np.pi * stitch) * np.sin(np.pi * np.clip(side, 0, 1)) + 0.05, 0, 1))
    height = np.asarray(height, np.float32)
    base = any_colour(rng)
    albedo = ramp(height, [base * 0.35, base, near(rng, base, 0.05)])
    albedo = speckled(rng, albedo, grain(rng, size), 0.2)
    roughness = np.full((size, size), rng.uniform(0.75, 0.98), np.float32)
    return _pulled(rng, Draft(albedo, height * np.float32(size / columns / 3) + grain(rng, size), roughness))


def felt(rng: Rng, size: int) -> Draft:
    """Felt, fleece and carpet, with fibres in all directions."""
    fibres = 0.5 * ridged(rng, size, rng.uniform(20, 60), octaves=3) + 0.5 * grain(rng, size, rng.uniform(0.6, 1.5))
    base = any_colour(rng)
    albedo = ramp(np.asarray(fibres, np.float32), [base * 0.5, base, near(rng, base, 0.12)])
    height = np.float32(rng.uniform(0.8, 4)) * np.asarray(fibres, np.float32)
    return Draft(albedo, height, np.full((size, size), rng.uniform(0.8, 1.0), np.float32))


def _pulled(rng: Rng, draft: Draft) -> Draft:
    """The draft with slight distortion, as threads are never straight."""
    seed = int(rng.integers(2**31))
    amount, waves = rng.uniform(0, 4), rng.uniform(2, 6)
    parts = (draft.albedo, draft.height, draft.roughness)
    albedo, height, roughness = (warp(part, np.random.default_rng(seed), amount, waves) for part in parts)
    return Draft(albedo, height, roughness)


def grained_leather(rng: Rng, size: int) -> Draft:
    """Cells of grain between creases."""
    pores = cells(rng, size, int(np.exp(rng.uniform(np.log(300), np.log(5000)))))
    width = max(1.0, float(np.quantile(pores.depth, 0.9)))
    crown = smoothstep(0, width, warp(pores.depth, rng, 3, 12))
    creases = smoothstep(0.85, 1, ridged(rng, size, rng.uniform(2, 6))) * np.float32(rng.uniform(0, 1))
    base = colour(rng, (0.0, 0.11), (0.2, 0.85), (0.06, 0.7)) if rng.random() < 0.75 else any_colour(rng)
    albedo = ramp(crown, [base * rng.uniform(0.4, 0.9), base])
    albedo = speckled(rng, blend(albedo, base * 0.5, 0.7 * creases), fbm(rng, size, rng.uniform(2, 8)), 0.2)
    height = np.float32(rng.uniform(0.2, 0.6) * width) * (crown + fbm(rng, size, 3, octaves=3)) - 3 * creases
    roughness = rng.uniform(0.3, 0.6) + 0.2 * (1 - crown) + 0.1 * creases
    return aged(rng, Draft(albedo, np.asarray(height, np.float32), np.asarray(roughness, np.float32)))


def quilted_leather(rng: Rng, size: int) -> Draft:
    """Grained leather, padded in lozenges or tiles."""
    draft = grained_leather(rng, size)
    count = rng.uniform(2, 7)
    y, x = (np.mgrid[:size, :size] * count / size).astype(np.float32)
    u, v = ((x + y) % 1, (x - y) % 1) if rng.random() < 0.6 else (x % 1, y % 1)
    pad = np.asarray((np.sin(np.pi * u) * np.sin(np.pi * v)) ** 0.4, np.float32)
    seam = 1 - smoothstep(0, 0.25, pad)
    height = draft.height + np.float32(rng.uniform(0.08, 0.25) * size / count) * pad
    return Draft(blend(draft.albedo, draft.albedo * np.float32(0.5), seam), height, draft.roughness + 0.1 * seam)


def smooth_polymer(rng: Rng, size: int) -> Draft:
    """Moulded plastic, lacquer, vinyl: one colour, fine grain or none, any gloss."""
    base = any_colour(rng)
    fine = grain(rng, size, rng.uniform(0.7, 2.5))
    waves = fbm(rng, size, rng.uniform(1, 4), octaves=3)
    height = np.float32(rng.uniform(0, 1.2)) * fine + np.float32(rng.uniform(0, 4)) * waves
    albedo = speckled(rng, np.broadcast_to(base, (size, size, 3)), waves, 0.04)
    roughness = np.full((size, size), rng.uniform(0.12, 0.6), np.float32) + 0.06 * (fine - 0.5)
    return aged(rng, Draft(albedo, np.asarray(height, np.float32), np.asarray(roughness, np.float32)))


def embossed_polymer(rng: Rng, size: int) -> Draft:
    """Mats, grips and mouldings with rows of bumps, ribs or pits."""
    count = float(np.exp(rng.uniform(np.log(5), np.log(40))))
    raised = bumps(size, count, radius=rng.uniform(0.2, 0.45), staggered=rng.random() < 0.5)
    if rng.random() < 0.3:
        ribs = np.sin(2 * np.pi * count * np.arange(size, dtype=np.float32) / size) * 0.5 + 0.5
        raised = np.asarray(np.broadcast_to(ribs, (size, size)), np.float32)
    base = any_colour(rng) if rng.random() < 0.5 else colour(rng, (0, 1), (0, 0.15), (0.03, 0.4))
    sign = 1 if rng.random() < 0.7 else -1
    height = sign * np.float32(rng.uniform(0.08, 0.3) * size / count) * raised + 0.3 * grain(rng, size)
    albedo = speckled(rng, np.broadcast_to(base, (size, size, 3)), raised, rng.uniform(0, 0.15))
    roughness = np.full((size, size), rng.uniform(0.2, 0.7), np.float32) - np.float32(rng.uniform(0, 0.1)) * raised
    return aged(rng, Draft(albedo, np.asarray(height, np.float32), np.asarray(roughness, np.float32)))
