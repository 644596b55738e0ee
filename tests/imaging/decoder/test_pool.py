"""Real processes, and files made to keep them busy."""

import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline.api.problems import Code, Problem
from sightline.imaging.decoder import in_process as directly
from sightline.imaging.decoder import pool as decoder_pool
from sightline.imaging.decoder import shared_memory
from sightline.imaging.decoder.pool import Cancellation, decode, needs_process
from sightline.imaging.limits import PixelLimits
from tests.imaging import hostile

LIMITS = PixelLimits(256 << 20, 100_000_000, 32_767)


@pytest.fixture(autouse=True)
def _processes() -> Iterator[None]:
    yield
    decoder_pool.stop()


def noise(image_format: str, *, mode: str = "RGB", **options: object) -> bytes:
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (60, 80, channels), np.uint8)
    file = io.BytesIO()
    Image.fromarray(values.squeeze(), mode).save(file, image_format, **options)
    return file.getvalue()


def slow_picture() -> bytes:
    """Would take a minute; its size allows a few seconds."""
    return hostile.png(surplus_mb=20_000)


def limit_met(data: bytes, limits: PixelLimits = LIMITS) -> object:
    with pytest.raises(Problem) as raised:
        decode(data, limits)
    assert raised.value.code is Code.UNREADABLE_IMAGE
    return raised.value.facts.get("limit")


class EarlierEnum(Enum):
    """As Python pickles enumerations before 3.11.4."""

    MEMBER = "member"

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return getattr, (type(self), self.name)


def test_pictures_are_unpickled_under_every_version_of_python() -> None:
    """What a picture is made of is read by class and value; nothing that reads it may call `getattr`."""
    _, lengths, descriptor = shared_memory.serialize(EarlierEnum.MEMBER)
    with os.fdopen(descriptor), shared_memory.map_all(descriptor) as memory:
        head = memory[: lengths[0]]
    assert pickle.loads(head) is EarlierEnum.MEMBER
    assert b"getattr" not in head


@pytest.mark.parametrize(
    "data",
    [
        noise("TIFF"),
        noise("TIFF", mode="CMYK"),
        noise("WEBP", mode="RGBA", lossless=True),
        noise("GIF", mode="L"),
        noise("AVIF", mode="RGBA"),
        noise("JPEG", mode="CMYK"),
        hostile.png(surplus_mb=1),
    ],
    ids=["tiff", "cmyk tiff", "webp", "gif", "avif", "cmyk jpeg", "surplus"],
)
def test_child_process_equals_decoding_in_process(data: bytes) -> None:
    assert needs_process(data)
    there, here = decode(data, LIMITS), directly.decode(data, LIMITS)
    np.testing.assert_array_equal(there.pixels, here.pixels)
    assert (there.alpha is None) == (here.alpha is None)
    if there.alpha is not None:
        np.testing.assert_array_equal(there.alpha, here.alpha)
    assert replace(there, pixels=here.pixels, alpha=here.alpha).sha256 == here.sha256
    assert (there.notes, there.orientation, there.icc_profile, there.size_px) == (
        here.notes,
        here.orientation,
        here.icc_profile,
        here.size_px,
    )


def test_common_pictures_start_no_process() -> None:
    for data in (noise("JPEG"), noise("JPEG", progressive=True), noise("PNG"), noise("WEBP")):
        decode(data, LIMITS)
    assert not decoders()


def test_pictures_refused_by_the_header_start_no_process() -> None:
    with pytest.raises(Problem) as raised:
        decode(noise("TIFF"), replace(LIMITS, max_pixels=100))
    assert raised.value.code is Code.TOO_MANY_PIXELS
    assert not decoders()


def test_damaged_files_return_the_decoders_problem() -> None:
    assert limit_met(noise("TIFF")[:-2000]) is None


def test_slow_picture_is_killed_and_observed() -> None:
    ended: list[str] = []
    with decoder_pool.observe_terminations(ended.append):
        assert limit_met(slow_picture()) == "time"
    assert ended == ["time"]


def test_picture_beyond_the_memory_limit_is_refused() -> None:
    assert limit_met(hostile.saved("TIFF", 3000), replace(LIMITS, max_decode_bytes=10 << 20)) == "memory"


def test_other_pictures_are_decoded_beside_slow_ones() -> None:
    waiting = [Waiting(slow_picture()) for _ in range(3)]
    until(lambda: len(decoders()) == 4)
    for _ in range(5):
        decode(noise("TIFF"), LIMITS)
    assert not any(each.problems for each in waiting)
    decoder_pool.stop()
    for each in waiting:
        each.join()


def test_stop_releases_waiting_threads() -> None:
    waiting = Waiting(slow_picture())
    until(lambda: len(decoders()) == 2)
    decoder_pool.stop()
    waiting.join()
    assert waiting.problems == [Code.CANCELLED]
    decode(noise("TIFF"), LIMITS)


def test_cancellation_from_another_thread() -> None:
    waiting = Waiting(slow_picture())
    until(lambda: len(decoders()) == 2)
    waiting.cancellation.cancel()
    waiting.join()
    assert waiting.problems == [Code.CANCELLED]
    until(lambda: len(decoders()) == 1)


def test_killed_fork_server_is_replaced() -> None:
    decode(noise("TIFF"), LIMITS)
    until(lambda: len(decoders()) == 1)  # the picture's own may still be ending
    (server,) = decoders()
    os.kill(server, signal.SIGKILL)
    until(lambda: not decoders())
    decode(noise("TIFF"), LIMITS)


def test_child_has_no_foreign_sockets_and_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_API_KEYS", "secret")
    read, write = os.pipe()
    os.set_inheritable(write, True)
    decode(noise("TIFF"), LIMITS)
    until(lambda: len(decoders()) == 1)  # the picture's own may still be ending
    (server,) = decoders()
    assert b"secret" not in Path(f"/proc/{server}/environ").read_bytes()
    pipe = Path(f"/proc/self/fd/{write}").readlink()
    assert pipe not in {each.readlink() for each in Path(f"/proc/{server}/fd").iterdir()}
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_fork_server_ends_with_its_parent(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C interrupts the waiting thread at once; SIGKILL leaves no decoder behind."""
    picture, command = tmp_path / "slow.png", (sys.executable, "-c", WAITING_PROGRAM, str(tmp_path / "slow.png"))
    picture.write_bytes(slow_picture())
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        until(lambda: len(decoders(process.pid)) == 2)
        started = decoders(process.pid)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode
    assert (b"KeyboardInterrupt" in errors) == (number is signal.SIGINT)
    until(lambda: not any(is_decoder(pid) for pid in started))


WAITING_PROGRAM = """
import pathlib, signal, sys
from sightline.imaging.decoder.pool import decode
from sightline.imaging.limits import PixelLimits

# Tests that run in the background of a shell ignore SIGINT, and this process inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
decode(pathlib.Path(sys.argv[1]).read_bytes(), PixelLimits(1 << 30, 100_000_000))
"""


class Waiting(threading.Thread):
    """A thread that waits for a picture."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data, self.cancellation, self.problems = data, Cancellation(), list[Code]()
        self.start()

    def run(self) -> None:
        try:
            with self.cancellation.active():
                decode(self._data, LIMITS)
        except Problem as problem:
            self.problems.append(problem.code)


def decoders(of_pid: int | None = None) -> list[int]:
    """Returns the fork server and its children that belong to this process or the given one."""
    parents = {pid: parent for pid in processes() if (parent := parent_of(pid)) and is_decoder(pid)}
    servers = {pid for pid, parent in parents.items() if parent == (of_pid or os.getpid())}
    return [pid for pid, parent in parents.items() if pid in servers or parent in servers]


def processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def is_decoder(pid: int) -> bool:
    try:
        return b"sightline.imaging.decoder.fork_server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def parent_of(pid: int) -> int | None:
    """None where the process has ended."""
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else int(parent)


def until(holds: object, timeout_s: float = 20) -> None:
    assert callable(holds)
    give_up_at = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
