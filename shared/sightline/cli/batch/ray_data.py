"""A batch on a Ray cluster: the predictors are actors of Ray Data, which read and write the stores themselves."""

import logging
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sightline.cli.batch.manifest import BatchEntry, BatchSettings
from sightline.cli.batch.predictors import LocalPredictor
from sightline.cli.batch.run import BatchWork
from sightline.cli.batch.sources import SourceFile
from sightline.cli.output import CommandError
from sightline.runtime.deployables import install_command

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILES_PER_BLOCK = 16
"""Results reach the manifest block by block; a small block loses little when the driver is killed."""
FILES_PER_DATASET = 100_000
"""A dataset's plan grows with its blocks, so that millions of files are processed in turns. Each turn starts actors."""
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class RayOptions:
    """The cluster and its actors.

    address: of the cluster, or `auto` on one of its nodes; `local` starts one on this machine; workers: number
    of actors; cpus, gpus: what the scheduler reserves for each actor, fractions allowed.
    """

    address: str
    workers: int
    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class ActorModel:
    """The model that each actor loads."""

    name: str
    settings: BatchSettings


class PredictorActor:
    """An actor of Ray Data: loads the model once, then processes blocks of files."""

    def __init__(self, model: ActorModel, work: BatchWork) -> None:
        self._work = work
        self._predictor = LocalPredictor(model.name, model.settings.media_type, model.settings.options)
        if self._predictor.model != model.settings.model:
            raise RuntimeError(f"this node has {self._predictor.model}, the batch is of {model.settings.model}")

    def __call__(self, block: "dict[str, NDArray[Any]]") -> dict[str, list[str]]:
        """Returns the manifest's lines of a block. block: the fields of `SourceFile` as columns."""
        columns = (block[name] for name in ("name", "key", "version", "size_bytes", "modified_ns"))
        files = [
            SourceFile(str(name), str(key), str(version), int(size_bytes), int(modified_ns))
            for name, key, version, size_bytes, modified_ns in zip(*columns, strict=True)
        ]
        return {"entry": [self._work.process(file, self._predictor).model_dump_json() for file in files]}


def require_ray() -> Any:
    """Returns the module `ray`; raises CommandError without the extra."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise CommandError(f"--ray needs Ray, which is not installed: {install_command('ray')}") from None
    return ray


def process_on_ray(
    files: Sequence[SourceFile], model: ActorModel, work: BatchWork, options: RayOptions
) -> Generator[BatchEntry]:
    """Yields the manifest's lines of the files as blocks end. Raises CommandError where the cluster fails."""
    ray = require_ray()
    try:
        ray.init(
            address=None if options.address == LOCAL else options.address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if options.address == LOCAL else None,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise CommandError(f"there is no Ray cluster at {options.address}: {error}") from error
    # The command has a progress bar of its own.
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        for start in range(0, len(files), FILES_PER_DATASET):
            yield from _process(ray, files[start : start + FILES_PER_DATASET], model, work, options)
    except ray.exceptions.RayError as error:
        raise CommandError(f"the Ray cluster failed: {error}; run the same command again to continue") from error
    finally:
        ray.shutdown()


def _process(
    ray: Any, files: Sequence[SourceFile], model: ActorModel, work: BatchWork, options: RayOptions
) -> Generator[BatchEntry]:
    blocks = max(min(options.workers, len(files)), -(-len(files) // FILES_PER_BLOCK))
    lines = ray.data.from_items([asdict(file) for file in files], override_num_blocks=blocks).map_batches(
        PredictorActor,
        fn_constructor_args=(model, work),
        batch_size=FILES_PER_BLOCK,
        concurrency=options.workers,
        num_cpus=options.cpus,
        num_gpus=options.gpus or None,
    )
    for row in lines.iter_rows():
        yield BatchEntry.model_validate_json(row["entry"])
