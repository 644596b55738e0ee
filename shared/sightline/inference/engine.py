"""Inference sessions: a model's weights, loaded on a provider and ready to run batches of canonical tensors."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from sightline.inference.adapter import Adapter
from sightline.inference.memory import use_shared_arena
from sightline.inference.predictor import AnyPredictor
from sightline.inference.providers import EXECUTION_PROVIDERS, Chain, open_on_first_provider
from sightline.inference.settings import InferenceSettings, Provider
from sightline.inference.signature import ModelSignature, Tensors
from sightline.inference.weights import Weights

LOG_ERRORS_ONLY = 3

Feeds = Mapping[str, NDArray[Any]]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class Session(Protocol):
    """The interface to the runtime: a batch of inputs to a batch of outputs, with a leading batch dimension."""

    @property
    def provider(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def max_batch(self) -> int | None: ...
    def run(self, batch: Tensors) -> Tensors: ...


@runtime_checkable
class SessionFactory(Protocol):
    """A predictor that opens its session itself, because its weights are more than one graph."""

    def open_session(self, signature: ModelSignature, settings: InferenceSettings) -> Session: ...


def open_session(predictor: AnyPredictor, settings: InferenceSettings) -> Session:
    """Opens the session of the predictor's weights."""
    weights = predictor.weights
    signature = weights.contract.adapt(predictor.signature)
    if isinstance(predictor, SessionFactory):
        return predictor.open_session(signature, settings)
    return OnnxEngine(weights, signature, settings)


class OnnxEngine:
    """A session of one ONNX file, behind the canonical tensors of its model.

    Load and run it on one thread: the CUDA provider keeps its handles and the algorithms that it selected per thread.
    """

    def __init__(self, weights: Weights, signature: ModelSignature, settings: InferenceSettings) -> None:
        self._adapter = Adapter.between(signature, weights.contract)
        self._fixed_batch = weights.contract.fixed_batch
        provider, session = open_graph(weights.path, settings)
        self._adapter.check(signature, weights.contract, session.get_inputs(), session.get_outputs())
        self._run = _runner(provider, session, settings)
        self.provider = EXECUTION_PROVIDERS[provider]
        self.precision = precision_on(provider, weights, settings)

    @property
    def max_batch(self) -> int | None:
        return self._fixed_batch

    def run(self, batch: Tensors) -> Tensors:
        count = len(next(iter(batch.values())))
        if self._fixed_batch is None:
            return self._adapter.from_file(self._run(self._adapter.to_file(batch)))
        starts = range(0, count, self._fixed_batch)
        parts = [self._run_fixed(batch, start, self._fixed_batch) for start in starts]
        return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}

    def _run_fixed(self, batch: Tensors, start: int, size: int) -> Tensors:
        feeds = {name: _fill(values[start : start + size], size) for name, values in batch.items()}
        return self._adapter.from_file(self._run(self._adapter.to_file(feeds)))


def _fill(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Repeats the last sample until there are `size`."""
    missing = size - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) if missing else values


def open_graph(path: Path, settings: InferenceSettings) -> tuple[Provider, ort.InferenceSession]:
    """Opens the file on the first provider that accepts it. Raises ProviderError where none does."""

    def open_session(chain: Chain) -> ort.InferenceSession:
        options = _session_options(settings)
        if chain[0][0] == EXECUTION_PROVIDERS[Provider.CPU]:
            use_shared_arena(options)
        # With its fallback enabled the runtime rebuilds a failed session on the CPU, now or at any later run.
        return ort.InferenceSession(str(path), options, providers=chain, enable_fallback=0)

    return open_on_first_provider(settings, open_session, ort.get_available_providers())


def _session_options(settings: InferenceSettings) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = LOG_ERRORS_ONLY
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = settings.run_workers
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = settings.deterministic
    # Memory patterns are kept per shape and grow with each new one.
    options.enable_mem_pattern = False
    # Spinning threads would take the cores from decoding and encoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _runner(
    provider: Provider, session: ort.InferenceSession, settings: InferenceSettings
) -> Callable[[Feeds], dict[str, NDArray[Any]]]:
    if provider in (Provider.CUDA, Provider.TENSORRT):
        return BoundRunner(session, device="cuda", device_id=settings.device).run
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


def precision_on(provider: Provider, weights: Weights, settings: InferenceSettings) -> str:
    tensor_cores = provider in (Provider.CUDA, Provider.TENSORRT) and settings.tf32
    return "tf32" if tensor_cores and weights.contract.precision == "fp32" else weights.contract.precision


class BoundRunner:
    """A runner on device buffers that are allocated once per batch shape: the buckets are few and fixed."""

    def __init__(self, session: ort.InferenceSession, *, device: str, device_id: int) -> None:
        self._session, self._device, self._device_id = session, device, device_id
        self._outputs = [output.name for output in session.get_outputs()]
        self._buffers: dict[Shapes, _Buffers] = {}

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        shapes = tuple((name, values.shape) for name, values in feeds.items())
        if shapes not in self._buffers:
            self._buffers[shapes] = self._allocate(feeds)
        return self._buffers[shapes].run(self._session, feeds, self._outputs)

    def _allocate(self, feeds: Feeds) -> "_Buffers":
        return _Buffers(self._session, feeds, self._outputs, self._device, self._device_id)


class _Buffers:
    """The input and output buffers of one batch shape on the device."""

    def __init__(
        self, session: ort.InferenceSession, feeds: Feeds, outputs: Sequence[str], device: str, device_id: int
    ) -> None:
        self._binding = session.io_binding()
        self._inputs = {
            name: ort.OrtValue.ortvalue_from_shape_and_type(values.shape, values.dtype.type, device, device_id)
            for name, values in feeds.items()
        }
        for name, buffer in self._inputs.items():
            self._binding.bind_ortvalue_input(name, buffer)
        for name in outputs:
            self._binding.bind_output(name, device, device_id)
        self._fixed_outputs = False

    def run(self, session: ort.InferenceSession, feeds: Feeds, outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
        for name, values in feeds.items():
            self._inputs[name].update_inplace(values)
        session.run_with_iobinding(self._binding)
        if not self._fixed_outputs:
            self._keep_outputs(outputs)
        return dict(zip(outputs, self._binding.copy_outputs_to_cpu(), strict=True))

    def _keep_outputs(self, outputs: Sequence[str]) -> None:
        """Binds the outputs that the first run allocated, as only the graph knows their shapes, for later runs."""
        for name, buffer in zip(outputs, self._binding.get_outputs(), strict=True):
            self._binding.bind_ortvalue_output(name, buffer)
        self._fixed_outputs = True
