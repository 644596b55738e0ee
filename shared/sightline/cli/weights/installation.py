"""`sightline weights get`: download or copy, verification, and installation of an entry."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from sightline.cli.output import CommandError, printable
from sightline.cli.weights.consent import Consent
from sightline.cli.weights.download import Download, DownloadError, Notify, Source
from sightline.cli.weights.download import Progress as ShowProgress
from sightline.cli.weights.part_file import PartFile, megabytes
from sightline.cli.weights.store import WeightsStore
from sightline.inference.catalogue.entries import CatalogueEntry
from sightline.inference.catalogue.installed import InstalledWeights, digest_of
from sightline.inference.contract import ContractError

MAX_GROWTH = 2
"""Of files whose exact size is not known: more than so many times the estimate is another file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Source of the file: a local file, or addresses in place of those of the catalogue."""

    file: Path | None = None
    urls: Sequence[str] = ()


def install(entry: CatalogueEntry, store: WeightsStore, origin: Origin, consent: Consent) -> InstalledWeights:
    """Installs an entry, unless the same file is installed; raises CommandError with the reason if that fails."""
    with store.locked():
        if (found := _intact(entry, store)) is not None:
            typer.echo(f"{entry.name} is installed and intact: {printable(str(found.path))}")
            return found
        consent.require_licence(entry)
        part = store.part_file(entry)
        source, sha256 = _obtain(entry, store, part, origin)
        # Before anything opens the file: a file that nobody vouches for is not to be parsed.
        consent.require_digest(entry, sha256)
        return _check_and_place(entry, store, part, sha256, source)


def _check_and_place(
    entry: CatalogueEntry, store: WeightsStore, part: PartFile, sha256: str, source: str
) -> InstalledWeights:
    from sightline.cli.weights.checks import check_weights

    staged = store.stage(entry, part, sha256, source)
    try:
        typer.echo(check_weights(staged))
        # First the pin: an installed file whose digest is not pinned could be replaced unnoticed.
        store.pin(entry.name, sha256)
        installed = store.put_in_place(staged)
    except BaseException:
        store.unstage(entry, staged, keep=True)
        raise
    part.remove()
    typer.echo(f"Installed {entry.name}: {printable(str(installed.path))} ({megabytes(installed.record.size_bytes)})")
    return installed


def _intact(entry: CatalogueEntry, store: WeightsStore) -> InstalledWeights | None:
    """Returns the installed entry if it is whole and the catalogue's; a damaged one is installed again."""
    try:
        if (found := store.folder.find(entry.name)) is not None and not entry.contradicts(found.record.sha256):
            found.require_intact()
            return found
    except ContractError as error:
        typer.echo(f"{error} - installing it again.", err=True)
    return None


def _obtain(entry: CatalogueEntry, store: WeightsStore, part: PartFile, origin: Origin) -> tuple[str, str]:
    """Completes the part file; returns its source and its digest, which is as far as known the right one."""
    pinned = store.folder.pins().get(entry.name)
    if origin.file is not None:
        part.copy_from(origin.file)
        return f"file {origin.file.name}", _verified(entry, part, pinned)
    source, resumed = _download(entry, part, origin.urls or entry.sources, pinned)
    if resumed and _fault(entry, digest_of(part.path), pinned):
        # Two versions may have been mixed; the second attempt takes the whole file at once.
        typer.echo("The continued file has a wrong digest; downloading it again from its start.", err=True)
        part.start_over()
        source, _ = _download(entry, part, [source], pinned)
    return source, _verified(entry, part, pinned)


def _verified(entry: CatalogueEntry, part: PartFile, pinned: str | None) -> str:
    """Returns the digest of the part file; removes the file and raises CommandError if size or digest are wrong."""
    if entry.size_bytes is not None and part.size != entry.size_bytes:
        size = part.size
        part.remove()
        raise CommandError(
            f"the file has {size} bytes, but the catalogue says {entry.size_bytes}: it is another file, or not whole. "
            "Nothing was installed"
        )
    sha256 = digest_of(part.path)
    if fault := _fault(entry, sha256, pinned):
        part.remove()
        raise CommandError(fault)
    return sha256


def _fault(entry: CatalogueEntry, sha256: str, pinned: str | None) -> str | None:
    if expected := entry.contradicts(sha256):
        return (
            f"the SHA-256 of the file is {sha256}, but the catalogue says {expected}: it is damaged or another file. "
            "Nothing was installed; run the command again, or take the file from another place with --from FILE"
        )
    if pinned is not None and sha256 != pinned:
        return (
            f"the SHA-256 of the file is {sha256}, but {pinned} was pinned when {entry.name} was first installed: the "
            "publisher or somebody on the way replaced the file. Nothing was installed; find out why before you remove "
            f"{entry.name} from pins.json in the folder of the weights"
        )
    return None


def _download(entry: CatalogueEntry, part: PartFile, urls: Sequence[str], pinned: str | None) -> tuple[str, bool]:
    """Downloads from the first address that has the file; returns it, and whether an earlier download was continued."""
    has_digest = bool(pinned or entry.sha256 or entry.published_sha256)
    for url in urls:
        source = Source(
            url=url,
            size_bytes=entry.size_bytes,
            max_bytes=entry.size_bytes or MAX_GROWTH * entry.expected_bytes,
            has_digest=has_digest,
            allows_host=entry.allows_host,
        )
        try:
            with progress_bar(entry, part) as (show, notify):
                download = Download(source, part, progress=show, notify=notify)
                asyncio.run(download.run())
        except DownloadError as error:
            if url == urls[-1]:
                raise
            typer.echo(f"{error}. Trying the next address.", err=True)
        else:
            return url, download.has_resumed
    raise CommandError(f"{entry.name} has no address to download from")


@contextmanager
def progress_bar(entry: CatalogueEntry, part: PartFile) -> Iterator[tuple[ShowProgress, Notify]]:
    """Shows the progress on a terminal, elsewhere nothing but the messages; both on standard error."""
    console = Console(stderr=True)
    if part.size:
        console.print(f"Continuing after {megabytes(part.size)}.", highlight=False)
    if not console.is_terminal:
        yield lambda size, total: None, lambda message: typer.echo(message, err=True)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(entry.name, total=entry.expected_bytes, completed=part.size)
        yield (
            lambda size, total: bar.update(task, completed=size, total=total or entry.expected_bytes),
            lambda message: bar.console.print(message, highlight=False, markup=False),
        )
