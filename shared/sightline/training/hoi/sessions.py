"""ONNX files beside a training."""

from pathlib import Path

import onnxruntime

ERRORS = 3


def cpu_session(model: Path | bytes, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Of a file or what one holds, on few threads, as training has the rest of the processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS  # exporters of other frameworks cause hundreds of warnings for one file
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
