import errno
import os
from pathlib import Path

import pytest

from sightline.api.problems import Code, Problem
from sightline.runtime.errors import describe_error, is_out_of_memory, is_shortage
from tests.http.test_problem_responses import no_file_descriptors


def raised_from(cause: BaseException) -> RuntimeError:
    try:
        raise RuntimeError("the step failed") from cause
    except RuntimeError as error:
        return error


def test_described_error_has_its_frames_but_not_its_text() -> None:
    try:
        raise KeyError("secret")
    except KeyError as error:
        described = describe_error(error)
    assert described["error"] == "builtins.KeyError"
    assert "test_errors.py" in described["where"][-1]
    assert "secret" not in str(described)


def test_opening_too_many_files_is_a_shortage() -> None:
    with no_file_descriptors(), pytest.raises(OSError, match="Too many open files") as caught, Path(os.devnull).open():
        pass
    assert is_shortage(caught.value)
    assert not is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[ONNXRuntimeError] : Failed to allocate memory for requested buffer"),
    ],
    ids=["memory", "thread", "disk", "arena"],
)
def test_shortage_is_found_in_the_causes_of_an_error(error: Exception) -> None:
    assert is_shortage(error)
    assert is_shortage(raised_from(error))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a fault"),
        FileNotFoundError(errno.ENOENT, "x"),
        Problem(Code.INTERNAL, "It is out of memory."),
    ],
    ids=["fault", "file", "problem"],
)
def test_other_errors_are_no_shortage(error: Exception) -> None:
    assert not is_shortage(error)
    assert not is_out_of_memory(error)


def test_only_a_lack_of_memory_is_out_of_memory() -> None:
    assert is_out_of_memory(raised_from(MemoryError()))
    assert not is_out_of_memory(RuntimeError("can't start new thread"))
