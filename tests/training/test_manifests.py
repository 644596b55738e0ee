import gzip
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli.app import build_app
from sightline.cli.output import CommandError
from sightline.training.manifests import (
    Entry,
    ManifestError,
    read_manifest,
    rebuild,
    sha256,
    shipped_manifests,
    write_manifest,
)

PICTURES = {"photos/a.jpg": b"first picture", "photos/b with space.jpg": b"second\n\npicture"}


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose first commit has the pictures and whose second one removes them."""
    folder = tmp_path / "repositories" / "owner" / "pictures"
    for path, data in PICTURES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Add pictures")
    git(folder, "rm", "-qr", "photos")
    git(folder, "commit", "-qm", "Remove pictures")
    return folder


@pytest.fixture
def entries(repository: Path) -> list[Entry]:
    commit = git(repository, "rev-parse", "HEAD~1")
    return [Entry("owner/pictures", commit, path, sha256(data), "label") for path, data in PICTURES.items()]


def written(out: Path) -> dict[str, bytes]:
    return {path: (out / "owner" / "pictures" / path).read_bytes() for path in PICTURES}


def test_set_is_rebuilt_from_an_older_commit(repository: Path, entries: list[Entry], tmp_path: Path) -> None:
    report = rebuild(entries, [tmp_path / "repositories"], tmp_path / "out")

    assert (report.written, report.present, report.problems) == (2, 0, {})
    assert written(tmp_path / "out") == PICTURES
    assert read_manifest(tmp_path / "out" / "manifest.csv") == entries


def test_set_is_rebuilt_from_a_bare_git_directory(repository: Path, entries: list[Entry], tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repository), "mirror")

    rebuild(entries, [tmp_path / "mirror"], tmp_path / "out")

    assert written(tmp_path / "out") == PICTURES


def test_set_is_rebuilt_from_plain_files(entries: list[Entry], tmp_path: Path) -> None:
    for path, data in PICTURES.items():
        file = tmp_path / "downloads" / "owner+pictures" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    assert rebuild(entries, [tmp_path / "downloads"], tmp_path / "out").written == 2


def test_second_call_writes_only_what_is_damaged(repository: Path, entries: list[Entry], tmp_path: Path) -> None:
    rebuild(entries, [repository], tmp_path / "out")
    damaged = tmp_path / "out" / entries[0].target
    damaged.write_bytes(b"cut")

    report = rebuild(entries, [repository], tmp_path / "out")

    assert (report.written, report.present) == (1, 1)
    assert written(tmp_path / "out") == PICTURES


def test_files_with_another_digest_are_not_written(repository: Path, entries: list[Entry], tmp_path: Path) -> None:
    wrong = replace(entries[0], sha256=sha256(b"another picture"))

    report = rebuild([wrong, entries[1]], [repository], tmp_path / "out")

    assert "SHA-256" in report.problems[wrong.target]
    assert not (tmp_path / "out" / wrong.target).exists()
    assert read_manifest(tmp_path / "out" / "manifest.csv") == [entries[1]]


def test_missing_commits_and_paths_are_told_apart(repository: Path, entries: list[Entry], tmp_path: Path) -> None:
    no_commit = replace(entries[0], commit="0" * 40)
    no_path = replace(entries[1], path="photos/c.jpg")

    problems = rebuild([no_commit, no_path], [repository], tmp_path / "out").problems

    assert "at commit 000000000000" in problems[no_commit.target]
    assert "lacks photos/c.jpg" in problems[no_path.target]


def test_entry_without_digest_needs_git_objects(repository: Path, entries: list[Entry], tmp_path: Path) -> None:
    unverified = replace(entries[0], sha256="")
    plain = tmp_path / "plain" / "photos"
    plain.mkdir(parents=True)
    (plain / "a.jpg").write_bytes(b"something else")

    assert "git objects" in rebuild([unverified], [plain.parent], tmp_path / "out").problems[unverified.target]
    assert rebuild([unverified], [repository], tmp_path / "out").written == 1


@pytest.mark.parametrize("name", ["set.csv", "set.csv.gz"])
def test_manifest_survives_writing_and_reading(name: str, entries: list[Entry], tmp_path: Path) -> None:
    write_manifest(tmp_path / name, entries)

    assert read_manifest(tmp_path / name) == entries


def test_equal_entries_give_equal_bytes(entries: list[Entry], tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        write_manifest(tmp_path / name, entries)

    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()).startswith(b"repository,commit,path,sha256,")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("path,sha256\na.jpg,00", "no column 'commit'"),
        ("repository,commit,path,sha256\no/n,c,../a.jpg,00", "is a path outside of its folder"),
        ("repository,commit,path,sha256\no/n,c,/a.jpg,00", "is a path outside of its folder"),
        ("repository,commit,path,sha256\no/n,c,a.jpg,00\no/n,c,a.jpg,00", "listed twice"),
    ],
)
def test_bad_manifest_is_refused(rows: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(rows)

    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / "bad.csv")


@pytest.mark.parametrize("name", shipped_manifests())
def test_shipped_manifest_is_complete(name: str) -> None:
    entries = read_manifest(shipped_manifests()[name])

    assert entries
    assert all(each.repository and each.commit and each.licence and each.split for each in entries)
    assert {len(each.sha256) for each in entries} <= {0, 64}


def test_data_fetch_reports_counts_and_reasons(repository: Path, entries: list[Entry], tmp_path: Path) -> None:
    absent = replace(entries[0], repository="owner/absent", commit="1" * 40)
    write_manifest(tmp_path / "set.csv", [*entries, absent])
    arguments = ["data", "fetch", str(tmp_path / "set.csv"), str(tmp_path / "out"), "--from", str(repository)]

    result = CliRunner().invoke(build_app("data"), arguments)

    assert "2 files written, 0 were there, 1 are missing" in result.output
    assert isinstance(result.exception, CommandError)
    assert "1 files: no --from folder has owner/absent" in str(result.exception)


def test_data_list_names_the_shipped_manifests() -> None:
    assert all(name in CliRunner().invoke(build_app("data"), ["data", "list"]).output for name in shipped_manifests())
