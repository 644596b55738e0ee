"""`sightline jobs`: lists, inspects, retries and deletes jobs."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from sightline.cli.job_tables import show_dead, show_given_up, show_job, show_jobs, show_queues
from sightline.cli.models import normalize_model_name
from sightline.cli.output import CommandError, print_json
from sightline.cli.state_folder import find_redis_url
from sightline.jobs.blob_references import BlobReferences
from sightline.jobs.connection import connect
from sightline.jobs.inspector import QueueInspector
from sightline.jobs.job import JobState
from sightline.jobs.maintenance import QueueMaintenance
from sightline.jobs.queue import DeadLetters, JobQueue
from sightline.jobs.settings import JobSettings
from sightline.jobs.webhooks.delivery_queue import DeliveryQueue

FOLDER = Path(".sightline")
MANY = 100_000
Redis = Annotated[
    str | None,
    typer.Option("--redis", envvar="SIGHTLINE_REDIS_URL", help="URL of Redis; default: of the fleet here."),
]
Folder = Annotated[Path, typer.Option("--state", help="State folder of the fleet running here.", file_okay=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[str | None, typer.Option("--model", parser=normalize_model_name, help="Only jobs of this model.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Job ids.")]


@dataclass(frozen=True, slots=True)
class QueueAdmin:
    """Access of an operator to the queue and its parts."""

    queue: JobQueue
    dead_letters: DeadLetters
    inspector: QueueInspector
    maintenance: QueueMaintenance
    delivery_queue: DeliveryQueue
    references: BlobReferences


@asynccontextmanager
async def open_queue_admin(url: str) -> AsyncIterator[QueueAdmin]:
    try:
        settings = JobSettings(redis_url=url)
    except ValidationError as error:
        raise CommandError("; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())) from None
    async with connect(url) as redis:
        yield QueueAdmin(
            JobQueue(redis, settings),
            DeadLetters(redis, settings),
            QueueInspector(redis, settings),
            QueueMaintenance(redis, settings),
            DeliveryQueue(redis, settings),
            BlobReferences(redis, settings),
        )


def add_jobs(app: typer.Typer) -> None:
    group = typer.Typer(help="List, inspect, retry and delete jobs.", no_args_is_help=True)
    group.command("list")(list_jobs)
    for command in (queues, show, dead, retry, purge, webhooks, resend):
        group.command()(command)
    group.command("forget-store")(forget_store)
    app.add_typer(group, name="jobs")


def list_jobs(
    owner: Annotated[str, typer.Option(help="Name of an API key, or `public` without keys.")] = "public",
    model: Model = None,
    status: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of jobs, newest first.", min=1, max=1000)] = 50,
    redis: Redis = None,
    folder: Folder = FOLDER,
    as_json: Json = False,
) -> None:
    """List the jobs of one owner, newest first."""

    async def run(admin: QueueAdmin) -> None:
        page = await admin.queue.page(owner, limit=limit, state=status, model=model)
        show_jobs(page.jobs, as_json=as_json)

    _run_admin(run, redis, folder)


def queues(redis: Redis = None, folder: Folder = FOLDER, as_json: Json = False) -> None:
    """Count waiting, running and dead jobs for each model and priority."""

    async def run(admin: QueueAdmin) -> None:
        show_queues(await admin.inspector.queue_stats(await admin.maintenance.models()), as_json=as_json)

    _run_admin(run, redis, folder)


def show(
    job: Annotated[str, typer.Argument(help="Job id.")],
    redis: Redis = None,
    folder: Folder = FOLDER,
    as_json: Json = False,
) -> None:
    """Show one job in full."""

    async def run(admin: QueueAdmin) -> None:
        found = await admin.queue.get(job)
        delivery = await admin.delivery_queue.delivery(job)
        show_job(found, await admin.queue.position_of(found), delivery, as_json=as_json)

    _run_admin(run, redis, folder)


def dead(model: Model = None, redis: Redis = None, folder: Folder = FOLDER, as_json: Json = False) -> None:
    """List dead jobs, which used up their attempts, with the reason."""

    async def run(admin: QueueAdmin) -> None:
        models = [model] if model else await admin.maintenance.models()
        show_dead([job for each in models for job in await admin.dead_letters.list_for(each)], as_json=as_json)

    _run_admin(run, redis, folder)


def retry(
    jobs: Ids = None,
    all_of: Annotated[
        str | None, typer.Option("--all", parser=normalize_model_name, help="Every dead job of this model.")
    ] = None,
    redis: Redis = None,
    folder: Folder = FOLDER,
    as_json: Json = False,
) -> None:
    """Queue dead or failed jobs again, with all attempts."""

    async def run(admin: QueueAdmin, job_id: str) -> None:
        await admin.dead_letters.retry(job_id)
        _report(job_id, "queued", f"{job_id} is queued again.", as_json=as_json)

    _run_admin(_for_each(jobs, all_of, run), redis, folder)


def purge(
    jobs: Ids = None,
    dead_of: Annotated[
        str | None, typer.Option("--dead", parser=normalize_model_name, help="Every dead job of this model.")
    ] = None,
    redis: Redis = None,
    folder: Folder = FOLDER,
    as_json: Json = False,
) -> None:
    """Cancel unfinished jobs, and delete jobs with their pictures and results."""

    async def run(admin: QueueAdmin, job_id: str) -> None:
        await admin.dead_letters.purge(job_id)
        _report(job_id, "gone", f"{job_id} is gone.", as_json=as_json)

    _run_admin(_for_each(jobs, dead_of, run), redis, folder)


def webhooks(
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=MANY)] = 100,
    redis: Redis = None,
    folder: Folder = FOLDER,
    as_json: Json = False,
) -> None:
    """The webhooks that were given up, and why."""

    async def run(admin: QueueAdmin) -> None:
        show_given_up(await admin.delivery_queue.given_up(limit=limit), as_json=as_json)

    _run_admin(run, redis, folder)


def resend(
    jobs: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="Every webhook that was given up.")] = False,
    redis: Redis = None,
    folder: Folder = FOLDER,
    as_json: Json = False,
) -> None:
    """Send the webhooks of jobs again."""
    if bool(jobs) == everything:
        raise typer.BadParameter("name either jobs or --all")

    async def run(admin: QueueAdmin) -> None:
        found = [job.id for job, _ in await admin.delivery_queue.given_up(limit=MANY)] if everything else jobs or ()
        for job_id in found:
            await admin.delivery_queue.resend(job_id)
            _report(job_id, "reported", f"{job_id} is reported again.", as_json=as_json)

    _run_admin(run, redis, folder)


def forget_store(redis: Redis = None, folder: Folder = FOLDER, as_json: Json = False) -> None:
    """Accept the blob store that is there now, when the one that had the jobs' bytes is gone for good."""

    async def run(admin: QueueAdmin) -> None:
        await admin.references.forget_store()
        sentence = "The store that is there now is used; jobs whose bytes are missing in it end as gone."
        if as_json:
            print_json({"store": "accepted"})
        else:
            typer.echo(sentence)

    _run_admin(run, redis, folder)


def _report(job_id: str, outcome: str, sentence: str, *, as_json: bool) -> None:
    """Prints a line for each job, as later ones may fail: a sentence, or a JSON object."""
    typer.echo(json.dumps({"id": job_id, "outcome": outcome}) if as_json else sentence)


def _for_each(
    job_ids: list[str] | None, dead_of: str | None, act: Callable[[QueueAdmin, str], Awaitable[None]]
) -> Callable[[QueueAdmin], Awaitable[None]]:
    if bool(job_ids) == bool(dead_of):
        raise typer.BadParameter("give either job ids or a model")

    async def run(admin: QueueAdmin) -> None:
        found = [job.id for job in await admin.dead_letters.list_for(dead_of, limit=MANY)] if dead_of else job_ids or ()
        for job_id in found:
            await act(admin, job_id)

    return run


def _run_admin(work: Callable[[QueueAdmin], Awaitable[None]], redis: str | None, folder: Path) -> None:
    url = redis or find_redis_url(folder)
    if url is None:
        raise CommandError(f"no fleet is running with state folder {folder}; set --redis or SIGHTLINE_REDIS_URL")

    async def run() -> None:
        async with open_queue_admin(url) as admin:
            await work(admin)

    asyncio.run(run())
