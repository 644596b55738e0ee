"""A result as maps, as a material, as the surface under another light, or as record."""

from collections.abc import Callable, Mapping
from io import BytesIO
from zipfile import ZIP_STORED, ZipFile

import numpy as np

from services.svbrdf import textures
from services.svbrdf.gltf import glb_file
from services.svbrdf.materialx import materialx_document
from services.svbrdf.openexr import openexr_file
from services.svbrdf.relighting import animation, light_at, relit, turntable
from services.svbrdf.result import SvbrdfResult
from services.svbrdf.schemas import Depth, Material, SvbrdfRecord
from sightline.api.evidence import Evidence
from sightline.api.media_types import APNG, GIF, GLB, JSON, OPENEXR, PNG, ZIP
from sightline.inference.predictor import Rendered

TEXTURE_PX = 2048
NOTE = "Estimated from one photo; base colour, normals and roughness are a model's guess."


def render(result: SvbrdfResult, media_type: str, evidence: Evidence) -> Rendered:
    return Rendered(_DRAW[media_type](result, evidence), media_type)


def describe(result: SvbrdfResult, evidence: Evidence) -> SvbrdfRecord:
    picture, probabilities = result.request.picture, result.probabilities
    return SvbrdfRecord(
        width=picture.width,
        height=picture.height,
        material=Material(
            type=max(probabilities, key=lambda kind: probabilities[kind]),
            probabilities={kind: round(share, 4) for kind, share in probabilities.items()},
        ),
        metallic=round(min(result.maps.metallic, 1.0), 4),
        mean_roughness=round(result.mean_roughness, 4),
        refined=result.request.options.refine,
        rerender_rmse=round(result.rerender_rmse, 4),
        evidence=evidence,
    )


def _record(result: SvbrdfResult, evidence: Evidence) -> bytes:
    return describe(result, evidence).model_dump_json().encode()


def _relit(result: SvbrdfResult, _: Evidence) -> bytes:
    options = result.request.options
    light = light_at(options.light_azimuth_deg, options.light_elevation_deg)
    return textures.png(relit(result.maps, result.photo, result.camera, light))


def _turning(file_format: str) -> Callable[[SvbrdfResult, Evidence], bytes]:
    def turning(result: SvbrdfResult, _: Evidence) -> bytes:
        options = result.request.options
        parts = (result.maps, result.photo, result.camera)
        pictures = turntable(*parts, elevation_deg=options.light_elevation_deg, frames=options.frames)
        return animation(pictures, file_format)

    return turning


def _openexr(result: SvbrdfResult, _: Evidence) -> bytes:
    return openexr_file(result.maps, result.photo)


def _glb(result: SvbrdfResult, _: Evidence) -> bytes:
    photo = result.photo.within(TEXTURE_PX)
    kinds = {
        "diffuse": textures.diffuse,
        "normal": textures.normal,
        "metallic_roughness": textures.metallic_roughness,
    }
    pictures = textures.draw(result.maps, photo, kinds, np.uint8)
    files = {name: textures.png(pixels) for name, pixels in pictures.items()}
    return glb_file(files, width=photo.width, height=photo.height, metallic=result.maps.metallic, note=NOTE)


def _archive(result: SvbrdfResult, evidence: Evidence) -> bytes:
    """Its pictures are packed already."""
    kinds = {"diffuse": textures.diffuse, "normal": textures.normal, "roughness": textures.roughness}
    dtype = np.uint16 if result.request.options.depth is Depth.SIXTEEN else np.uint8
    pictures = textures.draw(result.maps, result.photo, kinds, dtype)
    names = {name: f"{name}.png" for name in kinds}
    file = BytesIO()
    with ZipFile(file, "w", ZIP_STORED) as archive:
        for name, pixels in pictures.items():
            archive.writestr(names[name], textures.png(pixels, grey=name == "roughness"))
        archive.writestr("material.mtlx", materialx_document(**names, metallic=result.maps.metallic))
        archive.writestr("record.json", _record(result, evidence))
    return file.getvalue()


_DRAW: Mapping[str, Callable[[SvbrdfResult, Evidence], bytes]] = {
    ZIP: _archive,
    GLB: _glb,
    PNG: _relit,
    APNG: _turning("PNG"),
    GIF: _turning("GIF"),
    OPENEXR: _openexr,
    JSON: _record,
}
