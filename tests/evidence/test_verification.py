"""Verification of records as a service writes them, and of every way to forge them."""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from PIL import Image

from sightline.api.evidence import Alteration, Evidence, InputDigest
from sightline.api.media_types import JSON, PNG
from sightline.evidence.bundle import read_files
from sightline.evidence.content_credentials import ContentCredentials, SigningCertificate
from sightline.evidence.signing_keys import SigningKey
from sightline.evidence.verification import Report, verify
from sightline.inference.predictor import Rendered
from sightline.inference.seal import Seal
from tests.evidence.test_canonical_json import make_evidence

KEY, OTHER_KEY = SigningKey.generate(), SigningKey.generate()
TRUSTED = {KEY.key_id: KEY.public}
ORIGINAL, MASK = b"the original's bytes", b"the mask's bytes"


def png(value: int = 90) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (24, 16), (value, 80, 70)).save(file, "PNG")
    return file.getvalue()


def evidence_of(**changes: Any) -> Evidence:
    inputs = [
        InputDigest(field=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        for name, data in (("image", ORIGINAL), ("mask", MASK))
    ]
    return make_evidence(inputs=inputs, input_sha256=inputs[0].sha256, **changes)


def record_in(rendered: Rendered) -> dict[str, Any]:
    from sightline.api import headers as names
    from sightline.evidence.canonical_json import from_header

    return from_header(rendered.headers[names.EVIDENCE])


class Case:
    """Files of one request in a folder, which a test then changes."""

    def __init__(self, folder: Path, files: Mapping[str, bytes]) -> None:
        self.folder = folder
        for name, data in files.items():
            (folder / name).write_bytes(data)

    def alter(self, name: str, change: Callable[[bytes], bytes]) -> None:
        (self.folder / name).write_bytes(change((self.folder / name).read_bytes()))

    def alter_record(self, **changes: Any) -> None:
        self.alter("record.json", lambda data: json.dumps({**json.loads(data), **changes}).encode())

    def verify(self, keys: Any = TRUSTED) -> Report:
        return verify(read_files(sorted(self.folder.iterdir())), keys)

    def codes(self, keys: Any = TRUSTED) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for finding in self.verify(keys).findings:
            found.setdefault(finding.status.value, []).append(finding.code)
        return found


def make_case(folder: Path, seal: Seal, *, picture: bytes | None = None, **changes: Any) -> Case:
    rendered = Rendered(picture or png(), PNG, alteration=Alteration.INPAINTED)
    complete = seal.complete(rendered, evidence_of(**changes), ORIGINAL)
    record = json.dumps(record_in(complete), indent=2).encode()
    return Case(folder, {"photo.jpg": ORIGINAL, "mask.png": MASK, "result.png": complete.body, "record.json": record})


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return make_case(tmp_path, Seal(KEY))


def test_files_of_a_signed_record_hold(case: Case) -> None:
    assert case.verify().holds
    assert case.codes()["holds"] == ["signature-valid", "original-matches", "mask-matches", "result-matches"]


def test_names_of_files_do_not_matter(case: Case) -> None:
    (case.folder / "photo.jpg").rename(case.folder / "z.bin")
    (case.folder / "record.json").rename(case.folder / "a")
    assert case.verify().holds


@pytest.mark.parametrize(
    ("name", "code"),
    [("photo.jpg", "original-missing"), ("mask.png", "mask-missing"), ("result.png", "result-missing")],
)
def test_altered_and_missing_files_are_named(case: Case, name: str, code: str) -> None:
    case.alter(name, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    assert case.codes()["fails"] == [code, "file-not-covered"]
    (case.folder / name).unlink()
    assert case.codes()["fails"] == [code]
    assert not case.verify().holds


def test_truncated_result_fails(case: Case) -> None:
    case.alter("result.png", lambda data: data[:-20])
    assert case.codes()["fails"] == ["result-missing", "file-not-covered"]


def test_foreign_file_fails(case: Case) -> None:
    (case.folder / "extra.txt").write_text("not part of it")
    assert case.codes()["fails"] == ["file-not-covered"]


def test_results_that_are_swapped_between_two_records_fail(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = make_case(tmp_path / "a", Seal(KEY))
    make_case(tmp_path / "b", Seal(KEY), picture=png(10), request_id="r2")
    (first.folder / "result.png").write_bytes((tmp_path / "b" / "result.png").read_bytes())
    assert first.codes()["fails"] == ["result-missing", "file-not-covered"]


def test_original_and_mask_cannot_take_each_other_s_place(case: Case) -> None:
    record = json.loads((case.folder / "record.json").read_bytes())
    first, second = record["inputs"]
    case.alter_record(inputs=[{**first, "field": "mask"}, {**second, "field": "image"}])
    assert case.codes()["fails"] == ["record-altered"]


@pytest.mark.parametrize(
    "changes",
    [
        {"provider": "Another"},
        {"parameters": {"times": 3}},
        {"added": "member"},
        {"signing_key": OTHER_KEY.key_id},
        {"signature": OTHER_KEY.sign(b"anything")},
        {"signature": "no signature"},
        {"notes": [2**60]},
    ],
    ids=["provider", "parameters", "added-member", "key", "other-signature", "no-signature", "large-number"],
)
def test_altered_record_fails(case: Case, changes: dict[str, Any]) -> None:
    case.alter_record(**changes)
    report = case.verify()
    assert not report.holds
    failed = {finding.code for finding in report.findings if finding.status == "fails"}
    assert failed & {"record-altered", "signature-unknown-key", "record-malformed"}


def test_signature_that_is_removed_fails(case: Case) -> None:
    case.alter_record(signature=None)
    assert case.codes()["fails"] == ["signature-removed"]
    case.alter_record(signature=None, signing_key=None)
    assert case.codes()["fails"] == ["signature-absent"]


def test_record_of_an_unknown_key_fails(tmp_path: Path) -> None:
    case = make_case(tmp_path, Seal(OTHER_KEY))
    assert case.codes()["fails"] == ["signature-unknown-key"]
    assert case.codes(keys=None)["fails"] == ["signature-unchecked"]
    assert case.codes(keys={OTHER_KEY.key_id: KEY.public})["fails"] == ["record-altered"]


def test_unsigned_record_holds_only_where_no_signature_is_expected(tmp_path: Path) -> None:
    case = make_case(tmp_path, Seal())
    assert case.verify(keys=None).holds
    assert "signature-absent" in case.codes(keys=None)["note"]
    assert not case.verify(keys=TRUSTED).holds


@pytest.mark.parametrize("changes", [{"results": "many"}, {"model": None}, {"received_at": "yesterday"}])
def test_damaged_record_fails(case: Case, changes: dict[str, Any]) -> None:
    case.alter_record(**changes)
    assert "record-malformed" in case.codes()["fails"]


def test_record_with_a_member_twice_is_none(case: Case) -> None:
    case.alter("record.json", lambda data: data.replace(b"{", b'{"provider": "Another",', 1))
    assert "record-missing" in case.codes()["fails"]


@pytest.mark.parametrize("levels", [200, 2000, 100_000])
def test_deeply_nested_record_fails(case: Case, levels: int) -> None:
    nested = b'{"added": ' + b"[" * levels + b"]" * levels + b","
    case.alter("record.json", lambda data: nested + data.lstrip()[1:])
    assert not case.verify().holds


def test_picture_whose_manifest_was_cut_out_is_noticed_even_if_the_record_were_right(tmp_path: Path) -> None:
    case = make_case(tmp_path, Seal())
    (result,) = json.loads((tmp_path / "record.json").read_bytes())["results"]
    case.alter_record(results=[{**result, "uncredentialed_sha256": result["sha256"]}])
    assert case.codes(keys=None)["fails"] == ["credentials-missing"]


def test_record_without_digests_fails(case: Case) -> None:
    case.alter_record(inputs=[], results=[])
    assert "record-incomplete" in case.codes()["fails"]


def test_files_without_a_record_fail(tmp_path: Path) -> None:
    report = Case(tmp_path, {"photo.jpg": ORIGINAL}).verify()
    assert (report.holds, report.records) == (False, 0)
    assert [finding.code for finding in report.findings] == ["record-missing", "file-not-covered"]


def test_json_reply_is_its_own_record(tmp_path: Path) -> None:
    reply = Seal(KEY).complete(Rendered(b'{"score": 0.5, "evidence": {}}', JSON), evidence_of())
    case = Case(tmp_path, {"photo.jpg": ORIGINAL, "mask.png": MASK, "reply.json": reply.body})
    assert case.verify().holds
    # Another layout of the same JSON is the same reply.
    case.alter("reply.json", lambda data: json.dumps(json.loads(data), indent=4).encode())
    assert case.verify().holds
    case.alter("reply.json", lambda data: data.replace(b"0.5", b"0.6"))
    assert case.codes()["fails"] == ["result-missing"]


@pytest.fixture
def archive_case(tmp_path: Path) -> Case:
    files = {"a.png": Rendered(png(1), PNG), "b.png": Rendered(png(2), PNG), "record.json": Rendered(b"{}", JSON)}
    archive = Seal(KEY).complete(Rendered.archive(files), evidence_of())
    return Case(tmp_path, {"photo.jpg": ORIGINAL, "mask.png": MASK, "results.zip": archive.body})


def rewrite(data: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    with ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    target = io.BytesIO()
    with ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def test_archive_of_results_holds_with_its_members(archive_case: Case) -> None:
    assert archive_case.verify().holds
    assert archive_case.codes()["holds"].count("result-matches") == 3


def test_members_of_an_archive_that_are_swapped_added_or_altered_fail(archive_case: Case) -> None:
    def swap(files: dict[str, bytes]) -> None:
        files["a.png"], files["b.png"] = files["b.png"], files["a.png"]

    whole = (archive_case.folder / "results.zip").read_bytes()
    for change, expected in (
        (swap, "result-missing"),
        (lambda files: files.update({"c.png": png(3)}), "file-not-covered"),
        (lambda files: files.update({"a.png": png(3)}), "result-missing"),
        (lambda files: files.pop("b.png"), "result-missing"),
    ):
        archive_case.alter("results.zip", lambda _, change=change: rewrite(whole, change))  # type: ignore[misc]
        assert expected in archive_case.codes()["fails"]


def test_content_credentials_are_checked_and_their_removal_is_noticed(tmp_path: Path) -> None:
    credentials = ContentCredentials(SigningCertificate.for_development())
    case = make_case(tmp_path, Seal(KEY, credentials))
    assert case.verify().holds
    assert "credentials-valid" in case.codes()["holds"]
    case.alter("result.png", lambda _: png())
    assert case.codes()["fails"] == ["result-missing", "file-not-covered"]
