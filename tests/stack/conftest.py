from collections.abc import Iterator

import pytest

from tests.stack.compose import Stack, reason_to_skip, running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Built, started and ready; the same for all tests, which leave it as they found it."""
    if reason := reason_to_skip():
        pytest.skip(reason)
    with running_stack() as stack:
        yield stack
