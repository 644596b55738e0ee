"""The Open Inference Protocol, version 2, with the binary tensor extension: raw tensors in and out.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol and Triton's binary data extension.
"""
