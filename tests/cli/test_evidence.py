import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sightline.api import headers as names
from sightline.cli.app import build_app
from sightline.evidence.canonical_json import from_header, to_header
from sightline.evidence.signing_keys import SigningKey, read_key_set
from sightline.inference.seal import Seal
from tests.evidence.test_canonical_json import make_evidence
from tests.evidence.test_verification import make_case


def run(*words: object) -> Result:
    return CliRunner().invoke(build_app(), ["evidence", *map(str, words)])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    assert run("keygen", tmp_path / "key.pem").exit_code == 0
    return tmp_path / "key.pem"


@pytest.fixture
def files(tmp_path: Path, key: Path) -> list[Path]:
    folder = tmp_path / "files"
    folder.mkdir()
    make_case(folder, Seal(SigningKey.read(key)))
    return sorted(folder.iterdir())


def public_keys(key: Path) -> Path:
    return key.with_name(f"{key.name}.public.json")


def test_new_key_is_private_and_its_public_key_joins_the_older_ones(tmp_path: Path, key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    done = run("keygen", tmp_path / "next.pem", "--keys", public_keys(key))
    next_id, old_id = SigningKey.read(tmp_path / "next.pem").key_id, SigningKey.read(key).key_id
    assert list(read_key_set(public_keys(key))) == [next_id, old_id]
    assert next_id in done.stdout


def test_key_is_never_overwritten(key: Path) -> None:
    before = key.read_bytes()
    done = run("keygen", key)
    assert done.exit_code == 1
    assert "File exists" in str(done.exception)
    assert (key.read_bytes(), len(read_key_set(public_keys(key)))) == (before, 1)


def test_bundle_verifies_with_the_public_keys(tmp_path: Path, files: list[Path], key: Path) -> None:
    bundle = tmp_path / "bundle.zip"
    made = run("bundle", *files, "-o", bundle)
    assert (made.exit_code, made.stderr) == (0, "")
    assert "4 files, 1 records" in made.stdout
    done = run("verify", bundle, "--keys", public_keys(key))
    assert done.exit_code == 0, done.stdout
    assert "holds  photo.jpg: This is, byte for byte, the original that was sent as 'image'." in done.stdout
    assert done.stdout.rstrip().endswith("Everything that is claimed holds.")


def test_bundle_that_lacks_a_file_is_made_with_a_warning(tmp_path: Path, files: list[Path]) -> None:
    made = run("bundle", *[file for file in files if file.name != "mask.png"], "-o", tmp_path / "bundle.zip")
    assert made.exit_code == 0
    assert "Warning: record.json: The mask that was sent as 'mask' is missing" in made.stderr


def test_verification_ends_with_1_where_a_claim_does_not_hold(files: list[Path], key: Path) -> None:
    next(file for file in files if file.name == "photo.jpg").write_bytes(b"another photo")
    done = run("verify", *files, "--keys", public_keys(key), "--json")
    report = json.loads(done.stdout)
    assert (done.exit_code, report["holds"], report["records"]) == (1, False, 1)
    failed = [(each["code"], each["file"]) for each in report["findings"] if each["status"] == "fails"]
    assert failed == [("original-missing", "record.json"), ("file-not-covered", "photo.jpg")]


def test_signature_is_not_believed_without_its_key(files: list[Path]) -> None:
    done = run("verify", *files)
    assert done.exit_code == 1
    assert "FAILS" in done.stdout
    assert "--keys" in done.stdout


def test_unreadable_bundle_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(b"PK\3\4 and nothing more")
    done = run("verify", bundle)
    assert done.exit_code == 1
    assert "damaged, truncated or encrypted" in str(done.exception)


def test_record_is_taken_from_the_headers_that_curl_saves(tmp_path: Path) -> None:
    header = to_header(make_evidence())
    assert header is not None
    saved, out = tmp_path / "headers.txt", tmp_path / "record.json"
    saved.write_text(f"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n{names.EVIDENCE.lower()}: {header}\r\n\r\n")
    assert run("record", saved, "-o", out).exit_code == 0
    assert json.loads(out.read_text()) == from_header(header)
    saved.write_text("HTTP/1.1 200 OK\r\n\r\n")
    assert "has no header" in str(run("record", saved, "-o", out).exception)
    saved.write_text(f"{names.EVIDENCE}: {header[:40]}\r\n")
    assert "damaged" in str(run("record", saved, "-o", out).exception)
