"""Consent of the user: to restrictive terms, and to a digest that could not be verified here."""

import sys
from dataclasses import dataclass

import typer

from sightline.cli.output import CommandError, printable
from sightline.inference.catalogue.entries import CatalogueEntry


@dataclass(frozen=True, slots=True)
class Consent:
    """Consent given by options, or asked for on a terminal."""

    accepts_licence: bool
    digest: str | None

    def require_licence(self, entry: CatalogueEntry) -> None:
        """Shows the licence; raises CommandError unless terms beyond it are accepted."""
        typer.echo(f"{entry.title}\nLicence: {entry.licence} ({entry.licence_url})")
        if entry.terms is None:
            return
        typer.echo(f"Terms: {entry.terms}")
        if self.accepts_licence:
            return
        if not _is_terminal():
            raise CommandError(f"{entry.name} has restrictive terms; read them, and accept them with --accept-licence")
        if typer.prompt("Type `accept` if you have read and accept these terms").strip().lower() != "accept":
            raise CommandError(f"the terms were not accepted; {entry.name} was not downloaded")

    def require_digest(self, entry: CatalogueEntry, sha256: str) -> None:
        """Raises CommandError unless the digest is one that was verified here, or the user confirms it."""
        if self.digest is not None:
            if self.digest.strip().lower() != sha256:
                raise CommandError(
                    f"the SHA-256 of the file is {sha256}, not {printable(self.digest)} as --accept-digest says; "
                    "nothing was installed"
                )
            return
        if sha256 == entry.sha256:
            return
        typer.echo(f"SHA-256: {sha256}\nThe digest of {entry.name} is {entry.digest_text}.")
        if sha256 == entry.published_sha256:
            typer.echo("The file has the digest that its publisher lists.")
        again = f"run the same command again with --accept-digest {sha256}"
        if not _is_terminal():
            raise CommandError(f"compare the digest with another source; to confirm it, {again}")
        if not typer.confirm("Is this the file that you expect? It will be pinned"):
            raise CommandError(f"the digest was not confirmed; nothing was installed. To confirm it later, {again}")


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
