#!/bin/sh
# Runs every shape of the model once, so that TensorRT's engines are cached before a service starts.
exec python -m sightline.serving.prebuild "services.$SIGHTLINE_SERVICE.predictor:create"
