import io
import os
from pathlib import Path
from zipfile import ZIP_BZIP2, ZipFile, ZipInfo

import pytest

from sightline.evidence import bundle as module
from sightline.evidence.bundle import BundleError, read_files, write_bundle
from sightline.evidence.verification import verify
from sightline.inference.seal import Seal
from tests.evidence.test_verification import KEY, TRUSTED, archive_case, make_case  # noqa: F401 - a fixture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    make_case(tmp_path / "files", Seal(KEY))
    return tmp_path / "files"


@pytest.fixture
def bundle(folder: Path) -> Path:
    out = folder.parent / "bundle.zip"
    write_bundle(out, sorted(folder.iterdir()))
    return out


def test_bundle_verifies_like_its_files(bundle: Path) -> None:
    assert verify(read_files([bundle]), TRUSTED).holds
    assert {file.name for file in read_files([bundle])} == {"mask.png", "photo.jpg", "record.json", "result.png"}


def test_bundle_depends_on_its_files_alone(folder: Path, bundle: Path) -> None:
    for file in folder.iterdir():
        os.utime(file, (1e9, 1e9))
    again = folder.parent / "again.zip"
    write_bundle(again, sorted(folder.iterdir(), reverse=True))
    assert again.read_bytes() == bundle.read_bytes()


def test_bundle_needs_a_record(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="none of the files holds an evidence record"):
        write_bundle(tmp_path / "out.zip", [folder / "photo.jpg"])
    assert not (tmp_path / "out.zip").exists()


def test_files_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"another")
    with pytest.raises(BundleError, match=r"two files are named 'photo\.jpg'"):
        write_bundle(tmp_path / "out.zip", [folder / "photo.jpg", tmp_path / "photo.jpg"])


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_truncated_bundle_is_refused(bundle: Path, kept: float) -> None:
    data = bundle.read_bytes()
    bundle.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(BundleError, match="damaged, truncated or encrypted"):
        read_files([bundle])


def test_damaged_member_is_refused(bundle: Path) -> None:
    data = bytearray(bundle.read_bytes())
    data[60] ^= 0xFF
    bundle.write_bytes(data)
    with pytest.raises(BundleError, match="damaged"):
        read_files([bundle])


def write_zip(path: Path, *names: str, compression: int = 0) -> Path:
    with ZipFile(path, "w", compression) as archive:
        for name in names:
            archive.writestr(ZipInfo(name), b"content", compression)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archive_that_two_programs_read_differently_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="two files named 'a'"):
        read_files([write_zip(tmp_path / "x.zip", "a", "a")])


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b"])
def test_file_outside_of_an_archive_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="outside"):
        read_files([write_zip(tmp_path / "x.zip", name)])


def test_archive_beyond_the_limits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 2)
    with pytest.raises(BundleError, match="more than 2 files"):
        read_files([write_zip(tmp_path / "x.zip", "a", "b", "c")])
    with pytest.raises(BundleError, match="uncommon compression"):
        read_files([write_zip(tmp_path / "y.zip", "a", compression=ZIP_BZIP2)])


def test_archive_that_claims_to_be_small_is_not_read_beyond_its_claim(tmp_path: Path) -> None:
    file = io.BytesIO()
    with ZipFile(file, "w", 8) as archive:
        archive.writestr("a", bytes(1 << 20))
    data = file.getvalue().replace((1 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(BundleError, match="damaged"):
        read_files([tmp_path / "x.zip"])


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"absent.*cannot be read"):
        read_files([tmp_path / "absent"])


def test_archive_of_results_stays_whole_within_a_bundle(archive_case, tmp_path: Path) -> None:  # type: ignore[no-untyped-def] # noqa: F811,ANN001
    out = tmp_path.parent / f"{tmp_path.name}.zip"
    write_bundle(out, sorted(archive_case.folder.iterdir()))
    assert verify(read_files([out]), TRUSTED).holds
