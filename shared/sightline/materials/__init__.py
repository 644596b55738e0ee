"""Maps of surfaces: rendering, refinement, and mirror images, for the service and the training of `svbrdf`."""
