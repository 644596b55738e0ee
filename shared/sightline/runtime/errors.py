"""Classification and description of exceptions: a shortage of memory, threads or files passes, other faults do not."""

import errno
import traceback
from collections.abc import Iterator
from typing import Any

from sightline.api.problems import Problem

EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC, errno.EDQUOT))
# Neither CPython without a thread nor ONNX Runtime's arenas have an exception of their own.
NO_THREAD = "can't start new thread"
NO_MEMORY = ("failed to allocate memory", "bad allocation", "bad_alloc", "out of memory")


class KeyFileError(Exception):
    """A file of keys that cannot be used; the message names the file, the fault and the remedy."""


def describe_error(error: BaseException) -> dict[str, Any]:
    """Returns the type of an exception and the frames it came through, without its text, which may quote an upload."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": f"{type(error).__module__}.{type(error).__qualname__}",
        "where": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]],
    }


def is_shortage(error: BaseException) -> bool:
    """Returns whether an exception, or one of its causes, reports a lack of memory, threads, files or disk."""
    return any(
        (isinstance(each, OSError) and each.errno in EXHAUSTED)
        or (isinstance(each, RuntimeError) and NO_THREAD in str(each))
        or _says_out_of_memory(each)
        for each in _chain(error)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an exception reports a lack of memory, the one shortage that a single request may cause."""
    return any(_says_out_of_memory(each) for each in _chain(error))


def _says_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, Problem):
        return False  # its text is written for users, and may contain such words
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields the exception and its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
