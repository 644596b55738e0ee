"""AV1 streams: frame sizes in the sequence headers of a stream of OBUs (AV1 specification, sections 5.3 and 5.5)."""

from collections.abc import Iterator

from sightline.imaging.formats import IncompleteError, read_exactly, unreadable

_SEQUENCE_HEADER = 1
_MAX_OBUS = 4096


class _BitReader:
    """Reader of a payload bit by bit, the most significant first."""

    def __init__(self, payload: bytes) -> None:
        self._value = int.from_bytes(payload, "big")
        self._left = 8 * len(payload)

    def read(self, count: int) -> int:
        """Reads an unsigned value of `count` bits."""
        self._left -= count
        if self._left < 0:
            raise unreadable("An AV1 sequence header is broken.")
        return self._value >> self._left & ((1 << count) - 1)

    def skip_uvlc(self) -> None:
        """Skips an unsigned value of variable length (`uvlc`)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        self.read(min(zeros, 32))


def frame_sizes(stream: bytes) -> list[tuple[int, int]]:
    """Returns the maximum width and height that each sequence header gives."""
    try:
        return [_frame_size(payload) for kind, payload in _obus(stream) if kind == _SEQUENCE_HEADER]
    except IncompleteError:
        raise unreadable("The AV1 data is truncated or damaged.") from None


def _obus(stream: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    for _ in range(_MAX_OBUS):
        if position >= len(stream):
            return
        head = stream[position]
        position += 2 if head & 4 else 1
        size_bytes, position = _obu_size(stream, position) if head & 2 else (len(stream) - position, position)
        yield head >> 3 & 15, read_exactly(stream, position, size_bytes)[:64]
        position += size_bytes
    raise unreadable("The AV1 data has too many parts.")


def _obu_size(stream: bytes, position: int) -> tuple[int, int]:
    """Returns a little-endian base-128 number (`leb128`) and the offset behind it."""
    size_bytes = 0
    for byte in range(8):
        digit = read_exactly(stream, position + byte, 1)[0]
        size_bytes |= (digit & 0x7F) << 7 * byte
        if digit < 0x80:
            return size_bytes, position + byte + 1
    raise unreadable("The AV1 data is truncated or damaged.")


def _frame_size(payload: bytes) -> tuple[int, int]:
    bits = _BitReader(payload)
    bits.read(4)  # profile, still picture
    if bits.read(1):  # reduced header
        bits.read(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(width_bits) + 1, bits.read(height_bits) + 1


def _skip_operating_points(bits: _BitReader) -> None:
    delay_bits = _skip_timing(bits) if bits.read(1) else 0
    display_delays = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if display_delays and bits.read(1):
            bits.read(4)


def _skip_timing(bits: _BitReader) -> int:
    """Returns the width of the buffer delays in bits, or 0 without a decoder model."""
    bits.read(64)
    if bits.read(1):
        bits.skip_uvlc()
    if not bits.read(1):
        return 0
    delay_bits = bits.read(5) + 1
    bits.read(42)
    return delay_bits
