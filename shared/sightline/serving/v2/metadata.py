"""Metadata and configuration of a model in the Open Inference Protocol, from its signature."""

from typing import Any

from sightline.api.evidence import ModelIdentity
from sightline.inference.signature import ModelSignature, TensorSpec
from sightline.serving.v2.schemas import DATA_TYPES, DataType, ModelMetadata, TensorMetadata

PLATFORM = "onnxruntime_onnx"
VARIES = -1


def model_metadata(identity: ModelIdentity, signature: ModelSignature) -> ModelMetadata:
    return ModelMetadata(
        name=identity.name,
        versions=[identity.version],
        platform=PLATFORM,
        inputs=[_tensor(spec, signature) for spec in signature.inputs],
        outputs=[_tensor(spec, signature) for spec in signature.outputs],
    )


def model_config(identity: ModelIdentity, signature: ModelSignature, *, max_batch: int) -> dict[str, Any]:
    """Returns Triton's configuration of the model, with the fields that apply here."""
    return {
        "name": identity.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "max_batch_size": max_batch,
        "input": [_config(spec, signature) for spec in signature.inputs],
        "output": [_config(spec, signature) for spec in signature.outputs],
    }


def _tensor(spec: TensorSpec, signature: ModelSignature) -> TensorMetadata:
    return TensorMetadata(name=spec.name, datatype=DATA_TYPES[spec.dtype], shape=[VARIES, *_sizes(spec, signature)])


def _config(spec: TensorSpec, signature: ModelSignature) -> dict[str, Any]:
    data_type = DATA_TYPES[spec.dtype]
    name = {DataType.BOOL: "TYPE_BOOL"}.get(data_type, f"TYPE_{data_type}")
    return {"name": spec.name, "data_type": name, "dims": _sizes(spec, signature)}


def _sizes(spec: TensorSpec, signature: ModelSignature) -> list[int]:
    """Returns the sizes of a tensor; a size that differs between buckets is -1."""
    shapes = zip(*(spec.sized(bucket) for bucket in signature.buckets), strict=True)
    return [sizes[0] if len(set(sizes)) == 1 else VARIES for sizes in shapes]
