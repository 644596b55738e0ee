import os
import pickle
from datetime import timedelta
from pathlib import Path

import pytest

from sightline.cli.batch import sources
from sightline.cli.batch.sources import Shard, SourceFile, is_store_url, open_destination, open_source, read_mask
from sightline.cli.output import CommandError
from tests.s3_server import s3_environment

NAMES = ["astronaut.jpg", "broken.jpg", "photo.jpg", "sub/ä b%#.jpg"]


def file(name: str) -> SourceFile:
    return SourceFile(name, name, "1", 1, 1)


def copy_to_store(folder: Path, url: str) -> None:
    destination = open_destination(url)
    for path in folder.rglob("*"):
        if path.is_file():
            destination.write(str(path.relative_to(folder)), path.read_bytes())


def test_folder_lists_pictures_with_size_and_version(pictures: Path) -> None:
    source = open_source(str(pictures), every_file=False, leaving_out="out")
    files = list(source.files())
    assert sorted(each.name for each in files) == NAMES
    assert all(each.size_bytes == (pictures / each.key).stat().st_size for each in files)
    assert source.remarks == ["Left out 1 files by their suffix; --every-file tries them."]


def test_name_that_is_not_unicode_is_read(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.jpg")).write_bytes(b"data")
    source = open_source(str(tmp_path), every_file=False, leaving_out="out")
    (found,) = source.files()
    assert found.name == "\\xff.jpg"
    assert source.read(found.key) == b"data"


def test_store_lists_and_reads_the_same_as_folder(pictures: Path, s3: str) -> None:
    copy_to_store(pictures, f"{s3}/same")
    source = pickle.loads(pickle.dumps(open_source(f"{s3}/same", every_file=False, leaving_out="out")))
    files = list(source.files())
    assert sorted(each.name for each in files) == NAMES
    assert all(source.read(each.key) == (pictures / each.key).read_bytes() for each in files)
    assert len(source.remarks) == 1


def test_version_changes_with_content_in_store(s3: str) -> None:
    versions = []
    for data in (b"one", b"two"):
        open_destination(f"{s3}/versions").write("a.png", data)
        versions += [each.version for each in open_source(f"{s3}/versions", every_file=False, leaving_out="").files()]
    assert len(set(versions)) == 2


def test_results_inside_the_source_are_not_pictures(s3: str) -> None:
    open_destination(f"{s3}/inside").write("a.png", b"picture")
    open_destination(f"{s3}/inside/out").write("a.png.png", b"result")
    source = open_source(f"{s3}/inside", every_file=False, leaving_out=f"{s3}/inside/out")
    assert [each.name for each in source.files()] == ["a.png"]


def test_missing_object_is_missing_file(s3: str) -> None:
    with pytest.raises(FileNotFoundError):
        open_source(s3, every_file=True, leaving_out="").read("nothing.png")


def test_missing_bucket_and_unknown_place_are_refused_in_one_sentence(s3: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="s3://nowhere cannot be listed: ") as missing:
        list(open_source("s3://nowhere", every_file=True, leaving_out="").files())
    assert len(str(missing.value).splitlines()) == 1
    with pytest.raises(CommandError, match="there is no folder"):
        open_source(str(tmp_path / "none"), every_file=True, leaving_out="")


@pytest.mark.parametrize(
    ("place", "expected"), [("s3://a/b", True), ("file:///a", True), ("photos", False), ("c:photos", False)]
)
def test_addresses_of_stores_differ_from_folders(place: str, expected: bool) -> None:
    assert is_store_url(place) is expected


def test_shards_share_all_files_without_overlap() -> None:
    owners = [[Shard(index, 4).holds(f"{number}.jpg") for index in range(4)] for number in range(400)]
    assert all(sum(owner) == 1 for owner in owners)
    assert all(60 < sum(owner[index] for owner in owners) < 140 for index in range(4))


@pytest.mark.parametrize("name", ["sub/a.jpg", "sub/a.png", "sub/a.jpg.png"])
def test_mask_has_the_photo_name_or_suffix_png(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / name).write_bytes(b"mask")
    masks = open_source(str(tmp_path), every_file=True, leaving_out="")
    assert read_mask(masks, file("sub/a.jpg")) == b"mask"


def test_missing_mask_names_what_was_sought(tmp_path: Path) -> None:
    masks = open_source(str(tmp_path), every_file=True, leaving_out="")
    with pytest.raises(FileNotFoundError, match=r"a.jpg or a.png or a.jpg.png"):
        read_mask(masks, file("a.jpg"))


def test_destination_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(CommandError, match="cannot be made"):
        open_destination(str(tmp_path / "out")).write("a.json", b"{}")


def test_mistyped_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="file://"):
        list(open_source(f"file://{tmp_path}/photso", every_file=True, leaving_out="").files())
    assert not (tmp_path / "photso").exists()


def test_store_that_is_away_concerns_every_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "RETRY_TIMEOUT", timedelta(milliseconds=10))
    for name, value in s3_environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CommandError, match="s3://archive cannot be read: "):
        open_source("s3://archive", every_file=True, leaving_out="").read("a.png")
