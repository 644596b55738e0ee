"""ONNX files beside a training."""

from pathlib import Path

import onnxruntime


def cpu_session(model: Path | bytes, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Of a file or what one holds, on few threads, as training has the rest of the processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
