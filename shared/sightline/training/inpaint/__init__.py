"""Training, evaluation and export of the partial-convolution inpainting network."""
