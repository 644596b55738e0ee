"""What is asked of the planner and what comes out of it, before any encoding."""

from dataclasses import dataclass

from services.inpaint.filling import Pass
from services.inpaint.holes import Holes, MaskSource
from services.inpaint.pasting import make_opaque
from services.inpaint.schemas import InpaintOptions
from sightline.imaging.picture import Picture, Samples

EMPTY_MASK = "empty-mask"


@dataclass(frozen=True, slots=True, eq=False)
class InpaintRequest:
    picture: Picture
    holes: Holes
    options: InpaintOptions


@dataclass(frozen=True, slots=True, eq=False)
class InpaintResult:
    request: InpaintRequest
    pixels: Samples
    passes: tuple[Pass, ...]

    @property
    def alpha(self) -> Samples | None:
        """What was filled for being transparent is opaque now."""
        alpha, holes = self.request.picture.alpha, self.request.holes
        return make_opaque(alpha, holes.mask) if alpha is not None and holes.source is MaskSource.ALPHA else alpha

    @property
    def notes(self) -> list[str]:
        return [*self.request.picture.notes, *([] if self.request.holes.pixels else [EMPTY_MASK])]
