"""Runs on a device through buffers that stay where they are: one set for each batch shape."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

Feeds = Mapping[str, NDArray[Any]]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class BoundRunner:
    """Copies inputs into device buffers allocated once per batch shape, and outputs back after the run.

    The buckets are few and fixed, so the buffers are too.
    """

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
    """Inputs and outputs of one batch shape on the device."""

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
        """The first run allocated the outputs, as only the graph knows their shapes; later runs write into the same."""
        for name, buffer in zip(outputs, self._binding.get_outputs(), strict=True):
            self._binding.bind_ortvalue_output(name, buffer)
        self._fixed_outputs = True
