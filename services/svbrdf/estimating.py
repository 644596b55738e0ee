"""From the network's outputs to maps of the photo's size."""

from collections.abc import Sequence

import numpy as np

from services.svbrdf.light import LinearPhoto
from services.svbrdf.result import SvbrdfRequest, SvbrdfResult
from services.svbrdf.schemas import MaterialType
from services.svbrdf.upsampling import fit_detail
from sightline.inference.signature import Tensors
from sightline.materials.maps import Floats, SurfaceMaps, mean_maps, mirrored_maps, unit
from sightline.materials.refinement import SHIPPED, refine
from sightline.materials.rendering import Camera, rerender_rmse

METAL = tuple(MaterialType).index(MaterialType.METAL)


def apply_outputs(
    request: SvbrdfRequest, photo: LinearPhoto, camera: Camera, light: Floats, outputs: Sequence[Tensors]
) -> SvbrdfResult:
    """Outputs are those of `light`, the photo as the network saw it, and of its mirror image."""
    upright, mirrored = (read_maps(each) for each in outputs)
    maps = mean_maps(upright, mirrored_maps(mirrored))
    shares = np.mean([each["probabilities"] for each in outputs], axis=0)
    probabilities = {kind: float(share) for kind, share in zip(MaterialType, shares, strict=True)}
    if request.options.refine:
        maps = refine(maps, light, camera.points(maps.height, maps.width), SHIPPED)
    return SvbrdfResult(
        request,
        photo,
        camera,
        fit_detail(maps, light),
        probabilities,
        mean_roughness=float(maps.roughness.mean()),
        rerender_rmse=rerender_rmse(maps, light, camera),
    )


def read_maps(outputs: Tensors) -> SurfaceMaps:
    metallic = float(outputs["probabilities"][METAL])
    return SurfaceMaps(outputs["albedo"], unit(outputs["normal"]), outputs["roughness"][..., 0], metallic)
