"""Options, record and declaration of material estimation."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sightline.api.declaration import ConsoleView, ModelDeclaration, PictureField
from sightline.api.evidence import Evidence
from sightline.api.media_types import APNG, GIF, GLB, JSON, OPENEXR, PNG, ZIP
from sightline.imaging.bit_depth import Depth

DEFAULT_FLASH_CD = 45.0
"""Luminous intensity of a phone's lamp; those of phones have 20 to 100."""


class MaterialType(StrEnum):
    """In the order of the classifier's outputs."""

    FABRIC = "fabric"
    GROUND = "ground"
    LEATHER = "leather"
    METAL = "metal"
    POLYMER = "polymer"
    STONE_DIFFUSE = "stone_diffuse"
    STONE_SPECULAR = "stone_specular"
    WOOD = "wood"


class SvbrdfOptions(BaseModel):
    """Form fields or query parameters of the request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fov_deg: float = Field(
        default=60.0,
        ge=20,
        le=120,
        allow_inf_nan=False,
        description="Field of view across the photo's longer side; about 65 for the main camera of a phone",
    )
    linear: bool = Field(
        default=False, description="The samples are proportional to light, as of a developed raw file, not sRGB"
    )
    exposure: float | None = Field(
        default=None,
        ge=0.02,
        le=50,
        allow_inf_nan=False,
        description="Brightness of white paper: the linear value, with 1 for the brightest, that matte white paper in "
        "the middle of the photo would have, as of a second photo with the same settings. It fixes the brightness of "
        "the base colour. Without it, and without `flash_distance_m`, the camera is assumed to expose an 18 % grey "
        "card to 18 %",
    )
    flash_distance_m: float | None = Field(
        default=None,
        ge=0.02,
        le=20,
        allow_inf_nan=False,
        description="Distance of the flash from the surface in metres. With exposure time, aperture and ISO in the "
        "EXIF of a JPEG it gives the exposure; without it, the subject distance in the EXIF is used, if there is one",
    )
    flash_cd: float | None = Field(
        default=None,
        ge=1,
        le=1e6,
        allow_inf_nan=False,
        description="Luminous intensity of the flash in candela, for `flash_distance_m`. Without it 45 cd are assumed, "
        "as of a phone's lamp, and the result is a compromise with the brightness that the photo alone suggests",
    )
    refine: bool = Field(
        default=True, description="Smooth the maps where nothing in the photo speaks against it; false: as the network"
    )
    depth: Depth = Field(default=Depth.EIGHT, description="Bits per sample of the maps as PNG, 8 or 16")
    light_azimuth_deg: float = Field(
        default=45.0,
        ge=-360,
        le=360,
        allow_inf_nan=False,
        description="Where the light of the relit picture is: 0 is to the right, 90 above",
    )
    light_elevation_deg: float = Field(
        default=45.0,
        ge=5,
        le=90,
        allow_inf_nan=False,
        description="How high the light of the relit picture and the turntable is over the surface; 90 is the camera",
    )
    frames: int = Field(default=24, ge=2, le=60, description="Pictures of the turntable")


class Material(BaseModel):
    """Material type of the surface."""

    type: MaterialType
    probabilities: dict[MaterialType, float]


class SvbrdfRecord(BaseModel):
    """Estimated material."""

    width: int
    height: int
    material: Material
    metallic: float = Field(ge=0, le=1, description="Mean metallicness")
    mean_roughness: float = Field(ge=0, le=1)
    exposure: float = Field(
        ge=0, description="Linear value that matte white paper in the middle of the photo would have, if the maps hold"
    )
    exposure_source: Literal["assumed", "camera", "option"] = Field(
        description="Origin of the base colour's brightness: an assumption, the camera's settings, or the option"
    )
    refined: bool = Field(description="Whether the maps are smoothed")
    rerender_rmse: float = Field(
        ge=0,
        description="How far a render of the maps under a flash at the camera is from the photo: root mean square in "
        "sRGB 0..1 at the network's size, in the exposure that fits best",
    )
    evidence: Evidence


DESCRIPTION = """Estimates what a flat surface is like from one photo taken with the camera's flash: base colour,
normals, roughness and metallicness at every pixel, and of which type the material is.

Hold the camera level over the surface, some 30 to 50 cm away, with the flash on; the highlight should be near the
middle. The maps have the photo's size. `application/zip` has them as PNG (`basecolor`, `diffuse` and `specular` derived
from it, `normal`, `roughness`, `metallic`), with the record and a MaterialX document; `image/x-exr` as one OpenEXR
file; `model/gltf-binary` as a material on a plane that opens in any viewer. `image/png` is the surface under a light of
your choice, `image/apng` and `image/gif` show it while the light goes around.

One photo does not tell a dark surface from a weak flash. Without `exposure` or `flash_distance_m`, the brightness of
the base colour rests on the assumption that the camera exposes a grey card to its own reflectance."""

DECLARATION = ModelDeclaration(
    name="svbrdf",
    title="Materials from a flash photo",
    description=DESCRIPTION,
    pictures=(
        PictureField(
            "image", "The flash photo: JPEG, PNG (8 or 16 bit), WebP, TIFF, HEIC or AVIF", sample="surface.jpg"
        ),
    ),
    options=SvbrdfOptions,
    media_types=(ZIP, GLB, PNG, APNG, GIF, OPENEXR, JSON),
    record=SvbrdfRecord,
    sample_output="material.zip",
    console=ConsoleView(
        (JSON, APNG),
        caption="Surface under a rotating light",
        downloads={"Maps (ZIP)": ZIP, "Material (GLB)": GLB, "Maps (OpenEXR)": OPENEXR},
    ),
)
