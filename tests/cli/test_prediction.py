import io
import json
from zipfile import ZipFile

import pytest

from sightline.cli.output import CommandError
from sightline.cli.prediction import local_result, remote_result
from sightline.client.results import HttpReply
from sightline.inference.predictor import Rendered

RECORD = {"evidence": {"request_id": "r1"}, "width": 2}


def archive() -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w") as opened:
        opened.writestr("map.png", b"...")
        opened.writestr("record.json", json.dumps(RECORD))
    return file.getvalue()


def test_record_of_a_local_result_comes_from_its_json() -> None:
    renderings = (
        Rendered(b"pixels", "image/png", {"X-Sightline-Notes": "a, b"}),
        Rendered(json.dumps(RECORD).encode(), "application/json"),
    )
    result = local_result("hoi", renderings)
    assert (result.body, result.record, result.request_id, result.notes) == (b"pixels", RECORD, "r1", ["a", "b"])


def test_record_of_a_server_comes_from_json_or_archive() -> None:
    as_json = remote_result("hoi", HttpReply(200, {}, json.dumps(RECORD).encode()), "application/json")
    as_zip = remote_result("svbrdf", HttpReply(200, {}, archive()), "application/zip")
    assert as_json.record == as_zip.record == RECORD
    assert as_zip.files == ["map.png", "record.json"]


def test_body_of_another_type_is_refused() -> None:
    with pytest.raises(CommandError, match="nothing was written"):
        remote_result("hoi", HttpReply(200, {}, b"<html>"), "image/png")
