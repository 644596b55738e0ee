"""Where the Redis of a running fleet is: a file in its state folder, for other commands to find it by."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sightline.runtime.private_files import private_opener


@contextmanager
def landmark(state: Path, redis_url: str) -> Iterator[None]:
    file = _file(state)
    file.unlink(missing_ok=True)
    with open(file, "x", opener=private_opener, encoding="utf-8") as opened:
        opened.write(redis_url)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def find_redis(state: Path) -> str | None:
    """None where no fleet has left its mark; one that was killed has, and its Redis is gone."""
    file = _file(state)
    return file.read_text("utf-8") if file.is_file() else None


def _file(state: Path) -> Path:
    return state / "redis.url"
