import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from sightline.http.logs import configure_logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, access = logging.getLogger(), logging.getLogger("uvicorn.access")
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], access.disabled = handlers, False
    root.setLevel(level)
    structlog.reset_defaults()


def test_lines_are_json_objects_with_the_bound_context(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", service="tiny")
    with structlog.contextvars.bound_contextvars(request_id="abc"):
        structlog.get_logger("part").info("done", count=3)
    line = json.loads(capsys.readouterr().out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "done",
        "count": 3,
        "request_id": "abc",
        "service": "tiny",
        "level": "info",
        "logger": "part",
    }


def test_loggers_of_the_standard_library_write_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", service="tiny")
    logging.getLogger("uvicorn.error").warning("port %d", 80)
    logging.getLogger("uvicorn.error").info("unwanted")
    logging.getLogger("uvicorn.access").warning("GET /?secret")
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["logger"], line["level"]) == ("port 80", "uvicorn.error", "warning")
