"""Options, record and declaration of inpainting."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, Json

from sightline.api import headers
from sightline.api.declaration import ConsoleView, ModelDeclaration, PictureField
from sightline.api.evidence import Evidence
from sightline.api.media_types import JSON, PNG, ZIP
from sightline.imaging.regions import Regions


class PictureFormat(StrEnum):
    """Formats of the returned picture."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        return f"image/{self}"


class Output(StrEnum):
    """Kinds of returned picture."""

    PHOTO = "photo"
    MAP = "map"


class Method(StrEnum):
    """Ways to fill holes."""

    PATCHES = "patches"
    NETWORK = "network"


class InpaintOptions(BaseModel):
    """Options of a request, as form fields or query parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regions: Json[Regions] | None = Field(
        default=None,
        # The documentation page would send an `example` with every request.
        description="Holes as boxes and polygons in JSON, in pixels of the displayed picture, instead of a mask. "
        'Example: {"boxes": [[120, 80, 260, 190]], "polygons": [[[10, 10], [60, 12], [40, 70]]]}',
    )
    format: PictureFormat | None = Field(
        default=None, description="Format of the returned picture; takes precedence over `Accept`"
    )
    output: Output = Field(
        default=Output.PHOTO,
        description="`photo` returns the filled photo, `map` one channel with 255 for synthesised pixels",
    )
    method: Method = Field(
        default=Method.PATCHES,
        description="`patches` fills holes deeper than 16 px with copies of other parts of the photo, so that they get "
        "structure and texture; `network` predicts all holes by the network alone, which blurs deep ones",
    )


class SynthesisedRegion(BaseModel):
    """A connected region of holes."""

    box_xyxy: tuple[int, int, int, int] = Field(description="Bounding box, half-open", examples=[[120, 80, 260, 190]])
    pixels: int


class NetworkPass(BaseModel):
    """One pass of the network, at one size of the photo."""

    scale: int = Field(description="Factor by which the photo was shrunk", examples=[4])
    windows: int = Field(description="Number of network windows; with 0 the pixels were upsampled or copied")
    sides_px: list[int] = Field(description="Side lengths of the windows", examples=[[256, 512]])


class InpaintRecord(BaseModel):
    """Record of the synthesised pixels and the passes that produced them."""

    width: int
    height: int
    synthesised_share: float = Field(ge=0, le=1, description="Share of the photo's pixels that are synthesised")
    synthesised_pixels: int
    mask_source: str = Field(examples=["mask"])
    region_count: int
    regions: list[SynthesisedRegion] = Field(description="The largest regions, in descending order of size")
    passes: list[NetworkPass]
    evidence: Evidence


DESCRIPTION = """Fills irregular holes of a photo with a partial-convolution U-Net.

The holes come from a second picture `mask`, from `regions`, or from the photo's transparent pixels. The photo comes
back in its size, orientation, bit depth and colour space, as PNG unless `Accept` or `format` says otherwise. In PNG,
all pixels outside the holes are unchanged. `application/zip` has the photo, the map of its synthesised pixels, and the
record. The pixels in the holes are invented, in deep holes by copying other parts
of the photo: they are no evidence of what was there."""

DECLARATION = ModelDeclaration(
    name="inpaint",
    title="Inpainting",
    description=DESCRIPTION,
    pictures=(
        PictureField("image", "The photo: JPEG, PNG (8 or 16 bit), WebP, TIFF, HEIC or AVIF", sample="photo.jpg"),
        PictureField(
            "mask",
            "White where the photo is to be filled; any mode, resized to the photo. Not needed with `regions` or where "
            "transparent pixels of the photo mark the holes",
            required=False,
            sample="mask.png",
        ),
    ),
    options=InpaintOptions,
    media_types=(*(each.media_type for each in PictureFormat), JSON, ZIP),
    record=InpaintRecord,
    headers=(headers.SYNTHESISED_SHARE,),
    sample_output="out.png",
    console=ConsoleView((PNG,), caption="Filled photo", downloads={"Photo, map and evidence record (ZIP)": ZIP}),
)
