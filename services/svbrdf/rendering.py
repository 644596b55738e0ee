"""Representations of a result: maps, materials, relit pictures, and the JSON record."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.svbrdf import textures
from services.svbrdf.estimation import DetailedMaps, SvbrdfResult
from services.svbrdf.linear_photo import LinearPhoto
from services.svbrdf.material_files import glb_file, materialx_document
from services.svbrdf.schemas import Material, SvbrdfRecord
from sightline.api.evidence import Alteration, Evidence
from sightline.api.media_types import APNG, GIF, GLB, JSON, OPENEXR, PNG, ZIP
from sightline.imaging.bit_depth import Depth
from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.inference.predictor import Rendered
from sightline.materials.maps import Floats
from sightline.materials.rendering import Camera, shade

TEXTURE_PX = 2048
NOTE = "Estimated from one photo; base colour, normals and roughness are a model's guess."
TURNTABLE_PX = 400
FRAME_MS = 80
GREY = frozenset({"roughness", "metallic"})
Light = tuple[float, float, float]


def render(result: SvbrdfResult, media_type: str, evidence: Evidence) -> Rendered:
    """The result in the media type."""
    if media_type == ZIP:
        return Rendered.archive(_archived(result, evidence))
    alteration = Alteration.RELIT if media_type in (PNG, APNG, GIF) else None
    return Rendered(_ENCODERS[media_type](result, evidence), media_type, alteration=alteration)


def describe(result: SvbrdfResult, evidence: Evidence) -> SvbrdfRecord:
    """The JSON record."""
    picture, probabilities = result.request.picture, result.probabilities
    return SvbrdfRecord(
        width=picture.width,
        height=picture.height,
        material=Material(
            type=max(probabilities, key=lambda kind: probabilities[kind]),
            probabilities={kind: round(share, 4) for kind, share in probabilities.items()},
        ),
        metallic=round(min(result.mean_metallic, 1.0), 4),
        mean_roughness=round(result.mean_roughness, 4),
        exposure=round(result.exposure, 4),
        exposure_source=result.exposure_source.value,
        refined=result.request.options.refine,
        rerender_rmse=round(result.rerender_rmse, 4),
        evidence=evidence,
    )


def _record(result: SvbrdfResult, evidence: Evidence) -> bytes:
    return describe(result, evidence).model_dump_json().encode()


def _relit(result: SvbrdfResult, _: Evidence) -> bytes:
    options = result.request.options
    light = light_at(options.light_azimuth_deg, options.light_elevation_deg)
    return textures.png(relight(result.maps, result.photo, result.camera, light))


def _animated(file_format: str) -> Callable[[SvbrdfResult, Evidence], bytes]:
    def encode_animation(result: SvbrdfResult, _: Evidence) -> bytes:
        options = result.request.options
        parts = (result.maps, result.photo, result.camera)
        pictures = turntable(*parts, elevation_deg=options.light_elevation_deg, frames=options.frames)
        return animation(pictures, file_format)

    return encode_animation


def _openexr(result: SvbrdfResult, _: Evidence) -> bytes:
    return textures.encode_layers(result.maps, result.photo)


def _glb(result: SvbrdfResult, _: Evidence) -> bytes:
    photo = result.photo.within(TEXTURE_PX)
    kinds = {
        "basecolor": textures.basecolor,
        "normal": textures.normal,
        "metallic_roughness": textures.metallic_roughness,
    }
    pictures = textures.draw(result.maps, photo, kinds, np.uint8)
    files = {name: textures.png(pixels) for name, pixels in pictures.items()}
    return glb_file(files, width=photo.width, height=photo.height, note=NOTE)


def _archived(result: SvbrdfResult, evidence: Evidence) -> dict[str, Rendered]:
    """The files of the archive by name."""
    kinds = {
        "basecolor": textures.basecolor,
        "diffuse": textures.diffuse,
        "specular": textures.specular,
        "normal": textures.normal,
        "roughness": textures.roughness,
        "metallic": textures.metallic,
    }
    dtype = np.uint16 if result.request.options.depth is Depth.SIXTEEN else np.uint8
    pictures = textures.draw(result.maps, result.photo, kinds, dtype)
    names = {name: f"{name}.png" for name in kinds}
    files = {names[name]: Rendered(textures.png(pixels, grey=name in GREY), PNG) for name, pixels in pictures.items()}
    shown = {name: names[name] for name in ("basecolor", "normal", "roughness", "metallic")}
    files["material.mtlx"] = Rendered(materialx_document(**shown), "application/xml")
    files["record.json"] = Rendered(_record(result, evidence), JSON)
    return files


def light_at(azimuth_deg: float, elevation_deg: float) -> Light:
    """The position of a light at distance 1 from the middle; azimuth 0 is to the right, elevation 90 at the camera."""
    azimuth, elevation = np.deg2rad([azimuth_deg, elevation_deg])
    across = np.cos(elevation)
    return float(across * np.cos(azimuth)), float(across * np.sin(azimuth)), float(np.sin(elevation) - 1)


def relight(maps: DetailedMaps, photo: LinearPhoto, camera: Camera, light: Light) -> NDArray[np.uint8]:
    """The surface (h, w, 3) in sRGB under the light, at the photo's size."""
    result = np.empty((photo.height, photo.width, 3), np.uint8)
    for rows, band in maps.bands(photo):
        result[rows] = _to_srgb(shade(band, camera.points(photo.height, photo.width, rows), light))
    return result


def turntable(
    maps: DetailedMaps, photo: LinearPhoto, camera: Camera, *, elevation_deg: float, frames: int
) -> list[NDArray[np.uint8]]:
    """Small sRGB pictures of the surface, while the light goes around it once."""
    small = photo.within(TURNTABLE_PX)
    whole, points = maps.whole(small), camera.points(small.height, small.width)
    angles = 360 * np.arange(frames) / frames
    return [_to_srgb(shade(whole, points, light_at(float(angle), elevation_deg))) for angle in angles]


def _to_srgb(light: Floats) -> NDArray[np.uint8]:
    return np.asarray(np.rint(255 * encode_srgb(np.clip(light, 0, 1))), np.uint8)


def animation(frames: Sequence[NDArray[np.uint8]], file_format: str) -> bytes:
    """An endless animation as `PNG` or `GIF`."""
    images, file = [Image.fromarray(frame) for frame in frames], BytesIO()
    if file_format == "GIF":
        # One palette for all: colours must not flicker, and finding one takes longer than drawing the frames.
        palette = Image.fromarray(np.concatenate(frames[:: max(1, len(frames) // 4)])).quantize()
        images = [image.quantize(palette=palette) for image in images]
    images[0].save(file, file_format, save_all=True, append_images=images[1:], duration=FRAME_MS, loop=0)
    return file.getvalue()


_ENCODERS: Mapping[str, Callable[[SvbrdfResult, Evidence], bytes]] = {
    GLB: _glb,
    PNG: _relit,
    APNG: _animated("PNG"),
    GIF: _animated("GIF"),
    OPENEXR: _openexr,
    JSON: _record,
}
