"""Sightline: vision models served as a REST fleet for people who investigate with pictures.

`Client`, `AsyncClient`, their results and errors are in `sightline.client`; they are imported when they are used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# ONNX Runtime reports to its maker which models run where, and heeds this alone, and only before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from sightline.client import AsyncClient as AsyncClient
    from sightline.client import Client as Client
    from sightline.client import SightlineError as SightlineError

__all__ = ["AsyncClient", "Client", "SightlineError", "__version__"]


def __getattr__(name: str) -> Any:
    # The HTTP library takes a tenth of a second to import, which `sightline --version` does not need.
    if name in __all__:
        return getattr(import_module("sightline.client"), name)
    raise AttributeError(f"module 'sightline' has no attribute {name!r}")
