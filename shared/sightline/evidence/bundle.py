"""Bundles: ZIP archives of originals, results and their records, and the files that are verified together."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from sightline.api.evidence import FORMAT
from sightline.api.media_types import SIGNATURES
from sightline.evidence.canonical_json import EVIDENCE
from sightline.evidence.content_credentials import carries_manifest

BLOCK_BYTES = 1 << 20
MAX_FILES, MAX_BYTES = 10_000, 8 << 30
"""Of an archive: a forged one must not keep a computer busy for hours."""
MAX_RECORD_FILE_BYTES = 64 << 20
_SINCE_1980 = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o644 << 16


class BundleError(Exception):
    """A bundle that cannot be read or written; the message names the file and the fault."""


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file to verify. reply: its JSON object, if it holds an evidence record; container: the archive that has it.

    content: only of a file that may carry content credentials, so that a bundle of many pictures needs little memory.
    """

    name: str
    sha256: str
    size_bytes: int
    media_type: str | None = None
    reply: Mapping[str, Any] | None = None
    container: str | None = None
    content: bytes | None = None

    @property
    def record(self) -> Mapping[str, Any] | None:
        """The evidence record in the file: as its member `evidence`, or the whole file."""
        if self.reply is None:
            return None
        return self.reply.get(EVIDENCE) if EVIDENCE in self.reply else self.reply


def write_bundle(out: Path, files: Sequence[Path]) -> None:
    """Writes a new archive of these files under their names. Raises BundleError.

    Every file has the same time, so that a bundle depends on the content of its files alone.
    """
    names = [file.name for file in files]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BundleError(f"two files are named {twice[0]!r}; rename one of them")
    if not any(_holds_record(file) for file in files):
        raise BundleError(
            "none of the files holds an evidence record; add the JSON reply, the archive, or the record beside the "
            "picture"
        )
    partial = out.with_name(f".{out.name}.part")
    try:
        with ZipFile(partial, "w", ZIP_DEFLATED) as archive:
            for file in sorted(files, key=lambda each: each.name):
                info = ZipInfo(file.name, _SINCE_1980)
                info.compress_type, info.external_attr = ZIP_DEFLATED, _FILE_MODE
                with file.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                    while block := source.read(BLOCK_BYTES):
                        target.write(block)
        partial.replace(out)
    except OSError as error:
        raise BundleError(f"{error.filename or out}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _holds_record(path: Path) -> bool:
    return any(file.record is not None for file in read_files([path]))


def read_files(paths: Sequence[Path]) -> list[BundleFile]:
    """Returns the files, with the members of an archive in its place, and those of archives within it as well.

    Raises BundleError. Where there are several paths, names of members begin with that of their archive.
    """
    found: list[BundleFile] = []
    for path in paths:
        try:
            with path.open("rb") as file:
                members = list(_read_file_or_members(path.name, file))
        except OSError as error:
            raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
        found += [_inside(each, path.name) for each in members] if len(paths) > 1 and members[1:] else members
    return found


def _read_file_or_members(name: str, file: BinaryIO) -> Iterator[BundleFile]:
    if _is_zip(file):
        yield from _read_archive(name, file, nested=True)
    else:
        yield _read_file(name, file)


def _inside(member: BundleFile, archive: str) -> BundleFile:
    container = f"{archive}/{member.container}" if member.container else None
    return replace(member, name=f"{archive}/{member.name}", container=container)


def _read_archive(name: str, file: BinaryIO, *, nested: bool) -> Iterator[BundleFile]:
    try:
        with ZipFile(file) as archive:
            members = archive.infolist()
            _check_members(name, members)
            for member in members:
                with archive.open(member) as content:
                    yield from _read_member(member.filename, content, nested=nested)
    except (BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise BundleError(f"{name}: the archive is damaged, truncated or encrypted: {error}") from error


def _read_member(name: str, content: Any, *, nested: bool) -> Iterator[BundleFile]:
    if nested and _is_zip(content):
        content.seek(0)
        yield _read_file(name, content)
        content.seek(0)
        inner = _read_archive(name, content, nested=False)
        yield from (replace(each, name=f"{name}/{each.name}", container=name) for each in inner)
        return
    content.seek(0)
    yield _read_file(name, content)


def _check_members(name: str, members: Sequence[ZipInfo]) -> None:
    names = [member.filename for member in members]
    if len(members) > MAX_FILES or sum(member.file_size for member in members) > MAX_BYTES:
        raise BundleError(f"{name}: the archive has more than {MAX_FILES} files or {MAX_BYTES >> 30} GiB")
    if twice := sorted({each for each in names if names.count(each) > 1}):
        # Programs disagree which of two files of one name they show.
        raise BundleError(f"{name}: the archive has two files named {twice[0]!r}")
    if any(member.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for member in members):
        raise BundleError(f"{name}: the archive uses an uncommon compression")
    if bad := [each for each in names if PurePosixPath(each).is_absolute() or ".." in PurePosixPath(each).parts]:
        raise BundleError(f"{name}: the archive has a file outside of it, {bad[0]!r}")


def _read_file(name: str, file: Any) -> BundleFile:
    digest, size_bytes, kept = hashlib.sha256(), 0, [b""]
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
        size_bytes += len(block)
        if size_bytes <= MAX_RECORD_FILE_BYTES:
            kept.append(block)
    content = b"".join(kept) if size_bytes <= MAX_RECORD_FILE_BYTES else None
    media_type = None if content is None else _media_type_of(content)
    reply = None if media_type or content is None else _reply_in(content)
    kept_content = content if content is None or carries_manifest(content) else b""
    return BundleFile(name, digest.hexdigest(), size_bytes, media_type, reply, content=kept_content)


def _reply_in(content: bytes) -> Mapping[str, Any] | None:
    """Returns the JSON object of a file that holds an evidence record, else None."""
    if content.lstrip()[:1] != b"{":
        return None
    try:
        value = json.loads(content, object_pairs_hook=_unique_members)
    except (ValueError, RecursionError):
        return None
    inner = value.get(EVIDENCE)
    holds = value.get("format") == FORMAT or (isinstance(inner, dict) and "request_id" in inner)
    return value if holds else None


def _unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for a name that occurs twice: programs disagree which of the two counts."""
    unique = dict(members)
    if len(unique) < len(members):
        raise ValueError("a member occurs twice")
    return unique


def _media_type_of(content: bytes) -> str | None:
    return next((kind for kind, signature in SIGNATURES.items() if content.startswith(signature)), None)


def _is_zip(file: BinaryIO) -> bool:
    found = file.read(4) == b"PK\x03\x04"
    file.seek(0, os.SEEK_SET)
    return found
