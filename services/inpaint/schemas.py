"""Options, record and declaration of inpainting."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, Json

from sightline.api import headers
from sightline.api.declaration import ConsoleView, ModelDeclaration, PictureField
from sightline.api.evidence import Evidence
from sightline.api.media_types import JSON, PNG
from sightline.imaging.regions import Regions


class PictureFormat(StrEnum):
    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        return f"image/{self}"


class Output(StrEnum):
    """Which picture comes back."""

    PHOTO = "photo"
    MAP = "map"


class InpaintOptions(BaseModel):
    """Form fields or query parameters of the request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regions: Json[Regions] | None = Field(
        default=None,
        # An `example` would be sent by the documentation's page.
        description="Holes as boxes and polygons in JSON, in pixels of the displayed picture; instead of a mask. "
        'Such as {"boxes": [[120, 80, 260, 190]], "polygons": [[[10, 10], [60, 12], [40, 70]]]}',
    )
    format: PictureFormat | None = Field(
        default=None, description="Format of the picture that comes back, whichever picture `Accept` prefers"
    )
    output: Output = Field(
        default=Output.PHOTO,
        description="`photo` is the filled photo; `map` one channel, 255 where a pixel is synthesised",
    )


class SynthesisedRegion(BaseModel):
    """Holes that touch each other."""

    box_xyxy: tuple[int, int, int, int] = Field(description="Around it, half-open", examples=[[120, 80, 260, 190]])
    pixels: int


class NetworkPass(BaseModel):
    """One look of the network, from coarse to fine."""

    scale: int = Field(description="The photo was shrunk by this factor", examples=[4])
    windows: int = Field(description="Squares that the network saw; with 0 the coarser pass was only enlarged")
    sides_px: list[int] = Field(description="Their sides", examples=[[256, 512]])


class InpaintRecord(BaseModel):
    """What was done to the photo."""

    width: int
    height: int
    synthesised_share: float = Field(ge=0, le=1, description="Share of the photo's pixels that are synthesised")
    synthesised_pixels: int
    mask_source: str = Field(examples=["mask"])
    region_count: int
    regions: list[SynthesisedRegion] = Field(description="The largest ones first")
    passes: list[NetworkPass]
    evidence: Evidence


DESCRIPTION = """Fills irregular holes of a photo with a partial-convolution U-Net.

The holes come from a second picture `mask`, from `regions`, or from the photo's transparent pixels. The photo comes
back in its size, orientation, bit depth and colour space, as PNG unless `Accept` or `format` says otherwise; in PNG
every pixel outside the holes is the one that was sent. What comes back in the holes is invented, in large photos by
copying other parts of the photo: it says nothing about what was there."""

DECLARATION = ModelDeclaration(
    name="inpaint",
    title="Inpainting",
    description=DESCRIPTION,
    pictures=(
        PictureField("image", "The photo: JPEG, PNG (8 or 16 bit), WebP, TIFF, HEIC or AVIF", sample="photo.jpg"),
        PictureField(
            "mask",
            "White where the photo is to be filled; any mode, resized to the photo if need be. Left out when `regions` "
            "or the photo's transparent pixels say where the holes are",
            required=False,
            sample="mask.png",
        ),
    ),
    options=InpaintOptions,
    media_types=(*(each.media_type for each in PictureFormat), JSON),
    record=InpaintRecord,
    headers=(headers.SYNTHESISED_SHARE,),
    sample_output="out.png",
    console=ConsoleView((PNG,), caption="Filled"),
)
