"""`python -m sightline.serving.prebuild module:factory` runs every shape of a model once, then ends.

An engine of TensorRT takes up to minutes to build. Run before the service starts and with its settings, this puts all
of them into the cache (`SIGHTLINE_TENSORRT_CACHE`) where the service finds them.
"""

import importlib
import sys
import time

import structlog

from sightline.http.logs import configure_logging
from sightline.inference.engine import open_session
from sightline.inference.latency_model import warm
from sightline.serving.settings import ServiceSettings

log = structlog.get_logger()


def prebuild(factory: str, settings: ServiceSettings) -> None:
    """Runs every bucket and batch size of a model. Raises ProviderError where no provider runs it."""
    module, _, name = factory.partition(":")
    predictor = getattr(importlib.import_module(module), name)(settings)
    signature = predictor.weights.contract.adapt(predictor.signature)
    started = time.monotonic()
    session = open_session(predictor, settings)
    latency_model = warm(session, signature, max_batch=settings.largest_batch)
    sizes = [list(sizes) for sizes in latency_model.sizes.values()]
    log.info("prebuilt", provider=session.provider, batch_sizes=sizes, took_s=round(time.monotonic() - started, 1))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m sightline.serving.prebuild module:factory")
    configure_logging(service="prebuild")
    prebuild(sys.argv[1], ServiceSettings())
