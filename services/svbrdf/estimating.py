"""From the network's outputs to maps of the photo's size."""

from services.svbrdf.light import LinearPhoto
from services.svbrdf.result import SvbrdfRequest, SvbrdfResult
from services.svbrdf.schemas import MaterialType
from services.svbrdf.upsampling import fit_detail
from sightline.imaging.surfaces.camera import Camera
from sightline.imaging.surfaces.maps import Floats, Maps, unit
from sightline.imaging.surfaces.refinement import SHIPPED, refine
from sightline.imaging.surfaces.selfcheck import rerender_rmse
from sightline.serving.signature import Tensors


def apply_outputs(
    request: SvbrdfRequest, photo: LinearPhoto, camera: Camera, light: Floats, outputs: Tensors
) -> SvbrdfResult:
    """Outputs are of the size of `light`, the photo as the network saw it."""
    probabilities = {kind: float(share) for kind, share in zip(MaterialType, outputs["probabilities"], strict=True)}
    maps = read_maps(outputs, metallic=probabilities[MaterialType.METAL])
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


def read_maps(outputs: Tensors, *, metallic: float) -> Maps:
    return Maps(outputs["albedo"], unit(outputs["normal"]), outputs["roughness"][..., 0], metallic)
