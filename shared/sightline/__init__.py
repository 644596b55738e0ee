"""Sightline: vision models served as a REST fleet for people who investigate with pictures."""

import os

__version__ = "0.1.0"

# ONNX Runtime reports to its maker which models run where, and heeds this alone, and only before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
