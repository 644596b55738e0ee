"""A real service in a process of its own, which works on jobs of the tiny model.

`python -m tests.serving.worker_process FOLDER`: FOLDER has `tiny.onnx` and its contract; Redis and blob store come from
the environment. A picture of the value `KILLER` kills the process while it is read, as one does that crashes a decoder.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from sightline.inference.metrics import ServiceMetrics
from sightline.inference.predictor import Upload
from sightline.inference.settings import Provider
from sightline.inference.weights import load_weights
from sightline.jobs.settings import JobSettings
from sightline.serving.service import ModelService
from sightline.serving.settings import ServiceSettings
from sightline.serving.worker.setup import job_worker
from tests.tiny_service import InvertingPredictor, Options

KILLER = 66
LET_NEIGHBOURS_BEGIN_S = 0.3


class KilledByPicture(InvertingPredictor):
    def read(self, upload: Upload[Options]) -> Any:
        pixels, options = super().read(upload)
        if np.all(pixels == KILLER):
            time.sleep(LET_NEIGHBOURS_BEGIN_S)
            os.kill(os.getpid(), signal.SIGKILL)
        return pixels, options


async def work(folder: Path) -> None:
    weights = load_weights(folder / "tiny.onnx", folder / "tiny.toml", shipped=True)
    settings = ServiceSettings(providers=(Provider.CPU,), intra_op_threads=1, codec_threads=2, job_slots=2)
    predictor, registry = KilledByPicture(weights, step_s=1.0), CollectorRegistry()
    service = ModelService(predictor, settings, ServiceMetrics(registry), lambda: sys.exit(1))
    async with service.running(), job_worker(service, JobSettings(), registry):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
