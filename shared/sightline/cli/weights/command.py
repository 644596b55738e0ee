"""`sightline weights list | get | verify | use`."""

import os
import sys
from collections.abc import Iterable
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from sightline.cli.interruption import last_line
from sightline.cli.models import require_models, require_runtime
from sightline.cli.output import CommandError, console, note, print_json, printable
from sightline.cli.weights.consent import Consent
from sightline.cli.weights.part_file import megabytes
from sightline.cli.weights.store import WeightsStore
from sightline.inference.catalogue.entries import (
    Catalogue,
    CatalogueEntry,
    is_web_address,
    read_catalogue,
    shipped_catalogue,
)
from sightline.inference.catalogue.installed import InstalledWeights
from sightline.inference.contract import ContractError

FOLDER = Path(".sightline")
INTERRUPTED = "interrupted; nothing was installed, and the part that came is kept. Run the same command to continue"
State = Annotated[Path, typer.Option("--state", help="State folder of the fleet here.", file_okay=False)]
OwnCatalogue = Annotated[
    Path | None,
    typer.Option(
        "--catalogue",
        envvar="SIGHTLINE_CATALOGUE",
        help="File with further entries; they replace those of the same name.",
        exists=True,
        dir_okay=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="Name of an entry from `sightline weights list`.")]


def add_weights(app: typer.Typer) -> None:
    group = typer.Typer(help="List, install, verify and use public weights.", no_args_is_help=True)
    group.command("list")(list_entries)
    for command in (get, verify, use):
        group.command()(command)
    app.add_typer(group, name="weights")


def load_catalogue(own: Path | None) -> Catalogue:
    """Returns the entries that come with Sightline, and those of an own catalogue."""
    return shipped_catalogue() | read_catalogue(own) if own else shipped_catalogue()


def list_entries(state: State = FOLDER, catalogue: OwnCatalogue = None, as_json: Json = False) -> None:
    """List the catalogue: what each entry serves, its licence, how far its digest is known, and measured quality."""
    entries, folder = load_catalogue(catalogue), WeightsStore(state).folder
    in_use = set(folder.in_use().values())
    facts = [_facts(entry, folder.find(entry.name), entry.name in in_use) for entry in entries]
    if as_json:
        print_json(facts)
        return
    for each in facts:
        _print_entry(each)


def get(
    name: Name,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", help="Install this local file instead of downloading.", exists=True, dir_okay=False),
    ] = None,
    url: Annotated[
        list[str] | None, typer.Option(help="Address in place of those of the catalogue, such as a mirror; repeatable.")
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the restrictive terms of the entry.")
    ] = False,
    accept_digest: Annotated[
        str | None, typer.Option(metavar="SHA256", help="Confirm the digest of a file that was not verified here.")
    ] = None,
    state: State = FOLDER,
    catalogue: OwnCatalogue = None,
    as_json: Json = False,
) -> None:
    """Download an entry, check size, digest and contract, run the sample, and install it; continues where it stopped.

    Exit code 0: the entry is installed. 1: it is not, with the reason on standard error.
    """
    require_runtime()
    from sightline.cli.weights.installation import Origin, install

    if faulty := [each for each in url or () if not is_web_address(each)]:
        raise typer.BadParameter(f"{faulty[0]!r} is no http:// or https:// address", param_hint="--url")
    entry = load_catalogue(catalogue).find(name)
    origin = Origin(file=from_file, urls=tuple(url or ()))
    store = WeightsStore(state)
    with last_line(lambda: INTERRUPTED), redirect_stdout(sys.stderr) if as_json else nullcontext():
        install(entry, store, origin, Consent(accept_licence, accept_digest))
    if as_json:
        installed = store.folder.require(entry.name)
        print_json({**_facts(entry, installed, False), "path": str(installed.path), "next": _how_to_use(entry)})
    else:
        typer.echo(f"To use it: {_how_to_use(entry)}")


def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of entries; default: all that are installed.")
    ] = None,
    state: State = FOLDER,
    catalogue: OwnCatalogue = None,
    as_json: Json = False,
) -> None:
    """Compare installed weights with their digests and contracts, and run the sample through them.

    Exit code 0: all are intact. 1: at least one is missing, damaged or does not fit; its reason is on standard error.
    """
    require_runtime()
    entries, store = load_catalogue(catalogue), WeightsStore(state)
    wanted = names or [each.folder.name for each in store.folder]
    faults = {name: _fault(name, entries, store) for name in wanted}
    if as_json:
        print_json([{"name": name, "intact": not fault, "fault": fault} for name, fault in faults.items()])
    else:
        for name, fault in faults.items():
            typer.echo(f"{name}: {'intact' if fault is None else fault}", err=fault is not None)
        if not faults:
            typer.echo("No weights are installed.")
    if any(faults.values()):
        raise typer.Exit(1)


def use(
    name: Annotated[str | None, typer.Argument(help="Name of an installed entry.")] = None,
    shipped: Annotated[str | None, typer.Option(metavar="MODEL", help="Use the model's shipped weights again.")] = None,
    state: State = FOLDER,
    as_json: Json = False,
) -> None:
    """Make a model use an installed entry, or its shipped weights again, from the next `sightline up`."""
    if (name is None) == (shipped is None):
        raise typer.BadParameter("give either the name of an entry or --shipped MODEL")
    store = WeightsStore(state)
    if name is None:
        (model,) = require_models([shipped or ""])
    else:
        weights = store.folder.require(name)
        if weights.record.backbone is not None:
            command = training_command(weights.record.backbone, name)
            raise CommandError(f"{name} is no model but a start for training: {command}")
        weights.require_intact()
        (model,) = require_models([weights.record.model])
    with store.locked():
        store.use(model, name)
    if as_json:
        print_json({"model": model, "entry": name})
    else:
        typer.echo(f"{model} uses {name or 'its shipped weights'} from its next start (`sightline up`).")
    if os.environ.get(variable := f"SIGHTLINE_{model.upper()}_WEIGHTS"):
        note(f"{variable} is set in this environment and takes precedence.")


def training_command(backbone: str, name: str) -> str:
    return f"sightline train hra-screening --backbone {backbone} --weights catalogue:{name}"


def _how_to_use(entry: CatalogueEntry) -> str:
    if entry.backbone is not None:
        return training_command(entry.backbone, entry.name)
    return f"sightline weights use {entry.name}"


def _fault(name: str, entries: Catalogue, store: WeightsStore) -> str | None:
    """Returns the first fault of installed weights, or None."""
    from sightline.cli.weights.checks import check_weights

    try:
        weights = store.folder.require(name)
        sha256, pinned = weights.record.sha256, store.folder.pins().get(name)
        expected = pinned if pinned not in (None, sha256) else None
        if name in entries.entries:
            expected = expected or entries.find(name).contradicts(sha256)
        if expected is not None:
            raise CommandError(f"it was installed with the SHA-256 {sha256}, but it should be {expected}")
        weights.require_intact()
        check_weights(weights)
    except (CommandError, ContractError) as error:
        return str(error)
    return None


def _facts(entry: CatalogueEntry, installed: InstalledWeights | None, is_in_use: bool) -> dict[str, Any]:
    return {
        "name": entry.name,
        "title": entry.title,
        "model": entry.model,
        "stage": entry.stage,
        "backbone": entry.backbone,
        "purpose": entry.purpose,
        "sources": list(entry.sources),
        "size_bytes": entry.size_bytes,
        "about_bytes": entry.expected_bytes,
        "sha256": entry.sha256,
        "published_sha256": entry.published_sha256,
        "sha256_prefix": entry.sha256_prefix,
        "digest": entry.digest_text,
        "licence": entry.licence,
        "licence_url": entry.licence_url,
        "terms": entry.terms,
        "contract": entry.contract,
        "quality": entry.quality_text,
        "installed_sha256": installed.record.sha256 if installed else None,
        "in_use": is_in_use,
    }


def _print_entry(facts: dict[str, Any]) -> None:
    state = "in use" if facts["in_use"] else "installed" if facts["installed_sha256"] else "not installed"
    size = megabytes(facts["about_bytes"]) if facts["size_bytes"] else f"about {megabytes(facts['about_bytes'])}"
    rows = {
        "for": facts["purpose"],
        "source": facts["sources"][0],
        "size": size,
        "digest": facts["digest"],
        "licence": facts["licence"] + (", with restrictive terms" if facts["terms"] else ""),
        "quality": facts["quality"],
    }
    _print_rows(f"{facts['name']} ({state}): {facts['title']}", rows.items())


def _print_rows(heading: str, rows: Iterable[tuple[str, str]]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True, min_width=10)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(f"  {name}", Text(printable(value)))
    shown = console()
    shown.print(Text(printable(heading), "bold"))
    shown.print(table)
