"""Options, record and declaration of exposure correction."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from sightline.api import headers
from sightline.api.declaration import ConsoleView, ModelDeclaration, PictureField
from sightline.api.evidence import Evidence
from sightline.api.media_types import JPEG, JSON, OPENEXR, PNG, RADIANCE, WEBP, ZIP
from sightline.imaging.bit_depth import Depth


class Output(StrEnum):
    """Kinds of returned picture."""

    PHOTO = "photo"
    MAP = "map"


class HdrOptions(BaseModel):
    """Form fields or query parameters of the request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strength: float = Field(
        default=1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the correction to apply; 0 changes no pixel",
    )
    depth: Depth | None = Field(
        default=None, description="Bits per sample of the corrected PNG, 8 or 16; by default those of the photo"
    )
    output: Output = Field(
        default=Output.PHOTO,
        description="`photo` returns the corrected photo, `map` one channel with 255 for synthesised pixels: those "
        "that are clipped or crushed in the photo, and that the correction changed",
    )


class ExposureReading(BaseModel):
    """Exposure of a photo."""

    crushed_share: float = Field(ge=0, le=1, description="Pixels of which every channel is at most 2/255")
    clipped_share: float = Field(ge=0, le=1, description="Pixels of which some channel is at least 253/255")
    mean_luminance: float = Field(ge=0, le=1, description="In linear light; 1 is white")
    ev_error: float | None = Field(
        description="Stops by which the photo is brighter than the estimated scene in the median, below 0 darker; "
        "null when hardly any pixel is neither crushed nor clipped"
    )


class Exposure(BaseModel):
    """Exposure of the photo before and after the correction."""

    before: ExposureReading
    after: ExposureReading


class HdrRecord(BaseModel):
    """JSON record of a corrected photo."""

    width: int
    height: int
    applied_share: float = Field(
        ge=0,
        le=1,
        description="Share of the network's correction that was applied: `strength`, or less where the photo was well "
        "exposed already; a photo without clipped areas is not darkened",
    )
    shadow_lift_stops: float = Field(
        ge=0,
        description="Largest brightening, in stops, of the dark regions of a backlit photo, such as a building before "
        "a bright sky. It is added to the network's correction, and 0 for other photos",
    )
    exposure: Exposure
    synthesised_share: float = Field(
        ge=0, le=1, description="Share of the pixels that the correction made up, as they are clipped or crushed"
    )
    scene_white: float = Field(description="Value of a well-exposed photo's white in the scene files", examples=[1.0])
    scene_stops: float = Field(
        description="Range of the estimated scene's luminance in stops, without its darkest and brightest thousandth"
    )
    evidence: Evidence


DESCRIPTION = """Brings detail back into photos that are too dark, too bright or both, with two reciprocating networks.

The photo comes back in its size, orientation, bit depth and colour space, as PNG unless `Accept` says otherwise. The
networks correct a small copy, and the correction is transferred to every pixel, so that fine detail is the photo's own.
Dark regions of a backlit photo are lifted. Snow, paper, clouds and white things that are not clipped stay bright.
With `Accept: image/vnd.radiance` or `image/x-exr`, the reply is the estimated scene in linear light, upright, in the
primaries of sRGB, with 1.0 for the white of a well-exposed photo. `application/zip` has all of them. Clipped and
crushed pixels hold no information: there, the scene is a guess from the surroundings. `output=map` shows where these
pixels are in the corrected photo."""

DECLARATION = ModelDeclaration(
    name="hdr_correct",
    title="Exposure correction and HDR",
    description=DESCRIPTION,
    pictures=(
        PictureField("image", "The photo: JPEG, PNG (8 or 16 bit), WebP, TIFF, HEIC or AVIF", sample="photo.jpg"),
    ),
    options=HdrOptions,
    media_types=(PNG, JPEG, WEBP, RADIANCE, OPENEXR, ZIP, JSON),
    record=HdrRecord,
    headers=(headers.SYNTHESISED_SHARE,),
    sample_output="out.png",
    console=ConsoleView(
        (JSON, JPEG), caption="Corrected photo", downloads={"Scene (OpenEXR)": OPENEXR, "Everything (ZIP)": ZIP}
    ),
)
