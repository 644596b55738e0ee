"""What decoding one picture may take, by the size that its header gives."""

from dataclasses import dataclass

from sightline.imaging.formats import ImageHeader
from sightline.imaging.limits import PixelLimits

# Ten times what the slowest codec takes on the machines that it was measured on.
_BASE_S, _S_PER_MEGAPIXEL = 2.0, 0.15
# Codecs hold a picture several times: coded planes, samples, the turned copy, the copy that is handed over.
_BASE_BYTES, _BYTES_PER_PX = 384 << 20, 24
# The processor's time, of which a busy machine gives each process a part.
_WALL_PER_CPU_S = 10.0


@dataclass(frozen=True, slots=True)
class DecodingLimits:
    """cpu_s: of all threads together; wall_s: until the process is ended whatever it waits for; memory_bytes: of
    address space; output_bytes: of what is handed over."""

    cpu_s: float
    wall_s: float
    memory_bytes: int
    output_bytes: int

    @classmethod
    def for_picture(cls, header: ImageHeader, limits: PixelLimits) -> "DecodingLimits":
        wide = 2 if header.bit_depth > 8 else 1
        cpu_s = min(_BASE_S + _S_PER_MEGAPIXEL * header.pixels / 1e6, limits.max_decode_s)
        memory_bytes = min(_BASE_BYTES + _BYTES_PER_PX * wide * header.pixels, limits.max_decode_bytes)
        return cls(cpu_s, _WALL_PER_CPU_S * cpu_s, memory_bytes, memory_bytes // 2)
