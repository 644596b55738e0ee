"""Decoded request and result of inpainting, before encoding."""

from dataclasses import dataclass

from services.inpaint.coarse_to_fine import LevelPass
from services.inpaint.compositing.paste import make_opaque
from services.inpaint.holes import Holes, MaskSource
from services.inpaint.schemas import InpaintOptions
from sightline.imaging.picture import Picture, Samples

EMPTY_MASK = "empty-mask"


@dataclass(frozen=True, slots=True, eq=False)
class InpaintRequest:
    """A decoded photo, its holes, and the options."""

    picture: Picture
    holes: Holes
    options: InpaintOptions


@dataclass(frozen=True, slots=True, eq=False)
class InpaintResult:
    """The filled photo: pixels (h, w, 3) in the photo's colour space and bit depth, and the network's passes."""

    request: InpaintRequest
    pixels: Samples
    passes: tuple[LevelPass, ...]

    @property
    def alpha(self) -> Samples | None:
        """The photo's alpha channel; holes that came from it are opaque."""
        alpha, holes = self.request.picture.alpha, self.request.holes
        return make_opaque(alpha, holes.mask) if alpha is not None and holes.source is MaskSource.ALPHA else alpha

    @property
    def notes(self) -> list[str]:
        return [*self.request.picture.notes, *([] if self.request.holes.pixels else [EMPTY_MASK])]
