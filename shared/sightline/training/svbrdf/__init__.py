"""Training of the material model."""
