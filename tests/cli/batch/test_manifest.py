from pathlib import Path

import pytest

from sightline.cli.batch import manifest as module
from sightline.cli.batch.manifest import BatchEntry, BatchSettings, Manifest, open_manifest
from sightline.cli.batch.sources import Shard, SourceFile, open_destination, open_source
from sightline.cli.output import CommandError
from sightline.cli.screening.journal import FileError

SETTINGS = BatchSettings(model="m@1", media_type="image/png")
WHOLE = Shard()


def file(name: str, version: str = "1") -> SourceFile:
    return SourceFile(name, name, version, 1, 1)


def entry(name: str, *, code: str | None = None) -> BatchEntry:
    error = FileError(code=code, detail="why") if code else None
    return BatchEntry(file=name, version="1", size_bytes=1, result=None if code else f"{name}.png", error=error)


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "out")
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}"


def opened(place: str, settings: BatchSettings = SETTINGS, *, shard: Shard = WHOLE) -> Manifest:
    return open_manifest(place, settings, shard=shard, anew=False)


def test_later_run_finds_what_earlier_ones_recorded(place: str) -> None:
    for name in ("a.jpg", "b.jpg"):
        with opened(place) as manifest:
            manifest.add(entry(name))
    with opened(place) as manifest:
        assert list(manifest.states) == ["a.jpg", "b.jpg"]
        assert manifest.has_current(file("a.jpg"), retry_failed=False)
        assert not manifest.has_current(file("a.jpg", version="2"), retry_failed=False)
        assert not manifest.has_current(file("c.jpg"), retry_failed=False)


def test_last_line_of_a_picture_counts(place: str) -> None:
    with opened(place) as manifest:
        manifest.add(entry("a.jpg", code="unreadable_image"))
        manifest.add(entry("a.jpg"))
    with opened(place) as manifest:
        assert manifest.states["a.jpg"].error_code is None


@pytest.mark.parametrize(("code", "again"), [("unreadable_image", False), ("unreadable_file", True)])
def test_only_errors_that_may_pass_are_tried_again(tmp_path: Path, code: str, again: bool) -> None:
    with opened(str(tmp_path)) as manifest:
        manifest.add(entry("a.jpg", code=code))
        assert manifest.has_current(file("a.jpg"), retry_failed=False) is not again
        assert not manifest.has_current(file("a.jpg"), retry_failed=True)


def test_other_settings_need_another_place_or_a_new_start(place: str) -> None:
    with opened(place) as manifest:
        manifest.add(entry("a.jpg"))
    other = SETTINGS.model_copy(update={"model": "m@2"})
    with pytest.raises(CommandError, match=r"results of m@1 .* this run is of m@2 .*--anew"):
        opened(place, other)
    with open_manifest(place, other, shard=WHOLE, anew=True) as manifest:
        assert manifest.states == {}


def test_shards_write_apart_and_a_run_over_all_knows_their_results(place: str) -> None:
    names = [f"{number}.jpg" for number in range(8)]
    for index in range(2):
        with opened(place, shard=Shard(index, 2)) as manifest:
            for name in names:
                if Shard(index, 2).holds(name):
                    manifest.add(entry(name))
    with opened(place) as manifest:
        assert set(manifest.states) == set(names)
    with opened(place, shard=Shard(0, 2)) as manifest:
        assert set(manifest.states) == {name for name in names if Shard(0, 2).holds(name)}


def test_later_result_of_a_shard_replaces_an_error_of_a_run_over_all(place: str) -> None:
    with opened(place) as manifest:
        manifest.add(entry("a.jpg", code="unreadable_image"))
    shard = next(Shard(index, 2) for index in range(2) if Shard(index, 2).holds("a.jpg"))
    with opened(place, shard=shard) as manifest:
        manifest.add(entry("a.jpg"))
    with opened(place) as manifest:
        assert manifest.states["a.jpg"].error_code is None


def test_files_of_others_are_neither_read_nor_discarded(place: str) -> None:
    others = ("manifest-of-evidence.jsonl", "manifest.parts/cargo.jpg.json", "manifest/list.jsonl")
    for name in others:
        open_destination(place).write(name, b"of somebody else\n")
    with open_manifest(place, SETTINGS, shard=WHOLE, anew=True) as manifest:
        manifest.add(entry("a.jpg"))
    with opened(place):
        source = open_source(place, every_file=True, leaving_out="")
        assert all(source.read(name) == b"of somebody else\n" for name in others)


def test_line_cut_by_a_kill_is_dropped(tmp_path: Path) -> None:
    with opened(str(tmp_path)) as manifest:
        manifest.add(entry("a.jpg"))
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(path.read_bytes() + b'{"file":"b.j')
    with opened(str(tmp_path)) as manifest:
        manifest.add(entry("c.jpg"))
    with opened(str(tmp_path)) as manifest:
        assert list(manifest.states) == ["a.jpg", "c.jpg"]


def test_lines_are_in_the_file_before_the_run_ends(tmp_path: Path) -> None:
    with opened(str(tmp_path)) as manifest:
        manifest.add(entry("a.jpg"))
        assert b"a.jpg" in (tmp_path / "manifest.jsonl").read_bytes()


@pytest.mark.parametrize(("first", "second"), [(WHOLE, WHOLE), (WHOLE, Shard(0, 2)), (Shard(0, 2), Shard(0, 2))])
def test_two_runs_never_process_the_same_pictures(tmp_path: Path, first: Shard, second: Shard) -> None:
    with opened(str(tmp_path), shard=first), pytest.raises(CommandError, match="another run"):
        opened(str(tmp_path), shard=second)
    with opened(str(tmp_path), shard=Shard(0, 2)), opened(str(tmp_path), shard=Shard(1, 2)):
        pass


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text("something else\n")
    with pytest.raises(CommandError, match="not one of this version"):
        opened(str(tmp_path))


def test_store_gets_a_part_after_some_lines(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_LINES", 3)
    place = f"{s3}/parts"
    with opened(place) as manifest:
        for number in range(5):
            manifest.add(entry(f"{number}.jpg"))
        assert len(list(open_source(place, every_file=True, leaving_out="").files())) == 2
    with opened(place) as manifest:
        assert len(manifest.states) == 5
