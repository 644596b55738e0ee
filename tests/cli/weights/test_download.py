"""Downloads from a real server that misbehaves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.cli.output import CommandError
from sightline.cli.weights import part_file
from sightline.cli.weights.download import Download, DownloadError, Source
from sightline.cli.weights.part_file import PartFile
from tests.cli.weights.file_server import FileServer, file_server

DATA = bytes(range(256)) * 400

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server(DATA) as server:
        yield server


@pytest.fixture
def part(tmp_path: Path) -> PartFile:
    return PartFile(tmp_path / "incoming" / "weights.part")


async def fetch(
    server: FileServer, part: PartFile, *, size: int | None = len(DATA), has_digest: bool = True
) -> list[str]:
    """Downloads into the part file; returns the messages."""
    messages: list[str] = []
    source = Source(
        url=server.url,
        size_bytes=size,
        max_bytes=size or 2 * len(DATA),
        has_digest=has_digest,
        allows_host=lambda host: host == "localhost",
    )
    await Download(source, part, progress=lambda size, total: None, notify=messages.append, attempts=2).run()
    return messages


async def test_whole_file_is_written_and_progress_reported(server: FileServer, part: PartFile) -> None:
    seen: list[tuple[int, int | None]] = []
    source = Source(url=server.url, size_bytes=None, max_bytes=10**6, has_digest=False, allows_host=lambda host: False)
    download = Download(source, part, progress=lambda size, total: seen.append((size, total)), notify=print)
    await download.run()
    assert part.path.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    assert not download.has_resumed


async def test_cut_connections_are_continued_at_the_missing_byte(server: FileServer, part: PartFile) -> None:
    server.behaviour.cuts = [1000, 20_000, 1, 0]
    await fetch(server, part)
    assert part.path.read_bytes() == DATA
    assert server.ranges == [None, "bytes=1000-", "bytes=21000-", "bytes=21001-", "bytes=21001-"]


async def test_later_command_continues_an_earlier_part(server: FileServer, part: PartFile) -> None:
    server.behaviour.cuts = [5000, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"2 times in a row\. Run the command again to continue"):
        await fetch(server, part)
    await fetch(server, PartFile(part.path))
    assert part.path.read_bytes() == DATA
    assert server.ranges[-1] == "bytes=5000-"


async def test_replaced_file_is_not_mixed_with_the_earlier_part(server: FileServer, part: PartFile) -> None:
    server.behaviour.cuts = [5000, 0, 0, 0]
    with pytest.raises(DownloadError):
        await fetch(server, part)
    server.behaviour.data, server.behaviour.etag = DATA[::-1], '"v2"'
    await fetch(server, PartFile(part.path))
    assert part.path.read_bytes() == DATA[::-1]


async def test_server_that_ignores_ranges_sends_the_whole_file_again(server: FileServer, part: PartFile) -> None:
    server.behaviour.knows_ranges, server.behaviour.cuts = False, [5000]
    messages = await fetch(server, part)
    assert part.path.read_bytes() == DATA
    assert messages == ["127.0.0.1 does not continue downloads; starting again."]


async def test_server_that_ignores_ranges_and_always_cuts_ends_with_advice(server: FileServer, part: PartFile) -> None:
    server.behaviour.knows_ranges, server.behaviour.cuts = False, [5000] * 50
    with pytest.raises(DownloadError, match=r"in a row.*install it with --from FILE"):
        await fetch(server, part)


async def test_part_without_validator_is_continued_only_if_the_digest_is_known(
    server: FileServer, part: PartFile
) -> None:
    server.behaviour.etag, server.behaviour.cuts = None, [5000]
    await fetch(server, part, has_digest=False)
    assert server.ranges == [None, None]
    server.ranges.clear()
    part.start_over()
    server.behaviour.cuts = [5000]
    await fetch(server, part)
    assert server.ranges == [None, "bytes=5000-"]


async def test_missing_end_without_length_counts_as_cut(server: FileServer, part: PartFile) -> None:
    server.behaviour.tells_length, server.behaviour.cuts = False, [len(DATA) - 7]
    await fetch(server, part)
    assert part.path.read_bytes() == DATA


async def test_part_from_another_position_is_not_used(server: FileServer, part: PartFile) -> None:
    server.behaviour.cuts, server.behaviour.skew = [5000], 3
    await fetch(server, part)
    assert part.path.read_bytes() == DATA
    assert server.ranges == [None, "bytes=5000-", None]


async def test_complete_part_needs_no_further_bytes(server: FileServer, part: PartFile) -> None:
    await fetch(server, part)
    await fetch(server, part)
    assert part.path.read_bytes() == DATA
    assert server.ranges[-1] == f"bytes={len(DATA)}-"


async def test_busy_server_is_tried_again(server: FileServer, part: PartFile) -> None:
    server.behaviour.statuses = [503]
    await fetch(server, part)
    assert part.path.read_bytes() == DATA


async def test_wrong_length_is_refused_before_the_download(server: FileServer, part: PartFile) -> None:
    with pytest.raises(DownloadError, match=f"offers a file of {len(DATA)} bytes, but the catalogue says 99"):
        await fetch(server, part, size=99)
    assert not part.size


async def test_more_bytes_than_the_file_has_are_refused(server: FileServer, part: PartFile) -> None:
    server.behaviour.tells_length = False
    with pytest.raises(DownloadError, match="sends more than the 99 bytes"):
        await fetch(server, part, size=99)
    assert not part.size


@pytest.mark.parametrize(
    ("content_type", "body"), [("text/html; charset=utf-8", b"x"), ("", b"\n<!DOCTYPE html>hello")]
)
async def test_login_page_is_refused(server: FileServer, part: PartFile, content_type: str, body: bytes) -> None:
    server.behaviour.content_type, server.behaviour.data = content_type, body
    with pytest.raises(DownloadError, match=r"sends a web page instead of the file.*log in"):
        await fetch(server, part, size=None)
    assert not part.size


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "needs a login"), (403, "a proxy forbids it"), (404, "no longer has the file"), (410, "no longer")],
)
async def test_refusal_is_reported_with_what_to_do(
    server: FileServer, part: PartFile, status: int, message: str
) -> None:
    server.behaviour.statuses = [status]
    with pytest.raises(DownloadError, match=rf"{message}.*--from FILE"):
        await fetch(server, part)
    assert len(server.ranges) == 1


async def test_redirect_to_another_server_is_refused_with_its_address(server: FileServer, part: PartFile) -> None:
    with file_server(DATA) as other:
        server.behaviour.redirect_to = other.url
        with pytest.raises(
            DownloadError, match=rf"redirects to another server, http://127\.0\.0\.1:{other.server_port}"
        ):
            await fetch(server, part)
        assert not other.ranges


async def test_redirect_to_a_host_of_the_entry_is_followed(server: FileServer, part: PartFile) -> None:
    with file_server(DATA) as other:
        server.behaviour.redirect_to = other.url.replace("127.0.0.1", "localhost")
        other.behaviour.cuts = [5000]
        await fetch(server, part)
        assert other.ranges == [None, "bytes=5000-"]
    assert part.path.read_bytes() == DATA


async def test_circle_of_redirects_ends(server: FileServer, part: PartFile) -> None:
    server.behaviour.redirect_to = server.url
    with pytest.raises(DownloadError, match="in a circle"):
        await fetch(server, part)


async def test_closed_port_is_reported(server: FileServer, part: PartFile) -> None:
    server.server_close()
    server.socket.close()
    with pytest.raises(DownloadError, match="the connection was refused"):
        await fetch(server, part)


def test_full_disk_is_reported_with_what_to_do(part: PartFile) -> None:
    part.path.symlink_to("/dev/full")  # every write fails as on a full disk
    with (
        pytest.raises(CommandError, match=r"is full.*run the command again\. It continues"),
        part.appending() as writer,
    ):
        writer.write(DATA)


async def test_missing_space_is_reported_before_the_download(
    server: FileServer, part: PartFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_file, "RESERVE_BYTES", 1 << 62)
    with pytest.raises(CommandError, match=r"is full \(0\.1 MB are missing"):
        await fetch(server, part)
    assert not part.size
