"""Execution providers of ONNX Runtime: their options, and the choice of the first that runs the model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnxruntime as ort
import structlog

from sightline.inference.settings import InferenceSettings, Provider

log = structlog.get_logger()

EXECUTION_PROVIDERS: Mapping[Provider, str] = {
    Provider.TENSORRT: "TensorrtExecutionProvider",
    Provider.CUDA: "CUDAExecutionProvider",
    Provider.OPENVINO: "OpenVINOExecutionProvider",
    Provider.CPU: "CPUExecutionProvider",
}

ProviderOptions = dict[str, Any]
Chain = list[tuple[str, ProviderOptions]]
OpenSession = Callable[[Chain], ort.InferenceSession]


class ProviderError(Exception):
    """None of the configured providers runs the model."""


def open_on_first_provider(
    settings: InferenceSettings, open_session: OpenSession, available: Sequence[str]
) -> tuple[Provider, ort.InferenceSession]:
    """Opens a session on the first configured provider that accepts the model.

    ONNX Runtime falls back to the CPU with no more than a warning when a provider cannot be loaded, so this checks
    which provider the session uses. Raises ProviderError where none accepts the model.
    """
    cause: Exception | None = None
    for provider in settings.providers:
        wanted = EXECUTION_PROVIDERS[provider]
        if wanted not in available:
            log.warning("provider_missing", provider=provider, available=list(available))
            continue
        try:
            session = open_session(_chain(provider, settings, available))
        except Exception as error:  # the runtime raises a family of its own classes with no common base
            cause = error
            log.warning("provider_failed", provider=provider, error=str(error))
            continue
        if session.get_providers()[0] == wanted:
            return provider, session
        log.warning("provider_not_taken", provider=provider, in_use=session.get_providers())
    raise ProviderError(_refusal(settings, cause)) from cause


def _refusal(settings: InferenceSettings, cause: Exception | None) -> str:
    names = ", ".join(settings.providers)
    if cause is not None:
        return f"None of the configured providers ({names}) loads the weights: {cause}"
    return f"None of the configured providers ({names}) is there; add cpu to allow the CPU."


def _chain(provider: Provider, settings: InferenceSettings, available: Sequence[str]) -> Chain:
    chain = [(EXECUTION_PROVIDERS[provider], _OPTIONS[provider](settings))]
    cuda = EXECUTION_PROVIDERS[Provider.CUDA]
    if provider is Provider.TENSORRT and cuda in available:
        # What TensorRT cannot compile stays on the GPU.
        chain.append((cuda, _cuda_options(settings)))
    return chain


def _cuda_options(settings: InferenceSettings) -> ProviderOptions:
    options: ProviderOptions = {
        "device_id": settings.device,
        # Exact-size extension never reuses what it freed; with a fixed set of buckets powers of two settle.
        "arena_extend_strategy": "kNextPowerOfTwo",
        # The exhaustive search takes gigabytes of workspace and starts again for every new shape.
        "cudnn_conv_algo_search": "HEURISTIC",
        "do_copy_in_default_stream": True,
        "use_tf32": int(settings.tf32),
    }
    if settings.gpu_memory_bytes is not None:
        options["gpu_mem_limit"] = settings.gpu_memory_bytes
    return options


def _tensorrt_options(settings: InferenceSettings) -> ProviderOptions:
    options: ProviderOptions = {"device_id": settings.device}
    if settings.tensorrt_cache is not None:
        options |= {
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(settings.tensorrt_cache),
            "trt_timing_cache_enable": True,
            "trt_timing_cache_path": str(settings.tensorrt_cache),
        }
    return options


def _no_options(_: InferenceSettings) -> ProviderOptions:
    return {}


_OPTIONS: Mapping[Provider, Callable[[InferenceSettings], ProviderOptions]] = {
    Provider.TENSORRT: _tensorrt_options,
    Provider.CUDA: _cuda_options,
    Provider.OPENVINO: _no_options,
    Provider.CPU: _no_options,
}
