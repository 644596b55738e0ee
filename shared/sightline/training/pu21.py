"""Quality of HDR pictures on a scale that is even to the eye."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMMEST_NITS, BRIGHTEST_NITS = 0.005, 10_000.0
BANDING_GLARE = (0.353487901, 0.3734658629, 8.277049286e-05, 0.9062562627, 0.09150303166, 0.9099517204, 596.3148142)
PEAK = 256.0
"""What PU21 gives for 100 cd/m2, the white of an ordinary display; its authors' PSNR is relative to that."""


def pu21_psnr_db(light: NDArray[Any], truth: NDArray[Any], *, white_nits: float = 100.0) -> float:
    """PSNR in dB of linear light, 1 = shown at `white_nits` (cd/m2); infinite when equal."""
    difference = pu21(white_nits * light) - pu21(white_nits * truth)
    mse = float(np.mean(difference**2))
    return float("inf") if mse == 0 else float(10 * np.log10(PEAK**2 / mse))


def pu21(nits: NDArray[Any]) -> NDArray[np.float64]:
    """Perceptually uniform encoding with its fit to banding and glare (Mantiuk and Azimi, "PU21", PCS 2021)."""
    a, b, c, d, e, f, g = BANDING_GLARE
    power = np.clip(np.asarray(nits, np.float64), DIMMEST_NITS, BRIGHTEST_NITS) ** d
    return np.asarray(g * (((a + b * power) / (1 + c * power)) ** e - f), np.float64)
