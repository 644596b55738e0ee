"""`sightline evidence`: keys, bundles and verification of evidence records, on files alone."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.api import headers as names
from sightline.cli.output import CommandError, printable, require_writable, write_whole

if TYPE_CHECKING:
    from sightline.evidence.verification import Finding, Report

DEFAULT_BUNDLE = Path("bundle.zip")
Files = Annotated[list[Path], typer.Argument(help="Originals, masks, results and records, or a bundle.", exists=True)]
Keys = Annotated[
    list[Path] | None,
    typer.Option(
        "--keys",
        help="Public keys that you trust, as the fleet's /v1/evidence/keys gives them. With keys, an unsigned record "
        "fails.",
    ),
]
MARKS = {"holds": "holds", "fails": "FAILS", "note": "note "}


def keygen(
    private: Annotated[Path, typer.Argument(help="New file of the private key, for SIGHTLINE_EVIDENCE_KEY.")],
    keys: Annotated[
        Path | None, typer.Option(help="File of public keys to add the new one to; default: PRIVATE.public.json.")
    ] = None,
) -> None:
    """Make a key that signs evidence records, and add its public key to a file for publication."""
    from sightline.evidence.signing_keys import SigningKey, key_set, read_key_set

    published = keys or private.with_name(f"{private.name}.public.json")
    before = read_key_set(published) if published.exists() else {}
    key = SigningKey.generate()
    try:
        key.write(private)
    except OSError as error:
        raise CommandError(f"{printable(str(private))} cannot be written: {error.strerror}") from error
    write_whole(published, json.dumps(key_set([key.public, *before.values()]), indent=2).encode())
    typer.echo(f"Private key: {printable(str(private))}. Set SIGHTLINE_EVIDENCE_KEY to it for the services.")
    typer.echo(f"Public keys: {printable(str(published))}. Set SIGHTLINE_EVIDENCE_KEYS to it for the gateway.")
    typer.echo(f"Key id: {key.key_id}")


def record(
    headers: Annotated[Path, typer.Argument(help="Headers of a reply, as `curl -D FILE` saves them.", exists=True)],
    out: Annotated[Path, typer.Option("--out", "-o", help="File of the record.")],
) -> None:
    """Write the record of a picture from the headers of its reply."""
    from sightline.evidence.canonical_json import from_header

    require_writable(out, inputs=[headers])
    wanted = names.EVIDENCE.lower()
    # The last one, as a client that followed a redirect saves several replies.
    for line in reversed(headers.read_text("latin-1").splitlines()):
        name, _, value = line.partition(":")
        if name.strip().lower() == wanted:
            try:
                found = from_header(value.strip())
            except ValueError as error:
                raise CommandError(f"{printable(str(headers))}: the record is damaged: {error}") from error
            write_whole(out, json.dumps(found, indent=2, ensure_ascii=False).encode())
            return
    raise CommandError(f"{printable(str(headers))} has no header {names.EVIDENCE}")


def bundle(
    files: Files,
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle.")] = DEFAULT_BUNDLE,
) -> None:
    """Put originals, results and their records into one archive that can be verified anywhere."""
    from sightline.evidence.bundle import BundleError, read_files, write_bundle
    from sightline.evidence.verification import Status
    from sightline.evidence.verification import verify as check

    require_writable(out, inputs=files)
    try:
        write_bundle(out, files)
        report = check(read_files([out]))
    except BundleError as error:
        raise CommandError(printable(str(error))) from error
    typer.echo(f"{printable(str(out))}: {len(files)} files, {report.records} records.")
    # Whether a signature holds is for the one who verifies, with keys that they trust.
    for finding in report.findings:
        if finding.status is Status.FAILS and finding.code != "signature-unchecked":
            typer.echo(f"Warning: {_line(finding)}", err=True)


def verify(
    files: Files,
    keys: Keys = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check originals, results and records against each other; ends with 0 only if every claim holds."""
    from sightline.evidence.bundle import BundleError, read_files
    from sightline.evidence.signing_keys import read_key_set
    from sightline.evidence.verification import verify as check

    trusted = None if not keys else {name: key for path in keys for name, key in read_key_set(path).items()}
    try:
        report = check(read_files(files), trusted)
    except BundleError as error:
        raise CommandError(printable(str(error))) from error
    typer.echo(_as_json(report) if as_json else _as_text(report))
    if not report.holds:
        raise typer.Exit(1)


def add_evidence(app: typer.Typer) -> None:
    commands = typer.Typer(help="Make keys, bundle results with their records, and verify them.", no_args_is_help=True)
    for command in (keygen, record, bundle, verify):
        commands.command()(command)
    app.add_typer(commands, name="evidence")


def _as_json(report: "Report") -> str:
    findings = [asdict(finding) for finding in report.findings]
    return json.dumps({"holds": report.holds, "records": report.records, "findings": findings}, indent=2)


def _as_text(report: "Report") -> str:
    lines = [f"{MARKS[finding.status]}  {_line(finding)}" for finding in report.findings]
    failed = sum(finding.status == "fails" for finding in report.findings)
    verdict = "Everything that is claimed holds." if report.holds else f"{failed} of these claims do not hold."
    return "\n".join([*lines, "", verdict])


def _line(finding: "Finding") -> str:
    return f"{printable(finding.file)}: {printable(finding.detail)}" if finding.file else printable(finding.detail)
