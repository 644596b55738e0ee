"""Manifests of training data: files of public repositories with their SHA-256, and how to rebuild a set from them.

A manifest is a CSV file, gzipped where it is large. It names files and holds no pixels.
"""

import csv
import gzip
import hashlib
import io
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Self

SHIPPED = Path(__file__).with_name("data")
SUFFIXES = (".csv", ".csv.gz")
INDEX = "manifest.csv"
"""Name of the list of files that `rebuild` writes into the folder of the set."""


class ManifestError(ValueError):
    """The manifest is invalid; the message contains the place and the reason."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a public repository at a commit. `name` is its place in the rebuilt folder.

    Without a SHA-256 the file is taken from git objects alone, whose contents the commit fixes.
    """

    repository: str
    commit: str
    path: str
    sha256: str
    label: str = ""
    split: str = ""
    licence: str = ""
    name: str = ""

    @property
    def target(self) -> str:
        return self.name or f"{self.repository}/{self.path}"


COLUMNS = tuple(each.name for each in fields(Entry))


@dataclass(slots=True)
class Report:
    """Outcome of `rebuild`. `problems` maps each target that is not there to the reason."""

    written: int = 0
    present: int = 0
    problems: dict[str, str] = field(default_factory=dict)


def shipped_manifests() -> dict[str, Path]:
    """Paths of the manifests that come with Sightline, by name."""
    paths = [path for path in sorted(SHIPPED.glob("*")) if path.name.endswith(SUFFIXES)]
    return {path.name.partition(".")[0]: path for path in paths}


def read_manifest(path: Path) -> list[Entry]:
    """Returns the entries; ManifestError for missing columns, a path outside of its folder, or a repeated target."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    rows = csv.DictReader(io.StringIO(text))
    if missing := {"repository", "commit", "path", "sha256"} - set(rows.fieldnames or ()):
        raise ManifestError(f"{path} is not a manifest: it has no column {sorted(missing)[0]!r}")
    entries = [Entry(**{name: row.get(name) or "" for name in COLUMNS}) for row in rows]
    _check(path, entries)
    return entries


def _check(path: Path, entries: Iterable[Entry]) -> None:
    seen: set[str] = set()
    for line, entry in enumerate(entries, 2):
        for place in (entry.path, entry.target):
            if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
                raise ManifestError(f"{path}, line {line}: {place!r} is a path outside of its folder")
        if entry.target in seen:
            raise ManifestError(f"{path}, line {line}: {entry.target!r} is listed twice")
        seen.add(entry.target)


def write_manifest(path: Path, entries: Iterable[Entry]) -> None:
    """Writes the entries, gzipped if the name ends in .gz; equal entries give equal bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(entry) for entry in entries)
    data = text.getvalue().encode()
    _write(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def rebuild(entries: Sequence[Entry], sources: Sequence[Path], out: Path) -> Report:
    """Copies the files of a manifest out of local repositories into a folder, each verified by its SHA-256.

    Each source is a repository (with or without a work tree), or a folder of repositories named `name`, `owner/name`
    or `owner+name`. Files that are already there with the right contents are kept, so that a second call continues
    the first. The folder's manifest.csv lists the files that are complete.
    """
    report = Report()
    for (repository, commit), group in _by_commit(entries).items():
        pending = [entry for entry in group if not _is_complete(out / entry.target, entry)]
        report.present += len(group) - len(pending)
        if pending:
            _copy(pending, _readers(sources, repository, commit), out, report)
    write_manifest(out / INDEX, [entry for entry in entries if entry.target not in report.problems])
    return report


def _by_commit(entries: Iterable[Entry]) -> Mapping[tuple[str, str], list[Entry]]:
    groups: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.repository, entry.commit].append(entry)
    return groups


def _is_complete(path: Path, entry: Entry) -> bool:
    return path.is_file() and entry.sha256 in ("", sha256(path.read_bytes()))


def _copy(pending: Sequence[Entry], readers: "Iterator[GitReader | FolderReader]", out: Path, report: Report) -> None:
    for entry in pending:
        report.problems[entry.target] = f"no --from folder has {entry.repository} at commit {entry.commit[:12]}"
    for reader in readers:
        for entry in pending:
            if entry.target in report.problems:
                _copy_one(entry, reader, out, report)


def _copy_one(entry: Entry, reader: "GitReader | FolderReader", out: Path, report: Report) -> None:
    data = reader.read(entry.path)
    if data is None:
        if isinstance(reader, GitReader):
            report.problems[entry.target] = f"commit {entry.commit[:12]} of {entry.repository} lacks {entry.path}"
    elif not entry.sha256 and isinstance(reader, FolderReader):
        report.problems[entry.target] = f"without a SHA-256 it needs git objects of {entry.repository}, not plain files"
    elif entry.sha256 not in ("", sha256(data)):
        report.problems[entry.target] = f"SHA-256 is {sha256(data)} instead of {entry.sha256}"
    else:
        _write(out / entry.target, data)
        del report.problems[entry.target]
        report.written += 1


def _readers(sources: Iterable[Path], repository: str, commit: str) -> "Iterator[GitReader | FolderReader]":
    """Yields a reader for each place that may have the repository: git objects first, then plain files."""
    folders = [folder for source in sources for folder in _places(source, repository)]
    for git_dir in (inner for folder in folders for inner in (folder, folder / ".git")):
        if (git_dir / "HEAD").is_file() and _has_commit(git_dir, commit):
            with GitReader(git_dir, commit) as reader:
                yield reader
    yield from map(FolderReader, folders)


def _places(source: Path, repository: str) -> list[Path]:
    name = repository.rpartition("/")[2]
    inner = (source / name, source / repository, source / repository.replace("/", "+"))
    return [folder for folder in (source, *inner) if folder.is_dir()]


@dataclass(frozen=True, slots=True)
class FolderReader:
    """Reads a repository's files from a plain folder."""

    folder: Path

    def read(self, path: str) -> bytes | None:
        file = self.folder / path
        return file.read_bytes() if file.is_file() else None


class GitReader:
    """Reads a commit's files from a git directory through one `git cat-file --batch` process."""

    def __init__(self, git_dir: Path, commit: str) -> None:
        self.git_dir, self.commit = git_dir, commit

    def __enter__(self) -> Self:
        command = ["git", f"--git-dir={self.git_dir}", "cat-file", "--batch"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - fixed
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def read(self, path: str) -> bytes | None:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{self.commit}:{path}\n".encode())
        stdin.flush()
        header = stdout.readline().split()
        if header[-2:-1] != [b"blob"]:
            return None
        data = stdout.read(int(header[2]))
        stdout.read(1)
        return data


def _has_commit(git_dir: Path, commit: str) -> bool:
    command = ["git", f"--git-dir={git_dir}", "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0  # noqa: S603 - fixed


def folder_digest(folder: Path) -> str:
    """Returns the SHA-256 of the sorted list of a folder's files and their SHA-256s."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{_file_digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    return sha256("".join(lines).encode())


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(data)
    partial.replace(path)
