"""Offline jobs: data, losses, loops, evaluation, ONNX export. Needs torch; no service imports it."""
