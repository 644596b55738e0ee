"""Memory of sessions on the CPU: one arena for all of this process, and the return of its unused parts to the system.

ONNX Runtime's arena keeps what its largest batch needed: after one batch of eight pictures, 1.5 GB for inpainting that
runs in 0.2 GB. Without an arena every tensor above 32 MB is mapped and filled with zeros anew at each run, which costs
a tenth of the throughput and more. So the arena stays, and shrinks while a service is idle.
"""

import ctypes
from functools import cache

import numpy as np
import onnxruntime as ort

# ONNX Runtime shrinks an arena at the end of a run. This graph, one `Identity` of one float, makes such a run cheap and
# possible at any time; a run of the model itself would take its time and keep the regions that its outputs are in.
IDENTITY = (
    b'\x08\x08:6\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x00Z\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


def use_shared_arena(options: ort.SessionOptions) -> None:
    """Lets a session on the CPU allocate from the arena that all such sessions of this process share."""
    _register_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")


def release_unused_memory() -> None:
    """Returns to the system what neither sessions nor this process's other code use. Safe beside running sessions."""
    shrinking = ort.RunOptions()
    shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    _identity_session().run(None, {"x": np.zeros(1, np.float32)}, shrinking)
    # glibc keeps what was freed below a block in use; musl and macOS have no such function.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


@cache
def _register_arena() -> None:
    """Once for each process: ONNX Runtime refuses a second arena."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({}))


@cache
def _identity_session() -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    use_shared_arena(options)
    return ort.InferenceSession(IDENTITY, options, providers=["CPUExecutionProvider"])
