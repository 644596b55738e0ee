"""Training of the exposure correction model."""
