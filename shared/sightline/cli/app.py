"""The commands of `sightline`, such as up, predict, screen, batch, jobs, weights, train and evaluate."""

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer
from redis.exceptions import RedisError
from typer._click.exceptions import UsageError  # typer's own module exports subclasses alone

from sightline import __version__
from sightline.api.problems import Problem
from sightline.cli.arguments import parse_options, parse_shard
from sightline.cli.evidence import add_evidence
from sightline.cli.exit_codes import ExitCode, exit_code_of, exit_code_table
from sightline.cli.interruption import Interrupted, end_on_signals, print_last_line
from sightline.cli.jobs import add_jobs
from sightline.cli.models import require_models, require_runtime
from sightline.cli.output import CommandError, note, print_json
from sightline.cli.training import add_training
from sightline.cli.weights.command import add_weights
from sightline.client import SightlineError
from sightline.inference.contract import ContractError
from sightline.runtime.errors import KeyFileError

NAME = "sightline"
STATE = Path(".sightline")
SCREENING = Path("screening")
DOWN_GRACE_S = 60.0
HELP = "Vision models for people who investigate with pictures."
EXIT_CODES = f"\b\nExit codes:\n{exit_code_table()}"

Model = Annotated[str, typer.Argument(help="Name of the model, for example hdr_correct or hdr-correct.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="SIGHTLINE_API_KEY",
        help="API key of the server; safer in the environment.",
    ),
]
Host = Annotated[str, typer.Option(envvar="SIGHTLINE_HOST", help="Address that the gateway listens on.")]
Port = Annotated[int, typer.Option(envvar="SIGHTLINE_PORT", min=1, max=65535, help="Port of the gateway.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
State = Annotated[Path, typer.Option(help="Folder of logs, blobs and Redis' data.", file_okay=False)]


def up(
    models: Annotated[list[str] | None, typer.Argument(help="Names of the models to start; default: all.")] = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    state: State = STATE,
    ready_s: Annotated[float, typer.Option(help="Seconds to wait until the fleet is ready.", min=1)] = 300,
) -> None:
    """Start the gateway, the model services and an embedded Redis; Ctrl-C stops them."""
    require_runtime()
    from sightline.cli.up import up as run

    run(models or [], host=host, port=port, state=state, ready_s=ready_s)


def down(state: State = STATE, as_json: Json = False) -> None:
    """Stop the fleet that `sightline up` started."""
    from sightline.cli.state_folder import remove_leftovers, stop_instance

    pid = stop_instance(state, grace_s=DOWN_GRACE_S)
    remove_leftovers(state)
    if as_json:
        print_json({"stopped": pid})
    else:
        typer.echo("Nothing is running." if pid is None else f"Stopped process {pid} and its children.")


def doctor(
    models: Annotated[list[str] | None, typer.Argument(help="Names of the models to check; default: all.")] = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Check what a fleet on this machine needs, with one photo through each model.

    Exit code 0: all is fine. 1: a check failed; the list names the command that mends it.
    """
    from sightline.cli.doctor import doctor as run

    run(require_models(models or []), host=host, port=port, state=state, as_json=as_json)


def predict(
    model: Model,
    photo: Annotated[Path, typer.Argument(help="Picture; - reads it from standard input.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Output file, whose suffix selects the format; - is standard output."),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="Format of the output, such as png or json; default: by its suffix.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Mask for inpaint; white pixels are filled.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Option of the model as NAME=VALUE; repeatable.")] = None,
    url: Annotated[str | None, typer.Option(help="Gateway or service; default: run in this process.")] = None,
    api_key: ApiKey = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, with the record.")] = False,
) -> None:
    """Run one model on one picture, here or on a server.

    Prints a summary of the result. Models whose result is JSON (hoi, hra-screening) need no output file.
    """
    from sightline.cli.predict import PredictArguments
    from sightline.cli.predict import predict as run

    run(
        PredictArguments(
            model=model,
            photo=photo,
            out=out,
            suffix=format_,
            mask=mask,
            options=parse_options(option or []),
            url=url,
            api_key=api_key,
            as_json=as_json,
        )
    )


def screen(
    folder: Annotated[
        str, typer.Argument(help="Folder with its subfolders, or the address of a store: s3://bucket/a.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of results; continues an earlier run.")] = SCREENING,
    url: Annotated[str | None, typer.Option(help="Gateway or service; default: run in this process.")] = None,
    api_key: ApiKey = None,
    threshold: Annotated[float | None, typer.Option(help="Minimum probability for a decision.", min=0, max=1)] = None,
    near_duplicates: Annotated[bool, typer.Option("--near-duplicates", help="Group pictures that look alike.")] = False,
    thumbnails: Annotated[bool, typer.Option("--thumbnails", help="Include thumbnails in the report.")] = False,
    every_file: Annotated[bool, typer.Option("--every-file", help="Try files of any suffix.")] = False,
    follow_links: Annotated[bool, typer.Option("--follow-links", help="Follow links out of the folder.")] = False,
    anew: Annotated[bool, typer.Option("--anew", help="Discard the results of an earlier run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Screen a folder for human-rights violations: CSV, JSON lines and a report; run it again to continue.

    Exit code 0: all files were read. 3: some files or folders could not be read; their rows give the reason.

    1: the run ended early, with the reason on standard error. 130, 143: interrupted. The results so far are written.
    """
    from sightline.cli.batch.sources import is_store_url
    from sightline.cli.screening.command import screen as run

    if not is_store_url(folder) and not Path(folder).is_dir():
        raise typer.BadParameter(f"there is no folder {folder!r}")
    run(
        folder,
        out,
        url=url,
        api_key=api_key,
        threshold=threshold,
        group_near_duplicates=near_duplicates,
        thumbnails=thumbnails,
        every_file=every_file,
        follow_links=follow_links,
        anew=anew,
        as_json=as_json,
    )


def batch(
    model: Annotated[str, typer.Argument(help="Name of a model; `screen` is hra-screening.")],
    source: Annotated[str, typer.Argument(help="Folder, or the address of an object store: s3://bucket/prefix.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder or store of the results; continues an earlier run.")],
    format_: Annotated[str | None, typer.Option("--format", help="Suffix of the results, such as png or json.")] = None,
    masks: Annotated[str | None, typer.Option(help="Folder or store of masks with the photos' names.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Option of the model as NAME=VALUE; repeatable.")] = None,
    url: Annotated[str | None, typer.Option(help="Gateway or service; default: run in this process.")] = None,
    api_key: ApiKey = None,
    concurrency: Annotated[int, typer.Option(help="Requests at a time with --url.", min=1, max=256)] = 8,
    shard: Annotated[str, typer.Option(help="INDEX/COUNT: process one share of the pictures.")] = "0/1",
    every_file: Annotated[bool, typer.Option("--every-file", help="Try files of any suffix.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed pictures again.")] = False,
    anew: Annotated[bool, typer.Option("--anew", help="Discard the manifest of an earlier run.")] = False,
    ray: Annotated[str | None, typer.Option(help="Ray cluster: its address, auto, or local.")] = None,
    workers: Annotated[int, typer.Option(help="Actors on the Ray cluster.", min=1)] = 2,
    cpus_per_worker: Annotated[float, typer.Option(help="CPUs that Ray reserves for each actor.", min=0)] = 1,
    gpus_per_worker: Annotated[float, typer.Option(help="GPUs that Ray reserves for each actor.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run one model on every picture of a folder or an object store; run it again to continue.

    Results stand at the paths of their pictures, and manifest.jsonl has one line for each picture.

    Exit code 0: all pictures have a result. 3: some failed; the manifest gives the reason.
    """
    if ray is not None and url is not None:
        raise typer.BadParameter("--ray runs the model on the cluster, --url on a fleet: choose one")
    from sightline.cli.batch.command import BatchArguments
    from sightline.cli.batch.command import batch as run
    from sightline.cli.batch.ray_data import RayOptions
    from sightline.cli.batch.sources import Shard

    run(
        BatchArguments(
            model=model,
            source=source,
            out=out,
            suffix=format_,
            masks=masks,
            options=parse_options(option or []),
            url=url,
            api_key=api_key,
            concurrency=concurrency,
            shard=Shard(*parse_shard(shard)),
            every_file=every_file,
            retry_failed=retry_failed,
            anew=anew,
            ray=RayOptions(ray, workers, cpus_per_worker, gpus_per_worker) if ray else None,
            as_json=as_json,
        )
    )


def bench(
    model: Model,
    requests: Annotated[int, typer.Option(help="Requests at each number of connections.", min=1)] = 48,
    connections: Annotated[list[int] | None, typer.Option(help="Repeatable; default: 1, 16 and 64.")] = None,
    url: Annotated[str | None, typer.Option(help="Server to measure; default: start the service.")] = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Compare throughput over HTTP with a plain ONNX Runtime loop in one process."""
    require_runtime()
    from sightline.cli.bench import bench as run

    run(
        model,
        requests=requests,
        connections=tuple(connections or (1, 16, 64)),
        url=url,
        api_key=api_key,
        as_json=as_json,
    )


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sightline {__version__}")
        raise typer.Exit


def start(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options that stand before a command."""


def build_app(action: str | None = None) -> typer.Typer:
    """`action` is the command about to run, so that torch is imported only for those that need it."""
    app = typer.Typer(
        help=HELP,
        epilog=EXIT_CODES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # Boxes and colours break where the output is narrow, piped or read aloud.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=HELP)(start)
    for command in (up, down, doctor, predict, screen, batch, bench):
        app.command()(command)
    add_jobs(app)
    add_evidence(app)
    add_weights(app)
    add_training(app, action)
    return app


def run(arguments: list[str]) -> None:
    """Runs the command and ends the process."""
    # Names of files may hold bytes that no terminal shows.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    end_on_signals()
    raise SystemExit(execute(arguments))


def execute(arguments: list[str]) -> int:
    """Runs the command; prints errors that the user can fix in one sentence, and returns the exit code."""
    try:
        code = build_app(arguments[0] if arguments else None)(arguments, prog_name=NAME, standalone_mode=False)
    except (CommandError, SightlineError, Problem, ContractError, KeyFileError, RedisError) as fault:
        # A server's error may hold control characters.
        note(f"{NAME}: {_sentence(fault)}")
        return exit_code_of(fault)
    except Interrupted:
        print_last_line()
        raise
    except UsageError as fault:
        _print_usage_error(fault)
        return ExitCode.USAGE
    except typer.Abort:
        note(f"{NAME}: nothing was confirmed, so nothing was done")
        return ExitCode.FAILED
    return code if isinstance(code, int) else ExitCode.DONE


def _sentence(fault: Exception) -> str:
    if isinstance(fault, RedisError):
        return f"Redis: {str(fault).rstrip('.')}. Check --redis or SIGHTLINE_REDIS_URL, and that Redis is running"
    return str(fault)


def _print_usage_error(fault: UsageError) -> None:
    message = fault.format_message()
    if message.startswith("Usage:"):  # a group without a command shows its help
        typer.echo(message, err=True)
        return
    command = fault.ctx.command_path if fault.ctx else NAME
    note(f"{command}: {message.rstrip('.')} ({command} -h shows how to use it)")
