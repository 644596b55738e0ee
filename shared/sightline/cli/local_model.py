"""Models by name in this process, for commands that run without a server.

A separate module, because it imports the inference runtime, which commands that call a server do not need.
"""

from sightline.cli.models import load_predictor
from sightline.http.logs import configure_logging
from sightline.inference.local_model import LocalModel
from sightline.serving.settings import ServiceSettings


def load_local_model(name: str, settings: ServiceSettings) -> LocalModel:
    """Loads the model of this name."""
    # A terminal does not need the service's log lines about providers.
    configure_logging("error", service="cli")
    return LocalModel(load_predictor(name, settings), settings)
