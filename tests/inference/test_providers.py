from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import onnxruntime as ort
import pytest

from sightline.inference.providers import Chain, ProviderError, open_on_first_provider
from sightline.inference.settings import Provider
from sightline.serving.settings import ServiceSettings

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


@dataclass
class Runtime:
    """Opens sessions that come up with what this machine is said to have."""

    works: Sequence[str]
    asked: list[list[str]]
    options: list[dict[str, Any]]

    def open(self, chain: Chain) -> ort.InferenceSession:
        self.asked.append([name for name, _ in chain])
        self.options.append(chain[0][1])
        taken = [name for name, _ in chain if name in self.works]
        return cast(ort.InferenceSession, OpenedSession([*taken, CPU]))


@dataclass
class OpenedSession:
    providers: list[str]

    def get_providers(self) -> list[str]:
        return self.providers


def choose(wanted: str, *, works: Sequence[str], available: Sequence[str], **more: Any) -> tuple[Provider, Runtime]:
    runtime = Runtime(works, [], [])
    settings = ServiceSettings(providers=cast(Any, wanted), **more)
    return open_on_first_provider(settings, runtime.open, available)[0], runtime


def test_first_working_provider_is_used() -> None:
    chosen, runtime = choose("tensorrt,cuda,cpu", works=[CUDA, CPU], available=[CUDA, CPU])
    assert chosen is Provider.CUDA
    assert runtime.asked == [[CUDA]]


def test_tensorrt_falls_back_to_cuda_per_operator() -> None:
    chosen, runtime = choose("tensorrt", works=[TENSORRT, CUDA], available=[TENSORRT, CUDA, CPU])
    assert chosen is Provider.TENSORRT
    assert runtime.asked == [[TENSORRT, CUDA]]


def test_silent_fallback_to_the_cpu_is_refused() -> None:
    with pytest.raises(ProviderError, match="add cpu"):
        choose("cuda", works=[CPU], available=[CUDA, CPU])


def test_silent_fallback_is_accepted_where_the_cpu_is_allowed() -> None:
    chosen, runtime = choose("cuda,cpu", works=[CPU], available=[CUDA, CPU])
    assert chosen is Provider.CPU
    assert runtime.asked == [[CUDA], [CPU]]


def test_weights_that_do_not_load_are_named_with_the_cause() -> None:
    def fail(_: Chain) -> ort.InferenceSession:
        raise RuntimeError("no such op")

    with pytest.raises(ProviderError, match="no such op"):
        open_on_first_provider(ServiceSettings(providers=(Provider.CPU,)), fail, [CPU])


def test_cuda_is_set_up_for_few_fixed_shapes() -> None:
    _, runtime = choose("cuda", works=[CUDA], available=[CUDA, CPU], gpu_memory_bytes=1 << 30, tf32=False, device=1)
    assert runtime.options[0] == {
        "device_id": 1,
        "arena_extend_strategy": "kNextPowerOfTwo",
        "cudnn_conv_algo_search": "HEURISTIC",
        "do_copy_in_default_stream": True,
        "use_tf32": 0,
        "gpu_mem_limit": 1 << 30,
    }
