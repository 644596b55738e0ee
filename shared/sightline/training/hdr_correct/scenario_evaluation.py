"""Scenarios that a global exposure error does not cover: backlit scenes, and scenes that are bright by nature."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sightline.imaging.colour_spaces.transfer_functions import decode_srgb, encode_srgb
from sightline.training.hdr_correct.baselines import Corrector
from sightline.training.hdr_correct.cameras import Linear
from sightline.training.hdr_correct.evaluate import plain_camera
from sightline.training.hdr_correct.scenes import LUMINANCE, read_scenes
from sightline.training.metrics import psnr_db, ssim
from sightline.training.photos import Picture, after_jpeg, list_photos, read_rgb, shrink_to
from sightline.training.tables import Figures, make_rows, markdown_table

Codes = NDArray[np.float32]
"""(h, w) luminance as a code of sRGB, 0..255."""

VIEWS_PER_PANORAMA = 8
DARK_CODE, BRIGHT_CODE = 50, 150
MIN_DARK_SHARE, MIN_BRIGHT_SHARE = 0.2, 0.12
HIGHLIGHT_QUANTILE, HIGHLIGHT_LIGHT = 0.97, 0.8
"""A backlit photo is exposed for its sky: this quantile of the scene's luminance becomes this light."""
REGION_SHARE = 1 / 64
"""Blur that separates regions from texture, as a share of the longer side."""
HALO_BLURS = 4
"""Distance from the dark region up to which a change of the bright one counts as a halo, in widths of the blur."""
BRACKET_STEP_STOPS = 1.5
REFERENCE_LIGHT = 0.2
"""The brightest exposure of the reference's bracket brings the scene's lowest tenth to this light."""
CLIPPED, NOT_CLIPPED = 253, 250
BRIGHT_SIDE_PX = 512
MAX_CHANGE_LEVELS = 10.0
PAGES = 24
PAGE_SIZE_PX = (600, 440)


@dataclass(frozen=True, slots=True, eq=False)
class BacklitView:
    """A photo exposed for the sky of a scene, a reference of the whole scene, and the masks (h, w) of both regions."""

    photo: Picture
    reference: Picture
    dark: NDArray[np.bool_]
    bright: NDArray[np.bool_]


def backlit_views(folder: Path) -> Iterator[BacklitView]:
    """Yields the views of the HDR files in a folder that have a bright and a dark region when exposed for the sky."""
    for at, scene in enumerate(read_scenes(folder, views=VIEWS_PER_PANORAMA)):
        luminance = scene @ LUMINANCE
        exposed = scene * np.float32(HIGHLIGHT_LIGHT / max(float(np.quantile(luminance, HIGHLIGHT_QUANTILE)), 1e-6))
        photo = plain_camera(0).shoot(exposed, np.random.default_rng(at))
        regions = _blurred(codes(photo))
        dark, bright = regions < DARK_CODE, regions > BRIGHT_CODE
        if dark.mean() >= MIN_DARK_SHARE and bright.mean() >= MIN_BRIGHT_SHARE:
            yield BacklitView(photo, fused_bracket(exposed), dark, bright)


def fused_bracket(exposed: Linear) -> Picture:
    """Exposure fusion (Mertens et al. 2007) of a bracket from the exposure for the sky to one for the shadows."""
    shadows = max(float(np.quantile(exposed @ LUMINANCE, 0.1)), 1e-5)
    evs = np.arange(0, max(np.log2(REFERENCE_LIGHT / shadows), 0) + BRACKET_STEP_STOPS, BRACKET_STEP_STOPS)
    bracket = [np.rint(255 * encode_srgb(np.clip(exposed * np.float32(2.0**ev), 0, 1))).astype(np.uint8) for ev in evs]
    return np.asarray(np.rint(255 * np.clip(cv2.createMergeMertens().process(bracket), 0, 1)), np.uint8)


def codes(photo: Picture) -> Codes:
    """The luminance of a photo as codes of sRGB."""
    return np.asarray(255 * encode_srgb(decode_srgb(photo.astype(np.float32) / 255) @ LUMINANCE), np.float32)


def _blurred(values: Codes) -> Codes:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), max(values.shape) * REGION_SHARE), np.float32)


def measure_backlit(corrected: Picture, view: BacklitView) -> Figures:
    """Figures of one corrected view.

    dark_code: median of the dark region; reference_code: the same of the reference; new_clipped: share of the bright
    region's pixels that the correction clips; sky_texture: contrast of the bright region's texture, 1 = the photo's;
    halo_levels: mean change of the bright region beside the dark one, less that of the rest of the bright region;
    psnr_db, ssim: to the reference.
    """
    before, after = codes(view.photo), codes(corrected)
    open_before, clipped_after = view.photo.max(axis=2) < NOT_CLIPPED, corrected.max(axis=2) >= CLIPPED
    return {
        "dark_code": float(np.median(after[view.dark])),
        "reference_code": float(np.median(codes(view.reference)[view.dark])),
        "new_clipped": float((open_before & clipped_after)[view.bright].mean()),
        "sky_texture": _texture(after, view.bright) / max(_texture(before, view.bright), 1e-3),
        "halo_levels": _halo(after - before, view),
        "psnr_db": psnr_db(corrected, view.reference),
        "ssim": ssim(corrected, view.reference),
    }


def _texture(values: Codes, mask: NDArray[np.bool_]) -> float:
    return float(np.abs(values - _blurred(values))[mask].mean())


def _halo(change: Codes, view: BacklitView) -> float:
    reach = 2 * round(HALO_BLURS * max(change.shape) * REGION_SHARE) + 1
    near = cv2.dilate(view.dark.astype(np.uint8), np.ones((reach, reach), np.uint8)).astype(np.bool_) & view.bright
    far = view.bright & ~near
    return float(abs(change[near].mean() - change[far].mean())) if near.any() and far.any() else 0.0


def compare_backlit(correctors: Mapping[str, Corrector], folder: Path) -> str:
    """Figures of every method on the backlit views of a folder's HDR files, as Markdown. ValueError without views."""
    views = list(backlit_views(folder))
    if not views:
        raise ValueError(f"no backlit view in the HDR files under {folder}")
    figures = {
        name: [measure_backlit(correct(view.photo), view) for view in views] for name, correct in correctors.items()
    }
    return markdown_table(make_rows(views, lambda _: "backlit", figures), "scenario")


def bright_pictures(folder: Path) -> Iterator[tuple[str, Picture]]:
    """Yields bright scenes with the name of their subfolder, and rendered pages."""
    for path in list_photos(folder):
        yield path.parent.name, shrink_to(read_rgb(path), BRIGHT_SIDE_PX)
    for seed in range(PAGES):
        yield "rendered page", render_page(np.random.default_rng(seed))


def render_page(rng: np.random.Generator) -> Picture:
    """A scanned page: text on white to cream paper, with uneven light, noise and JPEG compression."""
    paper = rng.uniform(222, 254) - np.array([0, rng.uniform(0, 6), rng.uniform(0, 24)])
    page = Image.fromarray(np.full((*PAGE_SIZE_PX, 3), paper.round(), np.uint8))
    _write(page, rng)
    height, width = PAGE_SIZE_PX
    slope = rng.uniform(-8, 0) * np.linspace(0, 1, width) + rng.uniform(-8, 0) * np.linspace(0, 1, height)[:, None]
    noisy = np.asarray(page, np.float32) + slope[..., None] + rng.normal(0, rng.uniform(0.3, 2.0), (*PAGE_SIZE_PX, 3))
    return after_jpeg(np.clip(noisy, 0, 255).round().astype(np.uint8), int(rng.integers(75, 96)))


def _write(page: Image.Image, rng: np.random.Generator) -> None:
    size_px = int(rng.integers(9, 20))
    font, draw, ink = ImageFont.load_default(size_px), ImageDraw.Draw(page), int(rng.integers(15, 70))
    for top in range(40, page.height - 60, round(1.5 * size_px)):
        letters = rng.integers(ord("a"), ord("z") + 1, int(rng.integers(20, 120)))
        words = "".join(chr(letter) if rng.random() > 0.16 else " " for letter in letters)
        draw.text((40, top), words[: int((page.width - 80) / size_px * 2)], fill=(ink, ink, ink), font=font)


def compare_bright(correctors: Mapping[str, Corrector], folder: Path) -> str:
    """Change of scenes that are bright by nature, by subfolder and method, as Markdown.

    mean_before, mean_after: level of 0..255; mean_change: the absolute change of a picture's mean; pixel_change: mean
    absolute change of its samples; over_10: share of the pictures whose mean changes by more than ten levels.
    """
    pictures = list(bright_pictures(folder))
    figures = {
        name: [_change(correct(picture), picture) for _, picture in pictures] for name, correct in correctors.items()
    }
    return markdown_table(make_rows(pictures, lambda named: named[0], figures), "subject")


def _change(corrected: Picture, picture: Picture) -> Figures:
    change = abs(float(corrected.mean()) - float(picture.mean()))
    return {
        "mean_before": float(picture.mean()),
        "mean_after": float(corrected.mean()),
        "mean_change": change,
        "pixel_change": float(np.abs(corrected.astype(np.int16) - picture).mean()),
        "over_10": float(change > MAX_CHANGE_LEVELS),
    }
