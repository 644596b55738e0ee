"""Renders a result as picture, as map of synthesised pixels, or as record."""

import numpy as np

from services.inpaint.coarse_to_fine import LevelPass
from services.inpaint.holes import Holes, connected_regions
from services.inpaint.result import InpaintResult
from services.inpaint.schemas import InpaintRecord, NetworkPass, Output, PictureFormat, SynthesisedRegion
from sightline.api.evidence import Alteration, Evidence
from sightline.api.media_types import JSON, PNG, ZIP
from sightline.api.problems import Code, Problem
from sightline.imaging.encoder import encode, encoding_notes
from sightline.imaging.picture import Picture
from sightline.inference.predictor import Rendered

MAX_LISTED_REGIONS = 100


def render(result: InpaintResult, media_type: str, evidence: Evidence) -> Rendered:
    """Renders the result; the option `format` takes precedence over a picture's media type, but not over JSON."""
    if media_type == ZIP:
        return Rendered.archive(_archived(result, evidence))
    if media_type == JSON:
        return _record(result, evidence)
    fixed = result.request.options.format
    media_type = fixed.media_type if fixed else media_type
    notes = encoding_notes(result.pixels, media_type) if result.request.options.output is Output.PHOTO else ()
    is_filled = result.request.options.output is Output.PHOTO and result.request.holes.pixels > 0
    alteration = Alteration.INPAINTED if is_filled else None
    return Rendered(_encode_picture(result, media_type), media_type, notes=notes, alteration=alteration)


def _archived(result: InpaintResult, evidence: Evidence) -> dict[str, Rendered]:
    """The files of the archive by name."""
    picture, is_filled = result.request.picture, result.request.holes.pixels > 0
    photo = encode(result.pixels, PNG, picture, alpha=result.alpha)
    return {
        "filled.png": Rendered(photo, PNG, alteration=Alteration.INPAINTED if is_filled else None),
        "map.png": Rendered(_encode_map(picture, result.request.holes, PNG), PNG),
        "record.json": _record(result, evidence),
    }


def _record(result: InpaintResult, evidence: Evidence) -> Rendered:
    return Rendered(describe(result, evidence).model_dump_json().encode(), JSON)


def describe(result: InpaintResult, evidence: Evidence) -> InpaintRecord:
    """Returns the record of a result."""
    picture, holes = result.request.picture, result.request.holes
    regions = connected_regions(holes.mask)
    listed = regions[:MAX_LISTED_REGIONS]
    return InpaintRecord(
        width=picture.width,
        height=picture.height,
        synthesised_share=holes.share,
        synthesised_pixels=holes.pixels,
        mask_source=holes.source,
        region_count=len(regions),
        regions=[SynthesisedRegion(box_xyxy=each.box_xyxy, pixels=each.pixels) for each in listed],
        passes=[_describe_pass(each) for each in result.passes],
        evidence=evidence,
    )


def _describe_pass(level: LevelPass) -> NetworkPass:
    sides = sorted({window.side_px for window in level.windows})
    return NetworkPass(scale=level.scale, windows=len(level.windows), sides_px=sides)


def _encode_picture(result: InpaintResult, media_type: str) -> bytes:
    picture = result.request.picture
    if result.request.options.output is Output.PHOTO:
        return encode(result.pixels, media_type, picture, alpha=result.alpha)
    if media_type == PictureFormat.JPEG.media_type:
        offered = [each.media_type for each in PictureFormat if each is not PictureFormat.JPEG]
        raise Problem(Code.NOT_ACCEPTABLE, "The map of synthesised pixels is not available as JPEG.", offered=offered)
    return _encode_map(picture, result.request.holes, media_type)


def _encode_map(picture: Picture, holes: Holes, media_type: str) -> bytes:
    """Encodes the map, 255 = synthesised, in the stored frame of the photo."""
    pixels = np.repeat(holes.mask[..., None] * np.uint8(255), 3, axis=2)
    return encode(pixels, media_type, picture.with_srgb_pixels(pixels, grey=True), lossless=True)
